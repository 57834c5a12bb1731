"""The collection as users get it: built, installed elsewhere, its playbooks run by name."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BINARIES = Path(sys.executable).parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artefact of the tracked and new files, installed into an empty folder."""
    source = tmp_path_factory.mktemp("source")
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    for name in names:
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name, follow_symlinks=False)
    build = tmp_path_factory.mktemp("build")
    galaxy = BINARIES / "ansible-galaxy"
    subprocess.run([galaxy, "collection", "build", source, "--output-path", build], check=True, capture_output=True)
    (artefact,) = build.glob("renfo-redundancy-*.tar.gz")
    collections = tmp_path_factory.mktemp("collections")
    subprocess.run(
        [galaxy, "collection", "install", artefact, "-p", collections, "--no-deps", "--offline"],
        # Not from the checkout: its ansible.cfg says that the collection is there already.
        cwd=build, check=True, capture_output=True,
    )  # fmt: skip
    return collections


def play(installed: Path, folder: Path, playbook: str | Path) -> subprocess.CompletedProcess[str]:
    """Run *playbook* in *folder* on the hosts of the example, with the installed collection alone."""
    inventory = folder / "inventory"
    shutil.copytree(ROOT / "inventories/example", inventory)
    return subprocess.run(
        [BINARIES / "ansible-playbook", "-i", inventory, playbook], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(installed)},
    )  # fmt: skip


@pytest.mark.parametrize("playbook", ["site", "status", "drill"])
def test_playbooks_run_by_name(installed: Path, tmp_path: Path, playbook: str) -> None:
    done = play(installed, tmp_path, f"renfo.redundancy.{playbook}")
    # The example names a release that isn't there: the playbook got as far as reading the inventory,
    # with the filters, the roles' specs and the variables of the installed collection.
    assert "there is no such file on this controller. Build the release first" in done.stdout + done.stderr
    assert "Nothing was changed" in done.stdout + done.stderr


@pytest.mark.parametrize("playbook", ["site", "deploy", "update", "rotate"])
def test_under_a_condition_that_does_not_hold_nothing_runs(installed: Path, tmp_path: Path, playbook: str) -> None:
    """Ansible works out to whom a task is delegated, and a play's hosts, before it asks the condition."""
    mine = tmp_path / "mine.yml"
    mine.write_text(f"- ansible.builtin.import_playbook: renfo.redundancy.{playbook}\n  when: false\n")
    done = play(installed, tmp_path, mine)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok=0" in done.stdout
    assert not re.search(r"(ok|changed|failed|unreachable)=[1-9]", done.stdout), done.stdout


def test_the_artefact_holds_no_secret_and_no_cache(installed: Path) -> None:
    root = installed / "ansible_collections/renfo/redundancy"
    names = {path.name for path in root.rglob("*")}
    assert not names & {".secrets", ".venv", ".cache", ".git"}
    assert (root / "plugins/modules/pg_standby.py").is_file()
