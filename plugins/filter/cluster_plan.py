# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: cluster_plan
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: Decide what to do with each member of a PostgreSQL cluster
description:
  - Compares the cluster that the inventory declares with the instances that were observed, names
    the primary, and gives every member one action with a reason in plain words.
  - Observed beats declared. A cluster is never initialised next to existing data, and never while
    a declared member can't be reached.
positional: _input, observations
options:
  _input:
    description:
      - The declared cluster.
      - Its C(members), in inventory order, are dictionaries with C(name), C(address), C(port) and
        C(role), which is V(primary) for exactly one of them and V(replica) for the others.
      - Its C(synchronous) is V(any_1) (the default) or V(off).
    type: dict
    required: true
  observations:
    description:
      - The RV(renfo.redundancy.pg_instance_info#module:instance) of each member, keyed by name.
      - V(none), or nothing, for a member that can't be reached.
    type: dict
    required: true
seealso:
  - module: renfo.redundancy.pg_instance_info
"""

EXAMPLES = r"""
- name: Decide
  ansible.builtin.set_fact:
    cluster_plan: "{{ declared | renfo.redundancy.cluster_plan(observations) }}"
  vars:
    declared:
      synchronous: any_1
      members:
        - {name: pg1, address: 192.0.2.21, port: 5432, role: primary}
        - {name: pg2, address: 192.0.2.22, port: 5432, role: replica}
    observations:
      pg1: "{{ hostvars.pg1.pg_observed.instance }}"
      pg2: # it can't be reached
"""

RETURN = r"""
_value:
  description: The plan.
  type: dict
  contains:
    primary:
      description: The member that is, or is about to be, the primary; null where none can be named.
      type: str
    primary_observed:
      description: Whether RV(_value.primary) was seen running as a primary.
      type: bool
    members:
      description:
        - For each member, keyed by name, C(action), C(reason) and C(upstream).
        - C(action) is one of V(bootstrap), V(start), V(clone), V(follow), V(rejoin), V(none),
          V(hold) (nothing may be done now, the rest goes on) and V(refuse) (nothing at all may be
          changed).
      type: dict
    problems:
      description: What stops the whole cluster.
      type: list
      elements: str
    notes:
      description: What the operator should know, and do at leisure.
      type: list
      elements: str
    degraded:
      description: Whether something is missing from full redundancy.
      type: bool
  sample:
    primary: pg1
    primary_observed: true
    members:
      pg1: {action: none, reason: the live primary, upstream: null}
      pg2: {action: clone, reason: it holds no database, upstream: pg1}
    problems: []
    notes: []
    degraded: true
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import (
    Action,
    DeclarationError,
    Declared,
    Observation,
    plan,
)


def cluster_plan(declared: Mapping[str, Any], observations: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Any]:
    """The plan for ``declared`` given ``observations``, both plain data."""
    seen = {str(name): None if data is None else _observation(name, data) for name, data in observations.items()}
    try:
        decided = plan(seen, Declared.from_dict(declared)).to_dict()
    except DeclarationError as error:
        raise AnsibleFilterError(str(error)) from error
    members = decided["members"].items()
    decided["refusals"] = [
        *decided["problems"],
        *(
            f"{name}: {member['reason']}"
            for name, member in members
            if member["action"] == Action.REFUSE.value and member["reason"] not in decided["problems"]
        ),
    ]
    decided["held"] = [name for name, member in members if member["action"] == Action.HOLD.value]
    return decided


def observed(site: Mapping[str, Any], hostvars: Mapping[str, Any]) -> dict[str, Any]:
    """The observation of every declared member: None for one that was not reached."""
    return {
        member["name"]: hostvars[member["name"]].get("pg_observed", {}).get("instance") for member in site["members"]
    }


def _observation(name: str, data: Mapping[str, Any]) -> Observation:
    try:
        return Observation.from_dict(data)
    except (KeyError, TypeError, ValueError) as error:
        raise AnsibleFilterError(
            f"the observation of {name} is not what renfo.redundancy.pg_instance_info returns under 'instance': {error}"
        ) from error


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"cluster_plan": cluster_plan, "observed": observed}
