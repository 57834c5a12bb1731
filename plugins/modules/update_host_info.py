#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: update_host_info
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: Observe what is to be updated on a host
description:
  - Tells which packages C(apt-get upgrade) would bring, by its own simulation, whether the host wants a reboot, and
    which units run programs or libraries that were replaced.
  - Trouble with apt is a part of the result, not an error.
requirements:
  - root privileges on the host (C(become))
options:
  refresh:
    description:
      - Whether the package lists are fetched anew first, all of them or none.
      - In check mode they are fetched into a folder that is removed again.
    type: bool
    default: false
  units:
    description: Names of systemd units to look at, with their suffix; patterns may be used.
    type: list
    elements: str
    default: []
  busy:
    description: Names or patterns of jobs that must not be broken off.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Changes nothing on the host. Else it may fetch package lists.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  platform:
    description: Debian with systemd.
    platforms: debian
    support: full
seealso:
  - module: renfo.redundancy.update_units
  - plugin: renfo.redundancy.update
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Look what is to be updated
  renfo.redundancy.update_host_info:
    refresh: true
    units: [nginx.service, app@*.service]
  become: true
  register: update_before
"""

RETURN = r"""
host:
  description: What was observed.
  returned: success
  type: dict
  contains:
    trouble:
      description: Why apt can't tell, and what to do; empty if it can.
      type: str
      sample: ""
    packages:
      description: What would be installed. C(installed) is the version that is there, empty for a new package.
      type: list
      sample: [{name: nginx, installed: 1.26.3-3, candidate: 1.26.3-3+deb13u1, origin: Debian:13.2/stable}]
    unfinished:
      description: Packages that are there and were not set up to the end.
      type: list
      sample: []
    removed:
      description: Packages that would be removed.
      type: list
      sample: []
    kept_back:
      description: Packages that an upgrade leaves as they are.
      type: list
      sample: []
    release:
      description: Number of Debian's release, null for one without a number.
      type: int
      sample: 13
    reboot:
      description: Why the host wants a reboot; empty if it doesn't.
      type: list
      sample: [/run/reboot-required is there]
    boot:
      description: Another text after every boot.
      type: str
      sample: c2686bbb-759f-45b5-a26c-fb21ba2f0616/1524218
    units:
      description: The units of O(units) that run, in that order, and a file that each runs though it was replaced.
      type: list
      sample: [{name: nginx.service, replaced: /usr/sbin/nginx}]
    busy:
      description: The jobs of O(busy) that run.
      type: list
      sample: []
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.renfo.redundancy.plugins.module_utils.stack_host import ProbeError, run
from ansible_collections.renfo.redundancy.plugins.module_utils.update_io import observe


def main():
    module = AnsibleModule(
        argument_spec={
            "refresh": {"type": "bool", "default": False},
            "units": {"type": "list", "elements": "str", "default": []},
            "busy": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(changed=False, host=observe(module.params, module.check_mode, run))
    except ProbeError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
