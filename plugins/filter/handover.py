# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: handover
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: Decide a failover or a switchover, and say it
description:
  - The filter C(failover_plan) says whether a standby may be promoted in place of a lost primary, and which. It refuses
    when it can't be shown that nothing acknowledged is lost, or that the old primary is fenced; each refusal names the
    option that overrides it.
  - The filter C(switchover_plan) says whether a healthy primary may hand over, and to whom. It takes C(target), the
    member to hand over to, and C(errors).
  - The filters C(failover_text), C(switchover_text) and C(rejoin_text) turn a plan into a text for a terminal;
    C(failover_report), C(switchover_report) and C(rejoin_report) say what was done, given the result of the module that
    did it, and what is left to do. The plan of a rejoin is of P(renfo.redundancy.cluster_plan#filter).
  - The filter C(rejoined) collects what a task registered on each member, under the name that it is given.
positional: _input, observations
options:
  _input:
    description: The declared cluster, as for P(renfo.redundancy.cluster_plan#filter).
    type: dict
    required: true
  observations:
    description:
      - The RV(renfo.redundancy.pg_instance_info#module:instance) of each member, keyed by name.
      - V(none), or nothing, for a member that can't be reached.
    type: dict
    required: true
  errors:
    description: Why a member can't be reached, keyed by name.
    type: dict
  fenced:
    description: The old primary, if the operator says that it is off or cut off from every client.
    type: str
  loss_of:
    description: The old primary, if the operator accepts the loss of what only it holds.
    type: str
  fence_commands:
    description: Names of the members that have a command which cuts them off.
    type: list
    elements: str
seealso:
  - module: renfo.redundancy.pg_instance_info
  - module: renfo.redundancy.pg_promote
  - plugin: renfo.redundancy.cluster_plan
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Decide
  ansible.builtin.set_fact:
    failover_plan: >-
      {{ topology.cluster | renfo.redundancy.failover_plan(
           topology | renfo.redundancy.observed(hostvars),
           errors=topology | renfo.redundancy.observation_errors(hostvars),
           fenced=failover_fenced | default('')) }}

- name: Show the plan
  renfo.redundancy.show:
    text: "{{ failover_plan | renfo.redundancy.failover_text }}"
"""

RETURN = r"""
_value:
  description: The plan.
  type: dict
  contains:
    outcome:
      description:
        - V(act), V(finish) (a primary serves already, or a handover stopped half way; what is left is done),
          V(nothing) (all of it was done before), or V(refuse).
      type: str
    refusals:
      description: Why nothing may be done, each with what to do about it.
      type: list
      elements: str
    notes:
      description: What the operator should know.
      type: list
      elements: str
    old_primary:
      description: The member that is, or was, the primary; null where there is none.
      type: str
    candidate:
      description: The member that is to be the primary; null where none can be.
      type: str
    candidate_reason:
      description: Why it is that one.
      type: str
    candidate_version:
      description: Its major version of PostgreSQL.
      type: int
    timeline:
      description: The timeline that the candidate writes afterwards.
      type: int
    from_timeline:
      description: The timeline that is written now. Of C(switchover_plan).
      type: int
    members:
      description:
        - For each member, keyed by name, C(action), C(reason) and C(upstream).
        - C(action) is one of V(promote), V(follow), V(fence), V(hand_over), V(take_over), V(rejoin), V(none) and
          V(hold).
      type: dict
    followers:
      description: The members that are to follow the candidate.
      type: list
      elements: str
    rejoiners:
      description: The members that are to come back as a standby of the candidate. Of C(switchover_plan).
      type: list
      elements: str
    promote:
      description: Who is to be promoted to finish a handover that stopped half way, else null. Of C(switchover_plan).
      type: str
    parts:
      description: For the two that hand over, their C(part) and the C(peer) with the other. Of C(switchover_plan).
      type: dict
    loss:
      description:
        - Whether it is C(proven) that nothing acknowledged is lost, the C(upper_bound) in bytes (0 if it is, null if it
          isn't known), and the C(reason). Of C(failover_plan).
      type: dict
    fence:
      description:
        - C(by), how the old primary is known to be fenced, one of V(host), V(command), V(word) and V(none), and the
          C(reason). Of C(failover_plan).
      type: dict
    fence_hosts:
      description: The members that are to be stopped and kept from starting as a primary. Of C(failover_plan).
      type: list
      elements: str
    fence_reason:
      description: What to write into the fence marker. Of C(failover_plan).
      type: str
    rows:
      description: The table, one line for each member.
      type: list
      elements: dict
    next_steps:
      description: What is left for the operator afterwards, line by line.
      type: list
      elements: str
  sample:
    outcome: act
    old_primary: pg1
    candidate: pg2
    timeline: 2
    refusals: []
    loss: {proven: true, upper_bound: 0, reason: every standby was asked}
    fence: {by: host, reason: "pg1 answers: PostgreSQL will be stopped there"}
    fence_hosts: [pg1]
    followers: [pg3]
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_handover import (
    Consent,
    failover,
    switchover,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_handover_text import (
    failover_report,
    failover_text,
    rejoin_report,
    rejoin_text,
    switchover_report,
    switchover_text,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_model import (
    Declared,
    observations_from,
)

Data = Mapping[str, Any]


def failover_plan(
    declared: Data,
    observations: Mapping[str, Data | None],
    errors: Mapping[str, str] | None = None,
    fenced: str | None = None,
    loss_of: str | None = None,
    fence_commands: Iterable[str] | None = None,
) -> dict[str, Any]:
    """The plan of a failover, all plain data. An empty name is none."""
    consent = Consent(fenced or None, loss_of or None)
    try:
        seen, cluster = observations_from(observations), Declared.from_dict(declared)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error
    return failover(seen, cluster, consent, frozenset(fence_commands or ()), errors).to_dict()


def switchover_plan(
    declared: Data,
    observations: Mapping[str, Data | None],
    target: str | None = None,
    errors: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The plan of a switchover, all plain data. An empty name is none."""
    try:
        seen, cluster = observations_from(observations), Declared.from_dict(declared)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error
    return switchover(seen, cluster, target or None, errors).to_dict()


def rejoined(site: Data, hostvars: Mapping[str, Data], registered: str = "pg_replica_streamed") -> dict[str, Any]:
    """What a task ``registered`` on each member, where it ran."""
    found = {member["name"]: hostvars[member["name"]].get(registered) for member in site["members"]}
    return {name: result for name, result in found.items() if result and not result.get("skipped")}


class FilterModule:
    """The filters, by name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "failover_plan": failover_plan,
            "switchover_plan": switchover_plan,
            "failover_text": failover_text,
            "switchover_text": switchover_text,
            "rejoin_text": rejoin_text,
            "failover_report": failover_report,
            "switchover_report": switchover_report,
            "rejoin_report": rejoin_report,
            "rejoined": rejoined,
        }
