#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: rotation
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: Move a rotation of certificates, CA and passwords to its next stage
description:
  - Keeps the state of a rotation in the secrets folder on the controller, where C(site.yml) finds it. New passwords are
    made, and on disk, before the state says that they count.
  - The first stage begins a rotation. The last, V(done), puts the new half in the place of the old one.
  - A stage that it is in already changes nothing. It never skips one.
  - Runs on the controller and asks nothing of the host.
options:
  directory:
    description: The secrets folder.
    type: path
    required: true
  stage:
    description: The stage to move to.
    type: str
    choices: [prepare, renew, retire, done]
    required: true
  parts:
    description: What is renewed. It counts where a rotation begins.
    type: list
    elements: str
    choices: [certificates, ca, passwords]
    default: []
  certificates:
    description: Files of the certificates that are to be replaced, by name. It counts where a rotation begins.
    type: dict
    default: {}
extends_documentation_fragment: renfo.redundancy.controller
attributes:
  check_mode:
    description: Says whether it would move.
    support: full
"""

EXAMPLES = r"""
- name: Begin to renew the passwords
  run_once: true
  renfo.redundancy.rotation:
    directory: inventories/mine/.secrets
    stage: prepare
    parts: [passwords]
"""

RETURN = r""" # """

ARGUMENTS = {
    "directory": {"type": "path", "required": True},
    "stage": {"type": "str", "required": True, "choices": ["prepare", "renew", "retire", "done"]},
    "parts": {"type": "list", "elements": "str", "choices": ["certificates", "ca", "passwords"], "default": []},
    "certificates": {"type": "dict", "default": {}},
}
