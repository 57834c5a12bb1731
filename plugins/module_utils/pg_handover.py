# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who becomes the primary next, and whether that may happen. Pure; nothing else decides it."""

from __future__ import annotations

from ansible_collections.renfo.redundancy.plugins.module_utils.pg_handover_failover import (
    Consent,
    FailoverPlan,
    Fence,
    FenceBy,
    Loss,
    failover,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_handover_scene import (
    MemberMove,
    Move,
    Outcome,
    Row,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_handover_switchover import (
    SwitchoverPlan,
    switchover,
)

__all__ = [
    "Consent",
    "FailoverPlan",
    "Fence",
    "FenceBy",
    "Loss",
    "MemberMove",
    "Move",
    "Outcome",
    "Row",
    "SwitchoverPlan",
    "failover",
    "switchover",
]
