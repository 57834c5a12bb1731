# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fault cost, as measured from outside, and whether that is within its budget. Pure.

All times are seconds since the epoch, all durations seconds.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils import drill_alerts
from ansible_collections.renfo.redundancy.plugins.module_utils.drill_alerts import Alerts

Data = Mapping[str, Any]

#: What the prober does, and which budget it counts against.
OPERATIONS = {
    "page": "read",
    "read_standby": "read",
    # What only the primary can do.
    "read_primary": "write",
    "video": "video",
    "write": "write",
    "upload": "upload",
}
TITLES = {
    "page": "page",
    "read_standby": "read (standby)",
    "read_primary": "read (primary)",
    "video": "video",
    "write": "write",
    "upload": "upload",
}
#: A pause that is longer than what the rate explains, in seconds, by no more than this is no outage.
PAUSE = 1.0
#: How exactly a timer on a host fires, in seconds.
CUT = 0.3


@dataclasses.dataclass(frozen=True)
class Tally:
    """One operation in one round. ``gap`` is the longest time without a good answer, which ended at ``gap_end``.

    ``slowest`` is the longest wait for a good answer, ``slowest_since`` that of those that were sent after the fault.
    ``late`` of the failed and unknown ones were sent when the drill already looked at all of the stack.
    """

    operation: str
    ok: int
    failed: int
    unknown: int
    late: int
    gap: float
    gap_end: float
    slowest: float
    slowest_since: float
    median: float
    details: Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What is there after healing.

    ``sessions`` counts the rows of each key; ``digests`` are the checksums of the files that each application host
    sees; ``downloads`` the checksum of each video as the site serves it, or why it doesn't.
    """

    sessions: Mapping[str, int]
    digests: Mapping[str, Sequence[str]]
    downloads: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Span:
    """An instance accepted writes on one timeline: its first and its last."""

    host: str
    timeline: int
    first: float
    last: float


@dataclasses.dataclass(frozen=True)
class Losses:
    """What must never be. Keys of acknowledged writes, ids of acknowledged uploads, and sentences."""

    writes: tuple[str, ...]
    twice: tuple[str, ...]
    uploads: tuple[str, ...]
    two_primaries: tuple[str, ...]

    def __bool__(self) -> bool:
        return any(dataclasses.astuple(self))

    def sentences(self) -> Iterator[str]:
        """A sentence for each kind."""
        if self.writes:
            yield f"{len(self.writes)} acknowledged write(s) lost: {_some(self.writes)}"
        if self.twice:
            yield f"{len(self.twice)} write(s) there more than once: {_some(self.twice)}"
        if self.uploads:
            names = _some(self.uploads)
            yield f"{len(self.uploads)} acknowledged upload(s) lost, or not the same on every host: {names}"
        yield from (f"two primaries: {sentence}" for sentence in self.two_primaries)


@dataclasses.dataclass(frozen=True)
class Result:
    """A round. ``gap`` is the longest time without a good answer to anything, ``rto`` from the fault until all was
    answered again, ``whole`` from healing until nothing was degraded any more (None: not while anybody waited).
    ``alerts`` are None where they weren't asked for. ``failures`` are sentences; without any it passed."""

    number: int
    fault: str
    title: str
    tier: str
    hosts: tuple[str, ...]
    begun: float
    injected: float
    healed: float
    ended: float
    tallies: tuple[Tally, ...]
    rto: float
    whole: float | None
    losses: Losses
    spans: tuple[Span, ...]
    gap: float
    budget: Mapping[str, float | None]
    failures: tuple[str, ...]
    notes: tuple[str, ...] = ()
    alerts: Alerts | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``report.json``."""
        return {**dataclasses.asdict(self), "passed": not self.failures}


def tally(
    requests: Iterable[Data],
    operation: str,
    begun: float,
    ended: float,
    injected: float = 0.0,
    watched: float = math.inf,
) -> Tally:
    """Count what was sent between *begun* and *ended*.

    A gap may reach over either end: nobody was answered before the first answer. What begins after *watched* is not the
    fault's: from then on the drill looks at every part of the stack, and takes the processors' time for it.
    """
    mine = [item for item in requests if item["operation"] == operation and begun <= item["sent"] < ended]
    good = [item for item in mine if item["outcome"] == "ok"]
    outcomes = Counter(item["outcome"] for item in mine)
    waits = [item["done"] - item["sent"] for item in good]
    gap, gap_end = longest_gap(mine, begun, ended, watched)
    return Tally(
        operation=operation,
        ok=outcomes["ok"],
        failed=outcomes["failed"],
        unknown=outcomes["unknown"],
        late=sum(item["outcome"] != "ok" and item["sent"] >= watched for item in mine),
        gap=gap,
        gap_end=gap_end,
        slowest=max(waits, default=0.0),
        # What was under way when its host vanished nobody can save from waiting.
        slowest_since=max((item["done"] - item["sent"] for item in good if item["sent"] > injected + CUT), default=0.0),
        median=statistics.median(waits) if waits else 0.0,
        # A plain dictionary: asdict() would count the pairs of a Counter.
        details=dict(Counter(item["detail"] for item in mine if item["outcome"] != "ok")),
    )


def longest_gap(requests: Iterable[Data], begun: float, ended: float, watched: float = math.inf) -> tuple[float, float]:
    """The longest time without a good answer to one of *requests*, and when it ended; those that begin after *watched*
    don't count."""
    asked = list(requests)
    answered = sorted(item["done"] for item in asked if item["outcome"] == "ok")
    moments = [begun, *(at for at in answered if at < ended), ended] if asked else []
    return max(
        ((later - sooner, later) for sooner, later in itertools.pairwise(moments) if sooner < watched),
        default=(0.0, ended),
    )


def spans(samples: Mapping[str, Sequence[Data]]) -> tuple[Span, ...]:
    """Who accepted writes from when to when. *samples* are of ``drill_witness``, by host."""
    found: dict[tuple[str, int], Span] = {}
    for host, seen in samples.items():
        for sample in seen:
            at, timeline = sample["at"], sample["timeline"]
            span = found.get((host, timeline), Span(host, timeline, at, at))
            found[host, timeline] = dataclasses.replace(span, first=min(span.first, at), last=max(span.last, at))
    return tuple(sorted(found.values(), key=lambda span: (span.first, span.timeline)))


def two_primaries(accepted: Sequence[Span]) -> Iterator[str]:
    """A sentence for every two instances that accepted writes at one time, on whichever timelines.

    The clocks of the hosts are believed, as NTP keeps them.
    """
    for one, other in itertools.combinations(accepted, 2):
        if one.host != other.host and one.first <= other.last and other.first <= one.last:
            since, until = max(one.first, other.first), min(one.last, other.last)
            yield (
                f"{one.host} (timeline {one.timeline}) and {other.host} (timeline {other.timeline}) both accepted "
                f"writes for {until - since:.1f} s"
            )


def losses(requests: Iterable[Data], evidence: Evidence, accepted: Sequence[Span]) -> Losses:
    """Compare what the site acknowledged in *requests* with what is there."""
    acknowledged = [item for item in requests if item["outcome"] == "ok"]
    writes = [item["key"] for item in acknowledged if item["operation"] == "write"]
    uploads = {item["id"]: item["sha256"] for item in acknowledged if item["operation"] == "upload"}
    seen = [set(digests) for digests in evidence.digests.values()]
    return Losses(
        writes=tuple(key for key in writes if not evidence.sessions.get(key)),
        twice=tuple(key for key, count in evidence.sessions.items() if count > 1),
        uploads=tuple(
            video
            for video, sha256 in uploads.items()
            if evidence.downloads.get(video) != sha256 or not all(sha256 in digests for digests in seen)
        ),
        two_primaries=tuple(two_primaries(accepted)),
    )


def rto(tallies: Iterable[Tally], injected: float, rates: Mapping[str, float]) -> float:
    """Seconds from the fault until the last operation that paused was answered again; 0 if none paused."""
    paused = [item for item in tallies if item.gap > PAUSE + 1 / rates[item.operation]]
    ends = [item.gap_end - injected for item in paused if item.gap_end > injected]
    return max(ends, default=0.0)


def over_budget(
    budget: Mapping[str, float | None],
    tallies: Sequence[Tally],
    whole: float | None,
    lost: Losses,
    rates: Mapping[str, float],
) -> Iterator[str]:
    """What was worse than *budget* allows, a sentence each. Losses have no budget.

    Two requests of an operation are as far from each other as *rates* (a second) say. The last good one may have been
    sent that long before an outage, and the next one that long after its end: a gap proves an outage that is shorter by
    the two.
    """
    yield from lost.sentences()
    for item in tallies:
        kind, title = OPERATIONS[item.operation], TITLES[item.operation]
        if not item.ok + item.failed + item.unknown:
            yield f"{title}: no request was sent"
        most, missed = budget[f"failed_{kind}s"], item.failed + item.unknown - item.late
        if most is not None and missed > most:
            why = ", ".join(f"{count} x {detail}" for detail, count in Counter(item.details).most_common(3))
            yield f"{title}: {missed} of {item.ok + missed} without an answer ({why}), budget {most}"
        if (longest := budget[f"{kind}_gap"]) is not None and item.gap > longest + 2 / rates[item.operation]:
            yield f"{title}: {item.gap:.2f} s without an answer, budget {longest} s"
        if (slowest := budget["slowest"]) is not None and kind in ("read", "write") and item.slowest_since > slowest:
            yield f"{title}: an answer took {item.slowest_since:.2f} s, budget {slowest} s"
        if wrong := item.details.get("wrong bytes"):
            yield f"{title}: {wrong} answer(s) with wrong bytes"
    if whole is None:
        yield "redundancy was not whole again while the drill waited: see the log of status.yml"
    elif (bound := budget["whole"]) is not None and whole > bound:
        yield f"redundancy was whole {whole:.0f} s after healing, budget {bound:.0f} s"


def silent(budget: Mapping[str, float | None], gap: float, rates: Mapping[str, float]) -> Iterator[str]:
    """Whether nothing at all was answered for longer than *budget* allows: the finest measure, for there is least time
    between two requests."""
    if (longest := budget["gap"]) is not None and gap > longest + 2 / sum(rates.values()):
        yield f"the whole site: {gap:.2f} s without an answer, budget {longest} s"


def _some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "")


def judge(
    target: Data,
    events: Sequence[Data],
    requests: Sequence[Data],
    samples: Mapping[str, Sequence[Data]],
    evidence: Evidence,
    rates: Mapping[str, float],
    said: Data | None = None,
) -> Result:
    """The result of a round.

    *target* is of ``drill_plan.aim``; *events* are what was noted in the round (``begin``, ``injecting``, ``injected``,
    ``healed``, ``watched``, ``playbook``, ``whole``, ``end``); *requests* are of the client; *rates* says which
    operations it does. *said* is what a monitoring host said of alerts, None where nobody wants to know.
    """
    begun = _at(events, "begin", min)
    injected = _at(events, "injecting", min, begun)
    healed = _at(events, "healed", max, injected)
    ended = _at(events, "end", max, healed)
    watched = _at(events, "watched", max, ended)
    operations = [name for name in OPERATIONS if rates.get(name)]
    tallies = tuple(tally(requests, name, begun, ended, injected, watched) for name in operations)
    mine = [item for item in requests if begun <= item["sent"] < ended]
    gap = longest_gap(mine, begun, ended, watched)[0]
    accepted = spans(samples)
    lost = losses(mine, evidence, accepted)
    whole_at = [event["at"] for event in events if event["event"] == "whole"]
    whole = max(0.0, whole_at[-1] - healed) if whole_at else None
    late = sum(item.late for item in tallies)
    played = [event for event in events if event["event"] == "playbook"]
    failures = [f"{event['playbook']} {event['trouble']}: see {event['log']}" for event in played if event["trouble"]]
    if samples and not any(span.first < injected for span in accepted):
        failures.append(
            "no instance accepted the sampler's writes before the fault: nobody would have seen two primaries"
        )
    alerts = None if said is None else drill_alerts.verdict(target, said, injected, healed)
    return Result(
        number=target["number"],
        fault=target["name"],
        title=target["title"],
        tier=target["tier"],
        hosts=tuple(target["hosts"]),
        begun=begun,
        injected=injected,
        healed=healed,
        ended=ended,
        tallies=tallies,
        rto=rto(tallies, injected, rates),
        whole=whole,
        losses=lost,
        spans=accepted,
        gap=gap,
        budget=dict(target["budget"]),
        failures=(
            *failures,
            *silent(target["budget"], gap, rates),
            *over_budget(target["budget"], tallies, whole, lost, rates),
            *(alerts.failures if alerts else ()),
        ),
        notes=(
            f"nothing at all was answered for {gap:.2f} s",
            *(f"{event['playbook']} took {event['seconds']:.1f} s" for event in played),
            *([f"{late} request(s) without an answer while the drill looked at the stack"] if late else []),
        ),
        alerts=alerts,
    )


def _at(events: Sequence[Data], name: str, choose: Any, otherwise: float = 0.0) -> float:
    """When the event of that name was: the first or the last, as *choose* says."""
    found = [event["at"] for event in events if event["event"] == name]
    return float(choose(found)) if found else otherwise


def gaps(result: Data) -> dict[str, float]:
    """The longest gap of each kind of operation, in seconds."""
    found = dict.fromkeys(("read", "video", "write", "upload"), 0.0)
    for item in result["tallies"]:
        kind = OPERATIONS[item["operation"]]
        found[kind] = max(found[kind], item["gap"])
    return found


def line(result: Data) -> str:
    """A round in one line, for a terminal."""
    by_name = {item["operation"]: item for item in result["tallies"]}
    missed = sum(item["failed"] + item["unknown"] for item in by_name.values())
    asked = missed + sum(item["ok"] for item in by_name.values())
    lost = len(result["losses"]["writes"]) + len(result["losses"]["uploads"])
    whole = "never" if result["whole"] is None else f"{result['whole']:.0f} s"
    word = "ok    " if result["passed"] else "FAILED"
    hosts = ", ".join(result["hosts"]) if len(result["hosts"]) < 4 else "all hosts"
    pauses = ", ".join(f"{kind}s {gap:.1f} s" for kind, gap in gaps(result).items())
    return (
        f"{word} {result['fault']:19} {hosts:9}  {missed} of {asked} without an answer; longest gap: {pauses}; "
        f"lost {lost}; whole after {whole}{_alerts(result['alerts'])}"
        + "".join(f"\n       - {sentence}" for sentence in result["failures"])
    )


def _alerts(alerts: Data | None) -> str:
    if alerts is None:
        return ""
    fired, cleared = drill_alerts.columns(alerts)
    others = [drill_alerts.text(told["name"], told["about"]) for told in alerts["told"] if not told["expected"]]
    return (f"; alerts fired after {fired}, cleared after {cleared}" if cleared else f"; alerts: {fired}") + (
        f"; fired too: {', '.join(others)}" if others else ""
    )
