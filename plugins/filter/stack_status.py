# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.stack_status import (
    Names,
    Status,
    questions,
    stack_status,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.stack_status_text import render
from ansible_collections.renfo.redundancy.plugins.module_utils.topology import RELEASES

DOCUMENTATION = """
name: stack_status
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: How every declared part of the stack is, and what is missing
description:
  - Compares the declared site with what the modules M(renfo.redundancy.pg_instance_info) and
    M(renfo.redundancy.stack_host_info) saw, which it takes from the variables C(pg_observed) and C(host_observed)
    of each host, as registered.
  - A host without C(host_observed), or with an unreachable one, counts as unreachable.
  - The filter C(stack_questions) gives the arguments of M(renfo.redundancy.stack_host_info) for one host, and
    C(stack_status_text) the status as a text for a terminal.
positional: _input, plan, hostvars
options:
  _input:
    description: The topology.
    type: dict
    required: true
  plan:
    description: The cluster plan.
    type: dict
    required: true
  hostvars:
    description: The magic variable C(hostvars).
    type: dict
    required: true
seealso:
  - module: renfo.redundancy.stack_host_info
  - plugin: renfo.redundancy.topology
    plugin_type: filter
  - plugin: renfo.redundancy.cluster_plan
    plugin_type: filter
"""

EXAMPLES = """
- name: Show the stack
  renfo.redundancy.show:
    text: "{{ topology | renfo.redundancy.stack_status(cluster_plan, hostvars) | renfo.redundancy.stack_status_text }}"
"""

RETURN = """
_value:
  description:
    - The status, with C(healthy), C(degraded) (sentences that say what is wrong and what to do) and C(notes).
    - C(hosts), C(load_balancers), C(replicas), C(instances), C(bricks), C(mounts) and C(backups) have one item for each
      declared part, with the C(problems) of that part.
  type: dict
"""


def status(topology: Mapping[str, Any], plan: Mapping[str, Any], hostvars: Mapping[str, Any]) -> dict[str, Any]:
    """The status as plain data."""
    hosts = topology["hosts"]
    members = [member["name"] for member in topology["members"]]
    return stack_status(
        topology,
        plan,
        {name: _answer(hostvars[name], "pg_observed", "instance") for name in members},
        {name: _answer(hostvars[name], "host_observed", "host") for name in hosts},
        {name: _names(hostvars[name]) for name in hosts},
        _answer(hostvars[topology["backup"]["name"]], "pg_backups", "backups") if topology["backup"] else None,
        time.time(),
    ).to_dict()


def ask(topology: Mapping[str, Any], host: str, hostvars: Mapping[str, Any]) -> dict[str, Any]:
    """What to ask of *host*. PostgreSQL's files are left out where the release of Debian is not known."""
    release = hostvars[host].get("ansible_facts", {}).get("distribution_release")
    return questions(topology, host, _names(hostvars[host]), RELEASES.get(release))


def text(found: Mapping[str, Any], colour: bool = False) -> str:
    """The status, as ``stack_status`` gave it, for a terminal."""
    return render(Status.from_dict(found), colour)


def _answer(variables: Mapping[str, Any], registered: str, key: str) -> Mapping[str, Any] | None:
    if registered not in variables:
        return {"error": "it was not asked: run status.yml without --limit"}
    result = variables[registered]
    if result.get("failed") and not result.get("unreachable"):
        return {"error": str(result.get("msg", "it failed"))}
    answer: Mapping[str, Any] | None = result.get(key)
    return answer


def _names(variables: Mapping[str, Any]) -> Names:
    wanted = (
        "app_replicas_name",
        "app_replicas_ready_path",
        "shared_storage_backend",
        "shared_storage_volume",
        "firewall_enabled",
    )
    # One by one: the variables of a host are templates until they are asked for.
    return Names.from_variables({name: variables[name] for name in wanted if name in variables})


class FilterModule:
    """Filters of the collection that tell how the stack is."""

    def filters(self) -> dict[str, Any]:
        """Names of the filters and what they call."""
        return {"stack_status": status, "stack_questions": ask, "stack_status_text": text}
