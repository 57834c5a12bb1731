# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What to do with each member of a PostgreSQL cluster, decided from what was declared and observed.

Everything here is pure: data in, data out. ``plan`` is the only place where a primary is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from enum import Enum, StrEnum
from typing import Any

# A clean stop ends with one checkpoint record. pg_controldata tells where that record begins; a
# standby that received it is this little ahead (record, alignment and page headers included).
SHUTDOWN_CHECKPOINT_BYTES = 256


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


class Intent(StrEnum):
    """What the operator asked for."""

    CONVERGE = "converge"


class Action(StrEnum):
    """What is to be done with one member."""

    BOOTSTRAP = "bootstrap"
    START = "start"
    CLONE = "clone"
    FOLLOW = "follow"
    REJOIN = "rejoin"
    NONE = "none"
    HOLD = "hold"
    REFUSE = "refuse"


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
    """One replication slot."""

    name: str
    active: bool = False
    wal_status: str | None = None
    restart_lsn: Lsn | None = None


@dataclass(frozen=True)
class Observation:
    """One instance as it is. ``lsn_exact`` is false where a stopped server could hold more."""

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
    accepts_connections: bool = False
    fenced: bool = False
    fenced_reason: str | None = None
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
        plain: dict[str, Any] = _plain(asdict(self))
        return plain

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Observation:
        """Read back what ``to_dict`` gave; keys that aren't known here are ignored."""
        known = {item.name for item in fields(cls)}
        values = {key: value for key, value in data.items() if key in known}
        values["state"] = State(values["state"])
        for key in ("current_lsn", "received_lsn", "replayed_lsn"):
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
        names = [member.name for member in self.members]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DeclarationError(f"declared more than once: {_names(twice)}; name each host once")
        primaries = [member.name for member in self.members if member.role is Role.PRIMARY]
        if len(primaries) != 1:
            raise DeclarationError(
                f"found {len(primaries)} declared primaries ({_names(primaries)}), expected exactly "
                "one: put one host in the group pg_primary and all others in pg_replica"
            )

    @property
    def primary(self) -> Member:
        return next(member for member in self.members if member.role is Role.PRIMARY)

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


@dataclass(frozen=True)
class MemberPlan:
    """What is to be done with one member, and why, in words for the operator."""

    name: str
    action: Action
    reason: str
    upstream: str | None = None


@dataclass(frozen=True)
class Plan:
    """The decision. Anything refused, or any problem, stops a run before it changes something."""

    primary: str | None
    primary_observed: bool
    members: tuple[MemberPlan, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    degraded: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain data, members keyed by name in inventory order."""
        plain: dict[str, Any] = _plain(asdict(self))
        plain["members"] = {item.pop("name"): item for item in plain["members"]}
        return plain


def slot_name(host: str) -> str:
    """The replication slot of a standby on ``host``.

    Slot names are limited to lower-case letters, digits and underscores
    (https://www.postgresql.org/docs/current/warm-standby.html#STREAMING-REPLICATION-SLOTS).
    """
    return re.sub(r"[^a-z0-9_]", "_", host.lower())


def choose_candidate(standbys: Mapping[str, Observation]) -> str:
    """The standby that holds the most history; inventory order (the mapping's) breaks ties."""
    return max(standbys, key=lambda name: standbys[name].history)


def loss_ruled_out(declared: Declared, observations: Mapping[str, Observation | None]) -> bool:
    """Whether the best observed standby is certain to hold every acknowledged commit.

    With ``ANY k`` of n standbys an acknowledged commit is on at least k of the n. At most n - k of
    them may lack it, so n - k + 1 must have been observed for one of them to hold it. A stopped
    standby may hold more than it shows, so it doesn't count
    (https://www.postgresql.org/docs/current/warm-standby.html#SYNCHRONOUS-REPLICATION).
    """
    confirmations = declared.synchronous.confirmations
    standbys = len(declared.members) - 1
    seen = [
        observed
        for observed in (observations.get(member.name) for member in declared.members)
        if observed is not None and observed.is_standby and observed.lsn_exact
    ]
    return confirmations > 0 and len(seen) >= max(1, standbys - confirmations + 1)


def plan(
    observations: Mapping[str, Observation | None],
    declared: Declared,
    intent: Intent = Intent.CONVERGE,
) -> Plan:
    """Name the primary and one action for every declared member.

    ``observations`` holds None (or nothing) for a member that couldn't be observed. What was
    observed decides who is primary; the declaration decides only where there is no data at all.
    """
    cluster = _Cluster.of(observations, declared, intent)
    primaries = [name for name, seen in cluster.seen.items() if seen.state is State.PRIMARY]
    if len(primaries) > 1:
        return _two_primaries(cluster, primaries)
    if primaries:
        return _with_primary(cluster, primaries[0])
    if not cluster.holders:
        return _without_data(cluster)
    return _without_primary(cluster)


@dataclass(frozen=True)
class _Cluster:
    """Declared and observed side by side; ``seen`` keeps the inventory order."""

    declared: Declared
    seen: Mapping[str, Observation]
    intent: Intent

    @classmethod
    def of(
        cls,
        observations: Mapping[str, Observation | None],
        declared: Declared,
        intent: Intent,
    ) -> _Cluster:
        found = ((member.name, observations.get(member.name)) for member in declared.members)
        return cls(declared, {name: seen for name, seen in found if seen is not None}, intent)

    @property
    def unreachable(self) -> tuple[str, ...]:
        return tuple(item.name for item in self.declared.members if item.name not in self.seen)

    @property
    def holders(self) -> Mapping[str, Observation]:
        return {name: seen for name, seen in self.seen.items() if seen.has_data}

    def finish(
        self,
        decide: Mapping[str, MemberPlan],
        primary: str | None = None,
        problems: Sequence[str] = (),
        notes: Sequence[str] = (),
    ) -> Plan:
        """The plan for all members; those that couldn't be observed are held here and only here."""
        members = tuple(
            decide[member.name] if member.name in self.seen else _unreachable(member.name)
            for member in self.declared.members
        )
        notes = (*notes, *self._notes(primary))
        live = primary is not None and self.seen[primary].state is State.PRIMARY
        whole = all(member.action is Action.NONE for member in members)
        return Plan(
            primary=primary,
            primary_observed=live,
            members=members,
            problems=tuple(problems),
            notes=notes,
            degraded=not whole or bool(problems) or self._not_redundant(primary),
        )

    def _not_redundant(self, primary: str | None) -> bool:
        return self._not_synchronous(primary) or any(o.replay_paused for o in self.seen.values())

    def _not_synchronous(self, primary: str | None) -> bool:
        """Whether commits are acknowledged without a standby although the inventory wants one."""
        return (
            primary is not None
            and self.seen[primary].state is State.PRIMARY
            and self.seen[primary].accepts_connections
            and len(self.declared.members) > 1
            and self.declared.synchronous is not Synchronous.OFF
            and not self.seen[primary].synchronous_standby_names
        )

    def _notes(self, primary: str | None) -> Iterable[str]:
        expected = self.declared.primary.name
        if primary is not None and primary != expected:
            yield (
                f"the primary is {primary}, the inventory says {expected}: move {primary} to "
                f"[pg_primary] and {expected} to [pg_replica], or run switchover.yml to go back"
            )
        if self._not_synchronous(primary):
            yield (
                f"{primary} acknowledges commits without waiting for a standby "
                "(synchronous_standby_names is empty), the inventory says "
                f"{self.declared.synchronous.value}"
            )
        for name, seen in self.seen.items():
            if seen.replay_paused:
                yield f"replay is paused on {name}: SELECT pg_wal_replay_resume() lets it go on"


def _two_primaries(cluster: _Cluster, primaries: Sequence[str]) -> Plan:
    seen = {name: cluster.seen[name] for name in primaries}
    identifiers = {name: observed.system_identifier for name, observed in seen.items()}
    if len(set(identifiers.values())) > 1:
        facts = "; ".join(f"{name}: system identifier {identifier}" for name, identifier in identifiers.items())
        verdict = "they belong to different clusters. Correct the inventory, or stop the one that doesn't belong here"
    else:
        facts = "; ".join(f"{name}: {_history(observed)}" for name, observed in seen.items())
        ahead = max(seen, key=lambda name: seen[name].history)
        alone = [observed.history for observed in seen.values()].count(seen[ahead].history) == 1
        verdict = (
            f"{f'{ahead} is ahead' if alone else 'none of them is ahead'}. Stop PostgreSQL on the one to give up, "
            "then run rejoin.yml for it"
        )
    problem = f"{len(primaries)} primaries accept writes, expected one ({facts}); {verdict}"
    return cluster.finish(
        {name: MemberPlan(name, Action.REFUSE, problem) for name in cluster.seen},
        problems=[problem],
    )


def _with_primary(cluster: _Cluster, primary: str) -> Plan:
    decide = {name: _beside_primary(cluster, name, primary) for name in cluster.seen}
    seen = cluster.seen[primary]
    if seen.accepts_connections:
        decide[primary] = MemberPlan(primary, Action.NONE, "the live primary")
    else:
        decide[primary] = MemberPlan(
            primary,
            Action.HOLD,
            f"{primary} runs as the primary but doesn't answer: it is starting, frozen or "
            "overloaded; read its journal and run site.yml again, or run failover.yml if it is lost",
        )
    return cluster.finish(decide, primary)


def _without_data(cluster: _Cluster) -> Plan:
    """No member holds a database: make one where the inventory says, if that is beyond doubt."""
    primary = cluster.declared.primary.name
    halves = [name for name, seen in cluster.seen.items() if seen.clone_in_progress]
    if halves:
        # A clone has a source: somebody was a primary, and its data is not where it was.
        problem = (
            f"{_names(halves)} holds the left-over of an interrupted clone, so a primary existed, "
            "but no member holds its data. Bring that data back; or, if the cluster is really to be "
            "made anew, remove the directory that ends in .cloning there and run site.yml again"
        )
        return cluster.finish(
            {name: MemberPlan(name, Action.REFUSE, problem) for name in cluster.seen},
            problems=[problem],
        )
    if cluster.unreachable:
        reason = (
            f"not initialised, because {_names(cluster.unreachable)} can't be reached and may hold "
            "the database: bring it back (or take it out of the inventory) and run site.yml again"
        )
        return cluster.finish({n: MemberPlan(n, Action.HOLD, reason) for n in cluster.seen})
    decide = {name: _clone(cluster, name, primary) for name in cluster.seen}
    decide[primary] = MemberPlan(primary, Action.BOOTSTRAP, "no member holds a database yet")
    return cluster.finish(decide, primary)


def _without_primary(cluster: _Cluster) -> Plan:
    """Data, but nobody accepts writes: start the right instance, or say why none can be."""
    for what, values in (
        ("system identifier", {n: o.system_identifier for n, o in cluster.holders.items()}),
        ("PostgreSQL version", {n: o.version for n, o in cluster.holders.items()}),
    ):
        if len(set(values.values())) > 1:
            found = ", ".join(f"{name}: {value}" for name, value in values.items())
            return _stand_still(
                cluster,
                f"the members differ in {what} ({found}), expected one, and there is no live "
                "primary to tell which is right. Move away the data directory that doesn't belong "
                "to this cluster and run site.yml again",
            )
    stopped = {n: o for n, o in cluster.holders.items() if o.is_stopped_primary}
    if not stopped:
        return _only_standbys(cluster)
    primary = max(stopped, key=lambda name: stopped[name].timeline)
    rivals = [n for n, o in stopped.items() if o.timeline == stopped[primary].timeline]
    if len(rivals) > 1:
        ahead = max(rivals, key=lambda name: stopped[name].history)
        facts = "; ".join(f"{name}: {_history(stopped[name])}" for name in rivals)
        return _stand_still(
            cluster,
            f"{_names(rivals)} are stopped and each would start as a primary on the same timeline "
            f"({facts}); {ahead} shows the furthest position. Start the right one by hand, then run "
            "rejoin.yml for the other",
        )
    obstacle = _obstacle_to_start(cluster, primary)
    if obstacle is not None:
        waiting = f"waits for a primary: {obstacle.reason}"
        decide = {name: MemberPlan(name, Action.HOLD, waiting) for name in cluster.seen}
        return cluster.finish({**decide, primary: obstacle})
    decide = {name: _beside_primary(cluster, name, primary) for name in cluster.seen}
    decide[primary] = MemberPlan(primary, Action.START, "the stopped primary of this cluster")
    return cluster.finish(decide, primary)


def _only_standbys(cluster: _Cluster) -> Plan:
    if cluster.unreachable:
        reason = (
            f"left alone, because no primary was found and {_names(cluster.unreachable)} can't be "
            "reached: bring it back and run site.yml again, or run failover.yml if it is lost"
        )
        return cluster.finish({n: MemberPlan(n, Action.HOLD, reason) for n in cluster.seen})
    return _stand_still(
        cluster,
        f"no member is a primary or could start as one; {_names(list(cluster.holders))} hold the "
        "data as standbys. Run failover.yml to promote the one that holds the most",
    )


def _stand_still(cluster: _Cluster, problem: str) -> Plan:
    """Refuse every member that holds data, hold the others."""
    decide = {
        name: MemberPlan(name, Action.REFUSE if seen.has_data else Action.HOLD, problem)
        for name, seen in cluster.seen.items()
    }
    return cluster.finish(decide, problems=[problem])


def _obstacle_to_start(cluster: _Cluster, primary: str) -> MemberPlan | None:
    """Why the stopped ``primary`` must not be started, or None when it may be."""
    mine = cluster.seen[primary]
    later = [n for n, o in cluster.holders.items() if o.timeline > mine.timeline]
    if later:
        # Somebody was promoted after this instance: started now, it would be a second primary.
        found = "; ".join(f"{name}: timeline {cluster.seen[name].timeline}" for name in later)
        told = f"not started: it is on timeline {mine.timeline}, but a later one exists ({found})"
        if cluster.unreachable:
            return MemberPlan(
                primary,
                Action.HOLD,
                f"{told}, whose primary may be {_names(cluster.unreachable)}, which can't be "
                "reached: bring it back and run site.yml again, or run failover.yml if it is lost",
            )
        return MemberPlan(primary, Action.REFUSE, f"{told}. Run failover.yml")
    if mine.fenced:
        return MemberPlan(
            primary,
            Action.HOLD,
            f"not started: it is fenced ({mine.fenced_reason or 'no reason given'}). Run "
            "failover.yml to finish a failover, or rejoin.yml to bring it back",
        )
    vouchers = [
        name
        for name, seen in cluster.seen.items()
        if seen.is_standby and seen.timeline == mine.timeline and _is_upstream(seen, cluster.declared.member(primary))
    ]
    if cluster.unreachable and not vouchers:
        return MemberPlan(
            primary,
            Action.HOLD,
            f"not started, because {_names(cluster.unreachable)} can't be reached and may have been "
            f"promoted, and no standby that was observed follows {primary}: bring it back and run "
            "site.yml again, or run failover.yml if it is lost",
        )
    return None


def _beside_primary(cluster: _Cluster, name: str, primary: str) -> MemberPlan:
    """What a member does beside ``primary``, which is live or is about to be started."""
    mine, upstream = cluster.seen[name], cluster.seen[primary]
    if not mine.has_data:
        return _clone(cluster, name, primary)
    for what, found, expected in (
        ("system identifier", mine.system_identifier, upstream.system_identifier),
        ("PostgreSQL version", mine.version, upstream.version),
    ):
        if found != expected:
            return MemberPlan(
                name,
                Action.REFUSE,
                f"its data directory {mine.data_directory or ''} has {what} {found}, expected "
                f"{expected} as on the primary {primary}: it belongs to another cluster. Move it "
                "away to have a fresh copy made, or correct the inventory",
            )
    if mine.timeline > upstream.timeline:
        return MemberPlan(
            name,
            Action.REFUSE,
            f"it is on timeline {mine.timeline}, later than timeline {upstream.timeline} of the "
            f"primary {primary}: {primary} may be an old primary. Find the primary of timeline "
            f"{mine.timeline}, or run failover.yml",
        )
    if mine.is_stopped_primary:
        gone = f"it is a stopped old primary, {primary} is the primary now"
        return _rejoin(cluster, name, primary, gone)
    divergence = _divergence(mine, upstream, primary)
    if divergence is not None:
        return _rejoin(cluster, name, primary, divergence)
    return _follow(cluster, name, primary)


def _divergence(mine: Observation, upstream: Observation, primary: str) -> str | None:
    """How a standby's history differs from the primary's, or None when it is a part of it."""
    if mine.timeline < upstream.timeline:
        fork = upstream.fork_from(mine.timeline)
        if fork is None:
            return (
                f"its timeline {mine.timeline} is not among the ancestors of timeline "
                f"{upstream.timeline} of the primary {primary}"
            )
        if mine.position > fork:
            return (
                f"it holds timeline {mine.timeline} up to {mine.position}, the primary {primary} "
                f"left that timeline at {fork}: what lies between exists nowhere else"
            )
        return None
    end = _end_of_history(upstream)
    # While it streams it can't be ahead: it was merely observed a moment later.
    if end is not None and mine.position > end and not mine.streaming:
        return (
            f"it holds timeline {mine.timeline} up to {mine.position}, the primary {primary} only "
            f"up to {end}: {primary} may have been restored from an older copy"
        )
    return None


def _end_of_history(primary: Observation) -> Lsn | None:
    """The furthest position a standby of ``primary`` can have, None where that can't be told."""
    if primary.current_lsn is None:
        return None
    if primary.state is State.PRIMARY:
        return primary.current_lsn if primary.lsn_exact else None
    return Lsn(primary.current_lsn + SHUTDOWN_CHECKPOINT_BYTES) if primary.clean_shutdown else None


def _rejoin(cluster: _Cluster, name: str, primary: str, reason: str) -> MemberPlan:
    """Coming back may cost history, so converging never does it: the operator asks for it."""
    if cluster.intent is Intent.CONVERGE:
        return MemberPlan(name, Action.REFUSE, f"{reason}. Run rejoin.yml for {name}")
    return MemberPlan(name, Action.REJOIN, reason, primary)


def _silent(cluster: _Cluster, primary: str) -> bool:
    """Whether the primary runs but gives no answer, so that nobody can be attached to it."""
    source = cluster.seen[primary]
    return source.state is State.PRIMARY and not source.accepts_connections


def _wait_for(name: str, primary: str, reason: str) -> MemberPlan:
    return MemberPlan(
        name,
        Action.HOLD,
        f"{reason}, but the primary {primary} doesn't answer: run site.yml again once it does",
    )


def _clone(cluster: _Cluster, name: str, primary: str) -> MemberPlan:
    if _silent(cluster, primary):
        return _wait_for(name, primary, "it holds no database")
    again = ", after an interrupted clone" if cluster.seen[name].clone_in_progress else ""
    return MemberPlan(name, Action.CLONE, f"it holds no database{again}", primary)


def _follow(cluster: _Cluster, name: str, primary: str) -> MemberPlan:
    mine, member = cluster.seen[name], cluster.declared.member(primary)
    right = _is_upstream(mine, member)
    if mine.upstream is not None and mine.upstream.slot != slot_name(name):
        reason = f"its slot is {mine.upstream.slot}, expected {slot_name(name)}"
    elif not right:
        was = mine.upstream and (mine.upstream.host or mine.upstream.address)
        reason = f"its upstream is {was or 'not set'}, expected {primary}"
    elif mine.state is State.STOPPED:
        reason = "it is a stopped standby"
    elif mine.streaming:
        return MemberPlan(name, Action.NONE, f"streams from {primary}", primary)
    else:
        reason = f"it doesn't stream from {primary} at the moment"
    if _silent(cluster, primary):
        return _wait_for(name, primary, reason)
    return MemberPlan(name, Action.FOLLOW, reason, primary)


def _is_upstream(standby: Observation, member: Member) -> bool:
    """Whether ``standby`` is told to stream from ``member``."""
    told = standby.upstream
    if told is None or told.port != member.port:
        return False
    if told.address is not None:
        return told.address == member.address
    return told.host in (member.name, member.address)


def _unreachable(name: str) -> MemberPlan:
    return MemberPlan(
        name,
        Action.HOLD,
        f"{name} can't be reached: bring it back (or take it out of the inventory) and run site.yml again",
    )


def _history(seen: Observation) -> str:
    return f"timeline {seen.timeline} at {seen.position}"


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _lsn(value: Any) -> Lsn | None:
    return None if value is None else Lsn.parse(str(value))


def _with_lsns(item: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {**item, **{key: _lsn(item.get(key)) for key in keys}}


def _plain(value: Any) -> Any:
    """``value`` with nothing in it but what JSON knows."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Lsn):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
