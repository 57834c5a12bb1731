# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.drill_faults import Budget
from ansible_collections.renfo.redundancy.plugins.plugin_utils import drill_journal
from ansible_collections.renfo.redundancy.plugins.plugin_utils.drill_session import Session, SessionError

from .conftest import Site

FREE = dict.fromkeys(Budget.__dataclass_fields__)
TARGET = {"number": 1, "name": "app_kill", "title": "killed", "tier": "app", "hosts": ["app1"], "budget": FREE}


def client(url: str) -> dict[str, Any]:
    return {
        "url": url,
        "server_name": "",
        "ca": "",
        "rates": {"page": 20, "write": 50, "upload": 10},
        "timeout": 2.0,
        "upload_bytes": 1000,
        "paths": {"page": "/", "sessions": "/sessions", "videos": "/videos"},
    }


def drilled(session: Session, site: Site, forgetful: bool = False) -> dict[str, Any]:
    """One round; a *forgetful* site loses what it acknowledges."""
    session.note("begin")
    session_began = time.time()
    time.sleep(0.05)
    session.note("injecting", host="app1")
    site.forgetful = forgetful
    time.sleep(0.5)
    session.note("healed", host="app1")
    session.note("whole", playbook="status.yml", trouble="", seconds=0.1, log="")
    session.settle()
    sha256 = [item["sha256"] for item in session.requests() if item["operation"] == "upload"]
    samples = [{"at": session_began + 0.01, "timeline": 1}]
    return session.judge(TARGET, {"app1": {"offset": 0, "digests": sha256}, "pg1": {"offset": 0, "samples": samples}})


def test_a_drill_from_its_start_to_its_end(site: tuple[Site, str], tmp_path: Path) -> None:
    session = Session(str(tmp_path / "report"))
    session.start(client(site[1]), os.getpid())
    try:
        result = drilled(session, site[0])
    finally:
        session.stop()
    assert result["failures"] == ()
    assert {item["operation"] for item in result["tallies"]} == {"page", "write", "upload"}
    assert all(item["ok"] for item in result["tallies"])
    assert drill_journal.lines(session.rounds)[0]["fault"] == "app_kill"
    # Nobody uses the site any more.
    before = len(session.requests())
    time.sleep(0.3)
    assert len(session.requests()) == before


def test_a_site_that_loses_what_it_acknowledged_is_found_out(site: tuple[Site, str], tmp_path: Path) -> None:
    session = Session(str(tmp_path / "report"))
    session.start(client(site[1]), os.getpid())
    try:
        result = drilled(session, site[0], forgetful=True)
    finally:
        session.stop()
    assert not result["passed"]
    assert len(result["losses"]["writes"]) > 5
    assert "acknowledged write(s) lost" in result["failures"][0]


def test_what_one_round_kept_and_a_later_one_lost_is_found_at_the_end(site: tuple[Site, str], tmp_path: Path) -> None:
    session = Session(str(tmp_path / "report"))
    session.start(client(site[1]), os.getpid())
    try:
        assert drilled(session, site[0])["passed"]
    finally:
        session.stop()
    assert not session.lost_since()
    del site[0].sessions[3]
    site[0].videos.popitem()
    lost = session.lost_since()
    assert (len(lost.writes), len(lost.uploads)) == (1, 1)


def test_what_the_site_holds_is_asked_after_the_client_has_ended(site: tuple[Site, str], tmp_path: Path) -> None:
    session = Session(str(tmp_path / "report"))
    session.start(client(site[1]), os.getpid())
    time.sleep(0.5)
    session.stop()
    acknowledged = [item for item in session.requests() if item["operation"] == "write"]
    site[0].sessions.pop()
    site[0].videos.popitem()
    held = session.held()
    assert list(held.sessions.values()) == [1] * (len(acknowledged) - 1)
    assert len([said for said in held.downloads.values() if "404, " in said]) == 1  # not a digest with these digits


def test_a_client_that_wrote_nothing_proves_nothing(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="wrote nothing: see"):
        Session(str(tmp_path)).held()


def test_a_host_that_sees_nothing_in_its_store_counts(site: tuple[Site, str], tmp_path: Path) -> None:
    session = Session(str(tmp_path / "report"))
    session.start(client(site[1]), os.getpid())
    try:
        session.note("begin")
        time.sleep(0.5)
        session.settle()
        result = session.judge(TARGET, {"app1": {"offset": 0, "digests": []}, "pg1": {"offset": 0, "digests": None}})
    finally:
        session.stop()
    assert result["losses"]["uploads"]


def test_without_uploads_there_is_no_video_to_miss(site: tuple[Site, str], tmp_path: Path) -> None:
    session = Session(str(tmp_path / "report"))
    session.start({**client(site[1]), "rates": {"page": 20, "write": 50, "upload": 0, "video": 5}}, os.getpid())
    try:
        result = drilled(session, site[0])
    finally:
        session.stop()
    assert result["failures"] == ()
    assert {item["operation"] for item in result["tallies"]} == {"page", "write"}


def test_a_drill_forgets_the_one_before_and_nothing_else(site: tuple[Site, str], tmp_path: Path) -> None:
    session = Session(str(tmp_path))
    (tmp_path / "rounds.jsonl").write_text("{}\n")
    (tmp_path / "notes.txt").write_text("mine")
    session.start(client(site[1]), os.getpid())
    session.stop()
    assert not session.rounds.exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_site_that_does_not_work_is_not_drilled(site: tuple[Site, str], tmp_path: Path) -> None:
    site[0].status = 503
    session = Session(str(tmp_path))
    with pytest.raises(SessionError, match=r"the site can't be drilled: upload doesn't work .*: status 503"):
        session.start(client(site[1]), os.getpid())


def test_a_client_that_died_is_noticed(site: tuple[Site, str], tmp_path: Path) -> None:
    session = Session(str(tmp_path))
    session.start({**client(site[1]), "timeout": 0.1}, os.getpid())
    session.note("begin")
    session.stop()
    with pytest.raises(SessionError, match="has ended: see"):
        session.settle()


def test_stopping_what_never_started_does_no_harm(tmp_path: Path) -> None:
    Session(str(tmp_path)).stop()


def test_a_line_that_is_just_being_written_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    drill_journal.note(path, "begin", at=1.5)
    with path.open("a") as file:
        file.write('{"at": 2, "ev')
    assert drill_journal.lines(path) == [{"at": 1.5, "event": "begin"}]
    assert drill_journal.last_line(path) == {"at": 1.5, "event": "begin"}
    assert drill_journal.lines(tmp_path / "nothing") == []
    assert drill_journal.last_line(tmp_path / "nothing") is None


def test_the_last_line_of_a_long_file(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for number in range(5000):
        drill_journal.note(path, "begin", at=float(number))
    assert drill_journal.last_line(path) == {"at": 4999.0, "event": "begin"}
