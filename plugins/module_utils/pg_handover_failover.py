# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a standby may be promoted in place of a lost primary, and which. Pure.

Nothing that was acknowledged may be lost, and no second primary may be left. Where one of the two
can't be shown it is refused, unless the operator answers for it by the name of the host.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import (
    choose_candidate,
    history_of,
    holds,
    loss_ruled_out,
    two_primaries,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_handover_scene import (
    MemberMove,
    Move,
    Observations,
    Outcome,
    Row,
    Scene,
    as_dict,
    behind,
    count_bytes,
    reference_of,
    replaced,
    steps_left,
    table,
    why_chosen,
    why_unfit,
    with_action,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_model import (
    Declared,
    Observation,
    State,
    Synchronous,
    listed,
)


class FenceBy(StrEnum):
    """How the old primary is known to accept no more writes."""

    HOST = "host"
    COMMAND = "command"
    WORD = "word"
    NONE = "none"


@dataclass(frozen=True)
class Consent:
    """What the operator answers for, by naming the old primary.

    ``fenced``: that no client reaches it any more. ``loss_of``: that what only it holds may be lost.
    """

    fenced: str | None = None
    loss_of: str | None = None


@dataclass(frozen=True)
class Fence:
    """How the old primary is kept from accepting writes, and why that is known."""

    by: FenceBy
    reason: str


@dataclass(frozen=True)
class Loss:
    """Whether nothing acknowledged is lost; if that isn't proven, at most so many bytes (None: unknown)."""

    proven: bool
    upper_bound: int | None
    reason: str


@dataclass(frozen=True)
class FailoverPlan:
    """The decision. ``timeline``: the one that the candidate writes afterwards."""

    outcome: Outcome
    old_primary: str | None
    candidate: str | None
    candidate_reason: str
    candidate_version: int | None
    timeline: int | None
    members: tuple[MemberMove, ...]
    loss: Loss
    fence: Fence
    fence_reason: str
    rows: tuple[Row, ...]
    refusals: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    next_steps: tuple[str, ...] = ()

    @property
    def followers(self) -> tuple[str, ...]:
        """The members that are to follow the candidate."""
        return () if self.outcome is Outcome.REFUSE else with_action(self.members, Move.FOLLOW)

    @property
    def fence_hosts(self) -> tuple[str, ...]:
        """The members that are to be stopped, where they run, and kept from starting as a primary."""
        return () if self.outcome is Outcome.REFUSE else with_action(self.members, Move.FENCE)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, members keyed by name in inventory order."""
        return {**as_dict(self), "followers": list(self.followers), "fence_hosts": list(self.fence_hosts)}


def failover(
    observations: Observations,
    declared: Declared,
    consent: Consent | None = None,
    fence_commands: Collection[str] = (),
    errors: Mapping[str, str] | None = None,
) -> FailoverPlan:
    """Whether a standby may be promoted in place of a lost primary, and which.

    ``observations`` holds None (or nothing) for a member that couldn't be observed; ``errors`` says
    why. ``fence_commands``: names of members that have a command which cuts them off.
    """
    scene = Scene.of(observations, declared, errors)
    consent = consent or Consent()
    primaries = scene.primaries
    if len(primaries) > 1:
        return _no_failover(scene, None, [two_primaries({name: scene.seen[name] for name in primaries})])
    if primaries and scene.seen[primaries[0]].accepts_connections:
        return _beside_a_live_primary(scene, primaries[0], consent)
    if not scene.seen:
        silent = "; ".join(f"{name}: {scene.silence(name)}" for name in declared.names)
        return _no_failover(
            scene,
            None,
            [
                f"no member can be asked ({silent}), expected at least one standby: see that this controller reaches "
                "the hosts, then run failover.yml again"
            ],
        )
    return _without_a_live_primary(scene, consent, fence_commands)


def _without_a_live_primary(scene: Scene, consent: Consent, fence_commands: Collection[str]) -> FailoverPlan:
    old = scene.old_primary()
    ours = scene.ours(old)
    refusals = list(_wrong_names(consent, old))
    reference = reference_of(ours, old)
    unfit = {name: why_unfit(seen, reference) for name, seen in scene.seen.items()}
    fit = {name: seen for name, seen in ours.items() if unfit[name] is None}
    if not ours:
        return _no_failover(scene, old, [*refusals, _no_cluster(scene)])
    if not fit:
        return _no_failover(scene, old, [*refusals, _nobody_qualifies(scene, unfit)])
    candidate = choose_candidate(fit)
    ahead = list(_ahead(ours, candidate, old, unfit))
    loss = _loss(scene, ours, candidate, old)
    fence = _fence(scene, old, consent, fence_commands)
    refusals += ahead
    # What only somebody ahead of the candidate holds is not lost yet: that is dealt with first.
    if not loss.proven and not ahead and (old is None or consent.loss_of != old):
        refusals.append(_refused_loss(loss, old))
    if fence.by is FenceBy.NONE:
        refusals.append(_refused_fence(scene, old))
    members = tuple(_on_failover(scene, ours, name, candidate, old) for name in scene.declared.names)
    outcome = Outcome.REFUSE if refusals else Outcome.ACT
    return FailoverPlan(
        outcome=outcome,
        old_primary=old,
        candidate=candidate,
        candidate_reason=why_chosen(fit, candidate),
        candidate_version=fit[candidate].version,
        timeline=fit[candidate].timeline + 1,
        members=members,
        loss=loss,
        fence=fence,
        fence_reason=_fence_reason(old, candidate),
        rows=table(scene, old, candidate),
        refusals=tuple(refusals),
        notes=tuple(_failover_notes(scene, members, candidate, old)),
        next_steps=steps_left(scene.declared, candidate, members),
    )


def _wrong_names(consent: Consent, old: str | None) -> Iterator[str]:
    for flag, named in (("failover_fenced", consent.fenced), ("failover_accept_loss_of", consent.loss_of)):
        if named is not None and named != old:
            found = f"the primary to be replaced is {old}: expected -e {flag}={old}" if old else "each is a standby"
            yield f"{flag} names {named}, but {found}"


def _no_cluster(scene: Scene) -> str:
    holders = {name: seen.system_identifier for name, seen in scene.seen.items() if seen.has_data}
    if not holders:
        return "no member that answers holds a database, expected a standby to promote: bring the others back"
    found = ", ".join(f"{name}: {identifier}" for name, identifier in holders.items())
    return (
        f"the members differ in system identifier ({found}), expected one, and there is no primary to tell which is "
        "right. Move away the data directory that doesn't belong to this cluster and run failover.yml again"
    )


def _nobody_qualifies(scene: Scene, unfit: Mapping[str, str | None]) -> str:
    found = [
        f"{name} {unfit[name]}" if name in scene.seen else f"{name} can't be asked ({scene.silence(name)})"
        for name in scene.declared.names
    ]
    return f"no standby can be promoted, expected one that runs, answers and replays: {'; '.join(found)}"


def _ahead(
    ours: Mapping[str, Observation], candidate: str, old: str | None, unfit: Mapping[str, str | None]
) -> Iterator[str]:
    """Members that hold what the candidate lacks, so that promoting it would throw that away.

    The old primary may be ahead on the timeline of the candidate: what that means is judged as loss.
    On a later timeline it was promoted after the candidate was left behind.
    """
    best = ours[candidate]
    for name, seen in ours.items():
        later = seen.timeline > best.timeline
        if name == candidate or not (later or (name != old and seen.history > best.history)):
            continue
        yield (
            f"{name} shows {history_of(seen)}, ahead of the candidate {candidate} ({history_of(best)}), and can't be "
            f"promoted as it is: it {unfit[name]}. Then run failover.yml again. If that can't be done, take {name} out "
            "of the inventory, which gives up what only it holds"
        )


def _loss(scene: Scene, ours: Mapping[str, Observation], candidate: str, old: str | None) -> Loss:
    best = ours[candidate]
    gone = ours.get(old) if old is not None else None
    # On an earlier timeline it was replaced before: it says nothing about whoever was the primary since.
    ended = gone is not None and gone.is_stopped_primary and gone.clean_shutdown and gone.timeline == best.timeline
    if gone is not None and ended and holds(best, gone):
        return Loss(
            True, 0, f"{old} was stopped in order, and {candidate} holds its shutdown checkpoint at {gone.position}"
        )
    if old is None:
        # Whoever was the primary is one of them: together they hold all there is.
        if loss_ruled_out(scene.declared.names, 1, ours):
            return Loss(True, 0, f"every member was asked, and none holds more than {candidate}")
        doubts = [f"{name} {why}" for name in scene.declared.names if (why := _uncounted(scene, ours, name))]
        return Loss(False, None, "; ".join(doubts))
    rule = _Acknowledgement.of(scene, ours, old)
    if not rule.doubts and loss_ruled_out(rule.voters, rule.confirmations, ours):
        return Loss(
            True,
            0,
            f"a commit is acknowledged once {rule.words} has it on disk; enough of them were asked, and {candidate} "
            "holds the most",
        )
    bound = None
    if gone is not None and ended:
        bound = max(0, gone.position - best.position)
    if rule.doubts:
        return Loss(False, bound, "; ".join(rule.doubts))
    missing = [f"{name} {why}" for name in rule.voters if (why := _uncounted(scene, ours, name))]
    told = f"a commit is acknowledged once {rule.words} has it on disk, and {'; '.join(missing)}"
    return Loss(False, bound, told)


@dataclass(frozen=True)
class _Acknowledgement:
    """Whose word the old primary waited for before it told a client that a commit is safe.

    ``doubts``: why it may have waited for nobody.
    """

    voters: tuple[str, ...]
    confirmations: int
    doubts: tuple[str, ...]

    @classmethod
    def of(cls, scene: Scene, ours: Mapping[str, Observation], old: str) -> _Acknowledgement:
        """As declared, and as the members are set: the setting is the same on all, but for who is left out."""
        declared = scene.declared.synchronous
        confirmations = declared.confirmations
        voters = [name for name in scene.declared.names if name != old]
        if confirmations == 0:
            return cls(tuple(voters), 0, (f"pg_synchronous is off: {old} acknowledged commits by itself",))
        doubts = []
        for name, seen in ours.items():
            if not seen.accepts_connections:
                continue
            named = synchronous_standbys(seen.synchronous_standby_names)
            if named is None:
                setting = repr(seen.synchronous_standby_names) if seen.synchronous_standby_names else "empty"
                doubts.append(
                    f"the inventory says {declared.value}, but synchronous_standby_names is {setting} on {name}"
                )
                continue
            confirmations = min(confirmations, named[0])
            known = {voter.lower() for voter in (*voters, old)}
            voters += [other for other in named[1] if other.lower() not in known]
        return cls(tuple(voters), confirmations, tuple(doubts))

    @property
    def words(self) -> str:
        number = {1: "one"}.get(self.confirmations, str(self.confirmations))
        return self.voters[0] if len(self.voters) == 1 else f"{number} of {listed(self.voters)}"


def _uncounted(scene: Scene, ours: Mapping[str, Observation], name: str) -> str | None:
    if name not in scene.declared.names:
        return "is not in the inventory"
    if name not in scene.seen:
        return "can't be asked"
    if name not in ours:
        return "holds no data of this cluster"
    seen = ours[name]
    if not seen.is_standby:
        return "is no standby"
    if seen.state is State.STOPPED:
        return "is stopped and may hold more than it shows"
    if not seen.accepts_connections:
        return "doesn't answer and may hold more than it shows"
    return None if seen.lsn_exact else "still replays what it received before it was restarted"


def synchronous_standbys(setting: str) -> tuple[int, tuple[str, ...]] | None:
    """How many of which standbys ``synchronous_standby_names`` waits for; None if not of certain ones.

    https://www.postgresql.org/docs/current/runtime-config-replication.html#GUC-SYNCHRONOUS-STANDBY-NAMES
    """
    match = re.fullmatch(r"\s*(?:(?:ANY|FIRST)\s+)?(\d+)\s*\((.*)\)\s*", setting, re.IGNORECASE | re.DOTALL)
    number, names = (int(match[1]), match[2]) if match else (1, setting)
    found = [(quoted.replace('""', '"') or bare) for quoted, bare in re.findall(r'"((?:[^"]|"")*)"|([^\s,"]+)', names)]
    return None if not found or "*" in found or number < 1 else (number, tuple(found))


def _refused_loss(loss: Loss, old: str | None) -> str:
    found = f"it can't be shown that nothing acknowledged is lost: {loss.reason}"
    if old is None:
        return f"{found}. Bring that in order and run failover.yml again"
    amount = "an unknown amount" if loss.upper_bound is None else f"at most {count_bytes(loss.upper_bound)} of WAL"
    return (
        f"{found}. Bring back whoever is missing and run failover.yml again, or accept the loss of what only {old} "
        f"holds ({amount}): -e failover_accept_loss_of={old}"
    )


def _fence(scene: Scene, old: str | None, consent: Consent, fence_commands: Collection[str]) -> Fence:
    if old is None:
        return Fence(FenceBy.HOST, "every member was asked, and none could accept writes")
    seen = scene.seen.get(old)
    if seen is not None:
        return Fence(FenceBy.HOST, _fenced_by_host(old, seen))
    if consent.fenced == old:
        return Fence(FenceBy.WORD, f"you said that no client reaches {old} (failover_fenced)")
    if old in fence_commands:
        return Fence(FenceBy.COMMAND, "its pg_fence_command has to end with 0 before anybody is promoted")
    return Fence(FenceBy.NONE, f"not shown: {old} can't be asked ({scene.silence(old)}), and has no pg_fence_command")


def _fenced_by_host(old: str, seen: Observation) -> str:
    if not seen.has_data:
        return f"{old} answers and holds no database"
    if seen.is_standby:
        return f"{old} answers and is a standby, which accepts no writes"
    if seen.state is State.STOPPED:
        return f"{old} answers: PostgreSQL is stopped there, and will be kept from starting as a primary"
    return f"{old} answers: PostgreSQL will be stopped there, and kept from starting as a primary"


def _refused_fence(scene: Scene, old: str | None) -> str:
    return (
        f"{old} can't be asked ({scene.silence(old or '')}), so it may still accept writes. Expected one of: its host "
        "answers, a pg_fence_command for it, or your word, only after you made sure that PostgreSQL there is off or "
        f"cut off from every client: -e failover_fenced={old}"
    )


def _would_write(ours: Mapping[str, Observation], candidate: str) -> tuple[str, ...]:
    """The members that answer and run, or would start, as a primary beside the candidate."""
    return tuple(
        name
        for name, seen in ours.items()
        if name != candidate and (seen.state is State.PRIMARY or seen.is_stopped_primary)
    )


def _fence_reason(old: str | None, candidate: str) -> str:
    """What the fence marker says. It names the successor, which ``old_primary`` looks for there."""
    return f"failover from {old} to {candidate}" if old else f"failover to {candidate}"


def _on_failover(
    scene: Scene, ours: Mapping[str, Observation], name: str, candidate: str, old: str | None
) -> MemberMove:
    if name == candidate:
        return MemberMove(name, Move.PROMOTE, "the standby that holds the most")
    if name in _would_write(ours, candidate):
        return MemberMove(name, Move.FENCE, "the old primary" if name == old else "it would start as a primary")
    return behind(scene, ours, name, candidate)


def _failover_notes(scene: Scene, members: Sequence[MemberMove], candidate: str, old: str | None) -> Iterator[str]:
    seen = scene.seen.get(old) if old is not None else None
    if seen is not None and seen.state is State.PRIMARY:
        yield (
            f"PostgreSQL on {old} runs but doesn't answer. If it is only starting after a crash, wait for it instead: "
            "that is no failover"
        )
    yield from _alone(scene.declared, members, candidate)


def _alone(declared: Declared, members: Sequence[MemberMove], candidate: str) -> Iterator[str]:
    follows = any(member.upstream == candidate for member in members)
    if declared.synchronous is not Synchronous.OFF and len(declared.members) > 1 and not follows:
        yield (
            f"no other standby can follow {candidate} at once: it acknowledges writes only when one does "
            f"(pg_synchronous: {declared.synchronous.value})"
        )


def _beside_a_live_primary(scene: Scene, primary: str, consent: Consent) -> FailoverPlan:
    """A healthy primary serves: finish what an interrupted failover left, or leave it alone."""
    ours = scene.ours(primary)
    source = scene.seen[primary]
    declared = scene.declared.primary.name
    later = scene.later_than(primary)
    refusals = [later] if later is not None else []
    refusals += [
        f"{flag} names {primary}, but {primary} answers as the primary on timeline {source.timeline}"
        for flag, named in (("failover_fenced", consent.fenced), ("failover_accept_loss_of", consent.loss_of))
        if named == primary
    ]
    unfenced = [name for name in _would_write(ours, primary) if not ours[name].has_fence_marker]
    members = tuple(
        MemberMove(name, Move.NONE, "the live primary")
        if name == primary
        else MemberMove(name, Move.FENCE, "it would start as a primary")
        if name in unfenced
        else behind(scene, ours, name, primary)
        for name in scene.declared.names
    )
    lost = [
        name
        for name in with_action(members, Move.FOLLOW)
        if _shows_a_failover(scene.upstream_of(ours[name]), primary, scene)
    ]
    outcome = Outcome.FINISH if unfenced or lost else Outcome.NOTHING
    # A fenced former primary shows that a failover ended here: saying it twice is no mistake.
    ended = any(ours[name].has_fence_marker for name in _would_write(ours, primary))
    if outcome is Outcome.NOTHING and primary == declared and not ended:
        refusals.append(
            f"{primary} is a healthy primary and serves (timeline {source.timeline}), expected a lost one. To hand "
            "over to another: switchover.yml. If a standby is missing: site.yml"
        )
    if refusals:
        outcome = Outcome.REFUSE
    old = replaced(scene, primary)
    return FailoverPlan(
        outcome=outcome,
        old_primary=old,
        candidate=primary,
        candidate_reason=f"{primary} is the primary already, on timeline {source.timeline}",
        candidate_version=source.version,
        timeline=source.timeline,
        members=members,
        loss=Loss(False, None, f"nobody is promoted: {primary} is the primary already"),
        fence=Fence(FenceBy.HOST, f"{listed(unfenced)} will be kept from starting as a primary")
        if unfenced
        else Fence(FenceBy.NONE, f"nothing to fence: {primary} is the primary already"),
        fence_reason=_fence_reason(old, primary),
        rows=table(scene, old, None),
        refusals=tuple(refusals),
        notes=tuple(_alone(scene.declared, members, primary)),
        next_steps=steps_left(scene.declared, primary, members),
    )


def _shows_a_failover(upstream: str | None, primary: str, scene: Scene) -> bool:
    """Whether a standby that doesn't stream from ``primary``, but is told to follow ``upstream``, was left behind.

    One that follows a running standby is a step of a switchover. One that merely lost its connection
    to the declared primary is for site.yml.
    """
    if upstream == primary:
        return primary != scene.declared.primary.name
    return not scene.runs_as_standby(upstream)


def _no_failover(scene: Scene, old: str | None, refusals: Sequence[str]) -> FailoverPlan:
    return FailoverPlan(
        outcome=Outcome.REFUSE,
        old_primary=old,
        candidate=None,
        candidate_reason="none",
        candidate_version=None,
        timeline=None,
        members=tuple(MemberMove(name, Move.HOLD, "nothing is done") for name in scene.declared.names),
        loss=Loss(False, None, "nobody can be promoted"),
        fence=Fence(FenceBy.NONE, "nobody can be promoted"),
        fence_reason="",
        rows=table(scene, old, None),
        refusals=tuple(refusals),
    )
