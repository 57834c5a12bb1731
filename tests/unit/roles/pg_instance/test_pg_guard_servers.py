# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard among real servers that are cloned, promoted, killed and frozen."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pg_guard
import pytest
from pg_guard import Config, Connection, Member, Role, Running, Verdict
from ports import free_port
from renfo_servers import Server, Servers, binaries, unprivileged, wait_for

GUARD = Path(pg_guard.__file__)


@pytest.fixture(scope="module")
def workplace() -> Iterator[Path]:
    """A directory that the servers' user may enter."""
    directory = Path(tempfile.mkdtemp(prefix="pg-guard-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    if owner := unprivileged():
        os.chown(directory, owner["user"], owner["group"])
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def template(workplace: Path) -> Path:
    server = Server("template", workplace / "template", free_port())
    server.init()
    server.start()
    server.sql("CREATE ROLE postgres LOGIN SUPERUSER")
    server.sql("CREATE ROLE replication LOGIN REPLICATION")
    server.sql("GRANT pg_monitor TO replication")
    server.stop("fast")
    return server.data


@pytest.fixture
def servers(workplace: Path, template: Path) -> Iterator[Servers]:
    servers = Servers(workplace, template)
    yield servers
    servers.end()


@dataclasses.dataclass
class Pair:
    """A primary and its standby, each with a guard."""

    pg1: Server
    pg2: Server
    folder: Path

    def config(self, server: Server, *peers: Server | Member, **changes: Any) -> Config:
        folder = self.folder / server.name
        folder.mkdir(exist_ok=True)
        known = [p if isinstance(p, Member) else Member(p.name, "127.0.0.1", p.port) for p in peers]
        config = Config(
            me=Member(server.name, "127.0.0.1", server.port),
            peers=tuple(known),
            version=17,
            cluster="main",
            data_directory=server.data,
            binaries=binaries(),
            user="replication",
            passfile="",
            sslmode="disable",
            sslrootcert="",
            wait=0.4,
            interval=0.1,
            state_directory=folder,
            run_directory=server.data,
        )
        return dataclasses.replace(config, **changes)


@pytest.fixture
def pair(servers: Servers, tmp_path: Path) -> Pair:
    pg1 = servers.primary("pg1")
    return Pair(pg1, servers.standby_of(pg1, "pg2"), tmp_path)


def write(config: Config) -> Path:
    """The configuration as a file."""
    data = {**dataclasses.asdict(config), **dataclasses.asdict(config.me)}
    del data["me"]
    data["unattended_start"] = "always" if config.unattended_start else "vouched"
    path = config.state_directory / "guard.json"
    path.write_text(json.dumps(data, default=str))
    return path


def crash(server: Server) -> None:
    """``kill -9`` of the whole server."""
    for pid in server.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: pg_guard.running_postmaster(server.data) is None)


@contextlib.contextmanager
def black_hole() -> Iterator[Member]:
    """A peer that takes connections and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield Member("pg3", "127.0.0.1", listening.getsockname()[1])


# ---- boot --------------------------------------------------------------------------------------------


def test_a_standby_vouches_for_its_primary_after_a_crash(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    crash(pair.pg1)
    config = pair.config(pair.pg1, pair.pg2)
    config.hold_file.write_text("held before\n")
    assert pg_guard.boot(config) is Verdict.START
    assert capsys.readouterr().out == "pg_guard: START: pg2 is its standby, on timeline 1, and vouches for it\n"
    assert not config.hold_file.exists()


def test_a_standby_that_lost_its_upstream_is_still_one(pair: Pair) -> None:
    """After a power cut of everything the standby comes up alone, and must know enough to vouch."""
    crash(pair.pg1)
    pair.pg2.stop("immediate")
    pair.pg2.start()
    assert pg_guard.boot(pair.config(pair.pg1, pair.pg2)) is Verdict.START
    # It is a standby itself, and asks nobody.
    pair.pg2.stop()
    assert pg_guard.boot(pair.config(pair.pg2, pair.pg1)) is Verdict.START


def test_a_fence_that_is_raised_while_it_asks_counts(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    crash(pair.pg1)
    config, ask_all = pair.config(pair.pg1, pair.pg2), pg_guard.ask_all

    def fenced_meanwhile(*arguments: Any) -> Any:
        seen = ask_all(*arguments)
        config.fence_file.write_text("pg2 is to be promoted\n")
        return seen

    monkeypatch.setattr(pg_guard, "ask_all", fenced_meanwhile)
    assert pg_guard.boot(config) is Verdict.FENCED


def test_a_replaced_primary_stays_down(pair: Pair) -> None:
    crash(pair.pg1)
    pair.pg2.promote()
    config = pair.config(pair.pg1, pair.pg2)
    config.permission_file.write_text("somebody who saw less\n")
    assert pg_guard.boot(config) is Verdict.FENCED
    assert "pg2 is a primary, on timeline 2, this instance on 1" in config.hold_file.read_text()
    assert not config.permission_file.exists()
    # The new one lost its standby, and nobody vouches for it.
    pair.pg2.stop()
    assert pg_guard.boot(pair.config(pair.pg2, pair.pg1)) is Verdict.HOLD


def test_the_standby_of_a_dead_successor_is_enough(servers: Servers, pair: Pair) -> None:
    """pg2 took over, pg3 follows it, pg2 is dead: pg3 knows of pg2's timeline only from its WAL."""
    crash(pair.pg1)
    pair.pg2.promote()
    pg3 = servers.standby_of(pair.pg2, "pg3")
    pair.pg2.sql("CREATE TABLE t ()")
    wait_for(lambda: pg3.sql("SELECT received_tli FROM pg_stat_wal_receiver") == [(2,)])
    crash(pair.pg2)
    old = pair.config(pair.pg1, pair.pg2, pg3)
    assert pg_guard.boot(old) is Verdict.FENCED
    assert "pg3, a standby of 127.0.0.1, is on timeline 2, this instance on 1" in old.hold_file.read_text()
    assert pg_guard.boot(pair.config(pair.pg2, pair.pg1, pg3)) is Verdict.START


def test_a_standby_tells_of_a_timeline_it_only_received(servers: Servers, pair: Pair) -> None:
    """A running standby follows a promotion at once; its control file learns of it minutes later."""
    pg3 = servers.standby_of(pair.pg2, "pg3")
    crash(pair.pg1)
    pair.pg2.promote()
    pair.pg2.sql("CREATE TABLE t ()")
    wait_for(lambda: pg3.sql("SELECT received_tli FROM pg_stat_wal_receiver") == [(2,)])
    crash(pair.pg2)
    pg3.stop()
    pg3.start()
    member = Member("pg3", "127.0.0.1", pg3.port)
    config = pair.config(pair.pg1, member)
    seen = pg_guard.look(member, Connection(pg_guard.peer_settings(config, member), 1), time.monotonic() + 2)
    assert (seen.role, seen.timeline, seen.mute) == (Role.STANDBY, 2, "")


def test_a_primary_that_died_right_after_its_promotion_knows_its_timeline(pair: Pair) -> None:
    pair.pg1.stop("fast")
    pair.pg2.promote()
    crash(pair.pg2)
    assert pg_guard.control_data(pair.config(pair.pg2))[1] == 2


def test_a_held_start_goes_on_when_a_standby_is_back(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    crash(pair.pg1)
    pair.pg2.stop()
    config = pair.config(pair.pg1, pair.pg2)
    began = time.monotonic()
    assert pg_guard.boot(config) is Verdict.HOLD
    assert 0.4 <= time.monotonic() - began < 1
    held = config.hold_file.read_text()
    assert "pg2 can't be asked (" in held
    assert "failover.yml" in held
    # One line, however often it asked.
    assert capsys.readouterr().out == f"pg_guard: HOLD: {held}"

    with subprocess.Popen(
        [sys.executable, GUARD, "boot", "--config", write(dataclasses.replace(config, wait=20))],
        stdout=subprocess.PIPE,
        text=True,
    ) as guard:
        time.sleep(0.5)
        assert guard.poll() is None
        pair.pg2.start()
        said, _nothing = guard.communicate(timeout=10)
    assert guard.returncode == 0
    lines = said.splitlines()
    assert lines[0] == f"pg_guard: HOLD: {held.strip()}"
    assert lines[-1] == "pg_guard: START: pg2 is its standby, on timeline 1, and vouches for it"
    assert len(lines) == len(set(lines))
    assert not config.hold_file.exists()


def test_a_permission_ends_a_hold(pair: Pair) -> None:
    pair.pg1.stop("fast")
    pair.pg2.stop()
    config = pair.config(pair.pg1, pair.pg2, wait=20)
    with subprocess.Popen([sys.executable, GUARD, "boot", "--config", write(config)]) as guard:
        wait_for(config.hold_file.exists)
        config.permission_file.write_text("the plan says start\n")
        assert guard.wait(10) == 0
    assert not config.permission_file.exists()
    assert not config.hold_file.exists()


@pytest.mark.parametrize("promoted", [False, True], ids=["vouched", "replaced"])
def test_a_peer_that_never_answers_costs_its_bound(pair: Pair, promoted: bool) -> None:
    crash(pair.pg1)
    if promoted:
        pair.pg2.promote()
    with black_hole() as pg3:
        began = time.monotonic()
        verdict = pg_guard.boot(pair.config(pair.pg1, pg3, pair.pg2))
    assert verdict is (Verdict.FENCED if promoted else Verdict.START)
    assert 0.9 < time.monotonic() - began < 2


def test_a_frozen_peer_is_a_silent_one(pair: Pair) -> None:
    crash(pair.pg1)
    thaw = pair.pg2.freeze()
    try:
        config = pair.config(pair.pg1, pair.pg2)
        assert pg_guard.boot(config) is Verdict.HOLD
        assert "pg2 can't be asked (no answer in time)" in config.hold_file.read_text()
    finally:
        thaw()
    assert pg_guard.boot(config) is Verdict.START


def test_a_standby_that_may_not_say_whom_it_follows_does_not_vouch(pair: Pair) -> None:
    pair.pg1.sql("CREATE ROLE curious LOGIN")
    wait_for(lambda: pair.pg2.sql("SELECT 1 FROM pg_roles WHERE rolname = 'curious'"))
    crash(pair.pg1)
    config = pair.config(pair.pg1, pair.pg2, user="curious")
    assert pg_guard.boot(config) is Verdict.HOLD
    assert "pg2 is a standby and can't say of whom (permission denied" in config.hold_file.read_text()
    assert pg_guard.boot(dataclasses.replace(config, unattended_start=True)) is Verdict.START


# ---- watch -------------------------------------------------------------------------------------------


class Guard:
    """The guard in watch mode, as a process of its own, and what it says."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._log = config.state_directory / "watch.log"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, GUARD, "watch", "--config", write(config)], stdout=log, stderr=log
            )
        wait_for(lambda: "watching" in self.said)

    @property
    def said(self) -> str:
        return self._log.read_text()

    def end(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        assert self.process.poll() is None, self.said
        self.process.terminate()
        self.process.wait()


Watched = Callable[[Config], Guard]


@pytest.fixture
def watched() -> Iterator[Watched]:
    started: list[Guard] = []

    def start(config: Config) -> Guard:
        started.append(Guard(config))
        return started[-1]

    yield start
    for guard in started:
        guard.end()


def is_down(server: Server) -> bool:
    return pg_guard.running_postmaster(server.data) is None


def asked(server: Server) -> bool:
    """Whether a guard has its connection to this server."""
    query = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'pg_guard' AND usename = 'replication'"
    return bool(server.sql(query))


def test_a_replaced_primary_is_stopped_and_stays_down(pair: Pair, watched: Watched) -> None:
    pair.pg1.stop("fast")
    config = pair.config(pair.pg1, pair.pg2)
    guard = watched(config)  # Before the server is there.
    pair.pg1.start()
    wait_for(lambda: asked(pair.pg2))
    pair.pg2.promote()
    wait_for(lambda: is_down(pair.pg1), 3)

    reason = config.fence_file.read_text()
    assert "pg2 (127.0.0.1) is the primary, on timeline 2; this instance was one still, on timeline 1" in reason
    assert "rejoin.yml" in reason
    wait_for(lambda: "FENCED" in guard.said)
    assert guard.said.count("\n") == 2
    assert not is_down(pair.pg2)
    # Even if the new one is gone by then.
    pair.pg2.stop()
    assert pg_guard.boot(config) is Verdict.FENCED
    assert config.hold_file.read_text() == reason.replace("rejoin.yml.", "rejoin.yml")


def test_a_dead_peer_does_not_delay_what_another_proves(pair: Pair, watched: Watched) -> None:
    with black_hole() as pg3:
        watched(pair.config(pair.pg1, pg3, pair.pg2, timeout=20))
        wait_for(lambda: asked(pair.pg2))
        pair.pg2.promote()
        wait_for(lambda: is_down(pair.pg1), 3)


def test_a_server_that_does_not_answer_is_ended_all_the_same(pair: Pair, watched: Watched) -> None:
    watched(pair.config(pair.pg1, pair.pg2, timeout=0.5))
    wait_for(lambda: asked(pair.pg2))
    thaw = pair.pg1.freeze()
    try:
        pair.pg2.promote()
        # Two seconds for the server to end itself, which a frozen one doesn't.
        wait_for(lambda: is_down(pair.pg1), 6)
    finally:
        thaw()


def test_a_frozen_server_is_judged_by_its_files(pair: Pair, watched: Watched) -> None:
    """The guard starts while the server is frozen already: it was never told that this is a primary."""
    thaw = pair.pg1.freeze()
    try:
        pair.pg2.promote()
        watched(pair.config(pair.pg1, pair.pg2, timeout=0.5))
        wait_for(lambda: is_down(pair.pg1), 6)
    finally:
        thaw()


def test_a_host_that_thaws_stops_before_anything_else(pair: Pair, watched: Watched) -> None:
    guard = watched(pair.config(pair.pg1, pair.pg2))
    wait_for(lambda: asked(pair.pg2))
    guard.process.send_signal(signal.SIGSTOP)
    thaw = pair.pg1.freeze()
    pair.pg2.promote()
    time.sleep(2.5)  # Longer than any bound of the guard.
    thaw()
    guard.process.send_signal(signal.SIGCONT)
    wait_for(lambda: is_down(pair.pg1), 1)


def test_the_new_primary_goes_on(pair: Pair, watched: Watched) -> None:
    pair.pg2.promote()
    guard = watched(pair.config(pair.pg2, pair.pg1))
    wait_for(lambda: "pg1 is a primary too, on timeline 1, this instance on 2: it should stop itself" in guard.said)
    time.sleep(0.5)
    assert not is_down(pair.pg2)
    assert guard.said.count("\n") == 2


def test_a_healthy_pair_is_left_alone(pair: Pair, watched: Watched) -> None:
    guards = [watched(pair.config(pair.pg1, pair.pg2)), watched(pair.config(pair.pg2, pair.pg1))]
    connections = "SELECT pid FROM pg_stat_activity WHERE application_name = 'pg_guard' ORDER BY pid"
    # Of its own guard, and of the primary's.
    wait_for(lambda: len(pair.pg2.sql(connections)) == 2)
    before = pair.pg2.sql(connections)
    time.sleep(1)
    # They are kept; and a standby asks nobody.
    assert pair.pg2.sql(connections) == before
    assert not asked(pair.pg1)
    pair.pg2.stop("fast")
    pair.pg2.start()
    wait_for(lambda: asked(pair.pg2))
    assert not is_down(pair.pg1)
    assert not is_down(pair.pg2)
    assert [guard.said.count("\n") for guard in guards] == [1, 1]


def test_a_switchover_is_no_reason_to_fence(pair: Pair, watched: Watched) -> None:
    """The candidate is promoted as soon as the old primary's last record is there."""
    config = pair.config(pair.pg1, pair.pg2)
    watched(config)
    wait_for(lambda: asked(pair.pg2))
    pair.pg1.stop("fast")
    pair.pg2.promote()
    (pair.pg1.data / "standby.signal").touch()
    conninfo = f"host=127.0.0.1 port={pair.pg2.port} user=app"
    with (pair.pg1.data / "postgresql.auto.conf").open("a") as settings:
        settings.write(f"primary_conninfo = '{conninfo}'\n")
    pair.pg1.start()
    wait_for(lambda: pair.pg2.sql("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"))
    time.sleep(0.5)
    assert not config.fence_file.exists()
    assert pair.pg1.sql("SELECT pg_is_in_recovery()") == [(True,)]


def test_a_primary_on_its_way_out_is_given_the_time(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    config = pair.config(pair.pg1, pair.pg2, grace=0.3)
    watch = pg_guard.Watch(config)
    found = pg_guard.running_postmaster(pair.pg1.data)
    assert found is not None
    assert found.status == "ready"
    monkeypatch.setattr(pg_guard, "running_postmaster", lambda _data: pg_guard.Postmaster(found.pid, "stopping"))
    own = pg_guard.observe(config, Connection(pg_guard.own_settings(config), 1), None)
    assert own is not None
    assert (own.role, own.timeline, own.answered) == (Role.PRIMARY, 1, True)
    proof = pg_guard.Seen(config.peers[0], Role.PRIMARY, 2, own.system_identifier)
    watch._judge(own, [proof])
    assert not config.fence_file.exists()
    time.sleep(0.3)
    watch._judge(own, [proof])
    assert config.fence_file.exists()
    monkeypatch.undo()
    assert is_down(pair.pg1)


@pytest.mark.parametrize("change", [{"pid": 1}, {"answered": False}], ids=["another server", "now a standby"])
def test_what_was_seen_of_an_earlier_server_stops_no_later_one(pair: Pair, change: dict[str, Any]) -> None:
    pair.pg1.promote() if pair.pg1.sql("SELECT pg_is_in_recovery()") == [(True,)] else None
    config = pair.config(pair.pg2, pair.pg1)
    postmaster = pg_guard.running_postmaster(pair.pg2.data)
    assert postmaster is not None
    system = pg_guard.control_data(config)[0]
    own = dataclasses.replace(Running(postmaster.pid, Role.PRIMARY, 1, system, answered=True), **change)
    pg_guard.Watch(config)._judge(own, [pg_guard.Seen(config.peers[0], Role.PRIMARY, 2, system)])
    assert not config.fence_file.exists()
    assert not is_down(pair.pg2)


def test_a_full_disk_saves_no_replaced_primary(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    config = pair.config(pair.pg1, pair.pg2, state_directory=Path("/nonexistent"))
    own = pg_guard.observe(config, Connection(pg_guard.own_settings(config), 1), None)
    assert own is not None
    pg_guard.Watch(config)._judge(own, [pg_guard.Seen(config.peers[0], Role.PRIMARY, 2, own.system_identifier)])
    assert is_down(pair.pg1)
    assert "couldn't be written" in capsys.readouterr().out


def test_what_a_server_answers_comes_from_a_kept_connection(pair: Pair) -> None:
    config = pair.config(pair.pg1, pair.pg2)
    connection = Connection(pg_guard.peer_settings(config, config.peers[0]), within=1)

    def ask(sql: str) -> Any:
        return connection.ask(sql, time.monotonic() + 2)[0]

    backend = ask("SELECT pg_backend_pid()")
    with pytest.raises(pg_guard.SilentError, match="division by zero"):
        ask("SELECT 1/0")
    assert ask("SELECT pg_backend_pid()") == backend
    # Ended by the server: asked again on a new one, at once.
    pair.pg2.sql("SELECT pg_terminate_backend(%s)", backend)
    assert ask("SELECT pg_backend_pid()") != backend
    with pytest.raises(pg_guard.SilentError, match="no answer in time"):
        connection.ask("SELECT pg_sleep(1.5)", time.monotonic() + 0.2)
    assert ask("SELECT 1") == 1
    pair.pg2.stop()
    with pytest.raises(pg_guard.SilentError, match="onnection refused"):
        ask("SELECT 1")
