# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a running systemd unit runs with the configuration that is on disk.

A handler forgets: kill the run between the change of a file and the handler, and the service keeps
its old configuration for ever, while every later run says ``ok``. Here the decision is made of what
the host says, so that the next run, whoever starts it, finishes the work. Pure.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any


class Apply(enum.Enum):
    """How a unit takes over a changed configuration."""

    RELOAD = "reload"
    RESTART = "restart"
    NOTHING = "nothing"


class Step(enum.Enum):
    """One thing to do to a unit."""

    START = "start"
    RELOAD = "reload"
    RESTART = "restart"
    ENABLE = "enable"
    STOP = "stop"


@dataclasses.dataclass(frozen=True)
class Stamp:
    """What was on disk when this invocation of the unit last took over its configuration."""

    invocation: str
    digest: str

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Stamp:
        """Read back what ``dataclasses.asdict`` wrote."""
        return cls(str(data.get("invocation", "")), str(data.get("digest", "")))


@dataclasses.dataclass(frozen=True)
class UnitState:
    """A systemd unit as observed. Times are seconds since the epoch.

    ``changed_at`` is of the files that ``digest`` is of, ``unit_changed_at`` of those that only a restart takes over.
    """

    active: bool
    enabled: bool
    invocation: str
    started_at: float
    digest: str
    changed_at: float
    stamp: Stamp | None
    unit_changed_at: float = 0.0


def steps(unit: UnitState, on_change: Apply) -> tuple[Step, ...]:
    """What brings *unit* to run, at boot too, with the configuration on disk."""
    planned: list[Step] = []
    if not unit.enabled:
        planned.append(Step.ENABLE)
    if not unit.active:
        planned.append(Step.START)
    elif unit.unit_changed_at > unit.started_at:
        planned.append(Step.RESTART)
    elif on_change is not Apply.NOTHING and is_stale(unit):
        planned.append(Step(on_change.value))
    return tuple(planned)


def is_stale(unit: UnitState) -> bool:
    """Whether the running unit started, or last reloaded, with another configuration.

    Without a stamp of this very invocation (the host rebooted, somebody restarted the unit) the
    unit read its files when it started: it is stale if one of them is younger.
    """
    if unit.stamp is not None and unit.stamp.invocation == unit.invocation:
        return unit.stamp.digest != unit.digest
    return unit.changed_at > unit.started_at


def is_starting(sub_state: str) -> bool:
    """Whether a start is under way, which is to be waited for: a restart would kill what was just let in.

    Programs that run before the service itself may take as long as a guard wants. ``sub_state`` is systemd's.
    """
    return sub_state in ("condition", "start-pre", "start")
