# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which release the application's hosts are to run, and in which order they get it; or why none is touched. Pure."""

from __future__ import annotations

import dataclasses
import enum
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.release import version_of
from ansible_collections.renfo.redundancy.plugins.module_utils.release_state import PREVIOUS, State

REFUSED = "Nothing was changed."


class Action(enum.Enum):
    """What is to be done on a host."""

    SWITCH = "switch"
    FINISH = "finish"
    NONE = "none"
    LEAVE = "leave"


@dataclasses.dataclass(frozen=True)
class Copy:
    """One copy of the application: the release that it runs (empty where that isn't known), and whether it is ready."""

    name: str
    release: str
    ready: bool


@dataclasses.dataclass(frozen=True)
class Seen:
    """A host as observed. *error* says why it couldn't be; then nothing else is known.

    *images* are those of its releases that run in containers.
    """

    state: State = dataclasses.field(default_factory=State)
    releases: tuple[str, ...] = ()
    images: frozenset[str] = frozenset()
    copies: tuple[Copy, ...] = ()
    error: str = ""

    @property
    def ready(self) -> int:
        """How many copies are ready."""
        return sum(copy.ready for copy in self.copies)

    def runs(self, release: str) -> bool:
        """Whether all copies run *release* and are ready."""
        return all(copy.ready and copy.release == release for copy in self.copies)

    @property
    def before(self) -> str:
        """What a change that is not final began with; empty where there is none."""
        astray = any(copy.release not in ("", self.state.current) for copy in self.copies)
        # The link was taken back, and the copies were not.
        return self.state.before or (self.state.current if astray else "")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What the operator asked for.

    *release* is an id, or ``previous``; *named* tells that it was named for this run, so that the inventory may say
    something else. *batch* is as for ``serial``. *drain* names hosts that may be drained although nobody else is ready,
    *without* those that are left out. *pause* is what load balancers need to try a replica again, in seconds.
    *rotation* is the stage of a rotation of secrets that is under way.
    """

    release: str
    named: bool = False
    batch: str = "1"
    drain: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()
    pause: int = 0
    rotation: str = ""


@dataclasses.dataclass(frozen=True)
class Step:
    """What is to be done on a host, and why."""

    action: Action
    runs: str
    ready: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Plan:
    """A deployment. *batches* are the hosts that are switched, in order; *final* those on which it is to be final.

    *prepared* are those that need the release: all that take part, if anybody is switched, so that the one host on
    which the database was prepared is among them in every run.
    """

    refusals: tuple[str, ...]
    release: str
    asked: str
    over: str
    hosts: Mapping[str, Step]
    prepared: tuple[str, ...]
    batches: tuple[tuple[str, ...], ...]
    final: tuple[str, ...]
    pause: int
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for playbooks."""
        data = dataclasses.asdict(self)
        data["hosts"] = {
            name: {**data["hosts"][name], "action": step.action.value} for name, step in self.hosts.items()
        }
        return data


def plan(seen: Mapping[str, Seen], wanted: Wanted) -> Plan:
    """The deployment of *wanted* to the hosts of the application, by name in the inventory's order."""
    refusals = list(_unreached(seen, wanted))
    there = {name: host for name, host in seen.items() if not host.error and name not in wanted.without}
    release, asked = wanted.release, ""
    if not refusals and wanted.release == PREVIOUS:
        asked = PREVIOUS
        release, problem = previous(there)
        refusals += [problem] if problem else list(_missing(there, release))
    if not refusals:
        refusals += _never_set_up(there)
    steps = {name: _step(name, host, release, name in there) for name, host in seen.items()}
    batches = _batches(there, steps, wanted.batch)
    if not refusals:
        refusals += _too_few(seen, batches, wanted)
    return Plan(
        refusals=tuple(refusals),
        release=release,
        asked=asked,
        over=_over(there, release, wanted.named or bool(asked)),
        hosts=steps,
        # What ran before lies on the hosts.
        prepared=tuple(there) if batches and not refusals and not asked else (),
        batches=() if refusals else batches,
        final=() if refusals else tuple(name for name, step in steps.items() if step.action in _ACTS),
        pause=wanted.pause,
        notes=tuple(_notes(there, batches)),
    )


_ACTS = (Action.SWITCH, Action.FINISH)


def previous(seen: Mapping[str, Seen]) -> tuple[str, str]:
    """The release that ran before, and why there is none to go back to (one of the two is empty).

    A change that is not final is undone; unless that change was itself a way back, which is finished.
    """
    trials = {name: host for name, host in seen.items() if host.before}
    ways_back = {
        name: trial.release
        for name, host in trials.items()
        if (trial := host.state.trial) is not None and trial.asked == PREVIOUS
    }
    found = ways_back or {name: host.before for name, host in trials.items()}
    if not found:
        common = Counter(host.state.current for host in seen.values()).most_common(1)
        found = {
            name: host.state.previous
            for name, host in seen.items()
            if host.state.previous and host.state.current == common[0][0]
        }
    releases = list(dict.fromkeys(found.values()))
    if len(releases) == 1:
        return releases[0], ""
    if not releases:
        return "", (
            "No host knows of a release that ran before. Name a version: deploy.yml -e app_replicas_version=<version>."
        )
    ran = "; ".join(f"{_and([name for name in found if found[name] == release])} {release}" for release in releases)
    return "", (
        f"The hosts don't agree on the release that ran before: {ran}. "
        "Name a version: deploy.yml -e app_replicas_version=<version>."
    )


def _unreached(seen: Mapping[str, Seen], wanted: Wanted) -> Iterator[str]:
    if wanted.rotation:
        # A copy that starts with the new password too early can't log in.
        yield (
            f"A rotation of secrets is under way, in its stage {wanted.rotation}. Finish it first: run rotate.yml "
            "again."
        )
    for option, names in (("deploy_without", wanted.without), ("deploy_drain", wanted.drain)):
        for name in sorted(names - set(seen)):
            yield f"{option} names {name}, expected of: {', '.join(seen)}."
    for name, host in seen.items():
        if host.error and name not in wanted.without:
            yield (
                f"{name} can't be observed: {host.error}. Bring it back, or leave it out with -e deploy_without={name} "
                "and run deploy.yml once more when it is back."
            )
    if seen and set(seen) <= wanted.without:
        yield "deploy_without names every host: there is nobody to deploy to."


def _missing(seen: Mapping[str, Seen], release: str) -> Iterator[str]:
    without = [name for name, host in seen.items() if release not in host.releases]
    if without:
        version = version_of(release) or "<version>"
        yield (
            f"{_have(without)} no release {release} any more. Bring it from its archive: "
            f"deploy.yml -e app_replicas_version={version}."
        )


def _never_set_up(seen: Mapping[str, Seen]) -> Iterator[str]:
    new = [name for name, host in seen.items() if not host.state.current]
    if new:
        yield f"{_and(new)} never ran a release: site.yml sets up a host. Run it first."


def _step(name: str, host: Seen, release: str, takes_part: bool) -> Step:
    state = host.state
    runs = ", ".join(dict.fromkeys(copy.release or "?" for copy in host.copies if copy.ready)) or state.current
    ready = f"{host.ready} of {len(host.copies)}"
    if not takes_part:
        return Step(Action.LEAVE, "?" if host.error else runs, "?" if host.error else ready, "left out")
    if not host.runs(release) or state.current != release:
        unfinished = state.current == release and state.trial
        return Step(Action.SWITCH, runs, ready, "begun by an earlier run" if unfinished else "")
    if state.trial:
        return Step(Action.FINISH, runs, ready, "begun by an earlier run: has it already")
    return Step(Action.NONE, runs, ready, "has it already")


def _batches(seen: Mapping[str, Seen], steps: Mapping[str, Step], batch: str) -> tuple[tuple[str, ...], ...]:
    """Who isn't ready goes first: nothing is lost if it doesn't get ready, and much is won if it does."""
    names = [name for name in seen if steps[name].action is Action.SWITCH]
    names.sort(key=lambda name: seen[name].ready > 0)
    size = batch_size(batch, len(seen)) or 1
    return tuple(tuple(names[begin : begin + size]) for begin in range(0, len(names), size))


def batch_size(batch: str, hosts: int) -> int | None:
    """How many of so many *hosts* are in a batch, as Ansible's ``serial`` counts; None if *batch* is no number."""
    number, percent, rest = batch.strip().partition("%")
    if rest or not number.isdecimal() or int(number) < 1:
        return None
    return max(1, int(int(number) / 100 * hosts)) if percent else int(number)


def _too_few(seen: Mapping[str, Seen], batches: Sequence[Sequence[str]], wanted: Wanted) -> Iterator[str]:
    if batch_size(wanted.batch, len(seen)) is None:
        yield f"app_replicas_batch is '{wanted.batch}', expected a number of hosts from 1, or a percentage such as 30%."
        return
    mended: set[str] = set()
    for batch in batches:
        # The copies of a host are restarted one by one.
        left = sum(
            max(host.ready, int(name in mended)) - int(name in batch and host.ready > 0) for name, host in seen.items()
        )
        drained = [name for name in batch if seen[name].ready]
        if drained and left < 1 and not wanted.drain.issuperset(drained):
            others = [name for name in seen if name not in batch and not seen[name].ready]
            why = (
                f"{_have(others)} no copy that is ready (status.yml says why): mend that first"
                if others
                else "take a smaller app_replicas_batch"
                if len(batch) > 1
                else "the site has no other host for the application"
            )
            yield (
                f"While {_and(drained)} {'is' if len(drained) == 1 else 'are'} drained nobody would serve: {why}. "
                f"Or accept that the site is down meanwhile: -e deploy_drain={','.join(drained)}."
            )
        # An earlier run left it so. It comes first, and this run ends there if it doesn't get ready.
        mended |= {name for name in batch if seen[name].before}


def _over(seen: Mapping[str, Seen], release: str, named: bool) -> str:
    """The release that the inventory declares, as far as it is another one than *release*."""
    if not named or not seen:
        return ""
    declared = Counter(host.state.declared for host in seen.values() if host.state.declared).most_common(1)
    return declared[0][0] if declared and declared[0][0] != release else ""


def _notes(seen: Mapping[str, Seen], batches: Sequence[Sequence[str]]) -> Iterator[str]:
    unready = [name for name, host in seen.items() if host.ready < len(host.copies)]
    if unready and batches:
        yield f"Not every copy on {_and(unready)} is ready now: meanwhile the others carry the load."


def take_back(seen: Mapping[str, Seen], release: str, failed: Sequence[str], batch: str) -> tuple[tuple[str, ...], ...]:
    """The hosts that go back to the release before, batch by batch, after *failed* didn't get ready with *release*.

    Nobody does if a host that failed isn't ready with the release before either: then it isn't the release's fault, and
    to drain those that serve would make it worse. Nor is the last one drained.
    """
    trials = [
        name for name, host in seen.items() if not host.error and host.state.trial and host.state.current == release
    ]
    if any(not seen[name].error and not seen[name].ready for name in failed if name not in trials):
        return ()
    trials.sort(key=lambda name: seen[name].ready > 0)
    size = batch_size(batch, len(seen)) or 1
    batches: list[tuple[str, ...]] = []
    for begin in range(0, len(trials), size):
        hosts = tuple(trials[begin : begin + size])
        left = sum(host.ready - int(name in hosts and host.ready > 0) for name, host in seen.items())
        if left < 1 and any(seen[name].ready for name in hosts):
            break
        batches.append(hosts)
    return tuple(batches)


@dataclasses.dataclass(frozen=True)
class Kept:
    """Which release ``site.yml`` gives to hosts, in place of which declared one (or empty), and what it says of it."""

    release: str
    over: str
    refusals: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def keep(seen: Mapping[str, Seen], declared: str, in_container: bool = False) -> Kept:
    """The release for ``site.yml``, whose inventory declares *declared*, to be run *in_container* or not.

    It keeps what ``deploy.yml`` brought in place of exactly that one. If the inventory says something else by now,
    it was edited since, and counts.
    """
    there = {name: host for name, host in seen.items() if not host.error}
    over = {name: host.state.trial.over if host.state.trial else host.state.over for name, host in there.items()}
    brought = {name: host for name, host in there.items() if over[name] == declared != host.state.current}
    releases = list(dict.fromkeys(host.state.current for host in brought.values()))
    if not declared or not releases:
        return Kept(declared, "")
    release = releases[0]
    others = {name: host for name, host in there.items() if host.state.current != release}
    half = any(host.state.trial for host in brought.values()) and any(host.state.current for host in others.values())
    named = version_of(release) or "<version>"
    if half or len(releases) > 1:
        runs = "; ".join(f"{name} {host.state.current or 'none'}" for name, host in there.items())
        return Kept(
            release,
            declared,
            (
                f"A deployment stopped half way; the hosts run: {runs}. Run deploy.yml -e app_replicas_version={named} "
                "to finish it, or deploy.yml -e app_replicas_version=previous to undo it. Then run site.yml again.",
            ),
        )
    line = f"app_replicas_version: '{named}'" if version_of(release) else "app_replicas_archive: its archive"
    if any((release in host.images) != in_container for host in brought.values()):
        runs, says = ("native", "container") if in_container else ("container", "native")
        return Kept(
            release,
            declared,
            (
                f"{_and(list(brought))} got release {release} by deploy.yml, whose app_replicas_runtime is {runs}; the "
                f"inventory still declares {declared}, and {says}. Write into it what is to run "
                f"(app_replicas_runtime: {runs} and {line}), then run site.yml again.",
            ),
        )
    lacking = [name for name, host in others.items() if release not in host.releases]
    if lacking:
        return Kept(
            release,
            declared,
            (
                f"{_have(lacking)} no release {release}, which deploy.yml brought to {_and(list(brought))}; the "
                f"inventory still declares {declared}. Write into it what is to run ({line}), then run site.yml again.",
            ),
        )
    return Kept(
        release,
        declared,
        notes=(
            f"The application stays at release {release}: deploy.yml brought it, and the inventory still declares "
            f"{declared}. Edit the inventory: {line}. Or go back: deploy.yml -e app_replicas_version=previous.",
        ),
    )


def plan_text(data: Mapping[str, Any], check: bool = False) -> str:
    """The plan in words. *data* is of ``Plan.to_dict``."""
    return "\n".join(_plan_lines(data, check))


def _plan_lines(data: Mapping[str, Any], check: bool) -> Iterator[str]:
    if data["refusals"]:
        yield REFUSED
    else:
        yield f"Release: {data['release']}"
    turn = {name: number for number, batch in enumerate(data["batches"], 1) for name in batch}
    words = {"switch": "gets it", "finish": "has it already", "none": "has it already", "leave": "left out"}
    rows = [("HOST", "runs", "ready", "")]
    for name, step in data["hosts"].items():
        what = "" if data["refusals"] else words[step["action"]]
        if name in turn:
            what = f"{turn[name]}. drained, switched, ready again"
        if step["reason"] and step["action"] in ("switch", "finish") and what:
            what = f"{what} ({step['reason']})"
        rows.append((name, step["runs"] or "nothing", step["ready"], what))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        yield "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip()
    for note in data["notes"]:
        yield f"* {note}"
    if data["over"] and not data["refusals"]:
        yield f"* The inventory declares {data['over']}: site.yml keeps this release as long as it does."
    if check and not data["refusals"]:
        yield "Check mode: nothing was changed."


def report(seen: Mapping[str, Seen], data: Mapping[str, Any], failures: Mapping[str, str]) -> tuple[str, ...]:
    """Whether it went wrong (else empty), then what did, what runs where now, and what to do."""
    release = data["release"]
    wrong = [why if name in why else f"{name}: {why}" for name, why in failures.items()]
    runs: dict[str, list[str]] = {}
    for name, host in seen.items():
        what = (
            "can't be observed" if host.error else ", ".join(dict.fromkeys(copy.release or "?" for copy in host.copies))
        )
        if not host.error and host.ready < len(host.copies):
            what += f" ({host.ready} of {len(host.copies)} ready)"
        runs.setdefault(what or "nothing", []).append(name)
    lines = [f"{_and(names)}: {what}" for what, names in runs.items()]
    if not wrong:
        return ("", f"Release {release} runs.", *lines, *_over_lines(data))
    pending = [name for name, host in seen.items() if host.error or host.before or not host.runs(host.state.current)]
    if pending:
        advice = (
            f"Not everybody went back: see {_and(pending)}. When that is mended, run deploy.yml again with the "
            "version that is to run, or with app_replicas_version=previous to go back."
        )
    else:
        advice = "Every host runs the release of before. Mend the release, then run deploy.yml again."
    return (f"Release {release} was not deployed: what went wrong stands above.", *wrong, *lines, advice)


def _over_lines(data: Mapping[str, Any]) -> Iterator[str]:
    if data["over"]:
        version = version_of(data["release"])
        line = f"app_replicas_version: '{version}'" if version else "app_replicas_archive: its archive"
        yield f"Write it into the inventory: {line}. Until it is edited, site.yml keeps what runs."


def _and(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)


def _have(names: Sequence[str]) -> str:
    return f"{_and(names)} {'has' if len(names) == 1 else 'have'}"
