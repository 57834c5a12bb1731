#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: service_retired
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: Systemd units run no more, and don't start at boot
description:
  - Stops and disables units, one after the other. What is not there is not missed.
  - Removes nothing of what they leave on disk.
options:
  units:
    description: Names of the units, with their suffix, in the order in which they are stopped. Patterns are allowed.
    type: list
    elements: str
    required: true
attributes:
  check_mode:
    description: Computes the same actions and stops.
    support: full
  diff_mode:
    description: Shows the actions.
    support: full
  platform:
    description: Debian with systemd.
    platforms: debian
    support: full
"""

EXAMPLES = r"""
- name: Stop what a load balancer runs, the shared address first
  renfo.redundancy.service_retired:
    units: [keepalived.service, nginx.service]

- name: Stop every copy of the application
  renfo.redundancy.service_retired:
    units: ["app@*.service"]
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be done, in order.
  returned: always
  type: list
  elements: str
  sample: ["retire app@1.service"]
"""

from ansible.module_utils.basic import AnsibleModule

#: States in which a unit does nothing, and of its file in which it starts at no boot.
IDLE = ("inactive", "failed")
ENABLED = ("enabled", "enabled-runtime")


def run(module, *argv):
    rc, out, err = module.run_command(list(argv))
    if rc != 0:
        module.fail_json(msg=f"{' '.join(argv)} failed: {(err or out).strip()}")
    return out


def matching(module, pattern):
    """Units that *pattern* names; a mount that was made by hand has no file."""
    if "*" not in pattern:
        return [pattern]
    listed = run(module, "systemctl", "list-units", "--all", "--plain", "--no-legend", "--full", pattern)
    return sorted(line.split()[0] for line in listed.splitlines() if line.strip())


def is_retired(module, unit):
    names = "--property=LoadState,ActiveState,UnitFileState"
    shown = dict(
        line.split("=", 1) for line in run(module, "systemctl", "show", unit, names).splitlines() if "=" in line
    )
    there = shown.get("LoadState") not in ("not-found", "masked")
    return shown.get("ActiveState") in IDLE and not (there and shown.get("UnitFileState") in ENABLED)


def retire(module, unit):
    # Disabled first: what stops in the middle of this doesn't come back with the next boot.
    if run(module, "systemctl", "show", unit, "--property=LoadState").strip() == "LoadState=loaded":
        run(module, "systemctl", "disable", "--quiet", unit)
    run(module, "systemctl", "stop", unit)
    if run(module, "systemctl", "show", unit, "--property=ActiveState").strip() == "ActiveState=failed":
        run(module, "systemctl", "reset-failed", unit)


def main():
    module = AnsibleModule(
        argument_spec={"units": {"type": "list", "elements": "str", "required": True}}, supports_check_mode=True
    )
    units = [unit for pattern in module.params["units"] for unit in matching(module, pattern)]
    todo = [unit for unit in units if not is_retired(module, unit)]
    if todo and not module.check_mode:
        run(module, "systemctl", "daemon-reload")
        for unit in todo:
            retire(module, unit)
    actions = [f"retire {unit}" for unit in todo]
    diff = {"before": "", "after": "".join(f"{action}\n" for action in actions)}
    module.exit_json(changed=bool(actions), actions=actions, diff=diff)


if __name__ == "__main__":
    main()
