# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: drill
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: Decide what a drill breaks, and where
description:
  - The filter C(drill_plan) gives the rounds of a drill, or refuses it, and C(drill_text) says that in words.
  - The filter C(drill_aim) takes a round, the topology, the status of the stack, C(hostvars) and the user's budgets,
    and gives the round with the hosts that it hits now and what is done to them.
  - The filter C(drill_witnesses) collects what M(renfo.redundancy.drill_witness) said on each host, from the variable
    C(drill_witness).
  - The filter C(drill_told) takes C(hostvars) and the round, and gives what M(renfo.redundancy.drill_alerts) said on
    the host that was asked, from the variable C(drill_told).
positional: _input, hostvars
options:
  _input:
    description: The topology.
    type: dict
    required: true
  hostvars:
    description: The magic variable C(hostvars).
    type: dict
    required: true
  limit:
    description: What the run was limited to.
    type: str
  may_break:
    description: Name of the inventory that the user allows to be broken.
    type: str
    required: true
  faults:
    description: Names of faults, with commas between; empty for all of them.
    type: str
  rounds:
    description: Draw that many at random; 0 for each of them once.
    type: int
  seed:
    description: What they are drawn with.
    type: int
  budgets:
    description: What a fault may cost, by name of the fault.
    type: dict
  alerts:
    description: Whether each fault must fire its alerts.
    type: bool
seealso:
  - module: renfo.redundancy.drill
  - module: renfo.redundancy.drill_fault
"""

EXAMPLES = r"""
- name: Decide
  renfo.redundancy.decide:
    plan: "{{ drill_plan }}"
    text: "{{ drill_plan | renfo.redundancy.drill_text }}"
  vars:
    drill_plan: "{{ topology | renfo.redundancy.drill_plan(hostvars, may_break=drill_i_may_break) }}"
"""

RETURN = r"""
_value:
  description: The plan, with C(refusals), C(rounds), C(seed), C(skipped) and C(alerts).
  type: dict
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.drill_plan import Request, aim, drill_text, plan_drill

#: What a drill wants to know of a host.
VARIABLES = (
    "app_replicas_name",
    "drill_bad_release",
    "drill_data_disk",
    "drill_power_off_command",
    "drill_power_on_command",
    "pg_fence_command",
    "shared_storage_backend",
    "shared_storage_brick",
    "shared_storage_volume",
)

Data = Mapping[str, Any]


def plan(
    topology: Data,
    hostvars: Data,
    may_break: str = "",
    limit: str = "",
    faults: str = "",
    rounds: int | str = 0,
    seed: int | str = 0,
    budgets: Data | None = None,
    alerts: bool = False,
) -> dict[str, Any]:
    """The rounds as plain data."""
    names = tuple(name.strip() for name in faults.split(",") if name.strip())
    request = Request(
        inventories(topology, hostvars), may_break, limit, names, int(rounds), int(seed), budgets or {}, alerts
    )
    return plan_drill(request, topology, _variables(topology, hostvars)).to_dict()


def inventories(topology: Data, hostvars: Data) -> tuple[str, ...]:
    """Names of the inventories that the hosts come from: those of their folders."""
    folders = dict.fromkeys(str(hostvars[host].get("inventory_dir") or "") for host in topology["hosts"])
    return tuple(os.path.basename(folder.rstrip("/")) for folder in folders)


def take_aim(
    number: Data,
    topology: Data,
    status: Data,
    hostvars: Data,
    budgets: Data | None = None,
    alerts: bool = False,
) -> dict[str, Any]:
    """The round with its hosts."""
    return aim(number, topology, status, _variables(topology, hostvars), budgets or {}, alerts)


def witnesses(hostvars: Data) -> dict[str, Any]:
    """What was registered on each host that could be asked."""
    found = {host: hostvars[host].get("drill_witness") or {} for host in hostvars}
    return {host: said for host, said in found.items() if "offset" in said}


def told(hostvars: Data, target: Data) -> dict[str, Any]:
    """What was registered on the host that was asked which alerts fire."""
    host = target["watcher"]
    said = (hostvars[host].get("drill_told") or {}) if host else {}
    missing = "" if "firings" in said or not host else str(said.get("msg") or "it can't be reached")
    return {
        "host": host,
        "firings": said.get("firings") or [],
        "trouble": said.get("trouble") or missing,
    }


def _variables(topology: Data, hostvars: Data) -> dict[str, dict[str, Any]]:
    # One by one: the variables of a host are templates until they are asked for.
    found = {
        host: {name: hostvars[host][name] for name in VARIABLES if name in hostvars[host]} for host in topology["hosts"]
    }
    for variables in found.values():
        # A release that isn't there fails for another reason than the one that is to be tried.
        if not Path(str(variables.get("drill_bad_release", ""))).is_file():
            variables["drill_bad_release"] = ""
    return found


class FilterModule:
    """Filters of the collection that decide a drill."""

    def filters(self) -> dict[str, Any]:
        """Names of the filters and what they call."""
        return {
            "drill_plan": plan,
            "drill_text": drill_text,
            "drill_aim": take_aim,
            "drill_told": told,
            "drill_witnesses": witnesses,
        }
