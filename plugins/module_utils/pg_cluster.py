# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What to do with each member of a PostgreSQL cluster, decided from what was declared and observed.

Everything here is pure: data in, data out. ``plan`` is the only place where a primary is named. The
data is described in ``pg_model``, and its names can be had here too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.pg_model import (
    DeclarationError,
    Declared,
    Lsn,
    Member,
    Observation,
    PgError,
    ReplicationClient,
    Role,
    Slot,
    State,
    Synchronous,
    TimelineSwitch,
    Upstream,
    listed,
    plain,
    slot_name,
)

__all__ = [
    "Action",
    "DeclarationError",
    "Declared",
    "Intent",
    "Lsn",
    "Member",
    "MemberPlan",
    "Observation",
    "PgError",
    "Plan",
    "ReplicationClient",
    "Role",
    "Slot",
    "State",
    "Synchronous",
    "TimelineSwitch",
    "Upstream",
    "choose_candidate",
    "divergence",
    "history_of",
    "holds",
    "is_upstream",
    "loss_ruled_out",
    "moved",
    "plan",
    "slot_name",
    "two_primaries",
]

# A clean stop ends with one checkpoint record. pg_controldata tells where that record begins; a
# standby that received it is this little ahead (record, alignment and page headers included).
SHUTDOWN_CHECKPOINT_BYTES = 256


class Intent(StrEnum):
    """What the operator asked for."""

    CONVERGE = "converge"
    REJOIN = "rejoin"

    @property
    def playbook(self) -> str:
        return "site.yml" if self is Intent.CONVERGE else "rejoin.yml"


class Action(StrEnum):
    """What is to be done with one member."""

    BOOTSTRAP = "bootstrap"
    START = "start"
    CLONE = "clone"
    FOLLOW = "follow"
    REJOIN = "rejoin"
    RESTORE = "restore"
    NONE = "none"
    HOLD = "hold"
    REFUSE = "refuse"


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
        data: dict[str, Any] = plain(asdict(self))
        data["members"] = {item.pop("name"): item for item in data["members"]}
        return data


def choose_candidate(standbys: Mapping[str, Observation]) -> str:
    """The standby that holds the most history; inventory order (the mapping's) breaks ties."""
    return max(standbys, key=lambda name: standbys[name].history)


def loss_ruled_out(voters: Sequence[str], confirmations: int, observations: Mapping[str, Observation | None]) -> bool:
    """Whether the best observed standby is certain to hold every acknowledged commit.

    With ``ANY k`` of n standbys (``confirmations`` of the ``voters``) an acknowledged commit is on at
    least k of the n. At most n - k of them may lack it, so n - k + 1 must have been observed for one
    of them to hold it. One that can't answer may hold more than it shows, so it doesn't count
    (https://www.postgresql.org/docs/current/warm-standby.html#SYNCHRONOUS-REPLICATION).
    """
    seen = [
        observed
        for observed in map(observations.get, voters)
        if observed is not None and observed.is_standby and observed.accepts_connections and observed.lsn_exact
    ]
    return confirmations > 0 and len(seen) >= max(1, len(voters) - confirmations + 1)


def is_upstream(standby: Observation, member: Member) -> bool:
    """Whether ``standby`` is told to stream from ``member``."""
    told = standby.upstream
    if told is None or told.port != member.port:
        return False
    if told.address is not None:
        return told.address == member.address
    return told.host in (member.name, member.address)


def holds(observed: Observation, other: Observation) -> bool:
    """Whether ``observed`` holds the shutdown checkpoint of the cleanly stopped primary ``other``.

    ``other`` shows where that record begins. With any byte beyond it, everything that ``other``
    ever committed is there.
    """
    if observed.timeline == other.timeline:
        return observed.position > other.position and not _another_branch(observed, other)
    fork = observed.fork_from(other.timeline)
    return fork is not None and fork > other.position


def divergence(mine: Observation, upstream: Observation, primary: str) -> str | None:
    """How an instance's history differs from the primary's, or None when it is a part of it."""
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
    if _another_branch(mine, upstream):
        return (
            f"its timeline {mine.timeline} left timeline {mine.timeline_history[-1].timeline} at "
            f"{mine.timeline_history[-1].switch_lsn}, the one of the primary {primary} is another: it left "
            f"timeline {upstream.timeline_history[-1].timeline} at {upstream.timeline_history[-1].switch_lsn}"
        )
    end = _end_of_history(upstream)
    # While it streams it can't be ahead: it was merely observed a moment later.
    if end is not None and mine.position > end and not mine.streaming:
        return (
            f"it holds timeline {mine.timeline} up to {mine.position}, the primary {primary} only "
            f"up to {end}: {primary} may have been restored from an older copy"
        )
    return None


def history_of(seen: Observation) -> str:
    """How far an instance is, for a sentence."""
    return f"timeline {seen.timeline} at {seen.position}"


def two_primaries(seen: Mapping[str, Observation]) -> str:
    """What is to be said, and done, about more than one primary."""
    identifiers = {name: observed.system_identifier for name, observed in seen.items()}
    if len(set(identifiers.values())) > 1:
        facts = "; ".join(f"{name}: system identifier {identifier}" for name, identifier in identifiers.items())
        verdict = "they belong to different clusters. Correct the inventory, or stop the one that doesn't belong here"
    else:
        facts = "; ".join(f"{name}: {history_of(observed)}" for name, observed in seen.items())
        ahead = max(seen, key=lambda name: seen[name].history)
        others = [name for name in seen if name != ahead]
        timelines = [observed.timeline for observed in seen.values()]
        if timelines.count(seen[ahead].timeline) == 1:
            verdict = (
                f"{ahead} is ahead. Run rejoin.yml -e rejoin_hosts={','.join(others)}, which stops the other and "
                f"makes it a standby of {ahead}"
            )
        else:
            alone = [observed.history for observed in seen.values()].count(seen[ahead].history) == 1
            verdict = (
                f"{f'{ahead} is ahead' if alone else 'none of them is ahead'}. Stop PostgreSQL on the one to give up, "
                "then run rejoin.yml -e rejoin_hosts= with its name"
            )
    return f"{len(seen)} primaries accept writes, expected one ({facts}); {verdict}"


def plan(
    observations: Mapping[str, Observation | None],
    declared: Declared,
    intent: Intent = Intent.CONVERGE,
    hosts: Collection[str] | None = None,
    backups: str = "",
) -> Plan:
    """Name the primary and one action for every declared member.

    ``observations`` holds None (or nothing) for a member that couldn't be observed. What was observed decides who is
    primary; the declaration decides only where there is no data at all. ``hosts``: those that the operator named; the
    others are left as they are. Converging takes none. ``backups`` says which there are of a database: beside
    them no new one is made.
    """
    cluster = _Cluster.of(observations, declared, intent, hosts)
    strangers = [name for name in hosts or () if name not in declared.names]
    if strangers:
        return _refuse_all(
            cluster,
            f"{listed(strangers)} was named, expected members of the cluster ({listed(declared.names)}): correct it",
        )
    primaries = [name for name, seen in cluster.seen.items() if seen.state is State.PRIMARY]
    if len(primaries) > 1:
        kept = _kept(cluster, primaries)
        if kept is None:
            return _refuse_all(cluster, two_primaries({name: cluster.seen[name] for name in primaries}))
        primaries = [kept]
    if primaries:
        return _with_primary(cluster, primaries[0])
    if intent is Intent.REJOIN:
        return _refuse_all(
            cluster,
            "no live primary was found, expected one to come back to. Run failover.yml if it is lost, "
            "or site.yml to start it",
        )
    if not cluster.holders:
        return _without_data(cluster, backups)
    return _without_primary(cluster)


@dataclass(frozen=True)
class _Cluster:
    """Declared and observed side by side; ``seen`` keeps the inventory order."""

    declared: Declared
    seen: Mapping[str, Observation]
    intent: Intent
    hosts: Collection[str] | None

    @classmethod
    def of(
        cls,
        observations: Mapping[str, Observation | None],
        declared: Declared,
        intent: Intent,
        hosts: Collection[str] | None,
    ) -> _Cluster:
        found = ((name, observations.get(name)) for name in declared.names)
        return cls(declared, {name: seen for name, seen in found if seen is not None}, intent, hosts)

    @property
    def unreachable(self) -> tuple[str, ...]:
        return tuple(name for name in self.declared.names if name not in self.seen)

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
        members = tuple(decide[name] if name in self.seen else self._unreachable(name) for name in self.declared.names)
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

    def _unreachable(self, name: str) -> MemberPlan:
        return MemberPlan(
            name,
            Action.HOLD,
            f"{name} can't be reached: bring it back (or take it out of the inventory) and run "
            f"{self.intent.playbook} again",
        )

    def _not_redundant(self, primary: str | None) -> bool:
        return (
            self._not_synchronous(primary)
            or self._cannot_start_again(primary)
            or any(o.replay_paused for o in self.seen.values())
        )

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

    def _cannot_start_again(self, primary: str | None) -> bool:
        """Whether the live primary would be kept from starting once its host was rebooted."""
        return primary is not None and self.seen[primary].state is State.PRIMARY and self.seen[primary].fenced

    def _notes(self, primary: str | None) -> Iterable[str]:
        expected = self.declared.primary.name
        if primary is not None and primary != expected:
            yield moved(primary, expected)
        if self._not_synchronous(primary):
            yield (
                f"{primary} acknowledges commits without waiting for a standby "
                "(synchronous_standby_names is empty), the inventory says "
                f"{self.declared.synchronous.value}"
            )
        if primary is not None and self._cannot_start_again(primary):
            yield (
                f"{primary} is the primary, but a fence marker keeps it from starting again "
                f"({self.seen[primary].fenced_reason or 'no reason given'}): remove the file that ends in "
                ".fenced from /var/lib/postgresql there"
            )
        for name, seen in self.seen.items():
            if seen.replay_paused:
                yield f"replay is paused on {name}: SELECT pg_wal_replay_resume() lets it go on"


def moved(primary: str, declared: str) -> str:
    """The note on a primary that is not the one of the inventory."""
    return (
        f"{primary} is the primary, the inventory says {declared}: in the inventory, put {primary} into pg_primary "
        f"and {declared} into pg_replica, or go back with switchover.yml -e switchover_to={declared}"
    )


def _refuse_all(cluster: _Cluster, problem: str) -> Plan:
    return cluster.finish(
        {name: MemberPlan(name, Action.REFUSE, problem) for name in cluster.seen},
        problems=[problem],
    )


def _kept(cluster: _Cluster, primaries: Sequence[str]) -> str | None:
    """Which of several primaries stays one, because the operator named the others and they are older."""
    kept = [name for name in primaries if name not in (cluster.hosts or ())]
    if cluster.intent is not Intent.REJOIN or len(kept) != 1:
        return None
    right = cluster.seen[kept[0]]
    older = all(
        (seen.system_identifier, seen.version) == (right.system_identifier, right.version)
        and seen.timeline < right.timeline
        for name, seen in cluster.seen.items()
        if name in primaries and name != kept[0]
    )
    return kept[0] if older and right.accepts_connections else None


def _with_primary(cluster: _Cluster, primary: str) -> Plan:
    decide = {name: _if_named(cluster, _beside_primary(cluster, name, primary)) for name in cluster.seen}
    if not cluster.seen[primary].accepts_connections:
        decide[primary] = MemberPlan(
            primary,
            Action.HOLD,
            f"{primary} runs as the primary but doesn't answer: it is starting, frozen or "
            f"overloaded; read its journal and run {cluster.intent.playbook} again, or run failover.yml if it is lost",
        )
    else:
        decide[primary] = MemberPlan(primary, Action.NONE, "the live primary")
    named = primary in (cluster.hosts or ())
    return cluster.finish(decide, primary, notes=[f"{primary} was named, but it is the live primary"] if named else ())


def _if_named(cluster: _Cluster, member: MemberPlan) -> MemberPlan:
    """``member``, left as it is when the operator named others."""
    if cluster.hosts is None or member.name in cluster.hosts:
        return member
    if member.action not in (Action.CLONE, Action.FOLLOW, Action.REJOIN):
        return member
    named = listed(list(cluster.hosts))
    return MemberPlan(member.name, Action.HOLD, f"{member.reason}; left as it is, for only {named} was named")


def _without_data(cluster: _Cluster, backups: str) -> Plan:
    """No member holds a database: make one where the inventory says, if that is beyond doubt."""
    primary = cluster.declared.primary.name
    halves = [name for name, seen in cluster.seen.items() if seen.clone_in_progress]
    if halves:
        # A clone has a source: somebody was a primary, and its data is not where it was.
        return _refuse_all(
            cluster,
            f"{listed(halves)} holds the left-over of an interrupted clone, so a primary existed, "
            "but no member holds its data. Bring that data back; or, if the cluster is really to be "
            "made anew, remove the directory that ends in .cloning there and run site.yml again",
        )
    if cluster.unreachable:
        reason = (
            f"not initialised, because {listed(cluster.unreachable)} can't be reached and may hold "
            "the database: bring it back (or take it out of the inventory) and run site.yml again"
        )
        return cluster.finish({n: MemberPlan(n, Action.HOLD, reason) for n in cluster.seen})
    if backups:
        return cluster.finish({name: MemberPlan(name, Action.RESTORE, backups) for name in cluster.seen})
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
        facts = "; ".join(f"{name}: {history_of(stopped[name])}" for name in rivals)
        version = stopped[ahead].version
        return _stand_still(
            cluster,
            f"{listed(rivals)} are stopped and each would start as a primary on the same timeline "
            f"({facts}); {ahead} shows the furthest position. Start the right one by hand (as root there: "
            f"'echo by hand > /run/postgresql/{version}-main.start; systemctl start postgresql@{version}-main'), "
            "then run rejoin.yml -e rejoin_hosts= with the name of the other",
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
            f"left alone, because no primary was found and {listed(cluster.unreachable)} can't be "
            "reached: bring it back and run site.yml again, or run failover.yml if it is lost"
        )
        return cluster.finish({n: MemberPlan(n, Action.HOLD, reason) for n in cluster.seen})
    return _stand_still(
        cluster,
        f"no member is a primary or could start as one; {listed(list(cluster.holders))} hold the "
        "data as standbys. Run switchover.yml again if one was interrupted, else failover.yml: each promotes the one "
        "that holds the most",
    )


def _stand_still(cluster: _Cluster, problem: str) -> Plan:
    """Refuse every member that holds data, hold the others."""
    decide = {
        name: MemberPlan(name, Action.REFUSE if seen.has_data else Action.HOLD, problem)
        for name, seen in cluster.seen.items()
    }
    return cluster.finish(decide, problems=[problem])


def _obstacle_to_start(cluster: _Cluster, primary: str) -> MemberPlan | None:
    """Why the stopped ``primary`` must not be started, or None when it may be.

    Never less strict than the guard on its host, which asks the same when nobody gave permission.
    """
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
                f"{told}, whose primary may be {listed(cluster.unreachable)}, which can't be "
                "reached: bring it back and run site.yml again, or run failover.yml if it is lost",
            )
        return MemberPlan(primary, Action.REFUSE, f"{told}. Run failover.yml")
    if mine.has_fence_marker:
        return MemberPlan(
            primary,
            Action.HOLD,
            f"not started: it is fenced ({mine.fenced_reason or 'no reason given'}). Run "
            "failover.yml to finish a failover, or rejoin.yml to bring it back",
        )
    standbys = {name: seen for name, seen in cluster.seen.items() if seen.is_standby}
    for name, seen in standbys.items():
        lacking = divergence(seen, mine, primary) if seen.timeline == mine.timeline else None
        if lacking is not None:
            # A primary that lacks what a standby was given lost it with its host's disk, or is a copy.
            return MemberPlan(
                primary,
                Action.REFUSE,
                f"not started: what {name} holds would be given up: {lacking}. Run failover.yml to promote the "
                "standby that holds the most",
            )
    followed = {
        name: [other for other, seen in standbys.items() if _follows(cluster, seen, name)]
        for name in cluster.declared.names
    }
    vouchers = [name for name in followed[primary] if standbys[name].timeline == mine.timeline]
    suspects = [name for name in cluster.unreachable if followed[name]]
    if suspects or (cluster.unreachable and not vouchers):
        evidence = (
            f"{listed(followed[suspects[0]])} follows it"
            if suspects
            else f"no standby that was observed follows {primary}"
        )
        return MemberPlan(
            primary,
            Action.HOLD,
            f"not started, because {listed(suspects or cluster.unreachable)} can't be reached and may have been "
            f"promoted, and {evidence}: bring it back and run "
            "site.yml again, or run failover.yml if it is lost",
        )
    return None


def _follows(cluster: _Cluster, seen: Observation, name: str) -> bool:
    return is_upstream(seen, cluster.declared.member(name))


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
    if mine.state is State.PRIMARY:
        older = f"it accepts writes on timeline {mine.timeline}, but {primary} is the primary of the later timeline"
        return _rejoin(cluster, name, primary, f"{older} {upstream.timeline}")
    if mine.is_stopped_primary:
        return _rejoin(cluster, name, primary, f"it is a stopped old primary, {primary} is the primary now")
    reason = divergence(mine, upstream, primary) or _missing_wal(name, mine, upstream, primary)
    if reason is None and mine.has_fence_marker:
        reason = f"it is a standby, but still fenced ({mine.fenced_reason or 'no reason given'})"
    if reason is not None:
        return _rejoin(cluster, name, primary, reason)
    return _follow(cluster, name, primary)


def _missing_wal(name: str, mine: Observation, upstream: Observation, primary: str) -> str | None:
    """Why a standby can't catch up any more with what its primary still has, or None when it can."""
    if mine.streaming or not upstream.accepts_connections:
        return None
    if any(slot.name == slot_name(name) and slot.wal_status == "lost" for slot in upstream.slots):
        return f"its slot on the primary {primary} is lost: it was away for too long"
    if (
        mine.state is State.STANDBY
        and mine.lsn_exact
        and upstream.oldest_lsn is not None
        and mine.position < upstream.oldest_lsn
    ):
        return f"it stands at {mine.position}, the primary {primary} has nothing before {upstream.oldest_lsn} any more"
    return None


def _end_of_history(primary: Observation) -> Lsn | None:
    """The furthest position a standby of ``primary`` can have, None where that can't be told."""
    if primary.current_lsn is None:
        return None
    if primary.state is State.PRIMARY:
        return primary.current_lsn if primary.lsn_exact else None
    return Lsn(primary.current_lsn + SHUTDOWN_CHECKPOINT_BYTES) if primary.clean_shutdown else None


def _another_branch(mine: Observation, other: Observation) -> bool:
    """Whether two instances on timelines of one number got there by two promotions.

    A promoted standby takes the next number that it knows of; one that never heard of the first
    promotion takes the same again.
    """
    mine_history, others_history = mine.timeline_history, other.timeline_history
    same_number = mine.timeline == other.timeline
    return same_number and bool(mine_history and others_history) and mine_history != others_history


def _rejoin(cluster: _Cluster, name: str, primary: str, reason: str) -> MemberPlan:
    """Coming back may cost history, so converging never does it: the operator asks for it.

    A later timeline shows that the others were chosen over it. On the same timeline nothing shows
    which of the two is right, so the operator names the one that gives up what only it holds.
    """
    mine, upstream = cluster.seen[name], cluster.seen[primary]
    by_name = mine.timeline == upstream.timeline and (
        mine.is_stopped_primary or divergence(mine, upstream, primary) is not None
    )
    if cluster.intent is Intent.CONVERGE:
        return MemberPlan(name, Action.HOLD, f"{reason}. Run rejoin.yml{f' -e rejoin_hosts={name}' if by_name else ''}")
    if by_name and name not in (cluster.hosts or ()):
        return MemberPlan(
            name,
            Action.HOLD,
            f"{reason}. Find out which of the two holds the right data; to give up what only {name} holds, run "
            f"rejoin.yml -e rejoin_hosts={name}",
        )
    if _silent(cluster, primary):
        return _wait_for(cluster, name, primary, reason)
    return MemberPlan(name, Action.REJOIN, reason, primary)


def _silent(cluster: _Cluster, primary: str) -> bool:
    """Whether the primary runs but gives no answer, so that nobody can be attached to it."""
    source = cluster.seen[primary]
    return source.state is State.PRIMARY and not source.accepts_connections


def _wait_for(cluster: _Cluster, name: str, primary: str, reason: str) -> MemberPlan:
    again = f"run {cluster.intent.playbook} again once it does"
    return MemberPlan(name, Action.HOLD, f"{reason}, but the primary {primary} doesn't answer: {again}")


def _clone(cluster: _Cluster, name: str, primary: str) -> MemberPlan:
    if _silent(cluster, primary):
        return _wait_for(cluster, name, primary, "it holds no database")
    again = ", after an interrupted clone" if cluster.seen[name].clone_in_progress else ""
    return MemberPlan(name, Action.CLONE, f"it holds no database{again}", primary)


def _follow(cluster: _Cluster, name: str, primary: str) -> MemberPlan:
    mine, member = cluster.seen[name], cluster.declared.member(primary)
    right = is_upstream(mine, member)
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
        return _wait_for(cluster, name, primary, reason)
    return MemberPlan(name, Action.FOLLOW, reason, primary)
