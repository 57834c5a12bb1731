# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.release_state import (
    State,
    Trial,
    back,
    begin,
    finish,
    surplus,
)
from hypothesis import given
from hypothesis import strategies as st

OLD = State(current="b", previous="a")
ON_TRIAL = State(current="c", previous="a", trial=Trial("c", before="b", over="b"))


@pytest.mark.parametrize(
    ("state", "release", "wanted"),
    [
        pytest.param(State(), "a", State("a"), id="the first one of all"),
        pytest.param(OLD, "c", ON_TRIAL, id="another one"),
        pytest.param(OLD, "b", OLD, id="the same"),
        pytest.param(State("b", "a", over="x"), "b", OLD, id="the same, now declared"),
        pytest.param(ON_TRIAL, "c", ON_TRIAL, id="again, after an interruption"),
        pytest.param(
            ON_TRIAL,
            "d",
            State("d", "a", trial=Trial("d", before="b", over="b")),
            id="another one after an interruption",
        ),
        pytest.param(ON_TRIAL, "b", OLD, id="the one before, after an interruption"),
    ],
)
def test_begin(state: State, release: str, wanted: State) -> None:
    over = "b" if wanted.trial else ""
    assert begin(state, release, over) == wanted


def test_the_end_of_a_trial() -> None:
    assert finish(ON_TRIAL) == State("c", "b", over="b")
    assert finish(OLD) == OLD


def test_the_way_back_leaves_no_trace() -> None:
    assert back(ON_TRIAL) == OLD
    assert back(OLD) == OLD


def test_a_trial_counts_while_the_link_leads_to_it() -> None:
    written = {**ON_TRIAL.to_dict(), "current": "b"}
    assert State.from_dict(written) == OLD
    assert State.from_dict(json.loads(json.dumps(ON_TRIAL.to_dict()))) == ON_TRIAL


def test_what_the_inventory_declared() -> None:
    assert (OLD.declared, ON_TRIAL.declared, State("c", "b", over="x").declared) == ("b", "b", "x")


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=6))
def test_whatever_was_tried_the_way_back_leads_to_what_was_final(tried: list[str]) -> None:
    state = OLD
    for release in tried:
        state = begin(state, release, "b")
    # Coming back to it undoes the trial as well.
    assert back(state).current == "b"
    assert back(state).previous == "a"


@pytest.mark.parametrize(
    ("keep", "needed", "removed"),
    [
        (3, {"e"}, ("b", "a")),
        (3, {"e", "a"}, ("c", "b")),
        (1, {"e", "d"}, ("c", "b", "a")),
        (0, {"e"}, ("d", "c", "b", "a")),
        (9, {"e"}, ()),
        (2, {"x", "e"}, ("c", "b", "a")),
    ],
)
def test_old_releases(keep: int, needed: set[str], removed: tuple[str, ...]) -> None:
    assert surplus(("e", "d", "c", "b", "a"), keep, needed) == removed
