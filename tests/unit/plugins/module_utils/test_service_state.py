# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.service_state import (
    Apply,
    Stamp,
    Step,
    UnitState,
    is_stale,
    is_starting,
    steps,
)
from hypothesis import given
from hypothesis import strategies as st

CURRENT = UnitState(
    active=True,
    enabled=True,
    invocation="i1",
    started_at=1000.0,
    digest="d1",
    changed_at=900.0,
    stamp=Stamp("i1", "d1"),
)


@pytest.mark.parametrize(
    ("change", "on_change", "expected"),
    [
        pytest.param({}, Apply.RESTART, [], id="nothing to do"),
        pytest.param({"active": False}, Apply.RELOAD, [Step.START], id="stopped"),
        pytest.param({"active": False, "enabled": False}, Apply.NOTHING, [Step.ENABLE, Step.START], id="new on this host"),
        pytest.param({"enabled": False}, Apply.RESTART, [Step.ENABLE], id="would not start at boot"),
        pytest.param({"digest": "d2"}, Apply.RESTART, [Step.RESTART], id="a file changed"),
        pytest.param({"digest": "d2"}, Apply.RELOAD, [Step.RELOAD], id="a file changed that a reload reads"),
        pytest.param({"digest": "d2"}, Apply.NOTHING, [], id="a file changed that the next start reads"),
        pytest.param({"digest": "d2", "active": False}, Apply.RESTART, [Step.START], id="a start reads the files anyhow"),
        pytest.param({"stamp": None}, Apply.RESTART, [], id="never stamped, started after the change"),
        pytest.param({"stamp": None, "changed_at": 1100.0}, Apply.RESTART, [Step.RESTART], id="never stamped, changed after the start"),
        pytest.param({"stamp": Stamp("i0", "d2"), "digest": "d1"}, Apply.RESTART, [], id="restarted by somebody after the change"),
        pytest.param({"stamp": Stamp("i0", "d1"), "changed_at": 1100.0}, Apply.RESTART, [Step.RESTART], id="changed after the host booted"),
        pytest.param({"changed_at": 1100.0}, Apply.RESTART, [], id="touched, but the content is the same"),
        pytest.param({"unit_changed_at": 1100.0}, Apply.RELOAD, [Step.RESTART], id="the unit itself changed"),
        pytest.param({"unit_changed_at": 1100.0, "digest": "d2"}, Apply.RELOAD, [Step.RESTART], id="and what it reads"),
        pytest.param({"unit_changed_at": 1100.0, "active": False}, Apply.RELOAD, [Step.START], id="stopped, its unit changed"),
    ],
)  # fmt: skip
def test_steps(change: dict[str, object], on_change: Apply, expected: list[Step]) -> None:
    assert list(steps(dataclasses.replace(CURRENT, **change), on_change)) == expected  # type: ignore[arg-type]


states = st.builds(
    UnitState,
    active=st.booleans(),
    enabled=st.booleans(),
    invocation=st.sampled_from(["i1", "i2"]),
    started_at=st.floats(0, 10),
    digest=st.sampled_from(["d1", "d2"]),
    changed_at=st.floats(0, 10),
    stamp=st.none() | st.builds(Stamp, st.sampled_from(["i1", "i2"]), st.sampled_from(["d1", "d2"])),
)


@given(states, st.sampled_from(Apply))
def test_what_was_done_need_not_be_done_again(unit: UnitState, on_change: Apply) -> None:
    """After the steps and a new stamp, there is nothing left to do."""
    done = dataclasses.replace(unit, active=True, enabled=True, invocation="i3", stamp=Stamp("i3", unit.digest))
    assert steps(done, on_change) == ()
    assert not is_stale(done)


@given(states)
def test_a_stamp_survives_the_disk(unit: UnitState) -> None:
    stamp = Stamp(unit.invocation, unit.digest)
    assert Stamp.from_dict(dataclasses.asdict(stamp)) == stamp
    assert Stamp.from_dict({}) == Stamp("", "")


@pytest.mark.parametrize(
    ("sub_state", "expected"),
    [
        ("condition", True),
        ("start-pre", True),
        ("start", True),
        ("exited", False),
        ("dead", False),
        ("auto-restart", False),
    ],
)
def test_a_start_under_way(sub_state: str, expected: bool) -> None:
    assert is_starting(sub_state) is expected
