# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps a PostgreSQL instance from becoming, or staying, a second primary.

``boot`` is asked by systemd before every start (ExecCondition). A standby starts freely. An instance
that would start as a primary starts if a standby vouches for it; it is FENCED when a peer shows that
another one took over, and on HOLD while nobody can be asked.

``watch`` runs beside the server. A primary that sees a peer which is a primary on a later timeline was
replaced while it was frozen or cut off: it is stopped, and a marker keeps it from starting again.

Runs on the host without Ansible: Python 3.11 and psycopg2, nothing else. From top to bottom: what is
known, what is decided from it (pure), and what touches the world.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import enum
import importlib
import json
import os
import re
import select
import signal
import subprocess
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# ---- What is known -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Member:
    """An instance of the cluster: its name, and where its peers reach it."""

    name: str
    address: str
    port: int

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Member:
        return cls(str(data["name"]), str(data["address"]), int(data["port"]))


@dataclass(frozen=True)
class Config:
    """The guard's configuration. Times are seconds."""

    me: Member
    peers: tuple[Member, ...]
    version: int
    cluster: str
    data_directory: Path
    binaries: Path
    user: str
    passfile: str
    sslmode: str
    sslrootcert: str
    #: Whether an instance for which nobody vouches starts all the same.
    unattended_start: bool = False
    #: How long a start is held before systemd is told to try again.
    wait: float = 60
    #: Most that one round of questions takes.
    timeout: float = 2
    #: From one round of questions to the next.
    interval: float = 0.5
    #: A permission older than this is none.
    permission_age: float = 120
    #: How long a primary that is shutting down anyway may take.
    grace: float = 3
    state_directory: Path = Path("/var/lib/postgresql")
    run_directory: Path = Path("/run/postgresql")
    local_user: str = "postgres"

    @classmethod
    def load(cls, path: Path) -> Config:
        """Read the JSON file. Raises OSError, ValueError, KeyError or TypeError for one that can't be used."""
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        me = Member.of({name: data.pop(name) for name in ("name", "address", "port")})
        peers = tuple(Member.of(peer) for peer in data.pop("peers"))
        unattended = data.pop("unattended_start")
        if unattended not in ("vouched", "always"):
            raise ValueError(f"unattended_start is {unattended!r}, expected vouched or always")
        folders = ("data_directory", "binaries", "state_directory", "run_directory")
        data |= {name: Path(data[name]) for name in folders if name in data}
        return cls(me=me, peers=peers, unattended_start=unattended == "always", **data)

    @property
    def instance(self) -> str:
        return f"{self.version}-{self.cluster}"

    @property
    def fence_file(self) -> Path:
        """While it is there the instance never starts as a primary; it holds the reason."""
        return self.state_directory / f"{self.instance}.fenced"

    @property
    def hold_file(self) -> Path:
        """Why the instance isn't started, for whoever looks at the host."""
        return self.state_directory / f"{self.instance}.held"

    @property
    def permission_file(self) -> Path:
        """Somebody who looked at all members lets the instance start, once."""
        return self.run_directory / f"{self.instance}.start"


class Role(enum.Enum):
    """What a running instance is."""

    PRIMARY = "primary"
    STANDBY = "standby"


@dataclass(frozen=True)
class Upstream:
    """Where a standby is told to stream from."""

    host: str
    hostaddr: str
    port: int

    def is_member(self, member: Member) -> bool:
        named = self.host in (member.name, member.address) or self.hostaddr == member.address
        return named and self.port == member.port

    def __str__(self) -> str:
        return self.host or self.hostaddr or "nobody"


@dataclass(frozen=True)
class Seen:
    """What a peer said of itself. ``role`` is None, with the reason in ``silence``, if it said nothing."""

    peer: Member
    role: Role | None = None
    timeline: int = 0
    system_identifier: str = ""
    follows: Upstream | None = None
    silence: str = ""
    #: Why a standby doesn't say whom it follows.
    mute: str = ""


@dataclass(frozen=True)
class Stopped:
    """This instance before a start, as its files tell it."""

    data: bool
    standby: bool
    timeline: int = 0
    system_identifier: str = ""
    fence: str | None = None
    permission: str | None = None
    #: Why the two above couldn't be read.
    unreadable: str = ""


@dataclass(frozen=True)
class Running:
    """This instance while its postmaster runs. ``answered`` is False if only its files could be asked."""

    pid: int
    role: Role
    timeline: int
    system_identifier: str
    answered: bool


# ---- What is decided ---------------------------------------------------------------------------------


class Verdict(enum.Enum):
    """Whether the instance starts. The values are what ExecCondition makes of an exit code.

    1 to 254 leave the unit alone until somebody starts it; 255 is a failure, which Restart= tries again
    (https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html#ExecCondition=).
    """

    START = 0
    FENCED = 1
    HOLD = 255


@dataclass(frozen=True)
class Decision:
    verdict: Verdict
    reason: str

    def __str__(self) -> str:
        return f"{self.verdict.name}: {self.reason}"


def decide_alone(local: Stopped, peers: int) -> Decision | None:
    """What is certain before any of the *peers* is asked; None if they must be asked."""
    if not local.data:
        return Decision(Verdict.START, "there is no data to protect")
    if local.standby:
        return Decision(Verdict.START, "it starts as a standby")
    if local.fence is not None:
        return Decision(Verdict.FENCED, local.fence or "its fence marker is there and gives no reason")
    if peers == 0:
        return Decision(Verdict.START, "it has no peers")
    if local.unreadable:
        return Decision(Verdict.HOLD, local.unreadable)
    return None


def decide(me: Member, local: Stopped, seen: Sequence[Seen], unattended_start: bool) -> Decision:
    """Whether this instance may start, by its own files and by what all its peers said.

    A peer of another cluster (another system identifier) neither vouches nor objects.
    """
    alone = decide_alone(local, len(seen))
    if alone is not None:
        return alone
    ours = [peer for peer in seen if peer.role and peer.system_identifier == local.system_identifier]
    for rival in ours:
        if rival.role is Role.PRIMARY:
            return Decision(Verdict.FENCED, _of_primary(rival, local.timeline))
    for witness in ours:
        if witness.timeline > local.timeline:
            return Decision(
                Verdict.FENCED,
                f"{witness.peer.name}, a standby of {witness.follows or 'an unknown primary'}, is on timeline "
                f"{witness.timeline}, this instance on {local.timeline}: another primary took over. Start that one; "
                "then bring this one back as a standby with rejoin.yml",
            )
    if local.permission is not None:
        return Decision(Verdict.START, f"permitted: {local.permission or 'no reason given'}")
    for witness in ours:
        if vouches(me, local, witness):
            return Decision(
                Verdict.START, f"{witness.peer.name} is its standby, on timeline {witness.timeline}, and vouches for it"
            )
    said = ", ".join(_why_not(me, local, peer) for peer in seen)
    if unattended_start:
        return Decision(
            Verdict.START,
            f"WARNING: started though nobody vouches for it ({said}), as pg_unattended_start: always wants it. "
            "If another primary took over, writes from now on are on the wrong one",
        )
    return Decision(
        Verdict.HOLD,
        f"no standby vouches for this primary: {said}. Start one of its standbys, or let failover.yml choose a "
        "primary. If this is the one, site.yml starts it; pg_unattended_start: always starts it without being asked",
    )


def vouches(me: Member, local: Stopped, witness: Seen) -> bool:
    """Whether the peer is a standby of this very instance, on its timeline.

    One on an earlier timeline may have missed any number of failovers, one of another upstream knows nothing.
    """
    return (
        witness.role is Role.STANDBY
        and witness.system_identifier == local.system_identifier
        and witness.timeline == local.timeline
        and witness.follows is not None
        and witness.follows.is_member(me)
    )


def _of_primary(rival: Seen, timeline: int) -> str:
    found = f"{rival.peer.name} is a primary, on timeline {rival.timeline}, this instance on {timeline}"
    if rival.timeline > timeline:
        return f"{found}: it took over. Bring this one back as a standby with rejoin.yml"
    # Which of the two holds what must be kept is not for a program to say.
    return f"{found}. Only one may be: see status.yml; make this one a standby of it with rejoin.yml"


def _of_rival(rival: Seen, timeline: int) -> str:
    found = f"{rival.peer.name} is a primary too, on timeline {rival.timeline}, this instance on {timeline}"
    return f"{found}: {'it should stop itself' if rival.timeline < timeline else 'only one may be, see status.yml'}"


def _why_not(me: Member, local: Stopped, peer: Seen) -> str:
    if peer.role is None:
        return f"{peer.peer.name} can't be asked ({peer.silence})"
    if peer.system_identifier != local.system_identifier:
        return f"{peer.peer.name} is of another cluster (system identifier {peer.system_identifier})"
    if peer.mute:
        return f"{peer.peer.name} is a standby and can't say of whom ({peer.mute})"
    if peer.follows is None or not peer.follows.is_member(me):
        return f"{peer.peer.name} follows {peer.follows or 'nobody'}"
    return f"{peer.peer.name} is behind, on timeline {peer.timeline}, this instance on {local.timeline}"


def successor(own: Running, seen: Iterable[Seen]) -> Seen | None:
    """The peer that is a primary of this cluster on a later timeline: it replaced this primary."""
    for peer in rivals(own, seen):
        if peer.timeline > own.timeline:
            return peer
    return None


def rivals(own: Running, seen: Iterable[Seen]) -> list[Seen]:
    """The peers that are primaries of this cluster, as this instance is, the latest timeline first."""
    if own.role is not Role.PRIMARY:
        return []
    found = [p for p in seen if p.role is Role.PRIMARY and p.system_identifier == own.system_identifier]
    return sorted(found, key=lambda peer: -peer.timeline)


# ---- What touches the world: files -------------------------------------------------------------------


def read_text(path: Path) -> str | None:
    """The text of a file on one line; None if there is no such file."""
    try:
        return one_line(path.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return None


def one_line(text: object) -> str:
    return " ".join(str(text).split()).rstrip(".")


def write_durably(path: Path, text: str) -> None:
    """Replace *path* in one step; after a power cut it is still there."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(f"{text}\n")
            os.fchmod(stream.fileno(), 0o644)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def is_standby(data_directory: Path) -> bool:
    """Whether the server starts in recovery and stays in it. One with recovery.signal alone, which was restored from a
    backup, ends it by itself and takes writes then: it is to be asked about like any primary."""
    return (data_directory / "standby.signal").exists()


def control_data(config: Config) -> tuple[str, int]:
    """System identifier and timeline of the data directory. Raises ValueError with the reason.

    A primary that dies right after its promotion has the new timeline only as the one that recovery must
    reach, and PostgreSQL goes by the later of the two as well.
    """
    argv = [str(config.binaries / "pg_controldata"), "-D", str(config.data_directory)]
    found = ""
    for _attempt in range(3):
        try:
            done = subprocess.run(
                argv, capture_output=True, text=True, timeout=config.timeout, env={"LC_ALL": "C"}, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ValueError(f"its control file can't be read: {one_line(error)}") from error
        values = dict(re.findall(r"^(.+?):\s+(.*)$", done.stdout, re.MULTILINE))
        found = one_line(done.stderr or done.stdout)
        with contextlib.suppress(KeyError, ValueError):
            if done.returncode == 0 and "WARNING" not in done.stdout:
                names = ("Latest checkpoint's TimeLineID", "Min recovery ending loc's timeline")
                return values["Database system identifier"], max(int(values[name]) for name in names)
        # A running server may have been writing the file at that moment.
        time.sleep(0.1)
    raise ValueError(f"its control file can't be trusted: {found}")


def read_stopped(config: Config, control: Callable[[Config], tuple[str, int]] = control_data) -> Stopped:
    """This instance before a start."""
    if not (config.data_directory / "PG_VERSION").exists():
        return Stopped(data=False, standby=False)
    if is_standby(config.data_directory):
        return Stopped(data=True, standby=True)
    try:
        system_identifier, timeline = control(config)
        unreadable = ""
    except ValueError as error:
        system_identifier, timeline, unreadable = "", 0, str(error)
    fence, permission = read_text(config.fence_file), read_permission(config)
    return Stopped(True, False, timeline, system_identifier, fence, permission, unreadable)


def read_permission(config: Config) -> str | None:
    """The text of a permission that is fresh."""
    text = read_text(config.permission_file)
    with contextlib.suppress(FileNotFoundError):
        if abs(time.time() - config.permission_file.stat().st_mtime) <= config.permission_age:
            return text
    return None


@dataclass(frozen=True)
class Postmaster:
    """A server that runs, and what it last wrote into postmaster.pid of its state."""

    pid: int
    status: str


def running_postmaster(data_directory: Path) -> Postmaster | None:
    """The server that runs on *data_directory*, answering or not.

    postmaster.pid survives a crash, and its number may be anybody's by now. A postmaster's working directory
    is its data directory, which nobody else's is; Debian names it on the command line too.
    """
    try:
        lines = (data_directory / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return None
    # A server in single-user mode writes its number with a minus sign.
    if not lines or not lines[0].strip().isdigit():
        return None
    pid = int(lines[0])
    try:
        if os.readlink(f"/proc/{pid}/cwd") != str(data_directory.resolve()):
            return None
    except PermissionError:
        if str(data_directory) not in Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0"):
            return None
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Postmaster(pid, lines[7].strip() if len(lines) > 7 else "")


def end_postmaster(data_directory: Path, pid: int, patience: float = 2) -> bool:
    """Shut the server down at once (https://www.postgresql.org/docs/current/server-shutdown.html).

    SIGQUIT: every session ends where it is, and nobody is told of a commit on the way out. SIGKILL if that
    takes longer than *patience* seconds. False if *pid* is that server no more.
    """
    try:
        # A handle on the process: the number can't become another's in the meantime.
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        postmaster = running_postmaster(data_directory)
        if postmaster is None or postmaster.pid != pid:
            return False
        ended = select.poll()
        ended.register(handle, select.POLLIN)
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGQUIT)
            if not ended.poll(patience * 1000):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                ended.poll(patience * 1000)
        return True
    finally:
        os.close(handle)


# ---- What touches the world: servers -----------------------------------------------------------------


class SilentError(Exception):
    """A server didn't answer, or not this question."""


class Connection:
    """A connection that is kept, and that nobody ever waits for beyond a deadline.

    psycopg2's asynchronous mode is what makes the deadline hold: libpq's own connect_timeout is two seconds
    at least, and a frozen host still acknowledges packets, so no timeout of TCP notices it.
    Deadlines are of ``time.monotonic()``.
    """

    def __init__(self, settings: Mapping[str, Any], within: float, pause: float = 0) -> None:
        """*within*: most that connecting may take; *pause*: least from one attempt to the next. Seconds."""
        # Not above: a standby starts without it.
        self._driver: Any = importlib.import_module("psycopg2")
        self._settings = settings
        self._within = within
        self._pause = pause
        self._next_attempt = 0.0
        self._connection: Any = None
        self._failure = ""

    def ask(self, sql: str, deadline: float) -> tuple[Any, ...]:
        """The first row of the answer. Raises SilentError with the reason."""
        try:
            if self._connection is not None:
                try:
                    return self._run(sql, deadline)
                except self._driver.OperationalError:
                    # The server ended it, or its host restarted: a new connection may do.
                    self.close()
            self._connect(deadline)
            return self._run(sql, deadline)
        except TimeoutError:
            self.close()
            raise SilentError("no answer in time") from None
        except self._driver.Error as error:
            # libpq's hints are lines that begin with a tab.
            text = one_line(str(error).partition("\n\t")[0]) or type(error).__name__
            # After an error of the question itself the connection is as good as before.
            if error.pgcode is None or self._connection is None or self._connection.closed:
                self.close()
                self._failure = text
            raise SilentError(text) from error

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self, deadline: float) -> None:
        now = time.monotonic()
        if now < self._next_attempt:
            raise SilentError(self._failure or "no answer in time")
        self._next_attempt = now + self._pause
        self._failure = ""
        self._connection = self._driver.connect(**self._settings, async_=1)
        # Less than for a question: what vanished on the way is sent anew that much sooner.
        self._wait(min(deadline, now + self._within))

    def _run(self, sql: str, deadline: float) -> tuple[Any, ...]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql)
            self._wait(deadline)
            row: tuple[Any, ...] = cursor.fetchone()
            return row

    def _wait(self, deadline: float) -> None:
        polls = self._driver.extensions
        # The answer is looked for before the clock: after a pause of this process both may be there.
        while (state := self._connection.poll()) != polls.POLL_OK:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            ready = select.poll()
            ready.register(self._connection.fileno(), select.POLLIN if state == polls.POLL_READ else select.POLLOUT)
            ready.poll(left * 1000)


def peer_settings(config: Config, peer: Member) -> dict[str, Any]:
    """How a peer is reached: as standbys reach their upstream."""
    return {
        **_settings(config),
        "host": peer.name,
        "hostaddr": peer.address,
        "port": peer.port,
        "user": config.user,
        "passfile": config.passfile,
        "sslmode": config.sslmode,
        "sslrootcert": config.sslrootcert,
        "gssencmode": "disable",
        "tcp_user_timeout": int(config.timeout * 1000),
        "keepalives_idle": 1,
        "keepalives_interval": 1,
        "keepalives_count": 3,
    }


def own_settings(config: Config) -> dict[str, Any]:
    """How this instance is reached: over its socket."""
    socket = {"host": str(config.run_directory), "port": config.me.port, "user": config.local_user}
    return {**_settings(config), **socket}


def _settings(config: Config) -> dict[str, Any]:
    return {
        "dbname": "postgres",
        "application_name": "pg_guard",
        "options": f"-c statement_timeout={int(config.timeout * 1000)}",
    }


#: In recovery, system identifier, timeline. A primary's timeline is the one it writes; its control file
#: learns of it a checkpoint later.
WHO_SQL = """
SELECT pg_is_in_recovery(),
       (SELECT system_identifier::text FROM pg_control_system()),
       CASE WHEN pg_is_in_recovery() THEN (SELECT timeline_id FROM pg_control_checkpoint())
            ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END
"""

#: The latest timeline of which a standby has received anything, and whom it follows. Wants pg_monitor.
WHOSE_SQL = """
SELECT greatest((SELECT received_tli FROM pg_stat_wal_receiver),
                (SELECT min_recovery_end_timeline FROM pg_control_recovery()),
                (SELECT max(('x' || left(name, 8))::bit(32)::int) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'),
                0),
       current_setting('primary_conninfo')
"""


def look(peer: Member, connection: Connection, deadline: float) -> Seen:
    """What *peer* says of itself until *deadline*."""
    try:
        in_recovery, system_identifier, timeline = connection.ask(WHO_SQL, deadline)
    except SilentError as silence:
        return Seen(peer, silence=str(silence))
    if not in_recovery:
        return Seen(peer, Role.PRIMARY, timeline, system_identifier)
    try:
        received, conninfo = connection.ask(WHOSE_SQL, deadline)
    except SilentError as mute:
        return Seen(peer, Role.STANDBY, timeline, system_identifier, mute=str(mute))
    return Seen(peer, Role.STANDBY, max(timeline, received), system_identifier, parse_upstream(conninfo or ""))


def parse_upstream(conninfo: str) -> Upstream | None:
    """Whom a ``primary_conninfo`` names; None if nobody.

    https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-KEYWORD-VALUE
    """
    found = re.findall(r"(\w+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S*))", conninfo)
    values = {key: re.sub(r"\\(.)", r"\1", quoted) or bare for key, quoted, bare in found}
    if not values.get("host") and not values.get("hostaddr"):
        return None
    port = values.get("port") or "5432"
    return Upstream(values.get("host", ""), values.get("hostaddr", ""), int(port) if port.isdigit() else 0)


def observe(config: Config, connection: Connection, last: Running | None) -> Running | None:
    """This instance now; None if it doesn't run. *last* is what was observed before.

    One that doesn't answer (frozen, overloaded, starting) is judged by its files: as a primary, unless they
    say standby, on the latest timeline known.
    """
    postmaster = running_postmaster(config.data_directory)
    if postmaster is None:
        connection.close()
        return None
    try:
        in_recovery, system_identifier, timeline = connection.ask(WHO_SQL, time.monotonic() + config.timeout)
        role = Role.STANDBY if in_recovery else Role.PRIMARY
        return Running(postmaster.pid, role, timeline, system_identifier, answered=True)
    except SilentError:
        pass
    role = Role.STANDBY if is_standby(config.data_directory) else Role.PRIMARY
    known = last if last is not None and last.pid == postmaster.pid else None
    try:
        system_identifier, timeline = control_data(config)
    except ValueError:
        return dataclasses.replace(known, role=role, answered=False) if known else None
    timeline = max(timeline, known.timeline if known else 0)
    return Running(postmaster.pid, role, timeline, system_identifier, answered=False)


# ---- The two modes -----------------------------------------------------------------------------------


def say(text: str) -> None:
    """One line for the journal."""
    print(f"pg_guard: {text}", flush=True)


def boot(config: Config) -> Verdict:
    """Decide whether the instance may start; holds it for ``config.wait`` seconds at most."""
    connections: list[tuple[Member, Connection]] = []
    deadline = time.monotonic() + config.wait
    control: dict[Config, tuple[str, int]] = {}

    def remembered(config: Config) -> tuple[str, int]:
        # Of a stopped instance it stays what it is; all else is read anew in every round.
        if config not in control:
            control[config] = control_data(config)
        return control[config]

    said = ""
    while True:
        began = time.monotonic()
        local = read_stopped(config, remembered)
        decision = decide_alone(local, len(config.peers))
        if decision is None:
            within = config.timeout / 2
            connections = connections or [(p, Connection(peer_settings(config, p), within)) for p in config.peers]
            seen = ask_all(connections, began + config.timeout)
            decision = decide(config.me, local, seen, config.unattended_start)
            # To ask takes a while, in which a fence may have been raised.
            decision = decide_alone(read_stopped(config, remembered), len(config.peers)) or decision
        if str(decision) != said:
            said = str(decision)
            say(said)
            note(config, decision)
        if decision.verdict is not Verdict.HOLD or time.monotonic() >= deadline:
            return decision.verdict
        time.sleep(max(0.0, began + config.interval - time.monotonic()))


def ask_all(connections: Sequence[tuple[Member, Connection]], deadline: float) -> list[Seen]:
    """What all peers say, asked at once."""
    with ThreadPoolExecutor(len(connections)) as pool:
        return list(pool.map(lambda pair: look(pair[0], pair[1], deadline), connections))


def note(config: Config, decision: Decision) -> None:
    """Leave the reason on the host, and take the permission: it is for one decision."""
    try:
        if decision.verdict is Verdict.START:
            config.hold_file.unlink(missing_ok=True)
        else:
            write_durably(config.hold_file, decision.reason)
        if decision.verdict is not Verdict.HOLD:
            config.permission_file.unlink(missing_ok=True)
    except OSError as error:
        # A full disk changes nothing about who is primary.
        say(f"{error.filename} can't be changed: {error.strerror}")


class Watch:
    """Stops the instance when a peer proves that it was replaced.

    A thread for the instance and one for each peer, so that what doesn't answer delays nothing. Peers are
    asked only while the instance is a primary, or may be one.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._changed = threading.Condition()
        self._own: Running | None = None
        self._seen: dict[str, Seen] = {}
        self._said: set[str] = set()
        self._stopping_since = 0.0

    def run(self) -> None:
        """For ever."""
        peers = ", ".join(peer.name for peer in self._config.peers) or "nobody"
        say(f"watching {self._config.me.name}, {self._config.instance}; its peers are {peers}")
        threading.Thread(target=self._thread, args=(self._look_inward,), daemon=True).start()
        for peer in self._config.peers:
            threading.Thread(target=self._thread, args=(self._look_at, peer), daemon=True).start()
        while True:
            with self._changed:
                self._changed.wait(self._config.interval)
                own, seen = self._own, tuple(self._seen.values())
            self._judge(own, seen)

    def _thread(self, target: Callable[..., None], *arguments: Any) -> None:
        try:
            target(*arguments)
        except BaseException:  # noqa: BLE001 - half a guard would look like a whole one; systemd starts another
            traceback.print_exc()
            os._exit(1)

    def _look_inward(self) -> None:
        connection = Connection(own_settings(self._config), within=self._config.timeout)
        own: Running | None = None
        while True:
            began = time.monotonic()
            own = observe(self._config, connection, own)
            with self._changed:
                self._own = own
                if own is None or own.role is not Role.PRIMARY:
                    # What was seen until now says nothing about a later primary.
                    self._seen.clear()
                self._changed.notify_all()
            self._pause(began)

    def _look_at(self, peer: Member) -> None:
        bound = self._config.timeout
        connection = Connection(peer_settings(self._config, peer), within=bound / 2, pause=bound / 2)
        while True:
            with self._changed:
                while self._own is None or self._own.role is not Role.PRIMARY:
                    connection.close()
                    self._changed.wait()
            began = time.monotonic()
            seen = look(peer, connection, began + bound)
            with self._changed:
                self._seen[peer.name] = seen
                self._changed.notify_all()
            self._pause(began)

    def _pause(self, began: float) -> None:
        # After a freeze nothing is left of the interval: the next round begins at once.
        time.sleep(max(0.0, began + self._config.interval - time.monotonic()))

    def _judge(self, own: Running | None, seen: Sequence[Seen]) -> None:
        if own is None or own.role is not Role.PRIMARY:
            self._said.clear()
            self._stopping_since = 0.0
            return
        proof = successor(own, seen)
        if proof is not None:
            self._stop(own, proof)
            return
        remarks = {_of_rival(rival, own.timeline) for rival in rivals(own, seen)} | {
            f"{peer.peer.name} is of another cluster (system identifier {peer.system_identifier}) and says nothing"
            for peer in seen
            if peer.role and peer.system_identifier != own.system_identifier
        }
        for remark in sorted(remarks - self._said):
            say(remark)
        self._said = remarks

    def _stop(self, own: Running, proof: Seen) -> None:
        config = self._config
        postmaster = running_postmaster(config.data_directory)
        if postmaster is None or postmaster.pid != own.pid:
            return
        if not own.answered and is_standby(config.data_directory):
            return
        if postmaster.status == "stopping":
            # In a switchover the new primary is there before the last process of the old one is gone.
            self._stopping_since = self._stopping_since or time.monotonic()
            if time.monotonic() < self._stopping_since + config.grace:
                return
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        reason = (
            f"{at}: {proof.peer.name} ({proof.peer.address}) is the primary, on timeline {proof.timeline}; this "
            f"instance was one still, on timeline {own.timeline}, and was stopped. Bring it back as a standby with "
            "rejoin.yml"
        )
        trouble = ""
        try:
            write_durably(config.fence_file, reason)
        except OSError as error:
            # Without the marker the peer itself keeps this instance from starting, as long as it answers.
            trouble = f" ({config.fence_file} couldn't be written: {error.strerror})"
        if end_postmaster(config.data_directory, own.pid):
            say(f"FENCED: {reason}{trouble}")


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        parser = argparse.ArgumentParser(prog="pg_guard", description="Keeps an instance from being a second primary.")
        parser.add_argument("mode", choices=["boot", "watch"])
        parser.add_argument("--config", type=Path, required=True)
        chosen = parser.parse_args(arguments)
        config = Config.load(chosen.config)
        if chosen.mode == "boot":
            return boot(config).value
        Watch(config).run()
    except KeyboardInterrupt:
        return Verdict.HOLD.value
    except SystemExit as end:
        return 0 if end.code in (None, 0) else Verdict.HOLD.value
    except Exception as error:  # noqa: BLE001 - with any other exit code systemd would leave the instance down for good
        say(f"HOLD: the guard itself failed: {type(error).__name__}: {one_line(error)}")
    return Verdict.HOLD.value


if __name__ == "__main__":
    raise SystemExit(main())
