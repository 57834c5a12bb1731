#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: pg_slots
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: The replication slots of a primary
description:
  - Makes the slots of its standbys, and drops those of hosts that were removed. WAL is kept for a new slot from now on.
  - Drops none that is in use, none that is logical or temporary, and none that isn't named in O(removed).
options:
  wanted:
    description: Slots that there shall be.
    type: list
    elements: str
    default: []
  removed:
    description: Slots of standbys that are gone for good.
    type: list
    elements: str
    default: []
  port:
    description: Port of the instance, on its local socket.
    type: int
    default: 5432
  timeout:
    description: Seconds that a standby which was stopped just now may take to let go of its slot.
    type: int
    default: 15
attributes:
  check_mode:
    description: Computes the same and stops.
    support: full
  diff_mode:
    description: Shows which slots come and go.
    support: full
  platform:
    description: Debian.
    platforms: debian
    support: full
"""

EXAMPLES = r"""
- name: Keep WAL for each standby, and for nobody else
  renfo.redundancy.pg_slots:
    wanted: [pg2]
    removed: [pg3]
"""

RETURN = r"""
made:
  description: Slots that were made.
  returned: success
  type: list
  elements: str
  sample: [pg2]
dropped:
  description: Slots that were dropped.
  returned: success
  type: list
  elements: str
  sample: [pg3]
"""

import json
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_io import as_postgres, one_line
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_slots import Slot, slot_plan

LIST = (
    "SELECT coalesce(json_agg(json_build_object('name', slot_name, 'kind', slot_type, 'active', active,"
    " 'temporary', temporary)), '[]') FROM pg_replication_slots"
)


def sql(module, query):
    """The answer of this host's instance. Names of slots hold nothing that would have to be quoted."""
    argv = as_postgres(
        "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-p", str(module.params["port"]), "-c", query, bound=30
    )
    rc, out, err = module.run_command(argv, cwd="/")
    if rc != 0:
        module.fail_json(msg=f"the instance on this host doesn't answer: {one_line(err or out)}")
    return out.strip()


def look(module):
    there = [Slot(**slot) for slot in json.loads(sql(module, LIST))]
    return slot_plan(there, module.params["wanted"], module.params["removed"])


def main():
    module = AnsibleModule(
        argument_spec={
            "wanted": {"type": "list", "elements": "str", "default": []},
            "removed": {"type": "list", "elements": "str", "default": []},
            "port": {"type": "int", "default": 5432},
            "timeout": {"type": "int", "default": 15},
        },
        supports_check_mode=True,
    )
    plan = look(module)
    deadline = time.monotonic() + module.params["timeout"]
    while plan.waits and not module.check_mode and time.monotonic() < deadline:
        time.sleep(0.5)
        plan = look(module)
    if not module.check_mode:
        for name in plan.make:
            sql(module, f"SELECT pg_create_physical_replication_slot('{name}', true)")
        for name in plan.drop:
            sql(module, f"SELECT pg_drop_replication_slot('{name}')")
        if plan.waits:
            module.fail_json(
                msg=(
                    f"the slot {', '.join(plan.waits)} is still in use, though its host was removed: a standby "
                    "that could not "
                    "be reached streams on. Stop PostgreSQL there, or switch the host off; then run site.yml again."
                )
            )
    dropped = (*plan.drop, *plan.waits) if module.check_mode else plan.drop
    diff = {"before": "".join(f"{name}\n" for name in dropped), "after": "".join(f"{name}\n" for name in plan.make)}
    module.exit_json(changed=bool(plan.make or dropped), made=plan.make, dropped=dropped, diff=diff)


if __name__ == "__main__":
    main()
