# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.drill_alerts import (
    Firing,
    awaited,
    columns,
    firings,
    is_of,
    sentence,
    trouble,
    verdict,
    watchdog,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.drill_faults import Alert

DOWN = {"alertname": "HostDown", "instance": "app1", "severity": "warning"}
REPLICA = {"alertname": "ReplicaNotReady", "instance": "app1-1", "host": "app1", "severity": "warning"}
TIER = {"alertname": "RedundancyDegraded", "tier": "app", "severity": "warning"}
SITE = {"alertname": "SiteDown", "instance": "shop.example", "severity": "critical"}
WATCHDOG = {"alertname": "Watchdog", "severity": "none"}


def seen(at: float, *alerts: tuple[dict[str, str], float]) -> dict[str, Any]:
    return {"at": at, "alerts": [{"labels": labels, "since": since} for labels, since in alerts]}


ALWAYS = (WATCHDOG, 1.0)
SAMPLES = [
    seen(10, ALWAYS, (TIER, 5.0)),
    {"at": 11},
    seen(50, ALWAYS, (TIER, 5.0), (DOWN, 49.0)),
    # What fires isn't known, so nothing has ended.
    {"at": 60, "trouble": "refused"},
    seen(61, ALWAYS, (DOWN, 49.0)),
    seen(70, ALWAYS),
    seen(90, ALWAYS, (DOWN, 89.0)),
    {"at": 91},
]


def test_what_fired_from_when_to_when() -> None:
    assert firings(SAMPLES) == (Firing(TIER, 5.0, 61.0), Firing(DOWN, 49.0, 70.0), Firing(DOWN, 89.0, None))
    assert firings(SAMPLES, since=40.0) == (Firing(DOWN, 49.0, 70.0), Firing(DOWN, 89.0, None))
    assert firings([]) == ()


@pytest.mark.parametrize(
    ("labels", "alert", "same"),
    [
        (DOWN, Alert("HostDown", "instance", "app1"), True),
        (DOWN, Alert("HostDown", "instance", "app2"), False),
        (REPLICA, Alert("ReplicaNotReady", "host", "app1"), True),
        (TIER, Alert("RedundancyDegraded", "tier", "lb"), False),
        (SITE, Alert("SiteDown"), True),
        (SITE, Alert("HostDown"), False),
    ],
)
def test_an_alert_is_of_one_rule_and_about_one_host(labels: dict[str, str], alert: Alert, same: bool) -> None:
    assert is_of(Firing(labels, 1.0, None), alert) is same


def test_what_is_waited_for() -> None:
    down, tier = Alert("HostDown", "instance", "app1"), Alert("RedundancyDegraded", "tier", "app")
    fired = [Firing(DOWN, 1.0, 5.0)]
    assert awaited((down, tier), fired, gone=False) == (tier,)
    assert awaited((down, tier), fired, gone=True) == ()
    # It fires again.
    assert awaited((down, tier), [*fired, Firing(DOWN, 7.0, None)], gone=True) == (down,)


@pytest.mark.parametrize(
    ("samples", "found"),
    [
        ([], "the sampler writes nothing"),
        ([{"at": 5.0}], "the sampler writes nothing"),
        ([{"at": 11.0, "trouble": "refused"}], "refused"),
        ([{"at": 11.0, "trouble": "refused"}, {"at": 12.0}], ""),
    ],
)
def test_only_what_was_seen_since_says_how_it_is(samples: list[dict[str, Any]], found: str) -> None:
    assert trouble(samples, 10.0).startswith(found)
    assert bool(trouble(samples, 10.0)) is bool(found)


def test_what_always_fires_must() -> None:
    assert watchdog(SAMPLES)
    assert not watchdog([seen(1, (DOWN, 1.0))])
    assert not watchdog([seen(1, ALWAYS), seen(2)])
    assert not watchdog([{"at": 1, "trouble": "refused"}])


# --- verdicts

FAULT = {
    "alerts": [{"name": "HostDown", "label": "instance", "who": "app1"}],
    "untold": "",
    "may": ["DiskFull"],
    "blind": False,
}
SHORT = {**FAULT, "alerts": [], "untold": "it is short"}


def fired(labels: dict[str, str], since: float, until: float | None = 200.0) -> dict[str, Any]:
    return {"labels": labels, "since": since, "until": until}


def said(*found: dict[str, Any], host: str = "ops1", trouble: str = "") -> dict[str, Any]:
    return {"host": host, "trouble": trouble, "firings": list(found)}


@pytest.mark.parametrize(
    ("target", "answer", "failures", "shown"),
    [
        (FAULT, said(fired(DOWN, 145.0)), (), ("45 s", "50 s")),
        # The last of two that are of the same rule and about the same host.
        (FAULT, said(fired(DOWN, 145.0, 160.0), fired(DOWN, 170.0, 190.0)), (), ("45 s", "40 s")),
        (FAULT, said(), ("the alert HostDown (app1) did not fire within 120 s",), ("never", "never")),
        (
            {**FAULT, "blind": True},
            said(),
            ("the alert HostDown (app1) did not fire while the fault lasted",),
            ("never", "never"),
        ),
        (
            FAULT,
            said(fired(DOWN, 145.0, None)),
            ("the alert HostDown (app1) still fired 120 s after the round",),
            ("45 s", "never"),
        ),
        # What else is told is no failure, unless somebody gets up for it.
        (FAULT, said(fired(DOWN, 145.0), fired(TIER, 140.0, None)), (), ("45 s", "50 s")),
        (
            FAULT,
            said(fired(DOWN, 145.0), fired(SITE, 140.0)),
            ("the alert SiteDown (shop.example) fired after 40 s: it is critical, and nobody has to get up for this fault",),
            ("45 s", "50 s"),
        ),
        (FAULT, said(fired(DOWN, 145.0), fired({**SITE, "alertname": "DiskFull"}, 140.0)), (), ("45 s", "50 s")),
        (SHORT, said(), (), ("nothing to tell", "")),
        (
            SHORT,
            said(fired(SITE, 140.0)),
            ("the alert SiteDown (shop.example) fired after 40 s: it is critical, and nobody has to get up for this fault",),
            ("nothing to tell", ""),
        ),
        (FAULT, said(trouble="refused"), ("which alerts fired isn't known, ops1 says: refused",), ("unknown", "")),
        ({**FAULT, "alerts": []}, said(host=""), (), ("not asked", "")),
    ],
)  # fmt: skip
def test_a_verdict(
    target: dict[str, Any], answer: dict[str, Any], failures: tuple[str, ...], shown: tuple[str, str]
) -> None:
    found = verdict(target, answer, injected=100.0, healed=150.0)
    assert found.failures == failures
    plain = {"host": found.host, "told": [vars(alert) for alert in found.told], "failures": found.failures}
    assert columns(plain) == shown


def test_who_is_told_of() -> None:
    found = verdict(FAULT, said(fired(DOWN, 145.0), fired(REPLICA, 99.0, 149.0), fired(TIER, 140.0)), 100.0, 150.0)
    assert [(alert.name, alert.about, alert.expected) for alert in found.told] == [
        ("HostDown", "app1", True),
        ("ReplicaNotReady", "app1-1", False),
        ("RedundancyDegraded", "app", False),
    ]
    # It began before the fault and ended before it was healed.
    assert (found.told[1].after, found.told[1].over) == (0.0, 0.0)


def test_what_had_not_to_be_told_is_said() -> None:
    assert sentence({"host": "ops1", "untold": "it is short"}) == "nothing to tell: it is short"
    assert sentence({"host": "ops1", "untold": ""}) == ""
    assert sentence({"host": "", "untold": "it is short"}).startswith("nobody was asked which alerts fire")
