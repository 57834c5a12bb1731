# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the playbooks wire the roles, and what the collection says of itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.inventory_check import ROLES_OF_GROUP
from project import ROLES, ROOT, code, load, role_calls, spec

PLAYBOOKS = sorted((ROOT / "playbooks").rglob("*.yml"))
SITE: list[dict[str, Any]] = load(ROOT / "playbooks/site.yml")
PROVIDED: list[str] = load(ROOT / "playbooks/vars/topology.yml")["site_provided_options"]
#: Required by a role and passed on by site.yml, but only the user can know it.
FROM_THE_USER = {"app_replicas_archive"}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PLAYBOOKS, ids=relative)
def test_groups_are_read_in_one_file(path: Path) -> None:
    reads = re.search(r"(?<![\w.-])(groups|group_names)\b(?!\s*:)", code(path)) is not None
    assert reads is (relative(path) == "playbooks/vars/topology.yml")


@pytest.mark.parametrize("path", PLAYBOOKS, ids=relative)
def test_failures_are_never_swallowed(path: Path) -> None:
    text = code(path)
    assert "ignore_errors" not in text
    assert not re.search(r"failed_when:\s*(false|no|\[\])", text)
    assert "|| true" not in text


def test_connections_of_a_handover_lie_where_ansible_makes_room_for_them() -> None:
    """A user may have no ~/.ssh, and would learn of it when the primary is lost."""
    contact = load(ROOT / "playbooks/vars/contact.yml")
    assert "ControlPath" not in contact["ansible_ssh_args"]
    assert contact["ansible_control_path"].startswith("%(directory)s/")


def calls() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every role that site.yml runs: the hosts of its play, its name, the variables it gets."""
    for play in SITE:
        files: dict[str, Any] = {}
        for name in play.get("vars_files", []):
            files |= load(ROOT / "playbooks" / name)
        for role, given in role_calls(play):
            yield play["hosts"], role, {name: files[name] for name in files if name.startswith(f"{role}_")} | given


def test_site_gives_roles_what_they_know() -> None:
    for _hosts, role, given in calls():
        assert set(given) <= set(spec(role)), role


def test_site_runs_every_role() -> None:
    assert {role for _hosts, role, _given in calls()} == set(ROLES)


def test_what_the_inventory_is_checked_for_is_what_hosts_get() -> None:
    roles: dict[str, set[str]] = {}
    for hosts, role, _given in calls():
        for group in hosts.split(":"):
            roles.setdefault(group, set()).add(role)
    assert {group: sorted(found) for group, found in roles.items()} == {
        group: sorted(found) for group, found in ROLES_OF_GROUP.items()
    }


def test_the_user_is_asked_for_what_site_does_not_give() -> None:
    given = {name for _hosts, role, given in calls() for name in given if spec(role)[name].get("required")}
    assert set(PROVIDED) == given - FROM_THE_USER
    assert sorted(PROVIDED) == PROVIDED


def test_the_action_group_holds_every_module() -> None:
    modules = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))
    runtime = load(ROOT / "meta/runtime.yml")
    assert runtime["action_groups"]["redundancy"] == modules
    assert runtime["requires_ansible"] == ">=2.19.0"


def test_the_changelog_tells_of_this_version() -> None:
    version = load(ROOT / "galaxy.yml")["version"]
    changelog = (ROOT / "CHANGELOG.rst").read_text(encoding="utf-8")
    assert re.findall(r"^v(\d+\.\d+\.\d+)$", changelog, flags=re.MULTILINE)[0] == version
    for path in (ROOT / "changelogs/fragments").glob("*.yml"):
        for section, entries in load(path).items():
            for entry in [entries] if section == "release_summary" else entries:
                assert " ".join(entry.split()) in " ".join(changelog.split()), f"{path}: CHANGELOG.rst is behind"


def test_the_licence_is_there() -> None:
    assert load(ROOT / "galaxy.yml")["license_file"] == "LICENSE"
    assert "GNU GENERAL PUBLIC LICENSE" in (ROOT / "LICENSE").read_text(encoding="utf-8")[:200]


def test_dependencies_have_bounds_and_are_those_that_are_used() -> None:
    dependencies = load(ROOT / "galaxy.yml")["dependencies"]
    for bounds in dependencies.values():
        assert re.fullmatch(r">=[\d.]+,<[\d.]+", bounds)
    text = "\n".join(code(path) for folder in ("roles", "playbooks") for path in (ROOT / folder).rglob("*.yml"))
    used = set(re.findall(r"^\s+([a-z_]+\.[a-z_]+)\.[a-z_]+:", text, flags=re.MULTILINE))
    assert used - {"ansible.builtin", "renfo.redundancy"} == set(dependencies)


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt", "requirements-drill.txt"])
def test_requirements_are_pinned(name: str) -> None:
    lines = [line for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert lines
    for line in lines:
        assert re.fullmatch(r"[\w.-]+==[\w.]+", line), line
