# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which replication slots are made, dropped or left. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence


@dataclasses.dataclass(frozen=True)
class Slot:
    """A slot of the primary. ``kind`` is physical or logical."""

    name: str
    kind: str
    active: bool
    temporary: bool = False


@dataclasses.dataclass(frozen=True)
class SlotPlan:
    """``waits`` are to be dropped, and somebody uses them; ``foreign`` have the name of one to drop and are none
    of ours."""

    make: tuple[str, ...]
    drop: tuple[str, ...]
    waits: tuple[str, ...]
    foreign: tuple[str, ...]


def slot_plan(there: Sequence[Slot], wanted: Collection[str], removed: Collection[str]) -> SlotPlan:
    """*wanted*: slots of declared standbys; *removed*: those of hosts that were removed by name.

    Nothing else is ever dropped: who is merely missing from the inventory may be a standby that is down, and slots
    with other names are somebody else's.
    """
    leaving = [slot for slot in there if slot.name in removed and slot.name not in wanted]
    ours = [slot for slot in leaving if slot.kind == "physical" and not slot.temporary]
    return SlotPlan(
        make=tuple(name for name in wanted if name not in {slot.name for slot in there}),
        drop=tuple(slot.name for slot in ours if not slot.active),
        waits=tuple(slot.name for slot in ours if slot.active),
        foreign=tuple(slot.name for slot in leaving if slot not in ours),
    )
