# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: update
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: Decide which hosts are updated, and in which order
description:
  - The filter C(update_plan) gives the steps of an update, or refuses it, from the topology, C(hostvars) (with what
    M(renfo.redundancy.update_host_info) said in C(update_before)) and the document of C(status.yml).
  - The filter C(update_questions) gives the arguments of M(renfo.redundancy.update_host_info) for one host, and
    C(update_step) the step of one host.
  - The filter C(update_reboots) takes a plan and what a host says once it has its packages, and tells whether it is
    rebooted.
  - The filters C(update_text), C(update_step_text), C(update_done_text), C(update_stopped_text) and C(update_report)
    say a plan, a step, how that ended, where an update stopped, and what was done.
positional: _input, hostvars, status
options:
  _input:
    description: The topology.
    type: dict
    required: true
  hostvars:
    description: The magic variable C(hostvars).
    type: dict
    required: true
  status:
    description: The document of C(status.yml).
    type: dict
    required: true
  hosts:
    description: Names of the hosts to update, with commas between; empty for all of them.
    type: str
  reboot:
    description: When a host is rebooted, V(needed), V(never) or V(always) (each host that is updated).
    type: str
  accept_outage:
    description: Whether the only host of a tier may be updated too.
    type: bool
  switch_back:
    description: Whether the primary that the inventory names gets the role back at the end.
    type: bool
  limit:
    description: What the run was limited to.
    type: str
seealso:
  - module: renfo.redundancy.update_host_info
  - module: renfo.redundancy.update_units
"""

EXAMPLES = r"""
- name: Decide
  renfo.redundancy.decide:
    plan: "{{ update_planned }}"
    text: "{{ update_planned | renfo.redundancy.update_text }}"
  vars:
    update_planned: "{{ topology | renfo.redundancy.update_plan(hostvars, whole_status.document) }}"
"""

RETURN = r"""
_value:
  description: The plan, with C(refusals), C(notes), C(steps), C(idle), C(left_out), C(primary) and C(back_to).
  type: dict
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.update_plan import (
    Wanted,
    plan_update,
    questions,
    reboots,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.update_text import (
    done_text,
    report_text,
    step_text,
    stopped_text,
    update_text,
)

#: What an update wants to know of a host.
VARIABLES = ("app_replicas_name", "nginx_lb_https_port")

Data = Mapping[str, Any]


def plan(
    topology: Data,
    hostvars: Mapping[str, Data],
    status: Data,
    hosts: str | Sequence[str] = "",
    reboot: str = "needed",
    accept_outage: bool = False,
    switch_back: bool = False,
    limit: str = "",
) -> dict[str, Any]:
    """The plan as plain data."""
    names = hosts.split(",") if isinstance(hosts, str) else hosts
    wanted = Wanted(tuple(name.strip() for name in names if name.strip()), reboot, accept_outage, switch_back, limit)
    seen = {name: _seen(hostvars[name]) for name in topology["hosts"]}
    return plan_update(
        topology,
        status,
        {name: found for name, found in seen.items() if found},
        {name: _variables(hostvars[name]) for name in topology["hosts"]},
        wanted,
    ).to_dict()


def _seen(variables: Data) -> Data | None:
    found: Data | None = variables.get("update_before", {}).get("host")
    return found


def _variables(variables: Data) -> dict[str, Any]:
    # One by one: the variables of a host are templates until they are asked for.
    return {name: variables[name] for name in VARIABLES if name in variables}


def ask(topology: Data, host: str, hostvars: Mapping[str, Data]) -> dict[str, Any]:
    """What to ask of *host*."""
    return questions(topology, host, _variables(hostvars[host]))


def step(plan: Data, host: str) -> Data:
    """The step that updates *host*."""
    found: Data = next(item for item in plan["steps"] if item["host"] == host)
    return found


def report(plan: Data, hostvars: Mapping[str, Data]) -> str:
    """What was done, for a terminal."""
    return report_text(plan, {item["host"]: hostvars[item["host"]]["update_done"] for item in plan["steps"]})


class FilterModule:
    """Filters of the collection that decide an update, and say it."""

    def filters(self) -> dict[str, Any]:
        """Names of the filters and what they call."""
        return {
            "update_plan": plan,
            "update_questions": ask,
            "update_step": step,
            "update_reboots": reboots,
            "update_text": update_text,
            "update_step_text": step_text,
            "update_done_text": done_text,
            "update_stopped_text": stopped_text,
            "update_report": report,
        }
