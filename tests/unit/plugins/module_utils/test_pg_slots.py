# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_slots import Slot, SlotPlan, slot_plan
from hypothesis import given
from hypothesis import strategies as st

PG2 = Slot("pg2", "physical", active=True)
PG3 = Slot("pg3", "physical", active=False)


@pytest.mark.parametrize(
    ("there", "wanted", "removed", "expected"),
    [
        pytest.param([], ["pg2", "pg3"], [], SlotPlan(("pg2", "pg3"), (), (), ()), id="a new primary"),
        pytest.param([PG2, PG3], ["pg2", "pg3"], [], SlotPlan((), (), (), ()), id="all is there"),
        pytest.param([PG2, PG3], ["pg2"], [], SlotPlan((), (), (), ()), id="a line is missing: it may be down"),
        pytest.param([PG2, PG3], ["pg2"], ["pg3"], SlotPlan((), ("pg3",), (), ()), id="removed by name"),
        pytest.param([PG2], [], ["pg2"], SlotPlan((), (), ("pg2",), ()), id="removed, and still in use"),
        pytest.param([PG2, PG3], ["pg2", "pg3"], ["pg3"], SlotPlan((), (), (), ()), id="a declared one has that name"),
        pytest.param(
            [Slot("pg3", "logical", active=False), Slot("pg4", "physical", active=False, temporary=True)],
            [],
            ["pg3", "pg4"],
            SlotPlan((), (), (), ("pg3", "pg4")),
            id="none of ours",
        ),
        pytest.param(
            [Slot("cdc", "logical", active=False)], [], ["pg3"], SlotPlan((), (), (), ()), id="another tool's"
        ),
    ],
)
def test_plan(there: list[Slot], wanted: list[str], removed: list[str], expected: SlotPlan) -> None:
    assert slot_plan(there, wanted, removed) == expected


NAMES = st.sampled_from(["pg1", "pg2", "pg3", "cdc"])


@given(
    there=st.lists(
        st.builds(Slot, NAMES, st.sampled_from(["physical", "logical"]), st.booleans(), st.booleans()),
        unique_by=lambda slot: slot.name,
    ),
    wanted=st.sets(NAMES),
    removed=st.sets(NAMES),
)
def test_only_idle_slots_that_were_named_and_nobody_wants_are_dropped(
    there: list[Slot], wanted: set[str], removed: set[str]
) -> None:
    plan = slot_plan(there, sorted(wanted), removed)
    by_name = {slot.name: slot for slot in there}
    for name in plan.drop:
        assert name in removed - wanted
        assert (by_name[name].kind, by_name[name].active) == ("physical", False)
    assert not set(plan.make) & set(by_name)
