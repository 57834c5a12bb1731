#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: load_stage
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: What a load test compares a host's own services with
description:
  - With O(state=present) and O(nginx), a bare NGINX serves a file from this host's disk and from the store.
  - With O(state=present) and O(scale), an instance of PostgreSQL with the settings that Debian ships runs beside
    the one at O(port), and both have a database for C(pgbench).
  - With O(state=present) and O(client), the site's firewall lets that client in at O(client_port).
  - With O(state=absent), removes all of it, and the folder of the load test.
options:
  state:
    description: What to do.
    type: str
    choices: [present, absent]
    default: present
  nginx:
    description: Configuration of the bare NGINX.
    type: str
  video:
    description: The file in the store that is copied to this host's disk. Required with O(nginx).
    type: path
  port:
    description: Port of the host's own PostgreSQL, if it has one.
    type: int
    default: 5432
  scale:
    description: Scale of pgbench's database; 1 is 15 MB.
    type: int
  client:
    description: Address that asks this host.
    type: str
  client_port:
    description: What it asks for. Required with O(client).
    type: int
attributes:
  check_mode:
    description: Changes nothing in check mode.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  platform:
    description: Debian with systemd.
    platforms: posix
    support: full
"""

EXAMPLES = r"""
- name: Clean up
  renfo.redundancy.load_stage:
    state: absent
"""

RETURN = r""""""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.renfo.redundancy.plugins.module_utils.load_stage_io import Stage, StageError

ARGUMENTS = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "nginx": {"type": "str"},
    "video": {"type": "path"},
    "port": {"type": "int", "default": 5432},
    "scale": {"type": "int"},
    "client": {"type": "str"},
    "client_port": {"type": "int"},
}


def main() -> None:
    together = [("nginx", "video"), ("client", "client_port")]
    module = AnsibleModule(argument_spec=ARGUMENTS, required_together=together, supports_check_mode=True)
    if module.check_mode:
        module.exit_json(changed=True)
    stage = Stage(lambda command: module.run_command(list(command)))
    args = module.params
    try:
        if args["state"] == "absent":
            module.exit_json(changed=stage.remove(args["port"]))
        if args["client"]:
            stage.admit(args["client"], args["client_port"])
        if args["nginx"]:
            stage.serve(args["nginx"], args["video"])
        if args["scale"]:
            stage.databases(args["port"], args["scale"])
    except (StageError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
