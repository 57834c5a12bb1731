#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: decide
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: Show a plan, and end with an error if it refuses
description:
  - Prints the text of a plan on the controller as it is, and returns the plan, to be registered.
  - If the plan refuses, it fails with all of the refusals.
  - Runs on the controller and asks nothing of the host.
options:
  plan:
    description:
      - A plan of P(renfo.redundancy.cluster_plan#filter) or P(renfo.redundancy.handover#filter), or another
        dictionary with a list of C(refusals).
    type: dict
    required: true
  text:
    description: The plan in words.
    type: str
    required: true
extends_documentation_fragment: renfo.redundancy.controller
attributes:
  check_mode:
    description: Decides in check mode too.
    support: full
seealso:
  - module: renfo.redundancy.show
"""

EXAMPLES = r"""
- name: Decide
  run_once: true
  renfo.redundancy.decide:
    plan: "{{ failover_plan }}"
    text: "{{ failover_plan | renfo.redundancy.failover_text }}"
  register: failover
"""

RETURN = r"""
plan:
  description: The plan.
  returned: success
  type: dict
  sample:
    outcome: act
    refusals: []
"""
