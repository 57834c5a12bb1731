# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.site_summary import left_out, site_summary

DOCUMENTATION = """
name: site_summary
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: What a converge has to say at its end
description:
  - Where the site is, which hosts were left out and why, and what the operator should do next.
  - The filter C(left_out) finds these hosts. It takes the topology, C(hostvars), the cluster plan, and the names of the
    hosts that the run was meant for, so that C(--limit) makes no host one that is missing.
positional: _input, plan, without, notes, monitoring
options:
  _input:
    description: The topology.
    type: dict
    required: true
  plan:
    description: The cluster plan.
    type: dict
    required: true
  without:
    description: Why a host was left out, keyed by name.
    type: dict
    required: true
  notes:
    description: What else there is to tell.
  monitoring:
    description: Where people reach Prometheus.
    type: list
    elements: str
    default: []
  removal:
    description: What was decided about hosts that leave.
    type: dict
  removal_done:
    description: Whether all of that was done everywhere.
    type: bool
    default: true
"""

EXAMPLES = """
- name: Sum up
  renfo.redundancy.show:
    text: "{{ topology | renfo.redundancy.site_summary(cluster_plan, {}) }}"
"""

RETURN = """
_value:
  description: Text of several lines.
  type: str
"""


class FilterModule:
    """Filters of the collection that sum up."""

    def filters(self) -> dict[str, Any]:
        """Names of the filters and what they call."""
        return {"left_out": left_out, "site_summary": site_summary}
