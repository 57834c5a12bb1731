# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that tells node-exporter of the stack: what it decides, and that nothing holds it up."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import stack_metrics
from stack_metrics import (
    Backups,
    Certificates,
    Config,
    Host,
    Kept,
    Partly,
    Probe,
    Sample,
    brick_pending,
    brick_up,
    fenced,
    holds,
    is_mount,
    judge_database,
    judge_media,
    judge_verification,
    once,
    pending,
    probes,
    release,
    render,
    store,
)

HOUR = 3600.0
NOW = 100 * HOUR
CERTIFICATE = "stack_certificate_not_after_timestamp_seconds"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    made = Host(
        tmp_path / "proc", tmp_path / "postgresql", tmp_path / "gluster", tmp_path / "media.json", tmp_path / "v.json"
    )
    for folder in (made.proc / "1", made.postgresql / "17/main", made.gluster / "media"):
        folder.mkdir(parents=True)
    return made


def process(host: Host, pid: int, command: str, *arguments: str) -> None:
    folder = host.proc / str(pid)
    folder.mkdir()
    (folder / "comm").write_text(f"{command}\n")
    (folder / "cmdline").write_text("\0".join((command, *arguments, "")))


# ---- Text


def test_a_name_is_declared_once_and_labels_are_escaped() -> None:
    samples = [
        Sample("a", {"x": 'quote " backslash \\ line\n'}, True),
        Sample("b", {}, 1795803401.904082),
        Sample("a", {"x": "2", "y": "3"}, 0),
    ]
    assert render(samples) == (
        "# TYPE a gauge\n"
        'a{x="quote \\" backslash \\\\ line\\n"} 1\n'
        'a{x="2",y="3"} 0\n'
        "# TYPE b gauge\n"
        "b 1795803401.904082\n"
    )


@pytest.mark.parametrize(
    ("address", "held"),
    [("10.0.0.100", True), ("10.0.0.10", False), ("2001:db8::1", True), ("2001:0db8::0001", True), ("::2", False)],
)
def test_an_address_is_held_by_an_interface(address: str, held: bool) -> None:
    said = [{"addr_info": [{"local": "10.0.0.100"}, {"peer": "x"}]}, {}, {"addr_info": [{"local": "2001:db8::1"}]}]
    assert holds(json.dumps(said), address) is held


@pytest.mark.parametrize(
    ("directory", "mounted"), [("/srv/media", True), ("/srv/me", False), ("/srv/a b", True), ("/srv", False)]
)
def test_a_mount_is_found_by_its_directory(directory: str, mounted: bool) -> None:
    text = (
        "443 381 0:180 / /srv/media rw,relatime shared:361 - fuse.glusterfs 10.0.0.1:/media rw\n"
        "444 381 0:181 / /srv/a\\040b rw - nfs4 x:/ rw\n"
    )
    assert is_mount(text, directory) is mounted


def test_the_links_that_others_are_links_to_wait_for_nothing() -> None:
    assert pending(["xattrop-ce94d011-16c5", "1a2b", "3c4d"]) == 2


# ---- Backups


def catalogue(
    *ends: float, error: bool = False, history: int = 1, code: int = 0, newest: int = 1
) -> list[Mapping[str, Any]]:
    backups = [{"timestamp": {"stop": end}, "database": {"id": history}, "error": error} for end in ends]
    return [{"db": [{"id": newest}], "backup": backups, "repo": [{"status": {"code": code}}]}]


@pytest.mark.parametrize(
    ("said", "states", "kept"),
    [
        pytest.param(catalogue(NOW - 9, NOW - 5), [], Kept(NOW - 5, True), id="a fresh one"),
        pytest.param(catalogue(NOW - 37 * HOUR), [], Kept(NOW - 37 * HOUR, False), id="an old one"),
        pytest.param(catalogue(NOW - 37 * HOUR), ["activating"], Kept(NOW - 37 * HOUR, False), id="old, and hanging"),
        pytest.param(catalogue(NOW - 5), ["failed"], Kept(NOW - 5, False), id="the last run failed"),
        pytest.param(catalogue(NOW - 5, code=99), [], Kept(NOW - 5, False), id="a repository in trouble"),
        pytest.param(catalogue(NOW - 5, error=True), [], Kept(None, False), id="only a broken one"),
        pytest.param(catalogue(NOW - 5, newest=2), [], Kept(None, False), id="only one of another cluster"),
        pytest.param(catalogue(code=2), ["activating"], Kept(None, True), id="the first one is being made"),
        pytest.param([], [], Kept(None, False), id="no stanza"),
    ],
)
def test_backups_of_the_database(said: list[Mapping[str, Any]], states: list[str], kept: Kept) -> None:
    assert judge_database(said, {f"unit{number}": state for number, state in enumerate(states)}, NOW) == kept


def media(began: float | None, error: str | None = None) -> dict[str, Any]:
    return {"good": None if began is None else {"began": began}, "last": {"error": error}, "max_age": HOUR}


@pytest.mark.parametrize(
    ("result", "state", "kept"),
    [
        pytest.param(media(NOW - 5), "inactive", Kept(NOW - 5, True), id="a fresh one"),
        pytest.param(media(NOW - 2 * HOUR), "activating", Kept(NOW - 2 * HOUR, False), id="an old one"),
        pytest.param(media(NOW - 5, "no room"), "failed", Kept(NOW - 5, False), id="the last run failed"),
        pytest.param(media(None, "no room"), "activating", Kept(None, False), id="none ever went well"),
        pytest.param(None, "activating", Kept(None, True), id="the first one is being made"),
        pytest.param(None, "inactive", Kept(None, False), id="none"),
    ],
)
def test_snapshots_of_the_store(result: dict[str, Any] | None, state: str, kept: Kept) -> None:
    assert judge_media(result, state, NOW) == kept


@pytest.mark.parametrize(
    ("result", "last_good", "first", "kept"),
    [
        pytest.param({"began": NOW - 5, "ok": True}, NOW - 1, None, Kept(NOW - 5, True), id="it went well"),
        pytest.param({"began": NOW - 5, "ok": False}, NOW - 99, None, Kept(NOW - 99, False), id="it failed"),
        pytest.param({"began": NOW - 5, "ok": False}, None, None, Kept(None, False), id="it never went well"),
        pytest.param(
            {"began": NOW - 37 * HOUR, "ok": True}, None, None, Kept(NOW - 37 * HOUR, False), id="it was long ago"
        ),
        pytest.param(None, None, NOW - 5, Kept(None, True), id="none was due yet"),
        pytest.param(None, None, NOW - 37 * HOUR, Kept(None, False), id="the first one is overdue"),
        pytest.param(None, None, None, Kept(None, True), id="nothing to verify"),
    ],
)
def test_verified_restores(
    result: dict[str, Any] | None, last_good: float | None, first: float | None, kept: Kept
) -> None:
    assert judge_verification(result, last_good, first, 36 * HOUR, NOW) == kept


def test_without_a_time_nothing_is_said_of_it() -> None:
    assert [sample.name for sample in Kept(None, False).samples("media")] == ["stack_backup_ok"]


def test_what_is_kept_is_asked_for(host: Host, tmp_path: Path) -> None:
    host.verify.write_text(json.dumps({"directory": str(tmp_path), "result_max_age": 36 * HOUR}))
    host.media.write_text(json.dumps(media(time.time())))

    def run(argv: Sequence[str], _timeout: float) -> str:
        if argv[0] == "pgbackrest":
            return json.dumps(catalogue(1.0, time.time()))
        return "inactive\n\nactive\n\nfailed\n" if len(argv) > 5 else "inactive\n"

    backups = Backups(host, run)
    samples = [*backups.database(), *backups.media(), *backups.verification()]
    assert {sample.labels["what"]: sample.value for sample in samples if sample.name == "stack_backup_ok"} == {
        # The unit of incremental ones failed; and no restore verified the backup of 1970.
        "database": False,
        "media": True,
        "verification": False,
    }


# ---- The host


@pytest.mark.parametrize(
    ("marks", "running", "is_fenced"),
    [
        pytest.param([], True, False, id="nothing"),
        pytest.param(["17-main.fenced"], True, True, id="fenced"),
        pytest.param(["17-main.held"], False, True, id="held at its start"),
        pytest.param(["17-main.held"], True, False, id="held once, and started since"),
        pytest.param(["17-main.held", "17/main/standby.signal"], False, False, id="a standby by now"),
    ],
)
def test_a_fence_is_what_the_guard_says(host: Host, marks: list[str], running: bool, is_fenced: bool) -> None:
    for mark in marks:
        (host.postgresql / mark).touch()
    data = host.postgresql / "17/main"
    (data / "postmaster.pid").write_text(f"4711\n{data}\n")
    process(host, 4711, "postgres", "-D", str(data) if running else "/somewhere/else")
    assert list(fenced("17-main", host)) == [Sample("stack_pg_fenced", {"cluster": "17-main"}, is_fenced)]


@pytest.mark.parametrize(
    ("name", "command", "up"),
    [
        pytest.param("10.0.0.21-srv-gluster-brick.pid", "glusterfsd", True, id="it runs"),
        pytest.param("10.0.0.21-srv-gluster-brick.pid", "bash", False, id="its number is somebody else's"),
        pytest.param("10.0.0.21-srv-other-brick.pid", "glusterfsd", False, id="another brick"),
    ],
)
def test_a_brick_is_up_with_its_process(host: Host, name: str, command: str, up: bool) -> None:
    (host.gluster / "media" / name).write_text("1282\n")
    process(host, 1282, command)
    assert [sample.value for sample in brick_up("/srv/gluster/brick", host)] == [up]


def test_a_brick_whose_process_died_is_down(host: Host) -> None:
    (host.gluster / "media/10.0.0.21-srv-brick.pid").write_text("1282\n")
    assert [sample.value for sample in brick_up("/srv/brick", host)] == [False]


def test_files_to_heal_are_counted_in_the_index(tmp_path: Path) -> None:
    index = tmp_path / ".glusterfs/indices/xattrop"
    index.mkdir(parents=True)
    for name in ("xattrop-1", "2", "3"):
        (index / name).touch()
    assert [sample.value for sample in brick_pending(str(tmp_path))] == [2]


def test_a_store_is_mounted_where_the_host_says_so(host: Host, tmp_path: Path) -> None:
    (host.proc / "1/mountinfo").write_text(f"1 2 0:3 / {tmp_path} rw - fuse x rw\n")
    assert [sample.value for sample in store(str(tmp_path), host)] == [True]
    assert [sample.value for sample in store("/srv/media", host)] == [False]


def test_a_store_that_lost_its_other_end_is_not_mounted(host: Host, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    (host.proc / "1/mountinfo").write_text(f"1 2 0:3 / {gone} rw - fuse x rw\n")
    probe = Probe("store", lambda: store(str(gone), host), [Sample("lost", {}, 0)])
    assert answer(probe) == (Sample("lost", {}, 0),)


def test_the_release_is_the_one_that_is_linked(tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to("/srv/app/releases/3f2c")
    assert [sample.labels for sample in release(str(tmp_path / "current"))] == [{"release": "3f2c"}]
    assert list(release(str(tmp_path / "none"))) == []


def test_certificates_are_looked_into_when_they_changed(tmp_path: Path) -> None:
    path = tmp_path / "host.crt"
    path.touch()
    calls: list[Sequence[str]] = []

    def run(argv: Sequence[str], _timeout: float) -> str:
        calls.append(argv)
        return "notAfter=Mar  1 00:00:00 2029 GMT\n"

    asked = Certificates([str(path), str(tmp_path / "none.crt")], run)
    for _again in range(2):
        assert list(asked.ask()) == [Sample(CERTIFICATE, {"file": str(path)}, 1867017600)]
    assert len(calls) == 1
    os.utime(path, (1, 1))
    list(asked.ask())
    assert len(calls) == 2


def test_a_broken_certificate_hides_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("bad.crt", "good.crt"):
        (tmp_path / name).touch()

    def run(argv: Sequence[str], _timeout: float) -> str:
        if argv[-1].endswith("bad.crt"):
            raise subprocess.SubprocessError("unable to load certificate")
        return "notAfter=Mar  1 00:00:00 2029 GMT\n"

    probe = Probe("certificates", Certificates([str(tmp_path / "bad.crt"), str(tmp_path / "good.crt")], run).ask)
    assert [sample.labels["file"] for sample in answer(probe)] == [str(tmp_path / "good.crt")]
    assert "bad.crt: unable to load certificate" in capsys.readouterr().err


# ---- The loop


def answer(probe: Probe) -> tuple[Sample, ...]:
    probe.begin()
    probe.wait(time.monotonic() + 10)
    return probe.answer()


def test_a_question_that_hangs_holds_nobody_up_and_is_asked_once(tmp_path: Path) -> None:
    release_it, asked = threading.Event(), []

    def hang() -> Iterator[Sample]:
        asked.append(1)
        release_it.wait(10)
        yield Sample("store", {}, 1)

    slow = Probe("store", hang, [Sample("store", {}, 0)], patience=0.1)
    other = Probe("other", lambda: [Sample("other", {}, 7)])
    for _round in range(2):
        once([slow, other], tmp_path / "stack.prom", patience=0.1)
        text = (tmp_path / "stack.prom").read_text()
        assert "\nstore 0\n" in text
        assert "\nother 7\n" in text
        assert "stack_metrics_timestamp_seconds" in text
    assert len(asked) == 1
    release_it.set()
    slow.wait(time.monotonic() + 10)
    assert slow.answer() == (Sample("store", {}, 1),)
    assert os.listdir(tmp_path) == ["stack.prom"]


def test_what_costs_a_process_is_asked_now_and_then_and_kept_meanwhile() -> None:
    asked: list[int] = []

    def count() -> Iterator[Sample]:
        asked.append(1)
        yield Sample("backup", {}, len(asked))

    probe = Probe("backup", count, every=60)
    assert [answer(probe), answer(probe)] == [(Sample("backup", {}, 1),)] * 2


def test_a_fault_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    faults: list[Exception] = [OSError("gone"), OSError("gone"), Partly("half")]

    def ask() -> Iterator[Sample]:
        if faults:
            raise faults.pop(0)
        yield Sample("fine", {}, 1)

    probe = Probe("it", ask, [Sample("fine", {}, 0)])
    assert [answer(probe) for _round in range(4)] == [
        (Sample("fine", {}, 0),),
        (Sample("fine", {}, 0),),
        (),
        (Sample("fine", {}, 1),),
    ]
    assert capsys.readouterr().err == "it: gone\nit: half\nit: well again\n"


def test_a_command_has_a_bound() -> None:
    assert stack_metrics.call(["echo", "said"], 5) == "said\n"
    with pytest.raises(subprocess.TimeoutExpired):
        stack_metrics.call(["sleep", "5"], 0.1)
    with pytest.raises(subprocess.SubprocessError, match="sh failed: why"):
        stack_metrics.call(["sh", "-c", "echo why >&2; exit 3"], 5)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, ["certificates"]),
        ({"clusters": ["17-main"]}, ["certificates", "cluster 17-main"]),
        (
            {"vip": "10.0.0.100", "store": "/srv/media"},
            ["certificates", "virtual address", "store"],
        ),
        ({"brick": "/b", "release_link": "/r"}, ["certificates", "brick", "heal", "release"]),
        (
            {"backup": True},
            ["certificates", "backup of database", "backup of media", "backup of verification"],
        ),
    ],
)
def test_a_host_is_asked_for_what_it_has(tmp_path: Path, host: Host, changes: dict[str, Any], names: list[str]) -> None:
    nothing = {"clusters": [], "vip": "", "store": "", "brick": "", "backup": False, "certificates": []}
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"textfile": "/x/stack.prom", **nothing, "release_link": "", **changes}))
    assert [probe.name for probe in probes(Config.load(path), host, stack_metrics.call)] == names
