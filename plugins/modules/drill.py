#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: drill
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: Use a site from outside while it is being broken, and report what that cost
description:
  - With O(state=started), a client on the controller uses the site from now on, at fixed rates, and writes down what it
    was answered. It ends with the run, whatever becomes of it.
  - With O(state=begun), a round begins. With O(state=watched), the fault has been watched long enough after healing;
    what pauses from now on is not its doing. With O(state=settled), the round ends, and everything that was sent in it
    has been answered. With O(state=judged), what it cost is compared with its budget.
  - With O(state=ended), the client ends and the report is written, C(index.html), C(report.json) and C(junit.xml).
  - Runs on the controller and asks nothing of the host.
options:
  state:
    description: What to do.
    type: str
    choices: [started, begun, watched, settled, judged, ended]
    required: true
  report:
    description: Folder of the report. What an earlier drill left there is replaced by O(state=started).
    type: path
    required: true
  client:
    description:
      - Where the site is and how it is used.
      - Keys are C(url), C(server_name) and C(ca); C(rates), by operation, in requests per second; C(timeout), in
        seconds; C(upload_bytes); C(paths) of C(page), C(sessions) and C(videos).
      - Required with O(state=started).
    type: dict
  target:
    description: The round, as the filter C(drill_aim) gives it. Required with O(state=judged).
    type: dict
  witnesses:
    description: What M(renfo.redundancy.drill_witness) returned on each host. Required with O(state=judged).
    type: dict
  alerts:
    description:
      - What M(renfo.redundancy.drill_alerts) returned, and on which C(host), as the filter C(drill_told) gives it.
      - Without it nobody wants to know which alerts fired.
    type: dict
  about:
    description:
      - What is to stand at the head of the report. Keys are C(inventory), C(site), C(seed).
      - With C(rounds), the number of rounds that were planned, a drill that broke off has not passed.
    type: dict
extends_documentation_fragment: renfo.redundancy.controller
attributes:
  check_mode:
    description: Nothing is broken in check mode.
    support: none
seealso:
  - module: renfo.redundancy.drill_alerts
  - module: renfo.redundancy.drill_fault
  - module: renfo.redundancy.drill_witness
"""

EXAMPLES = r"""
- name: Say what it cost
  run_once: true
  renfo.redundancy.drill:
    state: judged
    report: drill-report
    target: "{{ drill_target }}"
    witnesses: "{{ hostvars | renfo.redundancy.drill_witnesses }}"
  register: drill_round
"""

RETURN = r"""
at:
  description: When the round began, in seconds since the epoch.
  returned: with O(state=begun)
  type: float
result:
  description: What the round cost; C(failures) says, in sentences, what was over budget.
  returned: with O(state=judged)
  type: dict
passed:
  description: Whether every round was within its budget.
  returned: with O(state=ended)
  type: bool
page:
  description: The page for people.
  returned: with O(state=ended)
  type: str
"""

ARGUMENTS = {
    "state": {
        "type": "str",
        "choices": ["started", "begun", "watched", "settled", "judged", "ended"],
        "required": True,
    },
    "report": {"type": "path", "required": True},
    "client": {"type": "dict"},
    "target": {"type": "dict"},
    "witnesses": {"type": "dict"},
    "alerts": {"type": "dict"},
    "about": {"type": "dict"},
}
