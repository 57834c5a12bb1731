# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.rotation import plan, report, text

DOCUMENTATION = """
name: rotation
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: Decide how certificates, the CA and passwords are renewed
description:
  - The filter C(rotation_plan) says which stages are to come, of a new rotation or of one that was interrupted, or
    why not.
  - The filters C(rotation_text) and C(rotation_report) say it, before and after.
positional: _input, hostvars, wish
options:
  _input:
    description: The topology.
    type: dict
    required: true
  hostvars:
    description: The magic variable C(hostvars).
    type: dict
    required: true
  wish:
    description: What is to be renewed, as the user said it.
    type: raw
    required: true
  limit:
    description: The hosts that the run is limited to; it must not be.
    type: str
    default: ""
"""

EXAMPLES = """
- name: Decide
  ansible.builtin.set_fact:
    rotate_plan: "{{ topology | renfo.redundancy.rotation_plan(hostvars, 'certificates') }}"
"""

RETURN = """
_value:
  description: The plan.
  type: dict
"""

#: As in the role's defaults.
NAMES = {"write_url": "APP_WRITE_URL", "read_url": "APP_READ_URL"}


def rotation_plan(
    site: Mapping[str, Any], hostvars: Mapping[str, Mapping[str, Any]], wish: Any, limit: str = ""
) -> dict[str, Any]:
    """The plan, as plain data."""
    environments = {
        host: {
            "environment": list(hostvars[host].get("app_replicas_environment") or {}),
            "names": hostvars[host].get("app_replicas_environment_names") or NAMES,
        }
        for host in site["replicas_by_host"]
    }
    return plan(site, wish, limit, environments).to_dict()


class FilterModule:
    """Filters of the collection that renew."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names of the filters and what they call."""
        return {"rotation_plan": rotation_plan, "rotation_text": text, "rotation_report": report}
