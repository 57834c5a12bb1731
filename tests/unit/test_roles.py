# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every role keeps to: see CONTRIBUTING.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from project import ROLES, ROOT, code, load, role_calls, sources, spec, task_files, tasks_of, variables

MOST_TASKS = 10
MOST_LINES = 8
each_role = pytest.mark.parametrize("role", ROLES)


def names_in(text: str) -> set[str]:
    return set(re.findall(r"\b\w+", text))


@each_role
def test_defaults_are_those_of_the_argument_spec(role: str) -> None:
    documented = {name: option["default"] for name, option in spec(role).items() if "default" in option}
    assert variables(role, "defaults") == documented
    # YAML's 2770, "2770" and 2770.0 are not the same to a host, though == may say so.
    for name, value in variables(role, "defaults").items():
        assert type(value) is type(documented[name]), name


@each_role
def test_an_option_is_required_or_has_a_default(role: str) -> None:
    for name, option in spec(role).items():
        assert bool(option.get("required")) is not ("default" in option), name


@each_role
def test_every_option_is_described(role: str) -> None:
    for name, option in spec(role).items():
        assert name.startswith(f"{role}_")
        assert option.get("type"), name
        assert str(option.get("description", "")).strip(), name
        for inner_name, inner in option.get("options", {}).items():
            assert inner.get("type"), f"{name}.{inner_name}"
            assert inner.get("description"), f"{name}.{inner_name}"


@each_role
def test_secrets_are_marked_in_the_spec(role: str) -> None:
    for name, option in spec(role).items():
        secret = re.search(r"password|passphrase|secret|token|_environment$", name) is not None
        assert option.get("no_log", False) is secret, name


@each_role
def test_roles_know_nothing_of_the_inventory(role: str) -> None:
    for path in sources(role):
        # As a key, `groups:` is an option of a module.
        found = re.findall(r"\b(?:hostvars|groups|group_names|play_hosts|ansible_play_\w+)\b(?!\s*:)", code(path))
        assert found == [], f"{path}: a role gets what it needs in its variables"


@each_role
def test_roles_know_nothing_of_each_other_nor_of_the_playbooks(role: str) -> None:
    foreign = [f"(?:__)?{other}_" for other in ROLES if other != role] + [
        "site_",
        "lab_",
        r"topology\b",
        r"cluster_plan\b",
    ]
    pattern = re.compile(rf"(?<![\w/.-])(?:{'|'.join(foreign)})\w*")
    for path in sources(role):
        assert pattern.findall(code(path)) == [], path


@each_role
def test_every_variable_of_a_role_is_an_option_or_is_made_in_it(role: str) -> None:
    made = set(spec(role)) | set(variables(role, "vars"))
    for path in task_files(role):
        for task in tasks_of(load(path)):
            made |= (
                {task.get("register", "")} | set(task.get("ansible.builtin.set_fact", {})) | set(task.get("vars", {}))
            )
    for path in sources(role):
        used = {name for name in names_in(code(path)) if re.match(rf"(__)?{role}_", name)}
        assert used <= made, path


@each_role
def test_private_variables_are_used(role: str) -> None:
    text = "\n".join(code(path) for path in sources(role))
    for name in variables(role, "vars"):
        assert name.startswith(f"__{role}_")
        assert len(re.findall(rf"\b{name}\b", text)) > 1, name


@each_role
def test_every_option_is_used(role: str) -> None:
    text = "\n".join(code(path) for path in sources(role) if path.parent.name != "defaults")
    assert set(spec(role)) <= names_in(text)


@each_role
def test_task_files_are_short(role: str) -> None:
    for path in task_files(role):
        assert len(list(tasks_of(load(path)))) <= MOST_TASKS, path


@each_role
def test_main_is_a_table_of_contents(role: str) -> None:
    for task in tasks_of(load(ROOT / "roles" / role / "tasks/main.yml")):
        assert {"ansible.builtin.import_tasks", "ansible.builtin.include_tasks"} & set(task), task["name"]


@each_role
def test_failures_are_never_swallowed(role: str) -> None:
    for path in sources(role):
        text = code(path)
        assert "ignore_errors" not in text, path
        assert not re.search(r"failed_when:\s*(false|no|\[\])", text), path
        assert "|| true" not in text, path


#: Keys of a task under which nothing is shown: `secrets` is the option of managed_files that hides its value.
UNSEEN = ("name", "when", "secrets")


def texts(data: Any, private: dict[str, Any]) -> Iterator[str]:
    """Every text that a task shows; private variables that it names are followed."""
    if isinstance(data, dict):
        for key, value in data.items():
            if key not in UNSEEN:
                yield from texts(value, private)
    elif isinstance(data, list):
        for value in data:
            yield from texts(value, private)
    else:
        text = str(data)
        yield text
        for name in names_in(text) & set(private):
            yield from texts(private[name], {other: value for other, value in private.items() if other != name})


def carries_secret(task: dict[str, Any], role: str) -> bool:
    """Whether a secret is in the task where Ansible would show it."""
    secrets = {name for name, option in spec(role).items() if option.get("no_log")}
    keys = {name for name in spec(role) if name.endswith("_tls_key_file")}
    templates = [
        path.name
        for path in sources(role)
        if path.parent.name == "templates" and secrets & names_in(path.read_text(encoding="utf-8"))
    ]
    return any(
        secrets & names_in(text)
        or any(template in text for template in templates)
        # The name of the file with the key is no secret; what a lookup finds in it is.
        or ("lookup(" in text and keys & names_in(text))
        for text in texts(task, variables(role, "vars"))
    )


@each_role
def test_no_log_is_on_exactly_the_tasks_that_carry_a_secret(role: str) -> None:
    for path in task_files(role):
        for task in tasks_of(load(path)):
            assert task.get("no_log", False) is carries_secret(task, role), f"{path}: {task['name']}"


def readme(role: str) -> tuple[str, list[dict[str, Any]]]:
    """A role's README without its example, and the plays of the example."""
    text = (ROOT / "roles" / role / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) == 1, "one example"
    return text.replace(blocks[0], ""), yaml.safe_load(blocks[0])


@each_role
def test_the_readme_is_short(role: str) -> None:
    prose, _plays = readme(role)
    lines = [line for line in prose.splitlines() if line.strip() and not line.startswith("```")]
    assert lines[0] == f"# {role}"
    assert 3 <= len(lines) <= MOST_LINES
    assert "meta/argument_specs.yml" in prose


@each_role
def test_the_example_in_the_readme_would_run(role: str) -> None:
    _prose, plays = readme(role)
    calls = [call for play in plays for call in role_calls(play)]
    assert [name for name, _given in calls] == [role]
    for _name, given in calls:
        assert set(given) <= set(spec(role))
        assert {name for name, option in spec(role).items() if option.get("required")} <= set(given)


def test_every_role_was_looked_at() -> None:
    assert {path.name for path in Path(ROOT / "roles").iterdir()} == set(ROLES)
    assert len(ROLES) >= 6
