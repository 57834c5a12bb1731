# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.stack_exporters import NAMES, exporters_of
from ansible_collections.renfo.redundancy.plugins.module_utils.topology import RELEASES

DOCUMENTATION = """
name: exporters
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: What of the stack runs on each host, for what tells Prometheus about it
description:
  - The options of the role C(exporters) that follow from the declared site, without their prefix.
  - PostgreSQL is left out on a host whose release of Debian is not known.
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
seealso:
  - plugin: renfo.redundancy.topology
    plugin_type: filter
"""

EXAMPLES = """
- name: Say what is exported
  ansible.builtin.debug:
    msg: "{{ topology | renfo.redundancy.exporters(hostvars) }}"
"""

RETURN = """
_value:
  description: For each host by name, one key for each option.
  type: dict
"""


def exporters(topology: Mapping[str, Any], hostvars: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Options of the role ``exporters`` for each host, by name."""
    return {host: _of(topology, host, hostvars) for host in topology["hosts"]}


def _of(topology: Mapping[str, Any], host: str, hostvars: Mapping[str, Any]) -> dict[str, Any]:
    variables = hostvars[host]
    release = variables.get("ansible_facts", {}).get("distribution_release")
    # One by one: the variables of a host are templates until they are asked for.
    named = {name: variables[name] for name in NAMES if name in variables}
    return exporters_of(topology, host, named, RELEASES.get(release))


class FilterModule:
    """Filters of the collection for what tells Prometheus about a host."""

    def filters(self) -> dict[str, Any]:
        """Names of the filters and what they call."""
        return {"exporters": exporters}
