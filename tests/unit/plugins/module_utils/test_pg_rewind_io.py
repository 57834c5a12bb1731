# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import (
    PgError,
    State,
    Upstream,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_io import observe
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_rewind_io import Rejoin
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_standby_io import (
    Outcome,
    Standby,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_standby_steps import (
    Lost,
    Replication,
    StandbyAction,
    Wanted,
)

if TYPE_CHECKING:
    from .conftest import Host

# In memory where that is possible.
FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
RESUMED = ["create_slot", "standby_signal", "configure", "enable", "start"]
REWOUND = [
    "fence",
    "save_fork",
    "create_slot",
    "checkpoint",
    "rewind",
    "configure",
    "enable",
    "start",
    "unfence",
    "clear",
]


class Killed(BaseException):
    """What a run that was killed leaves is what was done until then."""


def run_on(host: Host) -> Callable[[Sequence[str]], tuple[int, str, str]]:
    def run(argv: Sequence[str]) -> tuple[int, str, str]:
        if "systemctl" in argv and "stop" in argv:
            host.commands.append(list(argv))
            if not host.broken:
                host.stop()
            return 0, "", ""
        return host.run(argv)

    return run


def standby_of(host: Host, upstream: Host, action: str = "rejoin", timeout: int = 20, **permissions: bool) -> Standby:
    name = host.instance.cluster
    replication = Replication(
        Upstream("localhost", "127.0.0.1", upstream.instance.port, name), "replication", name, sslmode="disable"
    )
    wanted = Wanted(StandbyAction(action), replication, **permissions)
    kind = Rejoin if action == "rejoin" else Standby
    return kind(host.instance, wanted, "unit", run_on(host), timeout=timeout)


def make(standby: Standby) -> Outcome:
    """Plan and apply; the result is a standby that streams, and a second run does nothing."""
    with standby.exclusive():
        outcome = standby.make()
    assert (outcome.observed.state, outcome.observed.streaming) == (State.STANDBY, True)
    assert not outcome.observed.fenced
    assert standby.plan().steps == ()
    assert sorted(path.name for path in standby.instance.data_directory.parent.glob("data*")) == ["data"]
    return outcome


def let_ask(host: Host) -> None:
    """Let the replication role ask in the database postgres, as the roles of the collection do."""
    (host.instance.config_directory / "pg_hba.conf").write_text(
        "local all postgres trust\n"
        "host replication replication 127.0.0.1/32 trust\nhost postgres replication 127.0.0.1/32 trust\n"
    )


def crash(host: Host) -> None:
    host.kill()
    # A killed server whose parent doesn't care stays in the table of processes, and seems to hold its locks.
    for lock in (host.instance.data_directory / "postmaster.pid", *host.instance.socket_directory.glob(".s.*")):
        lock.unlink()


def lines(host: Host, table: str = "kept") -> list[str]:
    return host.sql(f"SELECT word FROM {table} ORDER BY word").split()


def caught_up(standby: Host, upstream: Host) -> None:
    position = upstream.sql("SELECT pg_current_wal_lsn()")
    deadline = time.monotonic() + 10
    while standby.sql(f"SELECT pg_last_wal_replay_lsn() >= '{position}'") != "t":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def follows(standby: Host, upstream: Host) -> None:
    upstream.sql("INSERT INTO kept VALUES ('followed')")
    caught_up(standby, upstream)
    assert "followed" in lines(standby)


def without_timeline_1(directory: Path) -> None:
    for path in (directory / "pg_wal").glob("0000000100*"):
        path.unlink()


def lost_place(host: Host) -> list[Path]:
    return sorted(host.instance.state_directory.glob("lost-*"))


def snapshot(host: Host) -> dict[str, Any]:
    """Names, sizes and times of everything the instance has on disk."""
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(host.instance.state_directory.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def stopped_pair() -> Iterator[Path]:
    """Where the data directories of a primary and its standby are kept to be copied: making them takes seconds."""
    directory = Path(tempfile.mkdtemp(prefix="pg-pair-", dir=FAST))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def place(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


@pytest.fixture
def pair(new_host: Callable[[str], Host], database: Path, stopped_pair: Path) -> tuple[Host, Host]:
    """pg1 is the primary, pg2 its standby; the role may do what the roles of the collection let it."""
    pg1, pg2 = new_host("pg1"), new_host("pg2")
    for host in (pg1, pg2):
        let_ask(host)
    if not (stopped_pair / "pg2").exists():
        place(database, pg1.instance.data_directory)
        pg1.start()
        pg1.sql("GRANT pg_monitor, pg_checkpoint TO replication")
        functions = "pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean), pg_read_binary_file(text)"
        pg1.sql(
            f"GRANT EXECUTE ON FUNCTION {functions}, pg_read_binary_file(text, bigint, bigint, boolean) TO replication"
        )
        make(standby_of(pg2, pg1, "clone"))
        for host in (pg1, pg2):
            host.stop()
            place(host.instance.data_directory, stopped_pair / host.instance.cluster)
            shutil.rmtree(host.instance.data_directory)
    for host in (pg1, pg2):
        place(stopped_pair / host.instance.cluster, host.instance.data_directory)
    pg1.start()
    standby = standby_of(pg2, pg1, "follow")
    pg2.instance.standby_conf.write_text(standby.wanted.settings)
    pg2.enabled = True
    make(standby)
    return pg1, pg2


@pytest.fixture
def forked(pair: tuple[Host, Host]) -> tuple[Host, Host]:
    """pg1 committed what pg2 never got, and crashed; pg2 was promoted and went on."""
    pg1, pg2 = pair
    pg2.stop()
    pg1.sql("INSERT INTO kept VALUES ('lost')")
    crash(pg1)
    pg2.start()
    pg2.sql("SELECT pg_promote()")
    pg2.sql("INSERT INTO kept VALUES ('won')")
    return pg1, pg2


class TestWithoutRewind:
    def test_a_clean_handover_needs_none(self, pair: tuple[Host, Host]) -> None:
        pg1, pg2 = pair
        pg1.stop()
        pg2.sql("SELECT pg_promote()")
        pg1.instance.fence_file.write_text("a reason\n")
        pg1.instance.held_file.write_text("another\n")
        rejoin = standby_of(pg1, pg2)
        before = snapshot(pg1)
        rehearsed = rejoin.plan(may_guess=True)
        assert snapshot(pg1) == before

        outcome = make(rejoin)

        assert outcome.actions == rehearsed.actions == [*RESUMED, "unfence"]
        assert (outcome.lost, list(outcome.warnings)) == (Lost(0, None), [])
        assert "is a part of the primary's history" in (outcome.plan.reason or "")
        assert not any("pg_rewind" in str(command) or "pg_basebackup" in str(command) for command in pg1.commands)
        assert lost_place(pg1) == []
        follows(pg1, pg2)

    def test_a_crash_after_which_nothing_is_missing(self, pair: tuple[Host, Host]) -> None:
        pg1, pg2 = pair
        pg1.sql("INSERT INTO kept VALUES ('shared')")
        caught_up(pg2, pg1)
        crash(pg1)
        pg2.sql("SELECT pg_promote()")

        assert make(standby_of(pg1, pg2)).actions == RESUMED
        assert lines(pg1) == ["before", "shared"]
        follows(pg1, pg2)

    def test_a_standby_goes_on(self, pair: tuple[Host, Host]) -> None:
        pg1, pg2 = pair
        assert make(standby_of(pg2, pg1)).actions == []
        pg2.stop()
        assert make(standby_of(pg2, pg1)).actions == ["start"]

    def test_an_empty_host_is_a_clone(self, pair: tuple[Host, Host], new_host: Callable[[str], Host]) -> None:
        pg3 = new_host("pg3")

        outcome = make(standby_of(pg3, pair[0]))

        assert outcome.actions == ["create_slot", "copy", "configure", "enable", "start"]
        assert list(outcome.warnings) == []


class TestRewind:
    def test_what_only_it_had_is_saved_and_rewound(self, pair: tuple[Host, Host]) -> None:
        pg1, pg2 = pair
        pg1.sql('CREATE SCHEMA "it\'s"')
        pg1.sql('CREATE TABLE "it\'s"."od/d" (a int, b text)')
        pg1.sql("CREATE DATABASE other")
        caught_up(pg2, pg1)
        pg2.stop()
        pg1.sql("INSERT INTO kept VALUES ('lost')")
        pg1.sql("BEGIN; INSERT INTO kept VALUES ('top'); SAVEPOINT s; INSERT INTO kept VALUES ('sub'); COMMIT")
        pg1.sql("UPDATE kept SET word = 'changed' WHERE word = 'before'")
        pg1.sql("DELETE FROM kept WHERE word = 'top'")
        pg1.sql("BEGIN; INSERT INTO kept VALUES ('never'); ROLLBACK")
        pg1.sql('INSERT INTO "it\'s"."od/d" SELECT n, repeat(\'x\', n) FROM generate_series(1, 1000) n')
        where = f"host={pg1.instance.socket_directory} port={pg1.instance.port} user=postgres dbname=other"
        pg1.pg("psql", "-XAtqw", "-d", where, "-c", "CREATE TABLE new (c int)", "-c", "INSERT INTO new VALUES (7)")
        pg1.sql("ANALYZE kept")
        crash(pg1)
        pg2.start()
        pg2.sql("SELECT pg_promote()")
        pg2.sql("INSERT INTO kept VALUES ('won')")
        rejoin = standby_of(pg1, pg2)
        before = snapshot(pg1)
        rehearsed = rejoin.plan(may_guess=True)
        assert snapshot(pg1) == before

        outcome = make(rejoin)

        assert outcome.actions == rehearsed.actions == REWOUND
        assert (rehearsed.lost, list(outcome.warnings)) == (Lost(7, None), [])
        assert lines(pg1) == ["before", "won"]
        follows(pg1, pg2)
        (place,) = lost_place(pg1)
        assert outcome.lost == Lost(7, str(place))
        assert (place.owner(), place.stat().st_mode & 0o777) == ("postgres", 0o700)
        assert sorted(path.name for path in place.iterdir()) == [
            "README.txt", "records.txt", "rows", "transactions.txt", "wal",
        ]  # fmt: skip
        files = {path.name: list(csv.DictReader(path.open())) for path in (place / "rows").iterdir()}
        odd = next(name for name in files if name.startswith("postgres.it_s.od_d."))
        assert sorted(files) == sorted([odd, "other.public.new.csv", "postgres.public.kept.csv"])
        assert sorted(row["word"] for row in files["postgres.public.kept.csv"]) == ["changed", "lost", "sub"]
        assert len(files[odd]) == 1000
        assert files[odd][999]["b"] == "x" * 1000
        assert [row["c"] for row in files["other.public.new.csv"]] == ["7"]
        told = (place / "transactions.txt").read_text().splitlines()
        assert len(told) == 7
        assert told[0].split()[0] == next(
            row["xmin"] for row in files["postgres.public.kept.csv"] if row["word"] == "lost"
        )
        assert "postgres.public.kept: 1 inserted" in told[0]
        assert "(with " in told[1]
        assert "postgres.public.kept: 2 inserted" in told[1]
        assert "postgres.it's.od/d: 1000 inserted" in "".join(told)
        assert (
            "pg1 held 7 committed transactions that the primary localhost doesn't have"
            in (place / "README.txt").read_text()
        )
        assert len((place / "README.txt").read_text().splitlines()) == 5
        assert all(path.name.startswith("00000001") for path in (place / "wal").iterdir())
        assert "INSERT" in (place / "records.txt").read_text()

    def test_a_fork_without_a_commit_is_not_worth_a_file(self, forked: tuple[Host, Host]) -> None:
        pg1, pg2 = forked
        make(standby_of(pg1, pg2))
        shutil.rmtree(lost_place(pg1)[0])
        follows(pg1, pg2)
        # Now the same the other way round; this time pg2 stops before pg1 has its shutdown checkpoint.
        pg1.stop()
        pg2.sql("SELECT pg_switch_wal()")
        pg2.stop()
        pg1.start()
        pg1.sql("SELECT pg_promote()")

        outcome = make(standby_of(pg2, pg1))

        assert outcome.actions == [action for action in REWOUND if action not in ("configure", "enable")]
        assert outcome.lost == Lost(0, None)
        assert lost_place(pg2) == []
        follows(pg2, pg1)

    def test_wal_that_is_missing_here_comes_from_the_primary(self, pair: tuple[Host, Host]) -> None:
        pg1, pg2 = pair
        pg1.sql("CHECKPOINT")
        common = pg1.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")
        pg1.sql("SELECT pg_switch_wal()")
        pg1.sql("INSERT INTO kept VALUES ('shared')")
        caught_up(pg2, pg1)
        pg2.stop()
        pg1.sql("INSERT INTO kept VALUES ('lost')")
        pg1.sql("CHECKPOINT")
        crash(pg1)
        with open(pg2.instance.config_directory / "postgresql.conf", "a", encoding="utf-8") as settings:
            settings.write("wal_keep_size = '1GB'\n")
        pg2.start()
        pg2.sql("SELECT pg_promote()")
        # The second checkpoint may have removed it already.
        (pg1.instance.data_directory / "pg_wal" / common).unlink(missing_ok=True)

        outcome = make(standby_of(pg1, pg2))

        assert outcome.actions == REWOUND
        assert outcome.lost.transactions == 1
        assert lines(pg1) == ["before", "shared"]
        follows(pg1, pg2)

    def test_wal_that_the_primary_no_longer_has_is_kept(self, pair: tuple[Host, Host]) -> None:
        pg1, pg2 = pair
        pg1.sql("ALTER SYSTEM SET wal_keep_size = '1GB'")
        pg1.sql("SELECT pg_reload_conf()")
        pg1.sql("CHECKPOINT")
        pg1.sql("SELECT pg_switch_wal()")
        pg1.sql("INSERT INTO kept VALUES ('shared')")
        caught_up(pg2, pg1)
        pg2.stop()
        pg1.sql("INSERT INTO kept VALUES ('lost')")
        crash(pg1)
        pg2.start()
        pg2.sql("SELECT pg_promote()")
        pg2.sql("CHECKPOINT")
        rejoin = standby_of(pg1, pg2)

        def run(argv: Sequence[str]) -> tuple[int, str, str]:
            result = rejoin.run(argv)
            if "--no-ensure-shutdown" in argv:
                # What older releases of pg_rewind do: what the primary doesn't have goes.
                without_timeline_1(pg1.instance.staging / "rewinding")
            return result

        assert make(replace(rejoin, run=run)).actions == REWOUND
        follows(pg1, pg2)

    @pytest.mark.parametrize("crashed", [True, False])
    def test_a_standby_that_got_more_than_the_one_that_was_promoted(
        self, pair: tuple[Host, Host], new_host: Callable[[str], Host], crashed: bool
    ) -> None:
        pg1, pg2 = pair
        pg3 = new_host("pg3")
        let_ask(pg3)
        make(standby_of(pg3, pg1, "clone"))
        pg2.stop()
        pg1.sql("INSERT INTO kept VALUES ('lost')")
        caught_up(pg3, pg1)
        crash(pg1)
        pg2.start()
        pg2.sql("SELECT pg_promote()")
        if crashed:
            crash(pg3)
        rejoin = standby_of(pg3, pg2)
        rehearsed = rejoin.plan(may_guess=True)

        outcome = make(rejoin)

        stop = [] if crashed else ["stop"]
        expected = ["fence", *stop, *(action for action in REWOUND[1:] if action != "enable")]
        assert outcome.actions == rehearsed.actions == expected
        assert (rehearsed.lost.transactions, outcome.lost.transactions) == (1, 1)
        assert "lost" in (lost_place(pg3)[0] / "rows" / "postgres.public.kept.csv").read_text()
        assert lines(pg3) == ["before"]
        follows(pg3, pg2)

    def test_an_obsolete_primary_that_runs(self, forked: tuple[Host, Host]) -> None:
        pg1, pg2 = forked
        pg1.start()
        pg1.sql("INSERT INTO kept VALUES ('alone')")
        with pytest.raises(PgError, match=r"running primary on timeline 1.*it is obsolete.*stop_primary: true"):
            standby_of(pg1, pg2).plan()

        outcome = make(standby_of(pg1, pg2, stop_primary=True))

        assert outcome.actions == ["fence", "stop", *REWOUND[1:]]
        assert outcome.lost.transactions == 2
        follows(pg1, pg2)

    def test_a_server_that_does_not_stop(self, forked: tuple[Host, Host]) -> None:
        pg1, pg2 = forked
        pg1.start()
        pg1.broken = True

        with pytest.raises(PgError, match=r"still runs on .*Nothing else was changed"):
            make(standby_of(pg1, pg2, stop_primary=True))
        assert "lost" in lines(pg1)


class Mortal:
    """Dies at the n-th thing that changes something outside; ``before`` it, else right after."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left, self.before = 1 << 30, False
        for module, name in ((os, "rename"), (os, "replace"), (os, "link"), (shutil, "rmtree"), (Path, "unlink")):
            monkeypatch.setattr(module, name, self.guard(getattr(module, name)))

    def guard(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            self.left -= 1
            if self.left == 0 and self.before:
                raise Killed
            result = call(*args, **kwargs)
            if self.left == 0:
                raise Killed
            return result

        return guarded


class TestInterrupted:
    @pytest.mark.parametrize("before", [True, False])
    def test_killed_at_every_step_in_turn_it_finishes(
        self, forked: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch, before: bool
    ) -> None:
        pg1, pg2 = forked
        mortal = Mortal(monkeypatch)
        rejoin = standby_of(pg1, pg2)
        rejoin = replace(rejoin, run=mortal.guard(rejoin.run))
        lost: set[Lost] = set()
        for life in range(1, 200):
            mortal.left, mortal.before = life, before
            try:
                with rejoin.exclusive():
                    outcome = rejoin.make()
            except Killed:
                # Nothing that could be started holds what it lost as if it were right.
                assert pg1.instance.fence_file.exists() or life < 20 or observe(pg1.instance, pg1.run).is_standby
                continue
            lost.add(outcome.lost)
            break
        mortal.left = 1 << 30

        assert outcome.observed.streaming
        assert make(standby_of(pg1, pg2)).actions == []
        assert lines(pg1) == ["before", "won"]
        assert all("lost" in (place / "rows/postgres.public.kept.csv").read_text() for place in lost_place(pg1))
        assert lost_place(pg1)
        assert life > 20
        follows(pg1, pg2)

    def test_killed_while_pg_rewind_worked(self, forked: tuple[Host, Host]) -> None:
        """Everything was replaced and removed, WAL too, but the control file, which is the last."""
        pg1, pg2 = forked
        rejoin = standby_of(pg1, pg2)

        def run(argv: Sequence[str]) -> tuple[int, str, str]:
            if "--no-ensure-shutdown" not in argv:
                return rejoin.run(argv)
            (target,) = (Path(part.split("=")[1]) for part in argv if part.startswith("--target-pgdata"))
            control = (target / "global/pg_control").read_bytes()
            rc, out, err = rejoin.run(argv)
            assert rc == 0, (out, err)
            (target / "global/pg_control").write_bytes(control)
            (target / "backup_label").unlink()
            without_timeline_1(target)
            raise Killed

        with pytest.raises(Killed):
            replace(rejoin, run=run).make()
        half = observe(pg1.instance, pg1.run)
        assert (half.state, half.clone_in_progress, half.fenced) == (State.ABSENT, True, True)
        pg2.sql("INSERT INTO kept VALUES ('later')")
        rehearsed = rejoin.plan(may_guess=True)

        outcome = make(rejoin)

        assert outcome.actions == rehearsed.actions == ["checkpoint", *REWOUND[4:]]
        assert outcome.lost == rehearsed.lost
        assert outcome.lost.transactions == 1
        assert not any("pg_basebackup" in str(command) for command in pg1.commands)
        assert lines(pg1) == ["before", "later", "won"]
        assert pg1.sql("SELECT count(*) FROM kept") == "3"
        follows(pg1, pg2)

    def test_a_half_rewound_directory_may_be_cloned_over(self, forked: tuple[Host, Host]) -> None:
        pg1, pg2 = forked
        rejoin = standby_of(pg1, pg2)

        def run(argv: Sequence[str]) -> tuple[int, str, str]:
            if "--no-ensure-shutdown" in argv:
                raise Killed
            return rejoin.run(argv)

        with pytest.raises(Killed):
            replace(rejoin, run=run).make()

        outcome = make(standby_of(pg1, pg2, "clone"))

        assert outcome.actions == ["discard_left_over", "copy", "configure", "enable", "start", "unfence", "clear"]
        assert len(lost_place(pg1)) == 1
        follows(pg1, pg2)


class TestFreshCopy:
    def test_pg_rewind_fails(self, forked: tuple[Host, Host]) -> None:
        pg1, pg2 = forked
        rejoin = standby_of(pg1, pg2)

        def run(argv: Sequence[str]) -> tuple[int, str, str]:
            if "--no-ensure-shutdown" in argv:
                return 1, "", 'pg_rewind: servers diverged at ...\npg_rewind: error: could not open file "x"\n'
            return rejoin.run(argv)

        outcome = make(replace(rejoin, run=run))

        assert outcome.actions == [
            *["fence", "save_fork", "create_slot", "checkpoint", "rewind"],
            *["discard_left_over", "copy", "configure", "enable", "start", "unfence", "clear"],
        ]
        (warning,) = outcome.warnings
        assert "a fresh copy takes the place of" in warning
        assert 'pg_rewind couldn\'t do it: could not open file "x"' in warning
        assert outcome.lost.transactions == 1
        follows(pg1, pg2)

    @pytest.mark.parametrize(
        ("rc", "said"), [(1, "pg_rewind: error: could not connect to server"), (137, "runuser: Killed"), (75, "")]
    )
    def test_an_interruption_is_no_failure(self, forked: tuple[Host, Host], rc: int, said: str) -> None:
        pg1, pg2 = forked
        rejoin = standby_of(pg1, pg2)

        def run(argv: Sequence[str]) -> tuple[int, str, str]:
            if "--no-ensure-shutdown" in argv:
                return rc, "", f"{said}\n"
            return rejoin.run(argv)

        with pytest.raises(PgError, match=rf"pg_rewind was interrupted: {said}. Run again|an earlier run still works"):
            replace(rejoin, run=run).make()
        assert make(rejoin).actions[-5:] == ["configure", "enable", "start", "unfence", "clear"]
        follows(pg1, pg2)

    def test_neither_checksums_nor_hints(self, forked: tuple[Host, Host]) -> None:
        pg1, pg2 = forked
        # Single-user mode ends the recovery, which pg_checksums wants to be done.
        data = str(pg1.instance.data_directory)
        pg1.start()
        pg1.stop()
        pg1.pg("pg_checksums", "--disable", "-D", data)

        outcome = make(standby_of(pg1, pg2))

        assert outcome.actions == [
            *["fence", "save_fork", "create_slot", "copy", "configure", "enable", "start", "unfence", "clear"],
        ]
        assert "pg_rewind needs data checksums or wal_log_hints, and both are off" in outcome.warnings[0]
        assert "lost" in (lost_place(pg1)[0] / "rows/postgres.public.kept.csv").read_text()
        follows(pg1, pg2)

    @pytest.mark.parametrize("stopped", [True, False])
    def test_a_standby_whose_wal_is_gone(self, pair: tuple[Host, Host], stopped: bool) -> None:
        pg1, pg2 = pair
        pg2.stop()
        pg1.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '16MB'")
        pg1.sql("SELECT pg_reload_conf()")
        for _segment in range(4):
            pg1.sql("INSERT INTO kept VALUES ('missed')")
            pg1.sql("SELECT pg_switch_wal()")
        pg1.sql("CHECKPOINT")
        assert pg1.sql("SELECT wal_status FROM pg_replication_slots") == "lost"
        if not stopped:
            pg2.start()
        rejoin = standby_of(pg2, pg1)
        rehearsed = rejoin.plan(may_guess=True)

        outcome = make(rejoin)

        stop = [] if stopped else ["stop"]
        assert outcome.actions == rehearsed.actions == [*stop, "drop_slot", "create_slot", "copy", "start", "clear"]
        assert "no longer has what comes next" in outcome.warnings[0]
        assert outcome.lost == Lost(0, None)
        follows(pg2, pg1)

    def test_a_lost_slot_is_made_again_by_follow_too(self, pair: tuple[Host, Host]) -> None:
        pg1, pg2 = pair
        pg2.stop()
        pg1.sql("SELECT pg_drop_replication_slot('pg2')")
        pg1.sql("SELECT pg_create_physical_replication_slot('pg2')")
        assert make(standby_of(pg2, pg1, "follow")).actions == ["drop_slot", "create_slot", "start"]

    def test_too_little_room_for_two(self, forked: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch) -> None:
        pg1, pg2 = forked
        pg1.start()
        pg1.stop()
        pg1.pg("pg_checksums", "--disable", "-D", str(pg1.instance.data_directory))
        usage = shutil.disk_usage("/")
        monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=10 << 20))
        before = snapshot(pg1)

        with pytest.raises(
            PgError, match=r"needs about \d+ MB, 10 MB are free. Nothing was changed.*rejoin_discard=pg1"
        ):
            make(standby_of(pg1, pg2))
        assert snapshot(pg1) == before
        outcome = make(standby_of(pg1, pg2, discard=True))

        assert outcome.actions[1:5] == ["save_fork", "create_slot", "discard_data", "copy"]
        assert outcome.lost.transactions == 1
        follows(pg1, pg2)


class TestRefusals:
    def refused(self, host: Host, upstream: Host, message: str, **permissions: bool) -> None:
        before = snapshot(host)
        slots = upstream.sql("SELECT count(*) FROM pg_replication_slots")
        with pytest.raises(PgError, match=message):
            make(standby_of(host, upstream, **permissions))
        if observe(host.instance, host.run).state is State.STOPPED:
            assert snapshot(host) == before
        assert upstream.sql("SELECT count(*) FROM pg_replication_slots") == slots

    def test_an_upstream_that_is_a_standby(self, pair: tuple[Host, Host]) -> None:
        pg1, pg2 = pair
        pg1.stop()
        self.refused(pg1, pg2, "is a standby itself, expected the primary")

    def test_a_primary_that_nothing_made_obsolete(self, pair: tuple[Host, Host]) -> None:
        pg1, _pg2 = pair
        self.refused(pg1, pg1, "expected a later timeline that came out of this one", stop_primary=True)

    def test_another_cluster(self, pair: tuple[Host, Host], new_host: Callable[[str], Host]) -> None:
        pg3 = new_host("pg3")
        pg3.initdb()
        self.refused(pg3, pair[0], "belongs to another cluster", discard=True)

    def test_an_upstream_that_can_not_be_asked(self, forked: tuple[Host, Host]) -> None:
        pg1, pg2 = forked
        pg2.sql("REVOKE EXECUTE ON FUNCTION pg_read_binary_file(text, bigint, bigint, boolean) FROM replication")
        self.refused(pg1, pg2, "can't be asked as replication: .*permission denied for function pg_read_binary_file")

    def test_an_upstream_on_an_earlier_timeline(self, forked: tuple[Host, Host]) -> None:
        pg1, pg2 = forked
        pg1.start()
        pg2.stop()
        self.refused(pg2, pg1, "is only on timeline 1: it may be an old primary itself")

    def test_a_fork_of_which_a_part_is_missing(self, forked: tuple[Host, Host]) -> None:
        pg1, pg2 = forked
        pg1.start()
        for _segment in range(2):
            pg1.sql("INSERT INTO kept VALUES ('lost')")
            pg1.sql("SELECT pg_switch_wal()")
        pg1.sql("CHECKPOINT")
        crash(pg1)
        there = sorted(path for path in (pg1.instance.data_directory / "pg_wal").glob("0000000100*"))
        fork = pg2.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")[8:]
        for path in there:
            if path.name[8:] <= fork:
                path.unlink()
        self.refused(pg1, pg2, r"not all of its WAL from 0/\w+ on is there.*set discard: true")

        outcome = make(standby_of(pg1, pg2, discard=True))

        assert outcome.actions[:4] == ["fence", "save_fork", "create_slot", "copy"]
        assert outcome.lost == Lost(None, None)
        assert any("nothing was saved" in warning for warning in outcome.warnings)
        assert any("is given up, as discard permits" in warning for warning in outcome.warnings)
        follows(pg1, pg2)

    def test_two_histories_of_one_timeline(self, pair: tuple[Host, Host], new_host: Callable[[str], Host]) -> None:
        pg1, pg2 = pair
        pg3 = new_host("pg3")
        let_ask(pg3)
        make(standby_of(pg3, pg1, "clone"))
        pg1.stop()
        # Both got the shutdown checkpoint, so both leave timeline 1 at the same position.
        for host in (pg2, pg3):
            host.sql("SELECT pg_promote()")
            host.sql("INSERT INTO kept VALUES ('own')")
        pg3.stop()
        pg2.sql("SELECT pg_switch_wal()")
        self.refused(pg3, pg2, "is not that of localhost:[0-9]+, although the timeline is the same")

        outcome = make(standby_of(pg3, pg2, discard=True))

        assert "copy" in outcome.actions
        follows(pg3, pg2)

    def test_an_upstream_that_was_restored_from_an_older_copy(
        self, pair: tuple[Host, Host], new_host: Callable[[str], Host]
    ) -> None:
        pg1, pg2 = pair
        pg1.stop()
        old = new_host("old")
        let_ask(old)
        shutil.copytree(pg1.instance.data_directory, old.instance.data_directory)
        for path in [old.instance.data_directory, *old.instance.data_directory.rglob("*")]:
            shutil.chown(path, "postgres", "postgres")
        pg1.start()
        pg1.sql("INSERT INTO kept VALUES ('lost'), ('more')")
        pg1.sql("SELECT pg_switch_wal()")
        pg1.sql("INSERT INTO kept VALUES ('lost')")
        pg1.stop()
        old.start()
        # On a slow machine it has written something of its own by then, which is not what pg1 has there.
        self.refused(
            pg1,
            old,
            "holds the same timeline only up to .* restored from an older copy|although the timeline is the same",
        )
        assert pg2.sql("SELECT 1") == "1"

    def test_a_full_disk(self, forked: tuple[Host, Host]) -> None:
        pg1, pg2 = forked
        rejoin = standby_of(pg1, pg2)

        def run(argv: Sequence[str]) -> tuple[int, str, str]:
            if "cp" in argv:
                return 1, "", "cp: error writing 'x': No space left on device"
            return rejoin.run(argv)

        with pytest.raises(PgError, match=r"the disk of .* is full.*Nothing was discarded"):
            replace(rejoin, run=run).make()
        assert lost_place(pg1) == []
        assert "lost" in (make(rejoin).lost.directory or "")
        follows(pg1, pg2)

    def test_rows_that_can_not_be_read(self, forked: tuple[Host, Host]) -> None:
        pg1, pg2 = forked
        rejoin = standby_of(pg1, pg2)

        def run(argv: Sequence[str]) -> tuple[int, str, str]:
            if "--single" in argv and argv[-1] == "postgres":
                return 1, "", "FATAL:  no luck\n"
            return rejoin.run(argv)

        outcome = make(replace(rejoin, run=run))

        assert outcome.actions == REWOUND
        assert outcome.warnings == ["some of the lost rows of database postgres couldn't be read: no luck"]
        (place,) = lost_place(pg1)
        assert "file 1663/" in (place / "transactions.txt").read_text()
        assert list((place / "rows").iterdir()) == []
