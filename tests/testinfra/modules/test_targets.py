"""The integration targets of the modules, on ops1: real systemd, real servers."""

from __future__ import annotations

import subprocess

import pytest

from tests.support.lab import INVENTORY, ROOT, Lab

TARGETS = ROOT / "tests/integration/targets"


@pytest.mark.parametrize("target", sorted(path.parent.name for path in TARGETS.glob("*/tasks")))
def test_target(lab: Lab, target: str) -> None:
    command = [ROOT / ".venv/bin/ansible-playbook", "-i", INVENTORY, TARGETS / "run.yml", "-e", f"target={target}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout[-12000:] + done.stderr
