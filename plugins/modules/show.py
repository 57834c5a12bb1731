#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: show
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: Print text on the controller as it is
description:
  - Prints a text of several lines, or a JSON document, without the quoting that C(ansible.builtin.debug) adds.
  - Runs on the controller and asks nothing of the host.
options:
  text:
    description: What to print.
    type: str
    default: ""
  data:
    description: What to print as one JSON document, instead of O(text).
    type: raw
extends_documentation_fragment: renfo.redundancy.controller
attributes:
  check_mode:
    description: Prints in check mode too.
    support: full
"""

EXAMPLES = r"""
- name: Say what is left to do
  renfo.redundancy.show:
    text: |
      The primary is pg2.
      Edit the inventory.
"""

RETURN = r""" # """
