#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: load_report
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: Report what a load test measured
description:
  - With O(state=begun), forgets what an earlier load test left in O(report).
  - With O(state=ended), writes what M(renfo.redundancy.load_measure) noted there as C(index.html), with pictures,
    C(report.md) and C(report.json).
  - Runs on the controller and asks nothing of the host.
options:
  state:
    description: What to do.
    type: str
    choices: [begun, ended]
    required: true
  report:
    description: Folder of the report.
    type: path
    required: true
  about:
    description:
      - What is to stand at the head of the report.
      - Keys are C(inventory), C(site), C(generator), and C(wanted), what the load test was told.
    type: dict
extends_documentation_fragment: renfo.redundancy.controller
attributes:
  check_mode:
    description: Nothing is loaded in check mode.
    support: none
"""

EXAMPLES = r"""
- name: Write the report
  run_once: true
  renfo.redundancy.load_report:
    state: ended
    report: load-report
    about: {inventory: staging, site: renfo.example, generator: ops1, wanted: {seconds: 10, connections: 8}}
"""

RETURN = r"""
page:
  description: The page for people.
  returned: with O(state=ended)
  type: str
text:
  description: The figures as lines for a terminal.
  returned: with O(state=ended)
  type: str
"""

ARGUMENTS = {
    "state": {"type": "str", "choices": ["begun", "ended"], "required": True},
    "report": {"type": "path", "required": True},
    "about": {"type": "dict"},
}
