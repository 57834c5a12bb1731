# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which alerts fired while a fault lasted, and whether they are those that it must fire. Pure.

All times are seconds since the epoch, all durations seconds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.drill_faults import Alert

Data = Mapping[str, Any]

#: How long alerts are waited for, to fire and to clear.
PATIENCE = 120.0
#: How long a fault lasts that must fire alerts and that only the host itself can undo: the host must know beforehand.
#: Series are up to 10 s old, or 15 where nobody answers, rules are looked at every 5 s, and then half a minute passes.
BLIND_HOLD = 75.0
#: The severity of what fires all the time.
NEVER_TOLD = "none"


@dataclasses.dataclass(frozen=True)
class Firing:
    """An alert that fired: *since* when, and *until* when (None: it still does)."""

    labels: Mapping[str, str]
    since: float
    until: float | None

    @property
    def name(self) -> str:
        """Name of its rule."""
        return self.labels.get("alertname", "")

    @property
    def severity(self) -> str:
        """``critical`` wakes somebody."""
        return self.labels.get("severity", "")

    @property
    def about(self) -> str:
        """Who it is about: a tier, a host or a replica; empty for the whole site."""
        return self.labels.get("tier") or self.labels.get("instance", "")


@dataclasses.dataclass(frozen=True)
class Told:
    """An alert of a round. It fired *after* so many seconds from the fault (None: never), and it was *over* so many
    seconds from healing (None: it wasn't)."""

    name: str
    about: str
    severity: str
    expected: bool
    after: float | None
    over: float | None


@dataclasses.dataclass(frozen=True)
class Alerts:
    """What was told in a round. *host* was asked for it, empty if nobody could be. *untold* says why nothing had to be
    told; *failures* are sentences."""

    host: str
    untold: str
    told: tuple[Told, ...]
    failures: tuple[str, ...]


def firings(samples: Iterable[Data], since: float = 0.0) -> tuple[Firing, ...]:
    """What fired, in the order in which it began, of that which did not begin before *since*.

    *samples* are the lines of ``drill_alert_sampler``.
    """
    found: dict[tuple[Any, ...], Firing] = {}
    for sample in samples:
        if "alerts" not in sample:
            continue
        now = {
            (alert["since"], *sorted(alert["labels"].items())): Firing(alert["labels"], alert["since"], None)
            for alert in sample["alerts"]
        }
        for key, firing in found.items():
            if key not in now and firing.until is None:
                found[key] = dataclasses.replace(firing, until=float(sample["at"]))
        found |= now
    wanted = (firing for firing in found.values() if firing.since >= since and firing.severity != NEVER_TOLD)
    return tuple(sorted(wanted, key=lambda firing: firing.since))


def is_of(firing: Firing, alert: Alert) -> bool:
    """Whether *firing* is of the rule that *alert* names, and about the one whom it names."""
    return firing.name == alert.name and (not alert.label or firing.labels.get(alert.label) == alert.who)


def awaited(alerts: Iterable[Alert], fired: Sequence[Firing], gone: bool) -> tuple[Alert, ...]:
    """Which of *alerts* haven't fired; with *gone*, which of them still fire."""
    mine = {alert: [firing for firing in fired if is_of(firing, alert)] for alert in alerts}
    if gone:
        return tuple(alert for alert, found in mine.items() if any(firing.until is None for firing in found))
    return tuple(alert for alert, found in mine.items() if not found)


def trouble(samples: Sequence[Data], asked: float) -> str:
    """Why it isn't known what fires now; empty if it is. Only what was seen since *asked* says something of it."""
    new = [sample for sample in samples if sample["at"] >= asked]
    if not new:
        return "the sampler writes nothing: see 'journalctl -u renfo-drill-alerts'"
    return str(new[-1].get("trouble", ""))


def watchdog(samples: Sequence[Data]) -> bool:
    """Whether the alert fires that always does: Prometheus tells Alertmanager."""
    said = [sample["alerts"] for sample in samples if "alerts" in sample]
    return bool(said) and any(alert["labels"].get("severity") == NEVER_TOLD for alert in said[-1])


def verdict(target: Data, said: Data, injected: float, healed: float) -> Alerts:
    """What was told in the round of *target*, which is of ``drill_plan.aim``.

    *said* is what ``drill_alerts`` answered last, with the ``host`` that did, or with the ``trouble`` of asking it.
    """
    if not said["host"]:
        return Alerts("", str(target["untold"]), (), ())
    if said["trouble"]:
        failure = f"which alerts fired isn't known, {said['host']} says: {said['trouble']}"
        return Alerts(said["host"], str(target["untold"]), (), (failure,))
    fired = [Firing(**firing) for firing in said["firings"]]
    wanted: dict[Alert, list[Firing]] = {Alert(**alert): [] for alert in target["alerts"]}
    others = []
    for firing in fired:
        mine = [alert for alert in wanted if is_of(firing, alert)]
        for alert in mine:
            wanted[alert].append(firing)
        if not mine:
            others.append(firing)
    told = [
        *(_told(alert.name, alert.who, True, found, injected, healed) for alert, found in wanted.items()),
        *(_told(firing.name, firing.about, False, [firing], injected, healed) for firing in others),
    ]
    return Alerts(said["host"], str(target["untold"]), tuple(told), tuple(_failures(told, target)))


def _told(name: str, about: str, expected: bool, found: Sequence[Firing], injected: float, healed: float) -> Told:
    ends = [firing.until for firing in found if firing.until is not None]
    return Told(
        name=name,
        about=about,
        severity=found[0].severity if found else "",
        expected=expected,
        # What began in the seconds before the fault, or ended before it was healed, took no time.
        after=max(0.0, min(firing.since for firing in found) - injected) if found else None,
        over=max(0.0, max(ends) - healed) if ends and len(ends) == len(found) else None,
    )


def _failures(told: Sequence[Told], target: Data) -> Iterator[str]:
    for alert in told:
        called = f"the alert {text(alert.name, alert.about)}"
        if alert.expected and alert.after is None:
            while_it = "while the fault lasted" if target["blind"] else f"within {PATIENCE:.0f} s"
            yield f"{called} did not fire {while_it}"
        elif alert.expected and alert.over is None:
            yield f"{called} still fired {PATIENCE:.0f} s after the round"
        elif not alert.expected and alert.severity == "critical" and alert.name not in target["may"]:
            yield f"{called} fired after {alert.after:.0f} s: it is critical, and nobody has to get up for this fault"


def text(name: str, about: str) -> str:
    """An alert, and who it is about."""
    return f"{name} ({about})" if about else name


def columns(alerts: Data) -> tuple[str, str]:
    """How long it took until all was told that had to be, and from healing until it was over, for a table."""
    if not alerts["host"]:
        return "not asked", ""
    wanted = [alert for alert in alerts["told"] if alert["expected"]]
    if not wanted:
        # Where asking failed nobody can tell.
        return ("unknown" if alerts["failures"] and not alerts["told"] else "nothing to tell"), ""
    fired, over = ([alert[key] for alert in wanted] for key in ("after", "over"))
    return (
        "never" if None in fired else f"{max(fired):.0f} s",
        "never" if None in over else f"{max(over):.0f} s",
    )


def sentence(alerts: Data) -> str:
    """What a round had to tell and didn't have to, for people; empty if its alerts say it all."""
    if not alerts["host"]:
        return "nobody was asked which alerts fire: the fault hit every monitoring host"
    return f"nothing to tell: {alerts['untold']}" if alerts["untold"] else ""
