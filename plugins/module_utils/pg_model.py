# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The data that decisions about a PostgreSQL cluster are made of: what was declared, what was observed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from enum import Enum, StrEnum
from typing import Any


class Lsn(int):
    """A position in the write-ahead log, in bytes; reads and prints PostgreSQL's ``0/3000060``."""

    @classmethod
    def parse(cls, text: str) -> Lsn:
        """The position that PostgreSQL prints as ``text``; ValueError if it isn't one."""
        match = re.fullmatch(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})", text)
        if match is None:
            raise ValueError(f"{text!r} is not a WAL position such as 0/3000060")
        return cls((int(match[1], 16) << 32) + int(match[2], 16))

    def __str__(self) -> str:
        return f"{int(self) >> 32:X}/{int(self) & 0xFFFFFFFF:X}"


class State(StrEnum):
    """What an instance is, as observed on its host."""

    ABSENT = "absent"
    STOPPED = "stopped"
    PRIMARY = "primary"
    STANDBY = "standby"


class Role(StrEnum):
    """What the inventory says a member is at first."""

    PRIMARY = "primary"
    REPLICA = "replica"


class Synchronous(StrEnum):
    """How many standbys must hold a commit on disk before the client is told."""

    ANY_1 = "any_1"
    OFF = "off"

    @property
    def confirmations(self) -> int:
        return 1 if self is Synchronous.ANY_1 else 0


class PgError(Exception):
    """What was found, what was expected and what to do; ``details`` are facts for a machine."""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details = details


class DeclarationError(ValueError):
    """The inventory doesn't describe a cluster."""


@dataclass(frozen=True)
class TimelineSwitch:
    """An ancestor timeline and the position at which it was left (one line of a .history file)."""

    timeline: int
    switch_lsn: Lsn


@dataclass(frozen=True)
class Upstream:
    """The instance a standby is told to stream from."""

    host: str | None = None
    address: str | None = None
    port: int = 5432
    slot: str | None = None


@dataclass(frozen=True)
class ReplicationClient:
    """One standby as its upstream sees it; lag in bytes not replayed, and in seconds."""

    name: str
    address: str | None = None
    state: str | None = None
    sync_state: str | None = None
    flush_lsn: Lsn | None = None
    replay_lsn: Lsn | None = None
    lag_bytes: int | None = None
    lag_seconds: float | None = None
    ssl: bool = False


@dataclass(frozen=True)
class Slot:
    """One replication slot. ``kind`` is physical or logical."""

    name: str
    active: bool = False
    wal_status: str | None = None
    restart_lsn: Lsn | None = None
    kind: str = "physical"


@dataclass(frozen=True)
class Observation:
    """One instance as it is.

    ``lsn_exact`` is false where it may hold more than the positions show. ``oldest_lsn``: where the
    WAL begins that a primary still has. ``held``: what fences it is the guard's decision of the last
    start alone, which the next start revises; a fence marker stays until it is taken away. ``archiver``:
    ``last_wal`` and ``failing_for`` how many seconds (None while it doesn't); None where nothing is archived.
    """

    state: State
    port: int | None = None
    data_directory: str | None = None
    version: int | None = None
    server_version: str | None = None
    system_identifier: str | None = None
    timeline: int = 0
    current_lsn: Lsn | None = None
    received_lsn: Lsn | None = None
    replayed_lsn: Lsn | None = None
    lsn_exact: bool = True
    timeline_history: tuple[TimelineSwitch, ...] = ()
    standby_signal: bool = False
    clean_shutdown: bool | None = None
    upstream: Upstream | None = None
    streaming: bool = False
    lag_seconds: float | None = None
    replay_paused: bool = False
    replication: tuple[ReplicationClient, ...] = ()
    slots: tuple[Slot, ...] = ()
    synchronous_standby_names: str = ""
    pending_restart: tuple[str, ...] = ()
    archiver: Mapping[str, Any] | None = None
    accepts_connections: bool = False
    oldest_lsn: Lsn | None = None
    fenced: bool = False
    fenced_reason: str | None = None
    held: bool = False
    clone_in_progress: bool = False

    @property
    def has_data(self) -> bool:
        """Whether it may hold history (the left-over of an interrupted clone holds none)."""
        return self.state is not State.ABSENT

    @property
    def is_standby(self) -> bool:
        """Whether it is a standby, running or stopped: it would never start as a primary."""
        return self.state is State.STANDBY or (self.state is State.STOPPED and self.standby_signal)

    @property
    def is_stopped_primary(self) -> bool:
        """Whether it would accept writes if it were started."""
        return self.state is State.STOPPED and not self.standby_signal

    @property
    def has_fence_marker(self) -> bool:
        """Whether somebody fenced it for good: it can't start as a primary, whatever the others say."""
        return self.fenced and not self.held

    @property
    def position(self) -> Lsn:
        """The furthest WAL position it is known to hold (a lower bound unless ``lsn_exact``)."""
        known = (self.current_lsn, self.received_lsn, self.replayed_lsn)
        return max((lsn for lsn in known if lsn is not None), default=Lsn(0))

    @property
    def history(self) -> tuple[int, Lsn]:
        """What makes one instance be ahead of another: the timeline first, then the position."""
        return self.timeline, self.position

    def fork_from(self, timeline: int) -> Lsn | None:
        """Where this instance's history left the ancestor ``timeline``; None if it isn't one."""
        for switch in self.timeline_history:
            if switch.timeline == timeline < self.timeline:
                return switch.switch_lsn
        return None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, positions printed the way PostgreSQL prints them."""
        data: dict[str, Any] = plain(asdict(self))
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Observation:
        """Read back what ``to_dict`` gave; keys that aren't known here are ignored."""
        known = {item.name for item in fields(cls)}
        values = {key: value for key, value in data.items() if key in known}
        values["state"] = State(values["state"])
        for key in ("current_lsn", "received_lsn", "replayed_lsn", "oldest_lsn"):
            values[key] = _lsn(values.get(key))
        values["timeline_history"] = tuple(
            TimelineSwitch(int(item["timeline"]), Lsn.parse(item["switch_lsn"]))
            for item in values.get("timeline_history") or ()
        )
        values["upstream"] = Upstream(**values["upstream"]) if values.get("upstream") else None
        values["replication"] = tuple(
            ReplicationClient(**_with_lsns(item, "flush_lsn", "replay_lsn")) for item in values.get("replication") or ()
        )
        values["slots"] = tuple(Slot(**_with_lsns(item, "restart_lsn")) for item in values.get("slots") or ())
        values["pending_restart"] = tuple(values.get("pending_restart") or ())
        return cls(**values)


def observations_from(data: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Observation | None]:
    """Read what ``to_dict`` gave for each member; ValueError says whose observation is none."""
    found: dict[str, Observation | None] = {}
    for name, values in data.items():
        try:
            found[str(name)] = None if values is None else Observation.from_dict(values)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"the observation of {name} is not what renfo.redundancy.pg_instance_info returns under 'instance': "
                f"{error}"
            ) from error
    return found


@dataclass(frozen=True)
class Member:
    """One instance as the inventory declares it."""

    name: str
    address: str
    port: int
    role: Role


@dataclass(frozen=True)
class Declared:
    """The cluster as the inventory declares it, members in inventory order."""

    members: tuple[Member, ...]
    synchronous: Synchronous = Synchronous.ANY_1

    def __post_init__(self) -> None:
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise DeclarationError(f"declared more than once: {listed(twice)}; name each host once")
        primaries = [member.name for member in self.members if member.role is Role.PRIMARY]
        if len(primaries) != 1:
            raise DeclarationError(
                f"found {len(primaries)} declared primaries ({listed(primaries)}), expected exactly "
                "one: put one host in the group pg_primary and all others in pg_replica"
            )

    @property
    def primary(self) -> Member:
        return next(member for member in self.members if member.role is Role.PRIMARY)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(member.name for member in self.members)

    def member(self, name: str) -> Member:
        return next(member for member in self.members if member.name == name)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Declared:
        """Read ``{"members": [{"name", "address", "port", "role"}], "synchronous": "any_1"}``.

        DeclarationError says what is missing or not understood.
        """
        try:
            members = tuple(
                Member(str(item["name"]), str(item["address"]), int(item["port"]), Role(item["role"]))
                for item in data["members"]
            )
            return cls(members, Synchronous(data.get("synchronous", Synchronous.ANY_1.value)))
        except KeyError as error:
            raise DeclarationError(
                f"{error} is missing from the declared cluster; each member needs name, address, port and role"
            ) from error
        except DeclarationError:
            raise
        except ValueError as error:
            raise DeclarationError(f"the declared cluster has a wrong value: {error}") from error


def slot_name(host: str) -> str:
    """The replication slot of a standby on ``host``.

    Slot names are limited to lower-case letters, digits and underscores
    (https://www.postgresql.org/docs/current/warm-standby.html#STREAMING-REPLICATION-SLOTS).
    """
    return re.sub(r"[^a-z0-9_]", "_", host.lower())


def _lsn(value: Any) -> Lsn | None:
    return None if value is None else Lsn.parse(str(value))


def _with_lsns(item: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {**item, **{key: _lsn(item.get(key)) for key in keys}}


def plain(value: Any) -> Any:
    """``value`` with nothing in it but what JSON knows, positions printed as PostgreSQL prints them."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Lsn):
        return str(value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def listed(names: Sequence[str]) -> str:
    """``names`` for a sentence."""
    return ", ".join(names) or "none"
