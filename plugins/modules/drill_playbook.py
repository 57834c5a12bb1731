#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: drill_playbook
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: Run a playbook of this collection in the middle of a drill
description:
  - Runs it as the operator would, in a process of its own, on the inventory of the present run, with the extra
    variables, the vault passwords, the user and the key that the present run was given.
  - Never fails; RV(rc) says how it ended. Runs on the controller and asks nothing of the host.
options:
  playbook:
    description: Its file name, for example C(failover.yml).
    type: str
    required: true
  extra:
    description: Extra variables.
    type: dict
  patience:
    description: Seconds during which it is run again as long as it ends with an error.
    type: float
    default: 0
  hopeless:
    description: It must end with an error, and say this in it. Empty if it must end well.
    type: str
    default: ""
  show:
    description: Whether to show what it prints while it runs.
    type: bool
    default: false
  report:
    description: Folder of the drill's report; what the last run printed is kept there.
    type: path
    required: true
  event:
    description: The name under which the drill's events are told. V(whole) is told only of a success.
    type: str
    choices: [playbook, whole]
    default: playbook
extends_documentation_fragment: renfo.redundancy.controller
attributes:
  check_mode:
    description: The playbook runs in check mode too.
    support: none
"""

EXAMPLES = r"""
- name: Fail over
  run_once: true
  renfo.redundancy.drill_playbook:
    playbook: failover.yml
    report: drill-report
  register: drill_response
"""

RETURN = r"""
rc:
  description: Exit code of the last run.
  returned: always
  type: int
seconds:
  description: How long all the runs took.
  returned: always
  type: float
document:
  description: The JSON document that the playbook printed, if it printed one.
  returned: always
  type: dict
log:
  description: File with what the last run printed.
  returned: always
  type: str
"""

ARGUMENTS = {
    "playbook": {"type": "str", "required": True},
    "extra": {"type": "dict"},
    "patience": {"type": "float", "default": 0},
    "hopeless": {"type": "str", "default": ""},
    "show": {"type": "bool", "default": False},
    "report": {"type": "path", "required": True},
    "event": {"type": "str", "choices": ["playbook", "whole"], "default": "playbook"},
}
