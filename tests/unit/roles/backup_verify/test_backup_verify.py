# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a verification makes of what it sees, and what it tells of that."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import backup_verify
import pytest
from backup_verify import Config, Control, Done, Failure, Interrupted, Known, Pick, Row, Snapshot, Verification
from project import load, spec

ROLE = "backup_verify"
NOW = 1_800_000_000.0
CONFIG = Config(
    version=17,
    database="shop",
    media_query="SELECT id, path, sha256 FROM media;",
    newest_query="",
    fetch_command=["fetch"],
    check_command=["check", "all"],
    media_command=["media", "restic"],
    media_directory="",
    media_parts=7,
    media_sample=20,
    directory=Path("/nonexistent"),
    max_age=3600,
    result_max_age=7200,
    patience=1,
    pause=0,
)


# ---- Decisions ---------------------------------------------------------------------------------------

CONTROL = """pg_control version number:            1300
Data page checksum version:           {checksums}
Time of latest checkpoint:            Tue Jul  1 02:03:04 2025
"""


@pytest.mark.parametrize(("checksums", "there"), [(1, True), (0, False)])
def test_what_the_control_file_says(checksums: int, there: bool) -> None:
    assert backup_verify.parse_control(CONTROL.format(checksums=checksums)) == Control(1751335384.0, there)


@pytest.mark.parametrize("text", ["", "Time of latest checkpoint: yesterday\nData page checksum version: 1\n"])
def test_a_control_file_that_cannot_be_understood(text: str) -> None:
    with pytest.raises(Failure, match="can't be understood"):
        backup_verify.parse_control(text)


def test_the_server_reaches_nobody_and_nobody_it() -> None:
    settings = backup_verify.server_settings(CONFIG)
    silent = ("listen_addresses", "primary_conninfo", "synchronous_standby_names", "shared_preload_libraries")
    assert {settings[name] for name in silent} == {""}
    assert (settings["archive_mode"], settings["max_logical_replication_workers"]) == ("off", "0")
    assert settings["unix_socket_directories"] == "/nonexistent/socket"
    assert settings["event_triggers"] == "off"
    # The setting is of version 17, and an earlier server wouldn't start.
    assert "event_triggers" not in backup_verify.server_settings(dataclasses.replace(CONFIG, version=15))


def test_a_database_may_be_called_anything() -> None:
    assert backup_verify.conninfo(CONFIG, r"it's host=evil\ ") == (
        r"host='/nonexistent/socket' port='5432' user='postgres' dbname='it\'s host=evil\\ '"
    )


@pytest.mark.parametrize(
    ("free", "size", "fits"),
    [(backup_verify.MARGIN, 0, True), (backup_verify.MARGIN - 1, 0, False), (backup_verify.MARGIN + 9, 10, False)],
)
def test_room_for_what_was_restored_last_time(free: int, size: int, fits: bool) -> None:
    trouble = backup_verify.why_no_room(free, size)
    assert (trouble is None) is fits
    assert trouble is None or f"{free} bytes are free, expected {size + backup_verify.MARGIN}" in trouble


@pytest.mark.parametrize(
    ("age", "bound", "fine"), [(0, 3600, True), (3600, 3600, True), (3601, 3600, False), (1e9, 0, True)]
)
def test_the_newest_commit_may_be_so_old(age: float, bound: int, fine: bool) -> None:
    trouble = backup_verify.why_too_old("commit", NOW - age, NOW, bound)
    assert (trouble is None) is fine
    assert trouble is None or "expected one of the last 1.0 h" in trouble


@pytest.mark.parametrize(
    ("now", "words"),
    [
        pytest.param({"shop": {"public.users": 3, "public.orders": 1}}, [], id="all there"),
        pytest.param({"shop": {"public.users": 9, "public.orders": 1, "public.new": 0}}, [], id="more"),
        pytest.param(
            {"shop": {"public.users": 0, "public.orders": 1}}, ["shop", "public.users", "empty"], id="a table is empty"
        ),
        pytest.param({"shop": {"public.users": 3}}, ["shop", "public.orders"], id="a table is gone"),
        pytest.param({}, ["the database shop is gone"], id="the database is gone"),
        pytest.param({"shop": None}, [], id="it can't be read, which is another matter"),
    ],
)
def test_what_was_lost_since_last_time(now: Mapping[str, Any], words: list[str]) -> None:
    before = {"shop": {"public.users": 3, "public.orders": 1, "public.log": 0}}
    found = backup_verify.losses(before, now)
    assert len(found) == bool(words)
    for word in words:
        assert word in found[0]


def test_everything_is_read_in_as_many_days_as_there_are_parts() -> None:
    days = [backup_verify.part(NOW + day * 86400, 7) for day in range(14)]
    assert sorted(set(days)) == [f"{n}/7" for n in range(1, 8)]
    assert days[:7] == days[7:]
    assert backup_verify.part(NOW, 1) == "1/1"


def test_the_newest_snapshot_whatever_its_time_zone() -> None:
    out = [
        {"id": "old", "time": "2026-11-27T15:30:00.123456789+02:00"},
        {"id": "new", "time": "2026-11-27T14:08:23.767034103Z"},
    ]
    assert backup_verify.newest_snapshot(json.dumps(out)) == Snapshot("new", 1795788503.767034)
    for none in ("[]", "null"):
        assert backup_verify.newest_snapshot(none) is None


LISTED = b"""{"id":"abc","struct_type":"snapshot","paths":["/srv/media"]}
{"name":"a","type":"dir","path":"/a","struct_type":"node"}
{"name":"b","type":"file","path":"/a/b","size":3,"struct_type":"node"}
{"name":"empty","type":"file","path":"/empty","struct_type":"node"}
{"name":"l","type":"symlink","path":"/l","struct_type":"node"}
"""
FILES = {"/a/b": 3, "/empty": 0}


def test_the_files_of_a_snapshot() -> None:
    assert backup_verify.files_of(io.BytesIO(LISTED)) == FILES


@pytest.mark.parametrize(
    ("rows", "most", "picks"),
    [
        pytest.param(None, 20, [Pick("/a/b", 3), Pick("/empty", 0)], id="no rows"),
        pytest.param([], 20, [], id="an empty table"),
        pytest.param([Row("1", "a/b", "AB")], 20, [Pick("/a/b", 3, "ab")], id="a row"),
        pytest.param(
            [Row("1", "/a//./b", "\\xab")], 20, [Pick("/a/b", 3, "ab")], id="bytes, and a path in other words"
        ),
        pytest.param([Row("1", "a/b")], 20, [Pick("/a/b", 3)], id="a row without a sum"),
        pytest.param([Row("1", "gone"), Row("2", "a")], 20, [], id="no file, or a folder"),
        pytest.param([Row("1", "a/b")], 0, [], id="no sample"),
    ],
)
def test_what_is_read(rows: list[Row] | None, most: int, picks: list[Pick]) -> None:
    chosen = backup_verify.choose(rows, FILES, most, random.Random(1))
    assert sorted(chosen, key=lambda pick: pick.path) == picks


def test_a_sample_is_one() -> None:
    files = {f"/{n}": n for n in range(100)}
    one, other = (backup_verify.choose(None, files, 20, random.Random(seed)) for seed in (1, 2))
    assert len(set(one)) == len(set(other)) == 20
    assert set(one) != set(other)


@pytest.mark.parametrize(
    ("missing", "rows", "fine"), [(9, 9, True), (10, 20, True), (10, 19, False), (11, 20, False), (400, 1000, True)]
)
def test_rows_without_a_file_may_be_young(missing: int, rows: int, fine: bool) -> None:
    trouble = backup_verify.why_too_many([Row(str(n), f"{n}.jpg") for n in range(missing)], rows)
    assert (trouble is None) is fine
    assert trouble is None or ("0.jpg (row 0)" in trouble and f"and {missing - 5} more" in trouble)


@pytest.mark.parametrize(
    ("pick", "fine"),
    [
        (Pick("/a", 3, "ab"), True),
        (Pick("/a", 4, "ab"), True),
        (Pick("/a", 3, "cd"), False),
        (Pick("/a", 3), True),
        (Pick("/a", 4), False),
    ],
)
def test_a_file_is_what_it_should_be(pick: Pick, fine: bool) -> None:
    assert (backup_verify.why_wrong(pick, 3, "ab") is None) is fine


# ---- Commands ----------------------------------------------------------------------------------------


def test_a_command_is_heard() -> None:
    done = backup_verify.call(["sh", "-c", "cat; echo no >&2; date +%Z; exit 3"], "given\n")
    assert done == Done(3, "given\nUTC\n", "no\n")
    assert done.words == "no given UTC"
    assert backup_verify.call(["/nonexistent/x"]) == Done(
        127, "", "/nonexistent/x can't be run: No such file or directory"
    )


def test_much_output_goes_through_a_sieve() -> None:
    seen = hashlib.sha256()

    def take(pipe: IO[bytes]) -> str:
        while chunk := pipe.read(1 << 20):
            seen.update(chunk)
        return ""

    backup_verify.call(["head", "-c", "5000000", "/dev/zero"], take=take)
    assert seen.hexdigest() == hashlib.sha256(bytes(5000000)).hexdigest()


def test_what_a_command_started_ends_with_it(tmp_path: Path) -> None:
    def take(pipe: IO[bytes]) -> str:
        (tmp_path / "pid").write_bytes(pipe.readline())
        raise Interrupted("SIGTERM")

    with pytest.raises(Interrupted):
        backup_verify.call(["sh", "-c", "sleep 60 & echo $!; wait"], take=take)
    process = Path("/proc", (tmp_path / "pid").read_text().strip(), "cmdline")
    deadline = time.monotonic() + 5
    while process.exists() and process.read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_result_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    for ok in (True, False):
        backup_verify.write(path, {"ok": ok}, 0o644)
        assert json.loads(path.read_text()) == {"ok": ok}
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("text", [None, "", "[]", '{"bytes": 1}'])
def test_what_cannot_be_compared_with_is_not(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "tables.json").write_text(text)
    assert backup_verify.read_known(tmp_path / "tables.json") == Known()


def test_only_a_server_is_ended(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"], cwd=tmp_path) as process:
        assert backup_verify.servers_in(tmp_path) == []
        backup_verify.end_servers(tmp_path)
        assert process.poll() is None
        process.kill()


def test_what_is_removed_is_removed_whole() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with backup_verify.uninterrupted():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


# ---- Steps -------------------------------------------------------------------------------------------

Answer = Done | str | Callable[[], Done]


@dataclasses.dataclass
class Commands:
    """Answers by a pattern of the command line, the first that fits. Without one the command succeeds, silently."""

    answers: dict[str, Any] = dataclasses.field(default_factory=dict)
    calls: list[str] = dataclasses.field(default_factory=list)
    given: list[str] = dataclasses.field(default_factory=list)

    def __call__(self, argv: Sequence[str], given: str, take: Callable[[IO[bytes]], str]) -> Done:
        self.calls.append(" ".join(argv))
        self.given.append(given)
        answer = next((self.answers[key] for key in self.answers if re.search(key, self.calls[-1])), "")
        if isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, Done):
            return answer
        return Done(0, take(io.BytesIO(answer if isinstance(answer, bytes) else answer.encode())), "")


SNAPSHOTS = json.dumps([{"id": "abc", "time": "2026-11-27T14:08:23.7Z"}])
MEDIA = {"restic snapshots": SNAPSHOTS, "restic ls": LISTED, "dump abc /a/b": b"xyz", "dump abc /empty": b""}
XYZ = hashlib.sha256(b"xyz").hexdigest()


def verification(tmp_path: Path, answers: Mapping[str, Any], **changes: Any) -> tuple[Verification, Commands]:
    commands = Commands(dict(answers))
    config = dataclasses.replace(CONFIG, directory=tmp_path, **changes)
    return Verification(config, commands, lambda: NOW, random.Random(1)), commands


def test_media_by_their_rows(tmp_path: Path) -> None:
    run, commands = verification(tmp_path, MEDIA)
    run.rows = [Row("1", "a/b", XYZ), Row("2", "empty"), Row("3", "young.jpg", XYZ)]
    run.look_at_media()
    assert run.media == {"files": 2, "rows": 3, "sampled": 2, "missing": 1, "wrong": []}
    assert run.snapshot == Snapshot("abc", 1795788503.7)
    assert run.problems == []
    assert all(call.startswith("media restic ") and call.endswith(" --no-lock") for call in commands.calls)
    assert f"media restic check --read-data-subset={backup_verify.part(NOW, 7)} --no-lock" in commands.calls


def test_media_without_rows(tmp_path: Path) -> None:
    run, _commands = verification(tmp_path, MEDIA)
    run.look_at_media()
    assert run.media == {"files": 2, "rows": None, "sampled": 2, "missing": None, "wrong": []}


@pytest.mark.parametrize(
    ("answers", "rows", "wrong", "words"),
    [
        pytest.param({"dump abc /a/b": b"xy"}, None, ["/a/b"], "/a/b has 2 bytes, the snapshot says 3", id="size"),
        pytest.param({}, [Row("1", "a/b", "00")], ["/a/b"], f"has the SHA-256 {XYZ}, its row says 00", id="sum"),
        pytest.param(
            {"dump abc /a/b": Done(1, "", "no such blob")},
            [Row("1", "a/b", XYZ)],
            ["/a/b"],
            "/a/b can't be read: restic dump failed .*no such blob",
            id="unreadable",
        ),
    ],
)
def test_wrong_media(
    tmp_path: Path, answers: dict[str, Any], rows: list[Row] | None, wrong: list[str], words: str
) -> None:
    run, _commands = verification(tmp_path, {**MEDIA, **answers})
    run.rows = rows
    with pytest.raises(Failure, match=words):
        run.look_at_media()
    assert run.media is not None
    assert run.media["wrong"] == wrong


def test_a_failed_check_of_the_repository_hides_no_file(tmp_path: Path) -> None:
    run, _commands = verification(tmp_path, {**MEDIA, "restic check": Done(1, "", "pack 12 is damaged")})
    run.look_at_media()
    assert run.media is not None
    assert run.media["sampled"] == 2
    assert re.fullmatch(r"restic check failed \(1\), .*: pack 12 is damaged", run.problems[0])


def test_what_was_removed_meanwhile_is_asked_for_again(tmp_path: Path) -> None:
    """Nobody is locked out while the media are read, so old snapshots may be removed at that moment."""
    run, commands = verification(tmp_path, {**MEDIA, "restic check": [Done(1, "", "pack 12 is gone"), ""]})
    run.look_at_media()
    assert run.problems == []
    assert len([call for call in commands.calls if "restic check" in call]) == 2


def test_files_that_should_be_in_the_snapshot(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    for name in ("old.jpg", "new.jpg"):
        (store / name).write_text("x")
    taken = json.dumps([{"id": "abc", "time": "2026-11-27T14:08:23.7Z"}])
    run, _commands = verification(tmp_path, {**MEDIA, "restic snapshots": taken}, media_directory=str(store))
    run.rows = [Row("1", "old.jpg"), Row("2", "/new.jpg"), Row("3", "gone.jpg"), Row("4", "a/b", XYZ)]
    run.look_at_media()
    assert run.media is not None
    assert run.media["missing"] == 3
    # What is in the store is younger than that snapshot, whose time is a constant.
    assert run.problems == []
    assert run.warnings == [
        "1 files that the database names are neither in the newest snapshot nor in the store: gone.jpg (row 3)"
    ]


def test_which_files_should_be_in_it() -> None:
    missing = [Row("1", "old"), Row("2", "new"), Row("3", "gone")]
    should, gone = backup_verify.left_out(missing, {"old": 1.0, "new": 3.0, "gone": None}, began=2.0)
    assert ([row.id for row in should], [row.id for row in gone]) == (["1"], ["3"])


def test_what_is_broken_is_waited_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(backup_verify.time, "sleep", pauses.append)
    broken = {"restic check": Done(1, "", "damaged"), "restic dump": Done(1, "", "damaged")}
    run, _commands = verification(tmp_path, {**broken, **MEDIA}, pause=60)
    with pytest.raises(Failure, match="2 of 2 files"):
        run.look_at_media()
    assert pauses == [60]


@pytest.mark.parametrize(
    ("rows", "words"), [([Row("1", "a/b")], "there is no snapshot of the media, expected one"), ([], ""), (None, "")]
)
def test_without_a_snapshot(tmp_path: Path, rows: list[Row] | None, words: str) -> None:
    """Of a store that holds nothing none is taken."""
    run, _commands = verification(tmp_path, {"restic snapshots": "[]"})
    run.rows = rows
    with pytest.raises(Failure, match=words) if words else contextlib.nullcontext():
        run.look_at_media()
    assert run.media is None
    assert bool(run.warnings) is not bool(words)


def test_another_store_is_no_backup_of_this_one(tmp_path: Path) -> None:
    run, _commands = verification(tmp_path, MEDIA)
    run.rows = [Row(str(n), f"{n}.jpg", XYZ) for n in range(10)]
    run.look_at_media()
    assert run.media == {"files": 2, "rows": 10, "sampled": 0, "missing": 10, "wrong": []}
    assert "10 of the 10 files that the database names are not in the newest snapshot" in run.problems[0]


def test_the_query_for_media_may_end_as_it_likes(tmp_path: Path) -> None:
    run, commands = verification(tmp_path, {"psql": '["1", "a/b", "ab"]\n["2", "c\\nd", ""]\n'})
    assert run.media_rows() == [Row("1", "a/b", "ab"), Row("2", "c\nd")]
    assert "FROM (\nSELECT id, path, sha256 FROM media\n) AS media" in commands.given[0]
    assert "dbname='shop'" in commands.calls[0]
    # It may hold a secret, and everybody sees a command line.
    assert "sha256" not in commands.calls[0]


@pytest.mark.parametrize(("replayed", "newest"), [("1799999000.5\n", 1799999000.5), ("\n", 1799998000.0)])
def test_without_a_commit_in_the_archive_the_backup_is_the_newest(tmp_path: Path, replayed: str, newest: float) -> None:
    run, _commands = verification(tmp_path, {"psql": [replayed, '["shop", 9]\n', '["public.a", 3]\n["public.b", 0]\n']})
    run.look(Control(1799998000.0, True))
    assert (run.newest, run.problems) == (newest, [])
    assert run.databases == {"shop": {"bytes": 9, "tables": 2, "rows": 3}}
    assert run.tables == {"shop": {"public.a": 3, "public.b": 0}}


@pytest.mark.parametrize(("said", "row"), [(str(NOW - 7200), NOW - 7200), ("", None)])
def test_the_newest_row_may_be_old_although_the_newest_commit_is_not(
    tmp_path: Path, said: str, row: float | None
) -> None:
    """PostgreSQL commits some by itself."""
    run, commands = verification(tmp_path, {"psql": [str(NOW), said, ""]}, newest_query="SELECT max(at) FROM a;")
    run.look(Control(1.0, True))
    assert run.newest_row == row
    assert ["the newest row in the restored database is of" in problem for problem in run.problems] == [True] * bool(
        row
    )
    assert commands.given[1] == "SELECT extract(epoch FROM (\nSELECT max(at) FROM a\n))"


def test_without_checksums_that_is_said(tmp_path: Path) -> None:
    run, commands = verification(tmp_path, {})
    run.look_at_checksums(Control(NOW, False))
    assert (run.checksums, commands.calls) == (None, [])
    assert "no data checksums" in run.warnings[0]


def test_what_was_found_cannot_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The result is written all the same, and says so."""
    run, _commands = verification(tmp_path, {}, media_command=[])
    monkeypatch.setattr(Verification, "_of_database", lambda _self, _server, _known: None)
    run.config.tables.mkdir()
    result = run.whole()
    assert result["ok"] is False
    assert "the step remove couldn't be taken: IsADirectoryError" in result["problems"][-1]


def test_every_step_that_makes_sense_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = {
        **MEDIA,
        "^fetch": Done(82, "", "no prior backup exists"),
        "^check all": Done(1, "file x: bad checksum", ""),
    }
    run, _commands = verification(tmp_path, answers)
    result = run.whole()
    assert result["problems"] == [
        "the fetch of the newest backup failed (82): no prior backup exists",
        "the check of the backups' repository failed (1): file x: bad checksum",
    ]
    assert (result["ok"], result["backup"], result["newest"], result["checksums"]) == (False, None, None, None)
    assert (result["databases"], result["snapshot"], result["max_age"]) == ({}, "abc", 7200)
    assert set(result["seconds"]) == {"fetch", "repository", "media"}
    assert list(tmp_path.iterdir()) == []
    assert "fetch: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"^fetch": "\n\n"}, "fetch gave no label of a backup"),
        ({"^fetch": "20260101F\n", "pg_controldata": Done(1, "", "no file")}, "pg_controldata failed"),
        ({"^fetch": "20260101F\n", "pg_controldata": "?"}, "can't be understood"),
        ({"^fetch": ValueError("strange")}, "the step fetch couldn't be taken: ValueError: strange"),
    ],
)
def test_a_backup_that_did_not_come(tmp_path: Path, answers: dict[str, Any], words: str) -> None:
    run, commands = verification(tmp_path, answers, check_command=[], media_command=[])
    assert words in run.whole()["problems"][0]
    assert commands.calls[0] == f"fetch {tmp_path}/data"


def test_what_will_not_fit_is_not_fetched(tmp_path: Path) -> None:
    (tmp_path / "tables.json").write_text(json.dumps({"bytes": 1 << 60, "databases": {}}))
    run, commands = verification(tmp_path, {}, check_command=[], media_command=[])
    assert "Make room" in run.whole()["problems"][0]
    assert commands.calls == []


def test_an_interrupted_run_is_a_failed_one(tmp_path: Path) -> None:
    run, commands = verification(tmp_path, {"^fetch": Interrupted("SIGTERM")})
    assert run.whole()["problems"] == ["it was interrupted (SIGTERM). Start backup-verify.service again"]
    assert len(commands.calls) == 1
    assert list(tmp_path.iterdir()) == []


def test_only_one_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**dataclasses.asdict(CONFIG), "directory": str(tmp_path)}))
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert backup_verify.main(path) == 1
    assert "another backup-verify runs" in capsys.readouterr().err
    assert not (tmp_path / "result.json").exists()


def test_it_reads_what_the_role_writes(tmp_path: Path) -> None:
    written = load(Path(backup_verify.__file__).parents[1] / "vars/main.yml")["__backup_verify_settings"]
    options = spec(ROLE)
    assert written == {name: f"{{{{ {ROLE}_{name} }}}}" for name in written}
    values = {name: options[f"{ROLE}_{name}"].get("default", 17) for name in written}
    (tmp_path / "config.json").write_text(json.dumps(values))
    config = Config.load(tmp_path / "config.json")
    assert (config.binary("psql"), config.result) == (
        "/usr/lib/postgresql/17/bin/psql",
        Path("/var/lib/backup-verify/result.json"),
    )


def test_it_runs_on_a_host_without_anything_else() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-B", backup_verify.__file__], capture_output=True, text=True, check=False
    )
    assert "FileNotFoundError" in done.stderr
    assert str(backup_verify.CONFIG) in done.stderr
