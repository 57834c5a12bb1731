# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What failover and switchover have in common: the members as they are, and what is said about them. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import (
    choose_candidate,
    divergence,
    history_of,
    holds,
    is_upstream,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_model import (
    Declared,
    Lsn,
    Observation,
    ReplicationClient,
    State,
    listed,
    plain,
)


class Outcome(StrEnum):
    """What a run is to do. ``FINISH``: what an interrupted run left undone."""

    ACT = "act"
    FINISH = "finish"
    NOTHING = "nothing"
    REFUSE = "refuse"


class Move(StrEnum):
    """What happens to one member. ``HOLD``: nothing now, for a reason that the operator should know."""

    PROMOTE = "promote"
    FOLLOW = "follow"
    FENCE = "fence"
    HAND_OVER = "hand_over"
    TAKE_OVER = "take_over"
    REJOIN = "rejoin"
    NONE = "none"
    HOLD = "hold"


@dataclass(frozen=True)
class MemberMove:
    """What happens to one member, and why, in words for the operator."""

    name: str
    action: Move
    reason: str
    upstream: str | None = None


@dataclass(frozen=True)
class Row:
    """One line of the table. Positions begin with ``>=`` where the member may hold more."""

    name: str
    reachable: bool
    role: str
    timeline: int | None
    received: str | None
    replayed: str | None
    sync_state: str | None
    note: str


Observations = Mapping[str, "Observation | None"]


@dataclass(frozen=True)
class Scene:
    """Declared and observed side by side; ``seen`` keeps the inventory order."""

    declared: Declared
    seen: Mapping[str, Observation]
    errors: Mapping[str, str]

    @classmethod
    def of(cls, observations: Observations, declared: Declared, errors: Mapping[str, str] | None) -> Scene:
        found = ((name, observations.get(name)) for name in declared.names)
        return cls(declared, {name: seen for name, seen in found if seen is not None}, errors or {})

    @property
    def missing(self) -> tuple[str, ...]:
        """The members that couldn't be observed."""
        return tuple(name for name in self.declared.names if name not in self.seen)

    @property
    def primaries(self) -> list[str]:
        """The members that run as primaries, whether they answer or not."""
        return [name for name, seen in self.seen.items() if seen.state is State.PRIMARY]

    @property
    def standbys(self) -> Mapping[str, Observation]:
        """The standbys, running or stopped."""
        return {name: seen for name, seen in self.seen.items() if seen.is_standby}

    def silence(self, name: str) -> str:
        """Why a member couldn't be observed."""
        return self.errors.get(name) or "no answer"

    def upstream_of(self, seen: Observation) -> str | None:
        """The declared member that a standby is told to stream from."""
        return next((member.name for member in self.declared.members if is_upstream(seen, member)), None)

    def old_primary(self) -> str | None:
        """The primary that is to be replaced, None if every member is a standby.

        In this order: whom the standbys of the latest timeline follow; the instance of the latest
        timeline that is a primary, or would start as one; a stopped standby that others follow (it
        was about to hand over); the declared one; one that can't be asked; any stopped standby, for
        it may hold more than it shows.
        """
        source = self._source()
        if source is not None:
            return self._successor(source) or source
        # Whether it runs makes no difference: an interrupted failover has stopped it.
        writers = {n: seen for n, seen in self.seen.items() if seen.state is State.PRIMARY or seen.is_stopped_primary}
        if writers:
            latest = max(writers, key=lambda name: writers[name].timeline)
            return self._successor(latest) or latest
        down = [name for name, seen in self.standbys.items() if seen.state is State.STOPPED]
        handing_over = [name for name in self._followed() if name in down]
        others = [name for name in (self.declared.primary.name, *self.missing) if name not in self.standbys]
        return next(iter((*handing_over, *others, *down)), None)

    def _followed(self) -> list[str]:
        """Whom the standbys of the latest timeline are told to follow, most of them first."""
        latest = max((seen.timeline for seen in self.standbys.values()), default=0)
        told = (self.upstream_of(seen) for seen in self.standbys.values() if seen.timeline == latest)
        return [name for name, _count in Counter(name for name in told if name is not None).most_common()]

    def _source(self) -> str | None:
        """Where what the standbys get comes from: a standby that others follow passes it on.

        Of several one that can't be asked, since it may accept writes and nobody stops it; else one
        that holds data.
        """
        sources = [name for name in self._followed() if name not in self.standbys]
        return min(sources, key=lambda name: name in self.seen and 2 - self.seen[name].has_data, default=None)

    def _successor(self, name: str) -> str | None:
        """Who was promoted in place of ``name``, as its fence marker tells, and can't be asked now.

        It may accept writes at this moment, which the fenced one can't.
        """
        seen = self.seen.get(name)
        if seen is None or not seen.has_fence_marker:
            return None
        words = re.findall(r"[\w.-]*\w", seen.fenced_reason or "")
        return next((other for other in self.missing if other in words), None)

    def ours(self, reference: str | None) -> Mapping[str, Observation]:
        """The members with data of the cluster that ``reference`` belongs to, else of the one that most do.

        Empty if that can't be told.
        """
        holders = {name: seen for name, seen in self.seen.items() if seen.has_data}
        if reference is not None and reference in holders:
            identifier = holders[reference].system_identifier
        else:
            counts = Counter(seen.system_identifier for seen in holders.values()).most_common()
            if not counts or [count for _identifier, count in counts].count(counts[0][1]) > 1:
                return {}
            identifier = counts[0][0]
        return {name: seen for name, seen in holders.items() if seen.system_identifier == identifier}

    def left_by_a_handover(self, primary: str) -> tuple[str, ...]:
        """The members that an interrupted handover to ``primary`` left behind, which can still follow it.

        A standby that follows a running standby is none: that is how a handover begins.
        """
        source = self.seen[primary]
        found = []
        for name, seen in self.ours(primary).items():
            if name == primary or seen.timeline > source.timeline or divergence(seen, source, primary) is not None:
                continue
            upstream = self.upstream_of(seen)
            lost = upstream != primary and not self.runs_as_standby(upstream)
            if (
                (seen.is_stopped_primary and seen.clean_shutdown and holds(source, seen))
                or (seen.state is State.STOPPED and seen.standby_signal and seen.timeline < source.timeline)
                or (seen.state is State.STANDBY and seen.accepts_connections and lost)
            ):
                found.append(name)
        return tuple(found)

    def later_than(self, primary: str) -> str | None:
        """What is to be said if a member holds a later timeline than the live primary."""
        mine = self.seen[primary].timeline
        later = {name: seen.timeline for name, seen in self.ours(primary).items() if seen.timeline > mine}
        if not later:
            return None
        found = ", ".join(f"{name}: timeline {timeline}" for name, timeline in later.items())
        return (
            f"{primary} serves on timeline {mine}, but a later one exists ({found}): {primary} may be an old primary. "
            f"If {primary} is right, move the other data directory away; if not, stop PostgreSQL on {primary}. Then "
            "run this again"
        )

    def runs_as_standby(self, name: str | None) -> bool:
        """Whether a member was seen running as a standby."""
        return name is not None and name in self.seen and self.seen[name].state is State.STANDBY

    def sync_states(self) -> Mapping[str, str | None]:
        """How far each standby counts for a commit: as the primary sees it, else as declared."""
        clients = self.clients()
        if clients is None:
            return dict.fromkeys(self.standbys, self.declared.synchronous.value)
        return {name: client.sync_state for name, client in clients.items()}

    def clients(self) -> Mapping[str, ReplicationClient] | None:
        """The standbys that the primary sees, by name; None if there is no primary that answers."""
        found = [self.seen[name] for name in self.primaries if self.seen[name].accepts_connections]
        return {client.name: client for client in found[0].replication} if found else None


def why_unfit(seen: Observation, reference: Observation | None) -> str | None:
    """Why an instance can't be promoted, with what would help; None if it can. A half sentence."""
    unit = f"postgresql@{seen.version}-main"
    if not seen.has_data:
        return "holds no database"
    if reference is not None and seen.system_identifier != reference.system_identifier:
        return f"belongs to another cluster (system identifier {seen.system_identifier})"
    if reference is not None and seen.version != reference.version:
        return f"has PostgreSQL version {seen.version}, the others {reference.version}"
    if seen.state is State.PRIMARY:
        return "runs as a primary and doesn't answer: wait until it does, or stop it"
    if seen.is_stopped_primary:
        return (
            "is a stopped primary. If it is the right one, start it: as root there, 'echo by hand > "
            f"/run/postgresql/{seen.version}-main.start; systemctl start {unit}'"
        )
    if seen.state is State.STOPPED:
        return f"is stopped: 'systemctl start {unit}' there"
    if not seen.accepts_connections:
        return f"runs but doesn't answer: read 'journalctl -u {unit}' there, and restart it"
    if seen.replay_paused:
        return "has its replay paused: SELECT pg_wal_replay_resume() there lets it go on"
    if seen.has_fence_marker:
        return (
            f"is fenced ({seen.fenced_reason or 'no reason given'}): if that is over, remove the file that ends in "
            ".fenced from /var/lib/postgresql there"
        )
    return None


def reference_of(ours: Mapping[str, Observation], old: str | None) -> Observation | None:
    """The member that the others are compared with: the old primary, else one of the usual version."""
    if old in ours or not ours:
        return ours.get(old or "")
    usual = Counter(seen.version for seen in ours.values()).most_common(1)[0][0]
    return next(seen for seen in ours.values() if seen.version == usual)


def behind(scene: Scene, ours: Mapping[str, Observation], name: str, source: str) -> MemberMove:
    """How a member comes to follow ``source``, at once or later."""
    if name not in scene.seen:
        return MemberMove(name, Move.HOLD, "it can't be asked; once it is back, run rejoin.yml")
    seen, upstream = scene.seen[name], scene.seen[source]
    if name not in ours:
        reason = "it holds data of another cluster" if seen.has_data else "it holds no database"
        return MemberMove(name, Move.HOLD, f"{reason}; see site.yml")
    if seen.is_stopped_primary:
        return MemberMove(name, Move.HOLD, "it is a stopped old primary; run rejoin.yml")
    if seen.timeline > upstream.timeline or divergence(seen, upstream, source) is not None:
        return MemberMove(name, Move.HOLD, f"its history is not a part of that of {source}; run rejoin.yml")
    if seen.state is State.STOPPED:
        return MemberMove(name, Move.HOLD, "it is stopped; site.yml starts it as a standby")
    unfit = why_unfit(replace(seen, fenced=False), upstream)
    if unfit is not None:
        return MemberMove(name, Move.HOLD, f"it {unfit}; then run site.yml")
    if seen.streaming and is_upstream(seen, scene.declared.member(source)):
        return MemberMove(name, Move.NONE, f"follows {source} already", source)
    return MemberMove(name, Move.FOLLOW, f"is to follow {source}", source)


def why_chosen(fit: Mapping[str, Observation], candidate: str) -> str:
    """Why ``candidate`` is the choice among those that are ``fit``."""
    best = fit[candidate]
    others = {name: seen for name, seen in fit.items() if name != candidate}
    if not others:
        return f"the only standby that can be promoted: {history_of(best)}"
    next_best = choose_candidate(others)
    second = others[next_best]
    if second.history == best.history:
        return f"as far as {next_best} ({history_of(best)}), and before it in the inventory"
    if second.timeline < best.timeline:
        return f"it holds the most: {history_of(best)}, {next_best} is on timeline {second.timeline} still"
    return f"it holds the most: {history_of(best)}, {count_bytes(best.position - second.position)} ahead of {next_best}"


def replaced(scene: Scene, primary: str) -> str | None:
    """Whom ``primary`` replaced, as far as that shows."""
    told = (scene.upstream_of(seen) for seen in scene.standbys.values())
    stopped = (name for name, seen in scene.seen.items() if seen.is_stopped_primary)
    suspects = (*told, *stopped, scene.declared.primary.name)
    return next((name for name in suspects if name not in (None, primary) and name not in scene.standbys), None)


def table(scene: Scene, old: str | None, candidate: str | None) -> tuple[Row, ...]:
    """One line for each declared member."""
    states = scene.sync_states()
    return tuple(_row(scene, name, old, candidate, states.get(name)) for name in scene.declared.names)


def _in_short(reason: str) -> str:
    """Without its time, and without what follows from it: status.yml has it at length, here is a column."""
    return re.split(r"[.:] ", re.sub(r"^\d{4}-\d\d-\d\dT\S+ ", "", reason))[0]


def _row(scene: Scene, name: str, old: str | None, candidate: str | None, sync_state: str | None) -> Row:
    seen = scene.seen.get(name)
    serves = seen is not None and seen.state is State.PRIMARY and seen.accepts_connections
    part = "candidate" if name == candidate else "old primary" if name == old and not serves else ""
    if seen is None:
        note = ", ".join(filter(None, (part, scene.silence(name))))
        return Row(name, False, "unknown", None, None, None, None, note)
    remarks = [
        part,
        "doesn't answer" if seen.state in (State.PRIMARY, State.STANDBY) and not seen.accepts_connections else "",
        "replay paused" if seen.replay_paused else "",
        f"fenced: {_in_short(seen.fenced_reason or 'no reason given')}" if seen.fenced else "",
        "" if seen.clean_shutdown is not False else "not stopped in order",
        "" if not seen.is_standby else f"follows {scene.upstream_of(seen) or 'nobody'}",
    ]
    received = seen.received_lsn if seen.is_standby else seen.current_lsn
    return Row(
        name=name,
        reachable=True,
        role=_role(seen),
        timeline=seen.timeline or None,
        received=_position(received, seen.lsn_exact),
        replayed=_position(seen.replayed_lsn, seen.lsn_exact),
        sync_state=sync_state,
        note=", ".join(filter(None, remarks)),
    )


def _role(seen: Observation) -> str:
    if not seen.has_data:
        return "no database"
    if seen.state is State.STOPPED:
        return "stopped standby" if seen.standby_signal else "stopped primary"
    return seen.state.value


def _position(lsn: Lsn | None, exact: bool) -> str | None:
    return None if lsn is None else str(lsn) if exact else f">={lsn}"


def steps_left(declared: Declared, primary: str, members: Sequence[MemberMove]) -> tuple[str, ...]:
    """What is left for the operator, line by line: the inventory to edit, and who is to come back."""
    lines = []
    if primary != declared.primary.name:
        lines += [
            f"{primary} is the primary, the inventory says {declared.primary.name}. Edit it (keep what stands behind "
            "the names):",
            "    pg_primary:",
            "      hosts:",
            f"        {primary}:",
            "    pg_replica:",
            "      hosts:",
            *(f"        {name}:" for name in declared.names if name != primary),
            f"or go back, once all stream: switchover.yml -e switchover_to={declared.primary.name}",
        ]
    for playbook in ("rejoin.yml", "site.yml"):
        names = [
            member.name
            for member in members
            if playbook in member.reason or (member.action is Move.FENCE and playbook == "rejoin.yml")
        ]
        if names:
            lines.append(f"To bring back {listed(names)}: {playbook}")
    return tuple(lines)


def with_action(members: Sequence[MemberMove], action: Move) -> tuple[str, ...]:
    """The names of those to whom that happens."""
    return tuple(member.name for member in members if member.action is action)


def as_dict(decided: Any) -> dict[str, Any]:
    """A plan as plain data, its members keyed by name in inventory order."""
    data: dict[str, Any] = plain(asdict(decided))
    data["members"] = {item.pop("name"): item for item in data["members"]}
    return data


def count_bytes(number: int) -> str:
    """A number of bytes for a sentence: small ones to the byte."""
    return f"{number} byte{'' if number == 1 else 's'}" if number < 1024**2 else f"{number / 1024**2:.1f} MiB"
