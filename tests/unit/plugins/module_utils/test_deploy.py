# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.deploy import (
    Action,
    Copy,
    Seen,
    Wanted,
    batch_size,
    keep,
    plan,
    plan_text,
    previous,
    report,
    take_back,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.release_state import State, Trial
from hypothesis import given
from hypothesis import strategies as st

OLD, NEW, LAST = "1.3-aaaaaaaaaaaa", "1.4-bbbbbbbbbbbb", "1.2-cccccccccccc"
ALL = (NEW, OLD, LAST)


def host(current: str = OLD, ready: int = 1, copies: int = 1, runs: str = "", **given: Any) -> Seen:
    trial = given.pop("trial", None)
    state = State(current, given.pop("previous", LAST), given.pop("over", ""), trial)
    seen = tuple(Copy(f"x-{number}", runs or current, number < ready) for number in range(copies))
    return Seen(**{"state": state, "releases": ALL, "copies": seen, **given})


def on_trial(**given: Any) -> Seen:
    trial = Trial(NEW, OLD, over=given.pop("tried_over", OLD), asked=given.pop("asked", ""))
    return host(NEW, trial=trial, **given)


LOST = Seen(error="it can't be reached")
THREE = {"app1": host(), "app2": host(), "app3": host()}
NAMED = Wanted(NEW, named=True)


def test_one_after_the_other() -> None:
    found = plan(THREE, NAMED)
    assert (found.refusals, found.release, found.over) == ((), NEW, OLD)
    assert found.batches == (("app1",), ("app2",), ("app3",))
    assert found.final == ("app1", "app2", "app3")
    assert {step.action for step in found.hosts.values()} == {Action.SWITCH}
    assert json.loads(json.dumps(found.to_dict()))["hosts"]["app1"]["action"] == "switch"


def test_the_database_is_prepared_on_the_same_host_again() -> None:
    assert plan({"app1": on_trial(), "app2": host(), "app3": host()}, NAMED).prepared == ("app1", "app2", "app3")
    assert plan({"app1": on_trial(), "app2": on_trial()}, NAMED).prepared == ()
    assert plan(THREE, Wanted("previous")).prepared == ()


def test_what_the_inventory_declares_is_in_place_of_nothing() -> None:
    assert plan(THREE, Wanted(NEW)).over == ""


@pytest.mark.parametrize(
    ("seen", "release", "over"),
    [
        pytest.param(host(NEW, over=OLD), LAST, OLD, id="after another one that was brought"),
        pytest.param(host(NEW, over=OLD), OLD, "", id="back to the declared one"),
        pytest.param(on_trial(), LAST, OLD, id="after one that was begun"),
    ],
)
def test_in_place_of_which(seen: Seen, release: str, over: str) -> None:
    assert plan({"app1": seen, "app2": host()}, Wanted(release, named=True)).over == over


@pytest.mark.parametrize(
    ("seen", "batches", "final"),
    [
        pytest.param({"app1": host(NEW), "app2": host(NEW)}, (), (), id="all have it"),
        pytest.param(
            {"app1": on_trial(), "app2": host(), "app3": host()},
            (("app2",), ("app3",)),
            ("app1", "app2", "app3"),
            id="interrupted after the first",
        ),
        pytest.param(
            {"app1": on_trial(runs=OLD), "app2": host(), "app3": host()},
            (("app1",), ("app2",), ("app3",)),
            ("app1", "app2", "app3"),
            id="interrupted before the copies were restarted",
        ),
        pytest.param(
            {"app1": host(), "app2": host(), "app3": host(ready=0)},
            (("app3",), ("app1",), ("app2",)),
            ("app1", "app2", "app3"),
            id="who isn't ready goes first",
        ),
        pytest.param(
            {"app1": on_trial(), "app2": on_trial()}, (), ("app1", "app2"), id="interrupted before it was final"
        ),
        pytest.param(
            {"app1": on_trial(ready=0, copies=1), "app2": host()},
            (("app1",), ("app2",)),
            ("app1", "app2"),
            id="two hosts, interrupted while the first one restarts",
        ),
    ],
)
def test_what_is_left_to_do(seen: dict[str, Seen], batches: Any, final: Any) -> None:
    found = plan(seen, NAMED)
    assert (found.refusals, found.batches, found.final) == ((), batches, final)


@pytest.mark.parametrize(
    ("batch", "hosts", "size"),
    [
        ("1", 3, 1),
        ("2", 3, 2),
        ("50%", 3, 1),
        ("67%", 3, 2),
        ("1%", 3, 1),
        ("0", 3, None),
        ("x", 3, None),
        ("5%5", 3, None),
    ],
)
def test_a_batch(batch: str, hosts: int, size: int | None) -> None:
    assert batch_size(batch, hosts) == size


@pytest.mark.parametrize(
    ("seen", "wanted", "sentence"),
    [
        pytest.param(
            {"app1": host(), "app2": LOST},
            NAMED,
            "app2 can't be observed: it can't be reached. Bring it back, or leave it out with -e deploy_without=app2",
            id="a host is down",
        ),
        pytest.param(
            {"app1": host(), "app2": host(ready=0)},
            NAMED,
            "While app1 is drained nobody would serve: app2 has no copy that is ready (status.yml says why)",
            id="the only other one isn't ready",
        ),
        pytest.param(
            {"app1": host(), "app2": LOST},
            dataclasses.replace(NAMED, without=frozenset({"app2"})),
            "While app1 is drained nobody would serve: app2 has no copy that is ready",
            id="the only other one is left out",
        ),
        pytest.param(
            {"app1": host(), "app2": host()},
            dataclasses.replace(NAMED, batch="100%"),
            "While app1 and app2 are drained nobody would serve: take a smaller app_replicas_batch.",
            id="all at once",
        ),
        pytest.param(
            {"app1": host()}, NAMED, "the site has no other host for the application. Or accept", id="a single copy"
        ),
        pytest.param(
            {"app1": host(), "app2": host("", copies=1, ready=0)}, NAMED, "app2 never ran a release", id="a new host"
        ),
        pytest.param(THREE, dataclasses.replace(NAMED, batch="many"), "app_replicas_batch is 'many'", id="no number"),
        pytest.param(
            THREE,
            dataclasses.replace(NAMED, drain=frozenset({"app9"})),
            "deploy_drain names app9, expected of",
            id="a typo",
        ),
        pytest.param(
            THREE,
            dataclasses.replace(NAMED, without=frozenset(THREE)),
            "deploy_without names every host",
            id="nobody left",
        ),
        pytest.param(
            {"app1": host(previous=""), "app2": host(previous="")},
            Wanted("previous"),
            "No host knows of a release that ran before.",
            id="no release before",
        ),
        pytest.param(
            {"app1": host(previous=LAST), "app2": host(previous=NEW)},
            Wanted("previous"),
            f"The hosts don't agree on the release that ran before: app1 {LAST}; app2 {NEW}. Name a version",
            id="hosts disagree",
        ),
        pytest.param(
            {"app1": host(), "app2": host(releases=(OLD,))},
            Wanted("previous"),
            f"app2 has no release {LAST} any more. Bring it from its archive: deploy.yml -e app_replicas_version=1.2.",
            id="it was removed",
        ),
    ],
)
def test_refused(seen: dict[str, Seen], wanted: Wanted, sentence: str) -> None:
    found = plan(seen, wanted)
    assert any(sentence in refusal for refusal in found.refusals), found.refusals
    assert (found.batches, found.final) == ((), ())
    assert plan_text(found.to_dict()).startswith("Nothing was changed.")


@pytest.mark.parametrize(
    ("seen", "wanted"),
    [
        pytest.param(
            {"app1": host(), "app2": host(ready=0)}, dataclasses.replace(NAMED, drain=frozenset({"app1"})), id="named"
        ),
        pytest.param({"app1": host(ready=0), "app2": host(ready=0)}, NAMED, id="nobody serves anyhow"),
        pytest.param({"app1": host(ready=2, copies=2)}, NAMED, id="one host, two copies"),
        pytest.param(THREE, dataclasses.replace(NAMED, batch="2"), id="two of three"),
        pytest.param(
            {**THREE, "app3": LOST}, dataclasses.replace(NAMED, without=frozenset({"app3"})), id="two without the third"
        ),
    ],
)
def test_not_refused(seen: dict[str, Seen], wanted: Wanted) -> None:
    assert plan(seen, wanted).refusals == ()


@pytest.mark.parametrize(
    ("seen", "release"),
    [
        pytest.param(THREE, LAST, id="all agree"),
        pytest.param({"app1": on_trial(), "app2": host()}, OLD, id="a deployment that was interrupted is undone"),
        pytest.param(
            {"app1": on_trial(), "app2": host(NEW, previous=OLD)}, OLD, id="interrupted while it became final"
        ),
        pytest.param(
            {"app1": on_trial(asked="previous"), "app2": host()}, NEW, id="a way back that was interrupted goes on"
        ),
        pytest.param({"app1": host(runs=NEW), "app2": host()}, OLD, id="the link went back, the copies did not"),
        pytest.param({"app1": host(previous=""), "app2": host()}, LAST, id="a host that joined"),
        pytest.param(
            {"app1": host(NEW, previous=OLD), "app2": host(NEW, previous=OLD), "app3": host()},
            OLD,
            id="one was left out",
        ),
    ],
)
def test_the_release_before(seen: dict[str, Seen], release: str) -> None:
    assert previous(seen) == (release, "")


def test_the_way_back_is_not_declared() -> None:
    found = plan(THREE, Wanted("previous"))
    assert (found.release, found.asked, found.over) == (LAST, "previous", OLD)
    assert plan({"app1": on_trial(), "app2": host(), "app3": host()}, Wanted("previous")).over == ""


@pytest.mark.parametrize(
    ("seen", "failed", "batch", "batches"),
    [
        pytest.param(
            {"app1": on_trial(), "app2": host(), "app3": host()}, ["app2"], "1", (("app1",),), id="the first one"
        ),
        pytest.param(
            {"app1": on_trial(), "app2": on_trial(), "app3": host()},
            ["app3"],
            "1",
            (("app1",), ("app2",)),
            id="two, in turn",
        ),
        pytest.param(
            {"app1": on_trial(), "app2": on_trial(), "app3": host()},
            ["app3"],
            "2",
            (("app1", "app2"),),
            id="two at once",
        ),
        pytest.param({"app1": host(), "app2": host()}, ["app1"], "1", (), id="nobody else"),
        pytest.param(
            {"app1": on_trial(), "app2": host(ready=0)}, ["app2"], "1", (), id="the old release isn't ready either"
        ),
        pytest.param({"app1": on_trial(), "app2": LOST}, ["app2"], "1", (), id="the last one serves on"),
        pytest.param(
            {"app1": on_trial(), "app2": LOST, "app3": host()}, ["app2"], "1", (("app1",),), id="a host was lost"
        ),
        pytest.param(
            {"app1": on_trial(), "app2": on_trial(ready=0), "app3": host()},
            ["app2"],
            "1",
            (("app2",), ("app1",)),
            id="one that couldn't go back by itself is first",
        ),
    ],
)
def test_who_goes_back(seen: dict[str, Seen], failed: list[str], batch: str, batches: Any) -> None:
    assert take_back(seen, NEW, failed, batch) == batches


@pytest.mark.parametrize(
    ("seen", "declared", "release", "over"),
    [
        pytest.param(THREE, OLD, OLD, "", id="what the inventory declares runs"),
        pytest.param(THREE, NEW, NEW, "", id="the inventory was edited"),
        pytest.param(
            {"app1": host(NEW, over=OLD), "app2": host(NEW, over=OLD)}, OLD, NEW, OLD, id="brought by deploy.yml"
        ),
        pytest.param({"app1": host(NEW, over=OLD)}, LAST, LAST, "", id="brought, and the inventory was edited since"),
        pytest.param({"app1": host(NEW, over=OLD)}, NEW, NEW, "", id="the inventory has caught up"),
        pytest.param({"app1": on_trial(), "app2": on_trial()}, OLD, NEW, OLD, id="everybody has it, final or not"),
        pytest.param(
            {"app1": on_trial(tried_over=""), "app2": host()}, NEW, NEW, "", id="site.yml itself was interrupted"
        ),
        pytest.param({"app1": host(NEW, over=OLD), "app2": LOST}, OLD, NEW, OLD, id="a host is down"),
        pytest.param(
            {"app1": host(NEW, over=OLD), "app2": host()}, OLD, NEW, OLD, id="a host that was left out has it"
        ),
        pytest.param({"app1": LOST}, OLD, OLD, "", id="nobody was asked"),
        pytest.param({"app1": host("", copies=0)}, OLD, OLD, "", id="a new site"),
    ],
)
def test_what_site_gives(seen: dict[str, Seen], declared: str, release: str, over: str) -> None:
    found = keep(seen, declared)
    assert (found.refusals, found.release, found.over) == ((), release, over)
    assert bool(found.notes) is bool(over)


@pytest.mark.parametrize(
    ("seen", "sentence"),
    [
        pytest.param(
            {"app1": on_trial(), "app2": host()},
            "Run deploy.yml -e app_replicas_version=1.4 to finish it, or deploy.yml -e app_replicas_version=previous to undo it",
            id="a deployment stopped half way",
        ),
        pytest.param(
            {"app1": host(NEW, over=OLD), "app2": host("", releases=(), copies=0)},
            f"app2 has no release {NEW}, which deploy.yml brought to app1; the inventory still declares {OLD}. Write into it "
            "what is to run (app_replicas_version: '1.4'), then run site.yml again.",
            id="a host that joins",
        ),
        pytest.param(
            {"app1": host(NEW, over=OLD, images=frozenset({NEW}))},
            f"app1 got release {NEW} by deploy.yml, whose app_replicas_runtime is container; the inventory still declares "
            f"{OLD}, and native. Write into it what is to run (app_replicas_runtime: container and app_replicas_version",
            id="brought by deploy.yml for another runtime",
        ),
    ],
)
def test_what_site_refuses(seen: dict[str, Seen], sentence: str) -> None:
    assert [sentence in refusal for refusal in keep(seen, OLD).refusals] == [True]


def test_site_keeps_an_image_where_it_runs_images() -> None:
    assert keep({"app1": host(NEW, over=OLD, images=frozenset({NEW}))}, OLD, in_container=True).refusals == ()
    assert keep({"app1": host(NEW, over=OLD)}, OLD, in_container=True).refusals != ()


def test_the_plan_in_words() -> None:
    found = plan({**THREE, "app2": host(NEW)}, NAMED).to_dict()
    assert plan_text(found, check=True).splitlines() == [
        f"Release: {NEW}",
        "HOST  runs              ready",
        f"app1  {OLD}  1 of 1  1. drained, switched, ready again",
        f"app2  {NEW}  1 of 1  has it already",
        f"app3  {OLD}  1 of 1  2. drained, switched, ready again",
        f"* The inventory declares {OLD}: site.yml keeps this release as long as it does.",
        "Check mode: nothing was changed.",
    ]


def test_the_report() -> None:
    found = plan(THREE, NAMED).to_dict()
    ran = {name: host(NEW) for name in THREE}
    assert report(ran, found, {}) == (
        "",
        f"Release {NEW} runs.",
        f"app1, app2 and app3: {NEW}",
        "Write it into the inventory: app_replicas_version: '1.4'. Until it is edited, site.yml keeps what runs.",
    )


@pytest.mark.parametrize(
    ("seen", "last"),
    [
        (THREE, "Every host runs the release of before. Mend the release, then run deploy.yml again."),
        ({**THREE, "app2": LOST}, "Not everybody went back: see app2. When that is mended"),
        ({**THREE, "app2": host(ready=0)}, "Not everybody went back: see app2. When that is mended"),
    ],
)
def test_the_report_of_one_that_went_wrong(seen: dict[str, Seen], last: str) -> None:
    lines = report(seen, plan(THREE, NAMED).to_dict(), {"app2": "app2 runs the one before: it said 503"})
    assert lines[0] == f"Release {NEW} was not deployed: what went wrong stands above."
    assert lines[1] == "app2 runs the one before: it said 503"
    assert lines[-1].startswith(last)


HOSTS = st.builds(
    lambda current, ready, before: on_trial(ready=ready) if before else host(current, ready=ready),
    st.sampled_from(ALL),
    st.integers(0, 1),
    st.booleans(),
)


@given(
    st.dictionaries(st.sampled_from(["app1", "app2", "app3", "app4"]), HOSTS, min_size=1),
    st.sampled_from(["1", "2", "50%"]),
)
def test_somebody_always_serves(seen: dict[str, Seen], batch: str) -> None:
    found = plan(seen, dataclasses.replace(NAMED, batch=batch))
    serving = {name for name, item in seen.items() if item.ready}
    for names in found.batches:
        # Who was mended in an earlier batch serves by then, or the run ended there.
        assert not serving or serving - set(names) or not serving & set(names)
        serving |= set(names)


def test_not_in_the_middle_of_a_rotation() -> None:
    found = plan(THREE, Wanted(NEW, rotation="prepare"))
    assert "run rotate.yml again" in found.refusals[0]
    assert (found.batches, found.final, found.prepared) == ((), (), ())
