#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: drill_witness
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: What a host itself says about a drill
description:
  - With O(state=present), a small service on a PostgreSQL host writes ten times a second to the instance there, on
    whichever side of a cut network it is, and keeps when the instance accepted that, and on which timeline.
  - With O(state=asked), gives what was kept, and the checksums of what a store holds. Changes nothing.
  - With O(state=absent), removes all of it.
options:
  state:
    description: What to do.
    type: str
    choices: [present, asked, absent]
    default: asked
  lifetime:
    description: Seconds after which the service ends by itself.
    type: float
    default: 86400
  port:
    description: Port of the instance.
    type: int
    default: 5432
  offset:
    description: Where to go on in what was kept, as the last call gave it.
    type: int
    default: 0
  store:
    description: A directory whose new files are to be read. Default none.
    type: path
  since:
    description: Files written before that, in seconds since the epoch, are left out.
    type: float
    default: 0
attributes:
  check_mode:
    description: Changes nothing in check mode.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  platform:
    description: Hosts with systemd; the service wants python3-psycopg2.
    platforms: posix
    support: full
"""

EXAMPLES = r"""
- name: Ask what the database accepted
  renfo.redundancy.drill_witness:
  register: drill_witness
"""

RETURN = r"""
samples:
  description: Writes that the instance accepted, with C(at) (seconds since the epoch) and C(timeline).
  returned: with O(state=asked)
  type: list
  elements: dict
offset:
  description: Where to go on.
  returned: with O(state=asked)
  type: int
digests:
  description: SHA-256 of each file that was asked for; V(none) where no store was.
  returned: with O(state=asked)
  type: list
  elements: str
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.renfo.redundancy.plugins.module_utils.drill_witness_io import Witness, digests

ARGUMENTS = {
    "state": {"type": "str", "choices": ["present", "asked", "absent"], "default": "asked"},
    "lifetime": {"type": "float", "default": 86400},
    "port": {"type": "int", "default": 5432},
    "offset": {"type": "int", "default": 0},
    "store": {"type": "path"},
    "since": {"type": "float", "default": 0},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    args = module.params
    witness = Witness(lambda command: module.run_command(list(command)))
    try:
        if args["state"] == "asked":
            samples, offset = witness.samples(args["offset"])
            found = digests(args["store"], args["since"]) if args["store"] else None
            module.exit_json(changed=False, samples=samples, offset=offset, digests=found)
        if not module.check_mode:
            if args["state"] == "present":
                witness.begin(time.time() + args["lifetime"], args["port"])
            else:
                witness.end()
    except (OSError, LookupError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
