# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from ansible import context
from ansible_collections.renfo.redundancy.plugins.action import drill_playbook
from ansible_collections.renfo.redundancy.plugins.action.drill_playbook import ActionModule
from ansible_collections.renfo.redundancy.plugins.plugin_utils.drill_journal import lines

#: Fails until the file is there, then prints a document.
PLAYBOOK = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars: {folder: "{{ playbook_dir }}", ansible_python_interpreter: "{{ ansible_playbook_python }}"}
  tasks:
    - ansible.builtin.shell: echo . >>{{ folder }}/runs; wc -l <{{ folder }}/runs
      register: runs
    - ansible.builtin.fail: {msg: "{{ words | default('not yet') }}"}
      when: runs.stdout | int < needed | int
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    (tmp_path / "inventory").write_text("localhost\n")
    monkeypatch.setattr(drill_playbook, "PLAYBOOKS", tmp_path)
    monkeypatch.setattr(drill_playbook.time, "sleep", lambda _seconds: None)
    given = {"inventory": (str(tmp_path / "inventory"),), "extra_vars": ("words='from the run'",)}
    monkeypatch.setattr(context, "CLIARGS", given)
    return tmp_path


def play(folder: Path, **arguments: Any) -> dict[str, Any]:
    arguments = {"playbook": "play.yml", "report": str(folder / "report"), **arguments}
    (folder / "report").mkdir()
    action = ActionModule(
        MagicMock(args=arguments, async_val=0), MagicMock(), MagicMock(), MagicMock(), MagicMock(), MagicMock()
    )
    result: dict[str, Any] = action.run(task_vars={})
    return result


def test_a_playbook_is_run_as_this_run_was(folder: Path) -> None:
    result = play(folder, extra={"needed": 9})
    assert (result["rc"], result["failed"]) == (2, False)
    log = Path(result["log"]).read_text()
    assert "from the run" in log
    assert log.splitlines()[-1].split()[0].replace(".", "").isdigit(), "no time in front of the line"
    (event,) = lines(folder / "report/events.jsonl")
    assert (event["event"], event["trouble"], event["log"]) == (
        "playbook",
        "ended with 2, expected 0",
        "logs/001-play.log",
    )


@pytest.mark.parametrize(
    ("needed", "hopeless", "trouble"),
    [
        (1, "", ""),
        (1, "from the run", "ended with 0, expected an error"),
        (9, "from the run", ""),
        (9, "no such word", "ended with 2 for another reason than was expected"),
    ],
)
def test_what_is_hopeless_has_to_fail_for_that_reason(folder: Path, needed: int, hopeless: str, trouble: str) -> None:
    play(folder, extra={"needed": needed}, hopeless=hopeless)
    assert lines(folder / "report/events.jsonl")[0]["trouble"] == trouble


def test_a_playbook_that_hangs_is_ended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drill_playbook, "BOUND", 0.2)
    assert play(folder, extra={"needed": 1})["rc"] != 0


def test_nobody_can_be_asked_for_a_password(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "CLIARGS", {**context.CLIARGS, "become_ask_pass": True})
    assert "become_ask_pass" in play(folder)["msg"]


def test_it_is_run_again_as_long_as_there_is_patience(folder: Path) -> None:
    assert play(folder, extra={"needed": 2}, patience=60)["rc"] == 0
    assert (folder / "runs").read_text().count(".") == 2


def test_only_a_success_makes_the_stack_whole(folder: Path) -> None:
    play(folder, extra={"needed": 9}, event="whole")
    assert lines(folder / "report/events.jsonl") == []


@pytest.mark.parametrize(
    ("output", "document"),
    [
        ('TASK [x]\n{\n  "a": 1\n}\nPLAY RECAP\n', {"a": 1}),
        ("fatal: {}\n", None),
        ("x\n{\n broken\n", None),
    ],
)
def test_the_document_is_found_among_the_rest(output: str, document: Any) -> None:
    assert drill_playbook._document(output) == document


def test_a_run_whose_caller_was_killed_is_ended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    callers = iter([1])
    monkeypatch.setattr(drill_playbook.os, "getppid", lambda: next(callers, 2))
    assert play(folder, extra={"needed": 1})["rc"] != 0


def test_what_it_prints_is_shown_while_it_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    play(folder, extra={"needed": 9}, show=True)
    assert "from the run" in capsys.readouterr().out
