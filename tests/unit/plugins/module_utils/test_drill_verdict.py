# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.drill_faults import Budget
from ansible_collections.renfo.redundancy.plugins.module_utils.drill_verdict import (
    Evidence,
    Losses,
    Span,
    judge,
    line,
    losses,
    over_budget,
    rto,
    silent,
    spans,
    tally,
    two_primaries,
)

NO_LOSS = Losses((), (), (), ())
FREE = dict.fromkeys((field.name for field in dataclasses.fields(Budget)), None)
RATES = {"page": 5, "write": 10}
FAST = {"page": 10, "write": 10, "video": 10}


def sent(operation: str, at: float, took: float = 0.01, outcome: str = "ok", **more: Any) -> dict[str, Any]:
    detail = "" if outcome == "ok" else "status 503"
    return {"operation": operation, "sent": at, "done": at + took, "outcome": outcome, "detail": detail, **more}


def steady(operation: str, *pauses: tuple[float, float], until: float = 10.0) -> list[dict[str, Any]]:
    """A request every tenth of a second; those sent in a pause are not answered."""
    moments = [number / 10 for number in range(int(until * 10))]
    return [
        sent(operation, at, outcome="failed" if any(a <= at < b for a, b in pauses) else "ok", key=f"{operation}{at}")
        for at in moments
    ]


def test_what_was_answered_is_counted() -> None:
    found = tally([*steady("page", (2.0, 4.0)), *steady("write")], "page", 0.0, 10.0)
    assert (found.ok, found.failed, found.unknown) == (80, 20, 0)
    assert found.gap == pytest.approx(2.1)
    assert found.gap_end == pytest.approx(4.01)
    assert found.slowest == pytest.approx(0.01)
    assert found.details == {"status 503": 20}


def test_only_what_was_sent_in_the_round_counts() -> None:
    assert tally(steady("page"), "page", 2.0, 3.0).ok == 10


def test_a_stall_is_a_gap_though_every_request_was_answered_in_the_end() -> None:
    stalled = [sent("write", at / 10, took=max(0.01, 5.0 - at / 10) if 20 <= at < 50 else 0.01) for at in range(100)]
    found = tally(stalled, "write", 0.0, 10.0)
    assert (found.ok, found.failed) == (100, 0)
    assert found.gap == pytest.approx(3.09, abs=0.05)
    assert found.slowest == pytest.approx(3.0)


def test_nobody_was_answered_until_the_end_of_the_round() -> None:
    found = tally(steady("page", (4.0, 10.0)), "page", 0.0, 10.0)
    assert found.gap == pytest.approx(6.1, abs=0.02)
    assert found.gap_end == 10.0


def test_a_pause_that_begins_after_the_fault_was_watched_is_not_its_own() -> None:
    requests = steady("page", (2.0, 3.0), (6.0, 8.0))
    assert tally(requests, "page", 0.0, 10.0, watched=5.0).gap == pytest.approx(1.1)
    assert tally(requests, "page", 0.0, 10.0, watched=6.5).gap == pytest.approx(2.1)
    found = tally(requests, "page", 0.0, 10.0, watched=5.0)
    assert (found.failed, found.late) == (30, 20)
    (sentence,) = over_budget({**FREE, "failed_reads": 0}, [found], 1.0, NO_LOSS, FAST)
    assert sentence.startswith("page: 10 of 80 without an answer")


def test_an_operation_that_was_never_due_has_no_gap() -> None:
    assert tally([], "upload", 0.0, 10.0).gap == 0.0


def test_rto_ends_with_the_last_pause() -> None:
    requests = [*steady("page", (2.0, 4.0)), *steady("write", (2.0, 7.0))]
    found = [tally(requests, name, 0.0, 10.0) for name in ("page", "write")]
    assert rto(found, 2.0, FAST) == pytest.approx(5.01)
    # A pause that nobody would call an outage, and one that was over before the fault.
    assert rto([tally(steady("page", (2.0, 2.2)), "page", 0.0, 10.0)], 2.0, FAST) == 0.0
    assert rto([tally(steady("page", (1.0, 2.0)), "page", 0.0, 10.0)], 5.0, FAST) == 0.0
    # Of an operation that is due every two seconds, three seconds say nothing.
    slow = tally([sent("page", 1.0), sent("page", 4.0)], "page", 0.0, 5.0)
    assert rto([slow], 1.0, {"page": 0.5}) == 0.0


# --- losses


def acknowledged() -> list[dict[str, Any]]:
    return [
        sent("write", 1.0, key="a", id=1),
        sent("write", 2.0, key="b", id=2),
        sent("write", 3.0, outcome="unknown", key="c"),
        sent("upload", 4.0, key="u", id="v1", sha256="aa"),
    ]


def there(**change: Any) -> Evidence:
    whole: dict[str, Any] = {
        "sessions": {"a": 1, "b": 1},
        "digests": {"app1": ["aa", "zz"], "app2": ["aa"]},
        "downloads": {"v1": "aa"},
    }
    return Evidence(**{**whole, **change})


def test_nothing_is_lost_that_is_there() -> None:
    assert not losses(acknowledged(), there(), ())


def test_an_unknown_write_may_be_there_or_not() -> None:
    assert not losses(acknowledged(), there(sessions={"a": 1, "b": 1, "c": 1}), ())


@pytest.mark.parametrize(
    ("change", "field", "found"),
    [
        ({"sessions": {"a": 1}}, "writes", ("b",)),
        ({"sessions": {"a": 1, "b": 2}}, "twice", ("b",)),
        ({"downloads": {"v1": "bb"}}, "uploads", ("v1",)),
        ({"downloads": {"v1": "status 404"}}, "uploads", ("v1",)),
        ({"downloads": {}}, "uploads", ("v1",)),
        ({"digests": {"app1": ["aa"], "app2": ["bb"]}}, "uploads", ("v1",)),
    ],
)
def test_what_is_lost_is_found(change: dict[str, Any], field: str, found: tuple[str, ...]) -> None:
    lost = losses(acknowledged(), there(**change), ())
    assert getattr(lost, field) == found
    assert lost
    assert list(over_budget(FREE, (), 1.0, lost, FAST))


# --- two primaries


def sample(at: float, timeline: int) -> dict[str, Any]:
    return {"at": at, "timeline": timeline}


def test_who_accepted_writes_from_when_to_when() -> None:
    seen = {"pg1": [sample(1, 1), sample(2, 1), sample(9, 3)], "pg2": [sample(4, 2), sample(5, 2)], "pg3": []}
    assert spans(seen) == (Span("pg1", 1, 1, 2), Span("pg2", 2, 4, 5), Span("pg1", 3, 9, 9))
    assert not list(two_primaries(spans(seen)))


@pytest.mark.parametrize("timeline", [1, 2])
def test_two_that_accept_writes_at_one_time_are_found(timeline: int) -> None:
    seen = {"pg1": [sample(1, 1), sample(5, 1)], "pg2": [sample(4, timeline), sample(8, timeline)]}
    sentences = list(two_primaries(spans(seen)))
    assert len(sentences) == 1
    assert sentences[0].endswith("both accepted writes for 1.0 s")


def test_one_that_wakes_up_and_accepts_a_single_write_is_found() -> None:
    seen = {"pg1": [sample(1, 1), sample(6, 1)], "pg2": [sample(4, 2), sample(8, 2)]}
    assert list(two_primaries(spans(seen)))


# --- budgets


@pytest.mark.parametrize(
    ("budget", "sentence"),
    [
        ({"failed_reads": 0}, "page: 20 of 100 without an answer (20 x status 503), budget 0"),
        ({"failed_reads": 20}, ""),
        ({"read_gap": 1.85}, "page: 2.10 s without an answer, budget 1.85 s"),
        ({"read_gap": 1.95}, ""),
        ({"write_gap": 0.0}, ""),
        ({"slowest": 0.005}, "page: an answer took 0.01 s, budget 0.005 s"),
    ],
)
def test_a_budget_is_kept_or_not(budget: dict[str, float], sentence: str) -> None:
    page = tally(steady("page", (2.0, 4.0)), "page", 0.0, 10.0)
    assert list(over_budget({**FREE, **budget}, [page], 1.0, NO_LOSS, FAST)) == ([sentence] if sentence else [])


def test_who_was_under_way_when_the_fault_came_is_not_slow() -> None:
    requests = [sent("page", 0.95, took=9.0), sent("page", 1.1, took=7.0), sent("page", 2.0, took=2.0)]
    found = tally(requests, "page", 0.0, 10.0, injected=1.0)
    assert (found.slowest, found.slowest_since) == (pytest.approx(9.0), pytest.approx(2.0))
    assert not list(over_budget({**FREE, "slowest": 2.5}, [found], 1.0, NO_LOSS, FAST))
    assert list(over_budget({**FREE, "slowest": 1.5}, [found], 1.0, NO_LOSS, FAST))


def test_unknown_writes_are_writes_without_an_answer() -> None:
    unknown = tally([sent("write", 1.0, outcome="unknown")], "write", 0.0, 2.0)
    assert list(over_budget({**FREE, "failed_writes": 0}, [unknown], 1.0, NO_LOSS, FAST))


def test_wrong_bytes_have_no_budget() -> None:
    wrong = tally([{**sent("video", 1.0, outcome="failed"), "detail": "wrong bytes"}], "video", 0.0, 2.0)
    assert list(over_budget(FREE, [wrong], 1.0, NO_LOSS, FAST)) == ["video: 1 answer(s) with wrong bytes"]


def test_a_site_that_says_nothing_at_all() -> None:
    # Ten and ten requests a second: at least a twentieth of a second lies between two of them.
    rates = {"page": 10.0, "write": 10.0}
    assert list(silent({"gap": 1.0}, 1.2, rates)) == ["the whole site: 1.20 s without an answer, budget 1.0 s"]
    assert not list(silent({"gap": 1.0}, 1.05, rates))
    assert not list(silent({"gap": None}, 9.0, rates))


def test_a_silent_site_fails_the_round() -> None:
    assert judged(target={**TARGET, "budget": {**FREE, "gap": 0.0}}, rates={"page": 50.0, "write": 50.0})[
        "failures"
    ] == ("the whole site: 0.10 s without an answer, budget 0.0 s",)


def test_redundancy_has_to_come_back() -> None:
    assert list(over_budget(FREE, (), None, NO_LOSS, FAST))
    assert list(over_budget({**FREE, "whole": 5.0}, (), 9.0, NO_LOSS, FAST)) == [
        "redundancy was whole 9 s after healing, budget 5 s"
    ]
    assert not list(over_budget({**FREE, "whole": 9.0}, (), 9.0, NO_LOSS, FAST))


# --- a round

TARGET = {
    "number": 3,
    "name": "app_kill",
    "title": "application killed (-9)",
    "tier": "app",
    "hosts": ["app1"],
    "budget": FREE,
}
EVENTS = [
    {"event": "begin", "at": 0.0},
    {"event": "injecting", "at": 2.0, "host": "app1"},
    {"event": "injected", "at": 2.5, "host": "app1"},
    {"event": "playbook", "at": 4.0, "playbook": "failover.yml", "trouble": "", "seconds": 1.5, "log": "logs/1"},
    {"event": "healing", "at": 5.0, "host": "app1"},
    {"event": "healed", "at": 5.5, "host": "app1"},
    {"event": "whole", "at": 8.0, "playbook": "status.yml", "trouble": "", "seconds": 2.0, "log": "logs/2"},
    {"event": "end", "at": 10.0},
]


def judged(**change: Any) -> dict[str, Any]:
    requests = [*steady("page"), *steady("write", (2.0, 4.0))]
    found = Evidence({item["key"]: 1 for item in requests if item["operation"] == "write"}, {}, {})
    given: dict[str, Any] = {
        "target": TARGET,
        "events": EVENTS,
        "requests": requests,
        "samples": {"pg1": [sample(1, 1)]},
        "evidence": found,
        "rates": RATES,
    }
    return judge(**{**given, **change}).to_dict()


def test_a_round() -> None:
    result = judged()
    assert (result["injected"], result["healed"], result["ended"]) == (2.0, 5.5, 10.0)
    assert result["whole"] == 2.5
    assert result["rto"] == pytest.approx(2.01)
    assert [item["operation"] for item in result["tallies"]] == ["page", "write"]
    assert result["gap"] == pytest.approx(0.1)
    assert result["notes"] == (
        "nothing at all was answered for 0.10 s",
        "failover.yml took 1.5 s",
    )
    assert result["passed"]
    assert line(result).startswith("ok     app_kill")
    assert "writes 2.1 s" in line(result)


def test_a_budget_that_was_exceeded_fails_the_round() -> None:
    result = judged(target={**TARGET, "budget": {**FREE, "write_gap": 1.0}})
    assert not result["passed"]
    assert line(result).startswith("FAILED app_kill")
    assert "write: 2.10 s without an answer, budget 1.0 s" in line(result)


def test_a_playbook_that_did_not_end_as_it_should_fails_the_round() -> None:
    failed = [
        {**event, "trouble": "ended with 2, expected 0"} if event["event"] == "playbook" else event for event in EVENTS
    ]
    assert judged(events=failed)["failures"] == ("failover.yml ended with 2, expected 0: see logs/1",)


def test_a_drill_that_could_not_see_two_primaries_fails() -> None:
    (failure,) = judged(samples={"pg1": [sample(3, 1)], "pg2": []})["failures"]
    assert failure.startswith("no instance accepted the sampler's writes before the fault")


def test_an_operation_that_was_never_sent_fails_the_round() -> None:
    assert judged(rates={**RATES, "video": 1})["failures"] == ("video: no request was sent",)


def test_a_stack_that_stays_degraded_fails_the_round() -> None:
    result = judged(events=[event for event in EVENTS if event["event"] != "whole"])
    assert result["whole"] is None
    assert not result["passed"]
    assert "whole after never" in line(result)


TOLD: dict[str, Any] = {
    "host": "ops1",
    "trouble": "",
    "firings": [{"labels": {"alertname": "HostDown", "instance": "app1", "severity": "warning"}, "since": 40.0, "until": 50.5}],
}  # fmt: skip
ALARMING = {**TARGET, "alerts": [{"name": "HostDown", "label": "instance", "who": "app1"}], "untold": "", "may": []}


def test_a_round_that_told_what_it_had_to() -> None:
    result = judged(target={**ALARMING, "blind": False}, said=TOLD)
    assert result["passed"]
    assert line(result).endswith("; alerts fired after 38 s, cleared after 45 s")
    assert result["alerts"]["told"][0]["name"] == "HostDown"
    assert judged()["alerts"] is None


def test_a_round_that_told_nothing_fails() -> None:
    result = judged(target={**ALARMING, "blind": False}, said={**TOLD, "firings": []})
    assert result["failures"] == ("the alert HostDown (app1) did not fire within 120 s",)
    assert "; alerts fired after never, cleared after never\n" in line(result)


def test_what_else_fired_is_said() -> None:
    result = judged(target={**ALARMING, "alerts": [], "untold": "it is short", "blind": False}, said=TOLD)
    assert result["passed"]
    assert line(result).endswith("; alerts: nothing to tell; fired too: HostDown (app1)")


def test_a_result_can_be_written_down() -> None:
    assert '"status 503": 20' in json.dumps(judged())
