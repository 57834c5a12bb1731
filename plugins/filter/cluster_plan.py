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
  - The filter C(observed) takes the observation of each member from the variable C(pg_observed) of its host, as
    registered, and C(observation_errors) why there is none.
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
  intent:
    description:
      - V(converge) makes the cluster what the inventory says, and leaves alone whoever would have to give up history.
      - V(rejoin) brings such members back as standbys of the live primary.
    type: str
    choices: [converge, rejoin]
    default: converge
  hosts:
    description:
      - With O(intent=rejoin), the members to bring back, a list or names separated by commas; the others are left
        alone. By default all.
      - A running primary is brought back only if it is named, and on an earlier timeline than the other one. The same
        goes for a member on the timeline of the primary which holds what the primary doesn't.
    type: list
    elements: str
  backups:
    description:
      - The RV(renfo.redundancy.backup_info#module:backups) of the host that keeps them. While it holds any, no new
        cluster is made; the members are prepared, and wait for a restore.
      - V(unknown) if there is such a host and it could not be asked; no new cluster is made then either.
    type: raw
seealso:
  - module: renfo.redundancy.pg_instance_info
  - plugin: renfo.redundancy.handover
    plugin_type: filter
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
        - C(action) is one of V(bootstrap), V(start), V(clone), V(follow), V(rejoin), V(restore), V(none),
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

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.renfo.redundancy.plugins.module_utils.backup_catalogue import (
    BackupError,
    Catalogue,
    kept_backups,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import (
    Action,
    Declared,
    Intent,
    plan,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_model import observations_from

#: Characters that a reason may have.
EXCERPT = 120
#: What Ansible puts in front of the reason why a host can't be reached.
PREAMBLE = re.compile(
    r"^(Task failed: )?"
    r"(Failed to connect to the host via ssh: |Data could not be sent to remote host .*? can be reached over ssh: )?"
    r"(ssh: )?"
)


def cluster_plan(
    declared: Mapping[str, Any],
    observations: Mapping[str, Mapping[str, Any] | None],
    intent: str = Intent.CONVERGE.value,
    hosts: str | Iterable[str] | None = None,
    backups: Mapping[str, Any] | str | None = None,
) -> dict[str, Any]:
    """The plan for ``declared`` given ``observations``, both plain data. No names in ``hosts`` are all."""
    named = [name.strip() for name in (hosts.split(",") if isinstance(hosts, str) else hosts or ())]
    if intent not in [known.value for known in Intent]:
        raise AnsibleFilterError(f"intent is {intent!r}, expected {' or '.join(known.value for known in Intent)}")
    try:
        seen = observations_from(observations)
        unknown, kept = _kept(backups)
        chosen = list(filter(None, named)) or None
        decided = plan(seen, Declared.from_dict(declared), Intent(intent), chosen, kept).to_dict()
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error
    members = decided["members"].items()
    decided["refusals"] = [
        *decided["problems"],
        *(
            f"{name}: {member['reason']}"
            for name, member in members
            if member["action"] == Action.REFUSE.value and member["reason"] not in decided["problems"]
        ),
        *(unknown if any(member["action"] == Action.BOOTSTRAP.value for _name, member in members) else ()),
    ]
    waiting = (Action.HOLD.value, Action.RESTORE.value)
    decided["held"] = [name for name, member in members if member["action"] in waiting]
    return decided


def _kept(backups: Mapping[str, Any] | str | None) -> tuple[list[str], str]:
    """Why no new cluster may be made, for it can't be told what the backup host has; and what it has."""
    if isinstance(backups, str):
        return [
            "no member holds a database, and it can't be told whether there are backups of one: the host of the group "
            "backup doesn't answer, or its repository can't be read. Mend that"
        ], ""
    try:
        return [], kept_backups(Catalogue.from_dict(backups["catalogue"])) if backups else ""
    except BackupError as error:
        return [str(error)], ""


def observed(site: Mapping[str, Any], hostvars: Mapping[str, Any]) -> dict[str, Any]:
    """The observation of every declared member: None for one that was not reached."""
    return {
        member["name"]: hostvars[member["name"]].get("pg_observed", {}).get("instance") for member in site["members"]
    }


def observation_errors(site: Mapping[str, Any], hostvars: Mapping[str, Any]) -> dict[str, str]:
    """Why there is no observation of a declared member, in one line, for each that has none."""
    results = {member["name"]: hostvars[member["name"]].get("pg_observed") for member in site["members"]}
    return {name: _why(result) for name, result in results.items() if not (result and result.get("instance"))}


def _why(result: Mapping[str, Any] | None) -> str:
    if not result or result.get("skipped"):
        return "it was not asked"
    said = " ".join(str(result.get("msg", "")).split()).rstrip(".") or "no answer"
    said = PREAMBLE.sub("", said)
    return said if len(said) <= EXCERPT else f"{said[: EXCERPT - 3]}..."


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"cluster_plan": cluster_plan, "observed": observed, "observation_errors": observation_errors}
