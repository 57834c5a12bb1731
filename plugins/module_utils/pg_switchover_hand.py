# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The old primary's part of a switchover; the protocol is in pg_switchover_steps."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import (
    Lsn,
    PgError,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_fence_io import (
    processes_on,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_io import (
    Instance,
    one_line,
    read_text,
    running_postmaster,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_promote_io import (
    ANSWER,
    LOCAL,
    WRITE_SQL,
    WRITTEN_TIMELINE,
    Access,
    ask_peer,
    fence_of,
    look,
    postmaster_of,
    write,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_promote_steps import (
    Peer,
    Standing,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_session import (
    Session,
    SessionError,
    local_session,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_standby_io import (
    Standby,
    write_atomically,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_standby_steps import (
    Step,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_switchover_steps import (
    ANNOUNCED,
    ARMED,
    LOCK_SPACE,
    PATIENCE,
    Follower,
    Successor,
    Verdict,
    holders_sql,
    refuse_hand_over,
    verdict,
)

POLL = 0.01  # seconds between two looks at what is awaited
QUICK = 0.5  # a checkpoint that began so many seconds ago leaves little for the shutdown's own
LINGERS = 1.0  # seconds after which a shutdown is slow: it may wait for a standby that is frozen
BACK = 60.0  # seconds within which the old primary must accept writes again

FOLLOWER_SQL = """
SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), flush_lsn)::bigint, pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint
  FROM pg_stat_replication WHERE state = 'streaming' AND application_name = '{name}'
"""  # noqa: E501
SUCCESSOR_SQL = f"""
SELECT pg_is_in_recovery(), EXISTS (SELECT {holders_sql(ARMED)} AND usename <> session_user),
  CASE WHEN NOT pg_is_in_recovery() THEN {WRITTEN_TIMELINE} END
"""
ANNOUNCE_SQL = f"SELECT pg_try_advisory_lock_shared({LOCK_SPACE}, {ANNOUNCED})"
UNANNOUNCE_SQL = f"SELECT pg_advisory_unlock_shared({LOCK_SPACE}, {ANNOUNCED})"
DISARM_SQL = f"SELECT pg_try_advisory_lock({LOCK_SPACE}, {ARMED})"
REARM_SQL = f"SELECT pg_advisory_unlock({LOCK_SPACE}, {ARMED})"
PROMOTION_SQL = "SELECT pg_is_in_recovery(), (pg_stat_file('promote', true)).modification IS NOT NULL"


class SilentError(SessionError):
    """The candidate couldn't be asked; it may be able to answer later."""


class There:
    """The candidate, asked over one connection, which is made again when it breaks."""

    def __init__(self, connect: Callable[[], Session]) -> None:
        self.announced = False
        self._connect = connect
        self._session: Session | None = None

    def row(self, sql: str) -> tuple[Any, ...]:
        """The only row of ``sql``; SilentError if there is no answer."""
        try:
            if self._session is None:
                self._session = self._connect()
                if self.announced:
                    self._session.value(ANNOUNCE_SQL, ANSWER)
            return self._session.row(sql, ANSWER)
        except SessionError as error:
            self.close()
            raise SilentError(str(error), error.sqlstate) from error

    def close(self) -> None:
        """End the connection; its locks go with it."""
        if self._session is not None:
            self._session.close()
        self._session = None


@dataclass(frozen=True)
class HandedOver:
    """``milliseconds``: from the request to stop until the successor was seen to be the primary."""

    changed: bool
    outcome: str
    timeline_before: int
    timeline_after: int | None = None
    milliseconds: int | None = None
    phases: dict[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass
class HandOver:
    """The old primary, and what it is to become: ``standby``, a standby of ``peer``.

    ``timeout``: seconds to get ready, and that the candidate has after the stop; ``stop_timeout``: for the stop.
    """

    standby: Standby
    peer: Peer
    access: Access
    timeline: int | None = None
    timeout: float = 30
    stop_timeout: float = 20
    drop_slots: tuple[str, ...] = ()
    guard_directory: Path = Path("/etc/pg-guard")

    def __post_init__(self) -> None:
        self.there = There(lambda: self.access.session(self.peer, ANSWER))
        self.phases: dict[str, int] = {}
        self.former_settings: str | None = None
        self.made_slot = False

    @property
    def instance(self) -> Instance:
        return self.standby.instance

    @property
    def signal_file(self) -> Path:
        """While it is there, no start makes this instance a primary."""
        return self.instance.data_directory / "standby.signal"

    def check(self) -> HandedOver:
        """Refuse what can't be done; what would come of it."""
        with self._local() as here, closing(self.there):
            standing, done = self._refuse(here)
        return done or HandedOver(True, "handed_over", standing.timeline)

    def hand_over(self) -> HandedOver:
        """Stop as a primary, come back as a standby. PgError says which of the two this is at the end."""
        began = time.monotonic()
        with self.standby.exclusive():
            try:
                with self._local() as here:
                    standing, done = self._refuse(here)
                    if done:
                        return done
                    self._prepare(here)
                with self._phase("stop"):
                    stopped_at = time.monotonic()
                    self._stop(patient=True)
                with self._phase("start_standby"):
                    problem = self._start_standby()
                timeline = self._outcome(standing, stopped_at)
                took = round((time.monotonic() - stopped_at) * 1000)
            finally:
                self.there.close()
            if problem:
                raise PgError(
                    f"{self.peer.name} is the primary on timeline {timeline}, but this instance didn't start as its "
                    f"standby: {problem}. Nothing is lost. Run site.yml to start it"
                )
            warnings = self._drop_slots()
        self.phases["total"] = round((time.monotonic() - began) * 1000)
        return HandedOver(True, "handed_over", standing.timeline, timeline, took, self.phases, warnings)

    # Until the stop: everything here can be taken back, and is.

    def _refuse(self, here: Session) -> tuple[Standing, HandedOver | None]:
        standing = look(here, self.instance)
        answer = ask_peer(self.peer, self.access, ANSWER)
        same = answer.system_identifier == standing.system_identifier
        if standing.in_recovery and answer.in_recovery is False and same:
            return standing, HandedOver(False, "already", standing.timeline, answer.timeline)
        follower = None if standing.in_recovery else self._follower(here)
        refuse_hand_over(standing, self.peer, answer, follower, self.timeline, fence_of(self.instance))
        try:
            # What a way back will have to ask.
            self.there.row(PROMOTION_SQL)
        except SilentError as error:
            raise PgError(
                f"{error}: whether a promotion was requested can't be asked there, expected that the role "
                f"{self.access.user} may execute pg_stat_file(text, boolean). Nothing was changed. Run site.yml, then "
                "switch over again"
            ) from error
        return standing, None

    def _follower(self, here: Session) -> Follower | None:
        rows = here.ask(FOLLOWER_SQL.format(name=self.peer.name.replace("'", "''")), LOCAL)
        return Follower(*rows[0]) if rows else None

    def _prepare(self, here: Session) -> None:
        """Everything before the stop; on an error all of it is undone."""
        deadline = time.monotonic() + self.timeout
        with self._phase("checkpoint"):
            began = self._checkpoint(here, deadline)
        with self._phase("wait_armed"):
            self._wait(lambda: bool(self.there.row(SUCCESSOR_SQL)[1]), self.timeout, "isn't ready to take over")
        # From now on the candidate's patience runs out, and most of it is for what comes after the stop.
        bound = self.timeout / 3
        try:
            self._make_slot()
            self.former_settings = read_text(self.instance.standby_conf)
            self.standby.apply((Step.CONFIGURE,))
            with self._phase("catch_up"):
                self._wait(lambda: self._is_close(here), bound, "didn't catch up")
                for _attempt in range(3):
                    if time.monotonic() - began > QUICK:
                        began = self._checkpoint(here, deadline)
                self._commit(here, bound)
        except BaseException as error:
            self._undo()
            if isinstance(error, SessionError):
                raise PgError(f"{self._aborted()}: {error}. {self._unharmed()}") from error
            raise

    def _checkpoint(self, here: Session, deadline: float) -> float:
        """Write one; when it began. What was changed since then is left to the shutdown's own."""
        began = time.monotonic()
        here.ask("CHECKPOINT", max(LOCAL, deadline - time.monotonic()))
        return began

    def _is_close(self, here: Session) -> bool:
        follower = self._follower(here)
        return follower is not None and follower.is_close

    def _make_slot(self) -> None:
        """What the successor keeps for this instance, from now on."""
        slot = self.standby.wanted.upstream.slot
        found, lost = self.there.row(
            f"SELECT count(*), coalesce(bool_or(wal_status = 'lost'), false) FROM pg_replication_slots"
            f" WHERE slot_name = '{slot}'"
        )
        if lost:
            self.there.row(f"SELECT pg_drop_replication_slot('{slot}')")
        if lost or not found:
            self.there.row(f"SELECT pg_create_physical_replication_slot('{slot}', true)")
            self.made_slot = True

    def _commit(self, here: Session, bound: float) -> None:
        """Make sure of what the candidate's proof rests on, in this order, and announce the stop."""
        write_atomically(self.signal_file, "", 0o600)
        here.ask(WRITE_SQL.format(durability="local"), LOCAL)
        record = Lsn.parse(here.value("SELECT pg_current_wal_lsn()::text", LOCAL))
        received = "SELECT coalesce(pg_last_wal_receive_lsn(), '0/0')::text"
        self._wait(lambda: Lsn.parse(self.there.row(received)[0]) >= record, bound, "didn't catch up")
        if not self.there.row(SUCCESSOR_SQL)[1]:
            raise PgError(f"{self._aborted()}: {self.peer.name} gave up waiting. {self._unharmed()}")
        self.there.announced = True
        self.there.row(ANNOUNCE_SQL)

    def _wait(self, done: Callable[[], bool], bound: float, otherwise: str) -> None:
        """Until ``done``; PgError after ``bound`` seconds. What can't be asked for a moment is asked again."""
        deadline, error = time.monotonic() + bound, ""
        while True:
            try:
                if done():
                    return
            except SilentError as said:
                error = f" ({said})"
            if time.monotonic() > deadline:
                raise PgError(
                    f"{self._aborted()}: {self.peer.name} {otherwise} within {bound:.2g} s{error}. {self._unharmed()}"
                )
            time.sleep(POLL)

    def _aborted(self) -> str:
        return "switchover aborted"

    def _unharmed(self) -> str:
        return "This instance was not stopped. Run status.yml, then switch over again"

    def _undo(self) -> None:
        """Be the primary that it was, which nobody stopped."""
        if self.there.announced:
            # It may have been heard, so the file stays until nobody can act on it.
            self.there.announced = False
            deadline = time.monotonic() + self.timeout
            while time.monotonic() < deadline and self._is_armed():
                time.sleep(POLL)
        self._be_primary()
        self._drop_made_slot()

    def _is_armed(self) -> bool:
        """Whether the candidate may still act; also if it can't be asked."""
        try:
            return bool(self.there.row(SUCCESSOR_SQL)[1])
        except SilentError:
            return True

    # The stop, and after it.

    def _stop(self, patient: bool) -> None:
        """Stop what runs here. ``patient``: a primary, whose shutdown the candidate waits for.

        A shutdown can't be called off. It may wait for another standby that is frozen (wal_sender_timeout); once the
        candidate is the primary, nobody needs its end. One that doesn't end is cut short in the end: its record is
        then missing, so the candidate isn't promoted, and nothing that was committed is lost.
        """
        directory = self.instance.data_directory
        began, cut_short_at = time.monotonic(), 0.0
        bound = 2 * self.stop_timeout if patient else self.stop_timeout
        postmaster = running_postmaster(directory)
        if postmaster is not None:
            _kill(postmaster.pid, signal.SIGINT)
        # Children that outlive a postmaster for a moment would keep the next one from starting.
        while running_postmaster(directory) is not None or self._processes():
            now = time.monotonic()
            waited = now - began
            if waited > bound + LOCAL:
                raise PgError(
                    f"the server doesn't stop within {waited:.0f} s, not even killed, expected that nothing runs. It "
                    "can't start as a primary again (standby.signal is there). Run status.yml to see which is the "
                    f"primary; if none is, end what runs on {directory} and run failover.yml",
                    processes=sorted(self._processes()),
                )
            if cut_short_at and now - cut_short_at > LINGERS:
                for pid in self._processes():
                    _kill(pid, signal.SIGKILL)
            elif not cut_short_at and (waited > bound or (patient and waited > LINGERS and self._is_succeeded())):
                cut_short_at = now
                if postmaster is not None:
                    _kill(postmaster.pid, signal.SIGQUIT)
            time.sleep(POLL)

    def _processes(self) -> set[int]:
        return processes_on(self.instance.data_directory, self.standby.unit)

    def _is_succeeded(self) -> bool:
        try:
            return not self.there.row(SUCCESSOR_SQL)[0]
        except SilentError:
            return False

    def _start_standby(self) -> str:
        """Start as a standby of the successor, whose first synchronous commit may wait for it; what went wrong."""
        try:
            self.standby.apply((Step.START,))
        except PgError as error:
            return str(error)
        return ""

    def _outcome(self, standing: Standing, stopped_at: float) -> int:
        """The successor's timeline, once it is the primary. PgError: the switchover was aborted."""
        last_answer, why = stopped_at, ""
        with self._phase("outcome"):
            while True:
                successor, timeline = None, None
                try:
                    in_recovery, armed, timeline = self.there.row(SUCCESSOR_SQL)
                    successor, last_answer = Successor(in_recovery, armed), time.monotonic()
                except SilentError as error:
                    why = str(error)
                now = time.monotonic()
                found = verdict(successor, now - last_answer, now - stopped_at, self.timeout)
                if found is Verdict.HANDED_OVER:
                    return int(timeline or 0)
                if found is Verdict.SILENT:
                    return self._leave_to_the_guard(standing, why)
                if found is Verdict.HAND_BACK:
                    self._hand_back()
                if found is Verdict.UNDECIDED or now - stopped_at > PATIENCE * self.timeout:
                    raise PgError(
                        f"{self.peer.name} neither took over nor gave up for certain within {now - stopped_at:.0f} s, "
                        "expected one of the two: it may be frozen, and may promote when it thaws. This instance is "
                        "its standby and holds every write. Run status.yml; if no primary appears, run failover.yml",
                        outcome="standby",
                    )
                time.sleep(POLL)

    def _hand_back(self) -> None:
        """Be the primary again, unless the candidate becomes one after all. PgError: the switchover was aborted."""
        try:
            (disarmed,) = self.there.row(DISARM_SQL)
            if not disarmed:
                return
            in_recovery, requested = self.there.row(PROMOTION_SQL)
            if requested or not in_recovery:
                self.there.row(REARM_SQL)
                return
            self.there.announced = False
            self.there.row(UNANNOUNCE_SQL)
        except SilentError:
            # Nothing was decided if the connection broke: it is asked again. The lock went with the connection.
            if self.there.announced:
                return
        self._be_primary()
        self._drop_made_slot()
        raise PgError(
            f"{self._aborted()}: {self.peer.name} gave up before it held this instance's shutdown, see what "
            "pg_switchover said there. This instance is the primary again. Run status.yml, then switch over again",
            outcome="handed_back",
        )

    def _be_primary(self) -> None:
        """Be a primary that accepts writes; PgError if it doesn't become one."""
        fence = fence_of(self.instance)
        if fence is not None:
            raise PgError(
                f"{self._aborted()}: this instance was fenced meanwhile ({fence}), and stays as it is. Run status.yml "
                "to see which is the primary"
            )
        running = self._is_primary()
        if not running:
            self._stop(patient=False)
        self._restore_files()
        if running:
            return
        permission = f"pg_switchover: {self.peer.name} didn't take over and can't any more\n"
        write_atomically(self._beside_socket("start"), permission, 0o644)
        found = self._restart()
        try:
            with self._local() as here:
                write(here, time.monotonic() + BACK)
        except PgError as error:
            raise PgError(
                f"{self._aborted()}: {self.peer.name} didn't take over, and this instance doesn't accept writes: "
                f"{found or error}. Expected a primary. See {self.instance.log_file} and systemctl status "
                f"{self.standby.unit}, then start it with site.yml"
            ) from error

    def _is_primary(self) -> bool:
        try:
            with self._local() as here:
                return not here.value("SELECT pg_is_in_recovery()", LOCAL)
        except PgError:
            return False

    def _is_starting(self) -> bool:
        """Whether something runs that may become the primary."""
        return running_postmaster(self.instance.data_directory) is not None

    def _restore_files(self) -> None:
        self.signal_file.unlink(missing_ok=True)
        fd = os.open(self.instance.data_directory, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        if self.former_settings:
            write_atomically(self.instance.standby_conf, self.former_settings + "\n", 0o640)
        elif self.former_settings is not None:
            self.instance.standby_conf.unlink(missing_ok=True)

    def _leave_to_the_guard(self, standing: Standing, why: str) -> int:
        """The candidate can't be asked: have every member asked, by the guard."""
        found = self._later_timeline(standing.timeline)
        if found:
            return found
        silent = f"{self.peer.name} couldn't be asked for {self.timeout:g} s after this instance had stopped ({why})"
        name = f"{self.instance.version}-{self.instance.cluster}"
        if not (self.guard_directory / f"{name}.json").exists():
            raise PgError(
                f"{self._aborted()}: {silent}. There is no guard here to ask the others, so this instance stays a "
                "standby: nobody can tell whether the other was promoted. Nothing is lost. Run status.yml; if there is "
                "no primary, run failover.yml",
                outcome="standby",
            )
        self._stop(patient=False)
        self._restore_files()
        found_out = self._restart()
        deadline = time.monotonic() + BACK
        while not self._is_primary() and self._is_starting() and time.monotonic() < deadline:
            time.sleep(POLL)
        if self._is_primary():
            state = "It let this instance start: it is the primary again"
        else:
            held = read_text(self.instance.state_directory / f"{name}.held") or found_out or "no reason given"
            state = f"It doesn't let this instance start as a primary yet: {one_line(held)}"
        raise PgError(
            f"{self._aborted()}: {silent}, so the guard was left to decide. {state}. Run status.yml to see which is "
            "the primary; if there is none, run failover.yml",
            outcome="guard",
        )

    def _later_timeline(self, timeline: int) -> int:
        """A timeline after ``timeline`` that this standby was sent by its upstream; 0 if there is none."""
        histories = (self.instance.data_directory / "pg_wal").glob("*.history")
        return max((int(path.stem, 16) for path in histories if int(path.stem, 16) > timeline), default=0)

    def _restart(self) -> str:
        """Start the unit, whatever systemd takes it for; what it said if it failed."""
        bound = ["timeout", f"{BACK:g}"]
        rc, out, err = self.standby.run([*bound, "systemctl", "restart", self.standby.unit])
        return "" if rc == 0 else one_line(err or out) or f"systemctl restart returned {rc}"

    def _beside_socket(self, suffix: str) -> Path:
        return self.instance.socket_directory / f"{self.instance.version}-{self.instance.cluster}.{suffix}"

    def _drop_made_slot(self) -> None:
        """Nobody will use it: it would keep WAL on the candidate for ever."""
        if self.made_slot:
            with suppress(SilentError):
                self.there.row(f"SELECT pg_drop_replication_slot('{self.standby.wanted.upstream.slot}')")

    def _drop_slots(self) -> tuple[str, ...]:
        """Slots that served others keep WAL for ever on a standby that nobody follows; warnings."""
        if not self.drop_slots:
            return ()
        names = ", ".join(f"'{name}'" for name in self.drop_slots)
        try:
            with self._local() as here:
                here.ask(
                    "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                    f" WHERE slot_type = 'physical' AND NOT active AND slot_name IN ({names})",
                    LOCAL,
                )
        except PgError as error:
            return (f"the slots {names} could not be dropped: {error}",)
        return ()

    def _local(self) -> Session:
        return local_session(self.instance, postmaster_of(self.instance), LOCAL)

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.phases[name] = round((time.monotonic() - began) * 1000)


def _kill(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
