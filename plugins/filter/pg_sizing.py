# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_sizing import sized_settings

DOCUMENTATION = """
name: pg_sizing
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: PostgreSQL settings for a host of this size
description:
  - Gives memory and parallelism settings for a host that only runs PostgreSQL.
positional: _input, cores
options:
  _input:
    description: Memory of the host, in MiB.
    type: int
    required: true
  cores:
    description: Processor cores of the host.
    type: int
    required: true
"""

EXAMPLES = """
- name: Show the settings of a host with 16 GiB and 8 cores
  ansible.builtin.debug:
    msg: "{{ 16384 | renfo.redundancy.pg_sizing(8) }}"
"""

RETURN = """
_value:
  description: Settings by name.
  type: dict
"""


def pg_sizing(memory_mb: Any, cores: Any) -> dict[str, str]:
    """Settings by name; see module_utils.pg_sizing."""
    try:
        return sized_settings(int(memory_mb), int(cores))
    except ValueError as error:
        raise AnsibleFilterError(f"pg_sizing: {error}") from error


class FilterModule:
    """Filters of the collection that size PostgreSQL."""

    def filters(self) -> dict[str, Any]:
        """Names of the filters and what they call."""
        return {"pg_sizing": pg_sizing}
