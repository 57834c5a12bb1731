#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: update_units
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: Take a host out of service for an update, and put it back
description:
  - With O(state=stopped) units are stopped, one after the other. If the host holds the virtual address, another load
    balancer must answer there once NGINX has stopped; else NGINX is started again, and it fails.
  - With O(state=started) units that don't run are started, and nothing else is touched.
  - With O(state=current) units that don't run are started, and what runs programs or libraries that were replaced is
    restarted, other services of the host too. Those whose restart would do harm (sessions, the network) are told.
requirements:
  - root privileges on the host (C(become))
options:
  state:
    description: What is wanted of the units.
    type: str
    choices: [stopped, started, current]
    required: true
  units:
    description: Names of systemd units, with their suffix, in the order in which they are handled.
    type: list
    elements: str
    required: true
  vip:
    description: The virtual address, where another load balancer can take it.
    type: str
    default: ""
  vip_port:
    description: Port on which NGINX answers there.
    type: int
    default: 443
  not_boot:
    description:
      - With O(state=current), what RV(renfo.redundancy.update_host_info#module:host.boot) was before the reboot.
      - If it still is, the module fails.
    type: str
    default: ""
attributes:
  check_mode:
    description: Does nothing, and says nothing of what it would do.
    support: none
  diff_mode:
    description: There is nothing to compare.
    support: none
  platform:
    description: Debian with systemd.
    platforms: debian
    support: full
seealso:
  - module: renfo.redundancy.update_host_info
"""

EXAMPLES = r"""
- name: Take it out of service
  renfo.redundancy.update_units:
    state: stopped
    units: [nginx.service, nginx-media.service]
    vip: 192.0.2.100
  become: true

- name: Put it back into service
  renfo.redundancy.update_units:
    state: current
    units: [nginx-media.service, nginx.service, keepalived.service]
  become: true
"""

RETURN = r"""
actions:
  description: What was done, in order.
  returned: success
  type: list
  elements: str
  sample: [restart glusterd.service, start app@1.service]
left:
  description: Services that go on with replaced files.
  returned: success
  type: list
  elements: str
  sample: [dbus.service]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.renfo.redundancy.plugins.module_utils.stack_host import ProbeError, run
from ansible_collections.renfo.redundancy.plugins.module_utils.update_io import (
    UpdateError,
    boot,
    bring_back,
    stop,
)


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["stopped", "started", "current"], "required": True},
            "units": {"type": "list", "elements": "str", "required": True},
            "vip": {"type": "str", "default": ""},
            "vip_port": {"type": "int", "default": 443},
            "not_boot": {"type": "str", "default": ""},
        },
    )
    given = module.params
    try:
        if given["state"] == "stopped":
            actions = stop(given["units"], given["vip"], given["vip_port"], run)
            module.exit_json(changed=bool(actions), actions=actions, left=[])
        if given["not_boot"] and boot() == given["not_boot"]:
            module.fail_json(msg="the host was to be rebooted, and runs as before")
        found = bring_back(given["units"], given["state"] == "current", run)
        module.exit_json(changed=bool(found["actions"]), **found)
    except (ProbeError, UpdateError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
