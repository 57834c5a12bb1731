# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a healthy primary may hand over, and to whom. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import (
    choose_candidate,
    history_of,
    holds,
    is_upstream,
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

#: A candidate that has more than this to replay would make the writers wait, in bytes.
MOST_LAG = 16 * 1024**2


@dataclass(frozen=True)
class SwitchoverPlan:
    """The decision. ``from_timeline`` is written now, ``timeline`` afterwards.

    ``promote``: who is promoted without an old primary that hands over, to finish an interrupted run.
    """

    outcome: Outcome
    old_primary: str | None
    candidate: str | None
    candidate_reason: str
    candidate_version: int | None
    from_timeline: int | None
    timeline: int | None
    promote: str | None
    members: tuple[MemberMove, ...]
    rows: tuple[Row, ...]
    refusals: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    next_steps: tuple[str, ...] = ()

    @property
    def followers(self) -> tuple[str, ...]:
        """The members that are to follow the candidate."""
        return () if self.outcome is Outcome.REFUSE else with_action(self.members, Move.FOLLOW)

    @property
    def parts(self) -> Mapping[str, Mapping[str, str]]:
        """For each of the two that hand over: its part, and who has the other one."""
        if self.outcome is not Outcome.ACT or self.old_primary is None or self.candidate is None:
            return {}
        return {
            self.old_primary: {"part": Move.HAND_OVER.value, "peer": self.candidate},
            self.candidate: {"part": Move.TAKE_OVER.value, "peer": self.old_primary},
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain data, members keyed by name in inventory order."""
        return {
            **as_dict(self),
            "followers": list(self.followers),
            "rejoiners": list(with_action(self.members, Move.REJOIN)),
            "parts": self.parts,
        }


def switchover(
    observations: Observations,
    declared: Declared,
    target: str | None = None,
    errors: Mapping[str, str] | None = None,
) -> SwitchoverPlan:
    """Whether the primary may hand over to ``target``, and to whom if none is named.

    By default to the declared primary where that is a fit standby, else to the one that holds the most.
    """
    scene = Scene.of(observations, declared, errors)
    if target is not None and target not in declared.names:
        problem = f"switchover_to names {target}, expected a member of the cluster ({listed(declared.names)})"
        return _no_switchover(scene, None, [problem])
    if len(declared.members) < 2:
        return _no_switchover(
            scene, None, ["the cluster has one member, expected a second one to hand over to: declare a standby"]
        )
    primaries = scene.primaries
    if len(primaries) > 1:
        return _no_switchover(scene, None, [two_primaries({name: scene.seen[name] for name in primaries})])
    if not primaries:
        return _finish_handover(scene, target)
    primary = primaries[0]
    if not scene.seen[primary].accepts_connections:
        return _no_switchover(
            scene,
            primary,
            [
                f"{primary} runs as the primary but doesn't answer, expected a healthy one that hands over: run "
                "failover.yml if it is lost"
            ],
        )
    later = scene.later_than(primary)
    if later is not None:
        return _no_switchover(scene, primary, [later])
    left = scene.left_by_a_handover(primary)
    if (left and target in (None, primary)) or target == primary:
        return _settle(scene, primary, left)
    return _hand_over(scene, primary, target)


def _hand_over(scene: Scene, primary: str, target: str | None) -> SwitchoverPlan:
    """The normal case: a healthy primary hands over to a standby that is close behind."""
    source = scene.seen[primary]
    unready = {name: _unready(scene, primary, name) for name in scene.declared.names if name != primary}
    ready = {name: scene.seen[name] for name, why in unready.items() if why is None}
    declared = scene.declared.primary.name
    if target is not None and target not in ready:
        return _no_switchover(scene, primary, [f"{target} can't take over: it {unready[target]}"])
    if not ready:
        found = "; ".join(f"{name} {why}" for name, why in unready.items())
        return _no_switchover(scene, primary, [f"no standby can take over: {found}"])
    candidate = target or (declared if declared in ready else choose_candidate(ready))
    members = tuple(_on_switchover(scene, name, primary, candidate, unready) for name in scene.declared.names)
    best = scene.seen[candidate]
    if target is not None:
        reason = f"you named it (switchover_to): {history_of(best)}"
    elif candidate == declared:
        reason = f"the inventory names it: {history_of(best)}"
    else:
        reason = why_chosen(ready, candidate)
    alone = scene.declared.synchronous is not Synchronous.OFF and not any(
        member.upstream == candidate for member in members if member.action is not Move.HAND_OVER
    )
    notes = [
        f"no other standby can follow {candidate} beforehand: its writes wait until {primary} is back as a standby "
        f"(pg_synchronous: {scene.declared.synchronous.value})"
    ]
    return SwitchoverPlan(
        outcome=Outcome.ACT,
        old_primary=primary,
        candidate=candidate,
        candidate_reason=reason,
        candidate_version=best.version,
        from_timeline=source.timeline,
        timeline=source.timeline + 1,
        promote=None,
        members=members,
        rows=table(scene, primary, candidate),
        notes=tuple(notes if alone else ()),
        next_steps=steps_left(scene.declared, candidate, members),
    )


def _unready(scene: Scene, primary: str, name: str) -> str | None:
    """Why ``name`` can't take over from ``primary`` now, None if it can. A half sentence."""
    if name not in scene.seen:
        return f"can't be asked ({scene.silence(name)})"
    seen, source = scene.seen[name], scene.seen[primary]
    if seen.is_stopped_primary and seen.system_identifier == source.system_identifier:
        return "is a stopped old primary: run rejoin.yml first"
    unfit = why_unfit(seen, source)
    if unfit is not None:
        return unfit
    if seen.timeline != source.timeline:
        return f"is on timeline {seen.timeline}, {primary} on {source.timeline}: run site.yml first"
    upstream = scene.upstream_of(seen)
    if upstream != primary:
        # Only from the primary itself does it learn in time that the primary was stopped.
        return f"streams from {upstream or 'nobody'}, not from the primary {primary}: run site.yml first"
    if not seen.streaming:
        return f"doesn't stream from {primary} at the moment: run site.yml first"
    lag = _lag(scene, primary, name)
    if lag > MOST_LAG:
        return (
            f"has {count_bytes(lag)} to replay, expected at most {count_bytes(MOST_LAG)}: wait until it has caught up, "
            "or name another"
        )
    return None


def _lag(scene: Scene, primary: str, name: str) -> int:
    """What a standby hasn't replayed, in bytes; as the primary sees it, who knows both ends at one moment."""
    client = (scene.clients() or {}).get(name)
    if client is not None and client.lag_bytes is not None:
        return client.lag_bytes
    seen = scene.seen[name]
    return max(0, scene.seen[primary].position - (seen.replayed_lsn or seen.position))


def _on_switchover(
    scene: Scene, name: str, primary: str, candidate: str, unready: Mapping[str, str | None]
) -> MemberMove:
    if name == primary:
        return MemberMove(name, Move.HAND_OVER, f"stops in order, then follows {candidate}", candidate)
    if name == candidate:
        return MemberMove(name, Move.TAKE_OVER, f"is promoted once it holds the shutdown checkpoint of {primary}")
    seen = scene.seen.get(name)
    if seen is None or not seen.streaming or why_unfit(seen, scene.seen[primary]) is not None:
        return MemberMove(name, Move.HOLD, f"it {unready[name]}; run site.yml afterwards")
    if is_upstream(seen, scene.declared.member(candidate)):
        return MemberMove(name, Move.NONE, f"follows {candidate} already", candidate)
    # Beforehand: then the new primary has a standby that acknowledges its first write.
    return MemberMove(name, Move.FOLLOW, f"is to follow {candidate} beforehand", candidate)


def _settle(scene: Scene, primary: str, left: Collection[str]) -> SwitchoverPlan:
    """The handover to ``primary`` has happened: what remains is that the others follow it."""
    ours = scene.ours(primary)
    source = scene.seen[primary]
    members = tuple(_after_handover(scene, ours, name, primary, left) for name in scene.declared.names)
    unsettled = [member.name for member in members if member.action in (Move.FOLLOW, Move.REJOIN)]
    return SwitchoverPlan(
        outcome=Outcome.FINISH if unsettled else Outcome.NOTHING,
        old_primary=replaced(scene, primary),
        candidate=primary,
        candidate_reason=f"{primary} is the primary already, on timeline {source.timeline}",
        candidate_version=source.version,
        from_timeline=source.timeline,
        timeline=source.timeline,
        promote=None,
        members=members,
        rows=table(scene, None, None),
        next_steps=steps_left(scene.declared, primary, members),
    )


def _after_handover(
    scene: Scene, ours: Mapping[str, Observation], name: str, primary: str, left: Collection[str]
) -> MemberMove:
    if name == primary:
        return MemberMove(name, Move.NONE, "the live primary")
    if name in left and scene.seen[name].state is State.STOPPED:
        return MemberMove(name, Move.REJOIN, f"it handed over to {primary}", primary)
    return behind(scene, ours, name, primary)


def _finish_handover(scene: Scene, target: str | None) -> SwitchoverPlan:
    """Nobody is a primary: the old one has stopped to hand over, and the candidate wasn't promoted yet.

    Nothing is lost by promoting a standby that holds all that any member holds, and all were asked.
    """
    found = "no member is a primary, expected a healthy one that hands over"
    old = scene.old_primary()
    if scene.missing:
        silent = "; ".join(f"{name} can't be asked ({scene.silence(name)})" for name in scene.missing)
        return _no_switchover(scene, old, [f"{found}; {silent}. Run failover.yml if the primary is lost"])
    ours = scene.ours(old)
    lacking = {name: _lacking(scene, ours, name, reference_of(ours, old)) for name in scene.declared.names}
    complete = {name: seen for name, seen in ours.items() if lacking[name] is None}
    if not complete or (target is not None and target not in complete):
        named = [target] if target is not None else [name for name in scene.declared.names if name != old]
        why = "; ".join(f"{name} can't be promoted: it {lacking[name]}" for name in named)
        return _no_switchover(
            scene, old, [f"{found}; {why}. Run site.yml to start the old primary again, or failover.yml if it is lost"]
        )
    candidate = target or choose_candidate(complete)
    members = tuple(
        MemberMove(name, Move.PROMOTE, f"it holds all that {old or 'any member'} holds")
        if name == candidate
        else MemberMove(name, Move.REJOIN, f"it was stopped to hand over to {candidate}", candidate)
        if name == old and scene.seen[name].state is State.STOPPED
        else behind(scene, ours, name, candidate)
        for name in scene.declared.names
    )
    best = ours[candidate]
    return SwitchoverPlan(
        outcome=Outcome.FINISH,
        old_primary=old,
        candidate=candidate,
        candidate_reason=f"nobody is a primary, and {candidate} holds all that any member holds: {history_of(best)}",
        candidate_version=best.version,
        from_timeline=best.timeline,
        timeline=best.timeline + 1,
        promote=candidate,
        members=members,
        rows=table(scene, old, candidate),
        next_steps=steps_left(scene.declared, candidate, members),
    )


def _lacking(scene: Scene, ours: Mapping[str, Observation], name: str, reference: Observation | None) -> str | None:
    """Why ``name`` isn't certain to hold all that any other member holds, None if it is. A half sentence."""
    mine = scene.seen[name]
    unfit = why_unfit(mine, reference)
    if unfit is not None:
        return unfit
    for other, seen in ours.items():
        if other == name:
            continue
        if seen.is_stopped_primary and not holds(mine, seen):
            return f"doesn't hold the end of {other}, which is at {history_of(seen)}"
        exact = seen.clean_shutdown if seen.state is State.STOPPED else seen.accepts_connections and seen.lsn_exact
        if not exact:
            return f"may lack what {other} holds, which wasn't stopped in order or doesn't tell"
        if seen.history > mine.history:
            return f"lacks what {other} holds ({history_of(seen)})"
    return None if mine.lsn_exact else "still replays what it received before it was restarted"


def _no_switchover(scene: Scene, old: str | None, refusals: Sequence[str]) -> SwitchoverPlan:
    return SwitchoverPlan(
        outcome=Outcome.REFUSE,
        old_primary=old,
        candidate=None,
        candidate_reason="none",
        candidate_version=None,
        from_timeline=None,
        timeline=None,
        promote=None,
        members=tuple(MemberMove(name, Move.HOLD, "nothing is done") for name in scene.declared.names),
        rows=table(scene, old, None),
        refusals=tuple(refusals),
    )
