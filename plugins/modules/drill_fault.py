#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: drill_fault
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: Break something on a host on purpose, or mend it
description:
  - Injects one fault of P(renfo.redundancy.drill#filter) on the host, or undoes it.
  - The host undoes the fault by itself O(undo_after) seconds later, by a timer of systemd's, whatever became of the
    controller.
  - The means C(power) runs the commands O(power_off) and O(power_on) on the controller; the means C(none) does nothing.
  - What was done, and when, is appended to the file O(journal) on the controller.
options:
  means:
    description: What is done to the host, as the filter C(drill_aim) gives it.
    type: dict
    required: true
  state:
    description: V(present) injects the fault, V(absent) undoes it.
    type: str
    choices: [present, absent]
    default: present
  undo_after:
    description: Seconds after which the host undoes the fault by itself.
    type: float
    default: 120
  delay:
    description: Seconds after which the host injects the fault by itself; for one that cuts the controller off.
    type: float
    default: 0
  patience:
    description: Seconds that O(state=absent) waits for a host that can't be reached yet.
    type: float
    default: 90
  journal:
    description: File on the controller that is told.
    type: path
    required: true
  power_off:
    description: Command that switches the host off, as a power cut would.
    type: str
  power_on:
    description: Command that switches the host on.
    type: str
attributes:
  check_mode:
    description: Nothing is broken in check mode.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  platform:
    description: Hosts with systemd.
    platforms: posix
    support: full
"""

EXAMPLES = r"""
- name: Freeze NGINX for ten seconds at most
  renfo.redundancy.drill_fault:
    means: {kind: freeze, unit: nginx.service}
    undo_after: 10
    journal: drill-report/events.jsonl
"""

RETURN = r"""
at:
  description: When the fault was injected or undone, in seconds since the epoch.
  returned: success
  type: float
  sample: 1767225600.25
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.renfo.redundancy.plugins.module_utils.drill_fault_io import DrillError, HostFault
from ansible_collections.renfo.redundancy.plugins.module_utils.drill_faults import steps

ARGUMENTS = {
    "means": {"type": "dict", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "undo_after": {"type": "float", "default": 120},
    "delay": {"type": "float", "default": 0},
    "patience": {"type": "float", "default": 90},
    "journal": {"type": "path", "required": True},
    "power_off": {"type": "str", "no_log": True},
    "power_on": {"type": "str", "no_log": True},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        fault = HostFault(steps(module.params["means"]), lambda command: module.run_command(list(command)))
        at = time.time()
        if not module.check_mode:
            if module.params["state"] == "present":
                at = fault.inject(module.params["undo_after"], module.params["delay"])
            else:
                at = fault.undo()
    except (DrillError, KeyError, ValueError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=True, at=at)


if __name__ == "__main__":
    main()
