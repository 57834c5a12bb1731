# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Observe one PostgreSQL instance. Commands go through an injected runner."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import (
    Lsn,
    Observation,
    PgError,
    State,
    Upstream,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_text import (
    format_conninfo,
    parse_history,
    parse_settings,
    timeline_of_position,
    upstream_from,
)

# argv -> return code, standard output, standard error
Runner = Callable[[Sequence[str]], tuple[int, str, str]]


@dataclass(frozen=True)
class Instance:
    """Where one instance lives; the layout is that of Debian's postgresql-common."""

    version: int
    cluster: str
    data_directory: Path
    config_directory: Path
    port: int = 5432
    timeout: int = 5
    state_directory: Path = Path("/var/lib/postgresql")
    socket_directory: Path = Path("/var/run/postgresql")
    log_directory: Path = Path("/var/log/postgresql")
    binaries: Path = Path("/usr/lib/postgresql")

    @classmethod
    def of(
        cls,
        version: int,
        cluster: str = "main",
        data_directory: str | None = None,
        config_directory: str | None = None,
        port: int = 5432,
        timeout: int = 5,
    ) -> Instance:
        """The instance ``version``/``cluster``, directories derived where they aren't given."""
        return cls(
            version,
            cluster,
            Path(data_directory or f"/var/lib/postgresql/{version}/{cluster}"),
            Path(config_directory or f"/etc/postgresql/{version}/{cluster}"),
            port,
            timeout,
        )

    @property
    def fence_file(self) -> Path:
        """Its presence keeps the instance from being started as a primary; it holds the reason."""
        return self.state_directory / f"{self.version}-{self.cluster}.fenced"

    @property
    def held_file(self) -> Path:
        """There while the guard doesn't let the instance start; it holds the reason."""
        return self.state_directory / f"{self.version}-{self.cluster}.held"

    @property
    def start_file(self) -> Path:
        """Permits the next start to happen without the guard asking anybody; it holds who permits it."""
        return self.socket_directory / f"{self.version}-{self.cluster}.start"

    @property
    def staging(self) -> Path:
        """Where a clone is made, before it is renamed into place whole."""
        return self.data_directory.with_name(f"{self.data_directory.name}.cloning")

    @property
    def standby_conf(self) -> Path:
        """The settings that make a standby; outside the data directory, so no copy touches it."""
        return self.config_directory / "conf.d" / "90-standby.conf"

    @property
    def log_file(self) -> Path:
        return self.log_directory / f"postgresql-{self.version}-{self.cluster}.log"

    def binary(self, name: str, version: int | None = None) -> str:
        return str(self.binaries / str(version or self.version) / "bin" / name)


def version_there(cluster: str = "main", state_directory: Path = Path("/var/lib/postgresql")) -> int | None:
    """The major version of the instance that is there, None if none is.

    A major upgrade leaves the old data directory beside the new one: what runs counts most, then
    what holds data, then the later version.
    """

    def rank(version: int) -> tuple[bool, bool, int]:
        data = state_directory / str(version) / cluster
        return running_postmaster(data) is not None, not is_empty(data), version

    versions = {
        int(path.parent.name)
        for name in (cluster, f"{cluster}.cloning")
        for path in state_directory.glob(f"*/{name}")
        if path.parent.name.isdigit() and path.is_dir() and not is_empty(path)
    }
    return max(versions, key=rank, default=None)


def as_postgres(*argv: str, bound: float | None = None) -> list[str]:
    """``argv`` run as the operating system user postgres, for ``bound`` seconds at most.

    Messages are in English whatever the host speaks, for they are read here.
    """
    limit = ["timeout", "--signal=KILL", f"{bound:g}"] if bound else []
    return [*limit, "runuser", "-u", "postgres", "--", "env", "LC_ALL=C", *argv]


# One document, so that one call sees everything at one moment. What fails on a primary or on a
# standby stands behind CASE. Works on PostgreSQL 15 and later.
#
# A standby that was restarted replays what it had received before it asks for more; until then it
# doesn't know how far that goes (pg_last_wal_receive_lsn() is null). It has come to the end once
# its startup process asked for a stream, or waits to look again
# (https://www.postgresql.org/docs/current/monitoring-stats.html#WAIT-EVENT-TIMEOUT-TABLE). This is
# looked at before the positions: the other way round they could be older than the verdict on them.
OBSERVATION_SQL = """
SELECT json_build_object(
  'in_recovery', pg_is_in_recovery(),
  'server_version', current_setting('server_version'),
  'system_identifier', (SELECT system_identifier::text FROM pg_control_system()),
  'current_lsn', CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_lsn() END,
  'insert_timeline', CASE WHEN NOT pg_is_in_recovery() THEN
      ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END,
  'lsn_exact', NOT pg_is_in_recovery() OR pg_last_wal_receive_lsn() IS NOT NULL
      OR EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'startup'
          AND wait_event IN ('RecoveryRetrieveRetryInterval', 'RecoveryWalStream')),
  'received_timeline', (SELECT received_tli FROM pg_stat_wal_receiver),
  'received_lsn', CASE WHEN pg_is_in_recovery() THEN
      greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) END,
  'replayed_lsn', CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() END,
  'replay_paused', CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END,
  'streams_from', (SELECT json_build_object(
      'host', sender_host, 'port', sender_port, 'slot', slot_name)
      FROM pg_stat_wal_receiver WHERE status = 'streaming'),
  'lag_seconds', CASE
      WHEN NOT pg_is_in_recovery() THEN NULL
      WHEN pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn()
           AND EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming') THEN 0
      ELSE round(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()), 3) END,
  'oldest_segment', CASE WHEN NOT pg_is_in_recovery() THEN
      (SELECT min(substr(name, 9)) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$') END,
  'primary_conninfo', current_setting('primary_conninfo'),
  'primary_slot_name', current_setting('primary_slot_name'),
  'synchronous_standby_names', current_setting('synchronous_standby_names'),
  'pending_restart', (SELECT coalesce(json_agg(name ORDER BY name), '[]')
      FROM pg_settings WHERE pending_restart),
  'archiver', CASE WHEN current_setting('archive_mode') = 'off' THEN NULL ELSE (SELECT json_build_object(
      'last_wal', last_archived_wal,
      'failing_for', CASE WHEN last_failed_time > coalesce(last_archived_time, '-infinity') THEN
          round(extract(epoch FROM clock_timestamp()
              - coalesce(last_archived_time, greatest(stats_reset, pg_postmaster_start_time())))) END)
      FROM pg_stat_archiver) END,
  'replication', (SELECT coalesce(json_agg(json_build_object(
      'name', application_name,
      'address', host(client_addr),
      'state', state,
      'sync_state', sync_state,
      'flush_lsn', flush_lsn,
      'replay_lsn', replay_lsn,
      'lag_bytes', pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery()
          THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END, replay_lsn)::bigint,
      'lag_seconds', round(extract(epoch FROM replay_lag), 3),
      'ssl', coalesce(ssl, false)) ORDER BY application_name, pid), '[]')
      FROM pg_stat_replication LEFT JOIN pg_stat_ssl USING (pid) WHERE state <> 'backup'),
  'slots', (SELECT coalesce(json_agg(json_build_object(
      'name', slot_name,
      'active', active,
      'wal_status', wal_status,
      'restart_lsn', restart_lsn,
      'kind', slot_type) ORDER BY slot_name), '[]')
      FROM pg_replication_slots))
"""

# A server that says this to the superuser on its own host is set up wrong. Anything else (it is
# starting, stopping, frozen, out of connections) may pass.
NOT_ALLOWED = re.compile(
    r"authentication failed|pg_hba\.conf (?:entry|rejects)|no password supplied|role .* does not exist"
    r"|permission denied",
    re.IGNORECASE,
)


def observe(instance: Instance, run: Runner) -> Observation:
    """The instance as it is, running or not; a frozen server costs ``instance.timeout`` seconds.

    PgError: the data directory can't be read, or holds something that is no database.
    """
    try:
        return _observe(instance, run)
    except OSError as error:
        raise PgError(
            f"{error.filename} can't be read ({error.strerror}); it is read as root (become: true)",
            path=str(error.filename),
        ) from error


def _observe(instance: Instance, run: Runner) -> Observation:
    seen = Observation(
        State.ABSENT,
        port=instance.port,
        data_directory=str(instance.data_directory),
        fenced=instance.fence_file.exists(),
        fenced_reason=read_text(instance.fence_file) or None,
        clone_in_progress=instance.staging.exists(),
    )
    if is_empty(instance.data_directory):
        return seen
    version = _data_version(instance)
    control = _control_data(instance, version, run)
    timeline = max(
        int(control["Latest checkpoint's TimeLineID"]),
        int(control["Min recovery ending loc's timeline"]),
    )
    position = max(
        Lsn.parse(control["Latest checkpoint location"]),
        Lsn.parse(control["Minimum recovery ending location"]),
    )
    segment_size = int(control["Bytes per WAL segment"])
    standby_signal = (instance.data_directory / "standby.signal").exists()
    postmaster = running_postmaster(instance.data_directory)
    # A primary that is about to hand over has the file already, and accepts writes until it stops.
    writes = control["Database cluster state"] in ("in production", "shutting down")
    standby = standby_signal and not (writes and postmaster is not None)
    seen = replace(
        seen,
        state=State.STANDBY if standby else State.PRIMARY,
        version=version,
        system_identifier=control["Database system identifier"],
        timeline=timeline,
        standby_signal=standby_signal,
        lsn_exact=False,
        upstream=configured_upstream(instance),
    )
    if standby:
        seen = replace(seen, received_lsn=position, replayed_lsn=position)
    else:
        seen = replace(seen, current_lsn=position)
    if postmaster is None:
        # "in recovery" is how a standby stops. Without standby.signal it was made something else since.
        clean = ("shut down", "shut down in recovery") if standby_signal else ("shut down",)
        seen = replace(seen, state=State.STOPPED, clean_shutdown=control["Database cluster state"] in clean)
        # What the guard decided at the last start is in force as long as it would start as a primary.
        if instance.held_file.exists() and not (seen.fenced or standby_signal):
            seen = replace(seen, fenced=True, fenced_reason=read_text(instance.held_file) or None, held=True)
    else:
        answer = _ask(instance, postmaster, run)
        seen = replace(seen, port=postmaster.port or instance.port)
        seen = seen if answer is None else _with_answer(seen, answer, segment_size)
    return _with_timeline_from_wal(seen, instance.data_directory / "pg_wal", segment_size)


def is_empty(directory: Path) -> bool:
    """Whether ``directory`` is missing or has nothing in it."""
    try:
        return not os.listdir(directory)
    except FileNotFoundError:
        return True


def _data_version(instance: Instance) -> int:
    directory = instance.data_directory
    text = read_text(directory / "PG_VERSION")
    if not text.isdigit() or not (directory / "global" / "pg_control").exists():
        raise PgError(
            f"{directory} is not empty, but holds no whole PostgreSQL database (PG_VERSION and "
            "global/pg_control were expected): move its content away, or correct data_directory",
            data_directory=str(directory),
        )
    return int(text)


def wal_segment_size(instance: Instance, run: Runner) -> int:
    """Bytes of one file of its WAL."""
    return int(_control_data(instance, _data_version(instance), run)["Bytes per WAL segment"])


def _control_data(instance: Instance, version: int, run: Runner) -> Mapping[str, str]:
    binary = instance.binary("pg_controldata", version)
    command = as_postgres(binary, "-D", str(instance.data_directory), bound=instance.timeout)
    found = ""
    for _attempt in range(3):
        rc, out, err = run(command)
        values = dict(line.split(":", 1) for line in out.splitlines() if ":" in line)
        warned = [line for line in out.splitlines() if "WARNING" in line]
        if rc == 0 and not warned and "CRC" not in err and "Database system identifier" in values:
            return {key.strip(): value.strip() for key, value in values.items()}
        found = one_line(err or (warned or [f"return code {rc}"])[0])
        # A running server may have been writing the file at that moment.
        time.sleep(0.1)
    raise PgError(
        f"the control file {instance.data_directory}/global/pg_control can't be trusted: {binary} "
        f"says: {found}. Restore the instance from a standby or a backup; if another PostgreSQL "
        f"version made it, install postgresql-{version}",
        data_directory=str(instance.data_directory),
    )


@dataclass(frozen=True)
class Postmaster:
    """What a running server wrote into postmaster.pid."""

    pid: int
    port: int | None
    socket_directory: str


def running_postmaster(data_directory: Path) -> Postmaster | None:
    """The server that runs on ``data_directory``, whether it answers or not.

    postmaster.pid survives a crash and its number may be anybody's by now. A postmaster's working
    directory is its data directory, which nobody else's is. root may be denied that look (in a
    container without CAP_SYS_PTRACE); Debian then names the directory on the command line.
    """
    lines = read_text(data_directory / "postmaster.pid").splitlines()
    if not lines or not lines[0].strip().isdigit():
        return None
    pid = int(lines[0])
    try:
        if os.readlink(f"/proc/{pid}/cwd") != str(data_directory.resolve()):
            return None
    except PermissionError:
        arguments = read_text(Path(f"/proc/{pid}/cmdline")).split("\0")
        if str(data_directory) not in arguments:
            return None
    except (FileNotFoundError, ProcessLookupError):
        return None
    port = lines[3].strip() if len(lines) > 3 else ""
    return Postmaster(pid, int(port) if port.isdigit() else None, lines[4].strip() if len(lines) > 4 else "")


def psql(instance: Instance, conninfo: Mapping[str, str], sql: str) -> list[str]:
    """The command that prints the single value of ``sql``, bounded by ``instance.timeout``."""
    settings = {"connect_timeout": str(max(2, instance.timeout)), **conninfo}
    command = [instance.binary("psql"), "-XAtqw", "-v", "ON_ERROR_STOP=1"]
    return as_postgres(*command, "-d", format_conninfo(settings), "-c", sql, bound=instance.timeout)


def local_conninfo(instance: Instance, postmaster: Postmaster | None = None) -> dict[str, str]:
    """How the superuser reaches the instance on its own host."""
    socket = postmaster.socket_directory if postmaster else ""
    port = postmaster.port if postmaster else None
    return {
        "host": socket or str(instance.socket_directory),
        "port": str(port or instance.port),
        "user": "postgres",
        "dbname": "postgres",
        "options": f"-c statement_timeout={instance.timeout}s -c client_min_messages=error",
    }


def _ask(instance: Instance, postmaster: Postmaster, run: Runner) -> dict[str, Any] | None:
    """What the running server says about itself; None if it doesn't answer in time."""
    rc, out, err = run(psql(instance, local_conninfo(instance, postmaster), OBSERVATION_SQL))
    if rc == 0:
        return dict(json.loads(out))
    if NOT_ALLOWED.search(err):
        raise PgError(
            f"the server on port {postmaster.port} doesn't let the user postgres in on its own "
            f"host: {one_line(err)}. Keep the line 'local all postgres peer' first in "
            "pg_hba.conf",
            data_directory=str(instance.data_directory),
        )
    return None


def _with_answer(seen: Observation, answer: Mapping[str, Any], segment_size: int) -> Observation:
    """``seen``, as known from its files, with what the server itself says."""
    copied = (
        "server_version",
        "system_identifier",
        "current_lsn",
        "received_lsn",
        "replayed_lsn",
        "lsn_exact",
        "replay_paused",
        "lag_seconds",
        "replication",
        "slots",
        "synchronous_standby_names",
        "pending_restart",
        "archiver",
    )
    standby = answer["in_recovery"]
    told = (seen.timeline, answer["received_timeline"]) if standby else (answer["insert_timeline"],)
    upstream = upstream_from(answer["primary_conninfo"] or "", answer["primary_slot_name"] or None)
    oldest = answer["oldest_segment"] and _start_of_segment(answer["oldest_segment"], segment_size)
    return Observation.from_dict(
        {
            **seen.to_dict(),
            **{key: answer[key] for key in copied},
            "state": (State.STANDBY if standby else State.PRIMARY).value,
            "timeline": max(timeline or 0 for timeline in told),
            "timeline_history": [],
            "upstream": upstream and vars(upstream),
            "streaming": _streams_from(upstream, answer["streams_from"]),
            "oldest_lsn": oldest and str(oldest),
            "accepts_connections": True,
        }
    )


def _start_of_segment(segment: str, size: int) -> Lsn:
    """Where a WAL file begins: the part of its name after the timeline, the file's size in bytes."""
    return Lsn((int(segment[:8], 16) << 32) + int(segment[8:], 16) * size)


def _streams_from(upstream: Upstream | None, sender: Mapping[str, Any] | None) -> bool:
    """Whether the connection that is up leads to the upstream that is set.

    For a moment after a change of upstream it is still the old one.
    """
    if upstream is None or sender is None:
        return False
    hosts = (upstream.host or "").split(",") + (upstream.address or "").split(",")
    told = (sender["port"], sender["slot"] or None)
    return sender["host"] in hosts and told == (upstream.port, upstream.slot)


def _with_timeline_from_wal(seen: Observation, pg_wal: Path, segment_size: int) -> Observation:
    """``seen`` with the timeline its WAL files prove, and that timeline's history.

    A standby writes what it receives into files named after the timeline, while its control file
    learns of a new timeline only at the next restart point, minutes later.
    """
    timeline = seen.timeline
    if seen.is_standby:
        timeline = max(timeline, timeline_of_position(os.listdir(pg_wal), seen.position, segment_size))
    history = read_text(pg_wal / f"{timeline:08X}.history") if timeline > 1 else ""
    return replace(seen, timeline=timeline, timeline_history=tuple(parse_history(history)))


def configured_upstream(instance: Instance) -> Upstream | None:
    """The upstream as the files say it, for a server that can't be asked."""
    settings: dict[str, str] = {}
    for path in (instance.standby_conf, instance.data_directory / "postgresql.auto.conf"):
        settings.update(parse_settings(read_text(path)))
    slot = settings.get("primary_slot_name") or None
    return upstream_from(settings.get("primary_conninfo", ""), slot)


def read_text(path: Path) -> str:
    """The text of ``path``, stripped; empty if there is no such file."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return ""


def one_line(text: str) -> str:
    """What a program said, fit to stand inside a sentence."""
    return " ".join(text.split()).rstrip(".")


@contextlib.contextmanager
def readable_wal(instance: Instance, names: Collection[str] | None = None) -> Iterator[Path]:
    """A directory for pg_waldump: links to the segments of ``instance`` (all, or ``names``) that hold something.

    A server makes its next segment ahead, and it is empty at first. pg_waldump learns the size of a segment from
    whichever file it comes upon, and gives up if that is such a one.
    """
    pg_wal = instance.data_directory / "pg_wal"
    # Not root's own temporary folder, which may be closed to the user that pg_waldump runs as.
    with tempfile.TemporaryDirectory(prefix="pg_wal-", dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        for name in os.listdir(pg_wal) if names is None else names:
            # A segment may be recycled, and get another name, while we look.
            with contextlib.suppress(FileNotFoundError, IsADirectoryError), open(pg_wal / name, "rb") as file:
                if file.read(2).strip(b"\0"):
                    os.symlink(pg_wal / name, os.path.join(folder, name))
        yield Path(folder)
