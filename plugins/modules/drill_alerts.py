#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: drill_alerts
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: Which alerts fire during a drill
description:
  - With O(state=present), a small service on a monitoring host asks the Alertmanager there every second which alerts
    fire, and keeps that. Fails, and leaves nothing behind, where Alertmanager says nothing within 15 seconds, or where
    even the alert that always fires doesn't.
  - With O(state=asked), gives what was kept, and waits for O(alerts) before. Changes nothing, and does not fail because
    of what fires.
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
  alerts:
    description: The alerts that are waited for.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the rule.
        type: str
        required: true
      label:
        description: The label that says who the alert is about. Empty for one of the whole site.
        type: str
        default: ""
      who:
        description: The value of that label.
        type: str
        default: ""
  gone:
    description: Whether to wait until none of them fires any more, instead of until all of them have fired.
    type: bool
    default: false
  since:
    description: Alerts that began to fire before that, in seconds since the epoch, are left out.
    type: float
    default: 0
  patience:
    description: Seconds that are waited at most.
    type: float
    default: 120
attributes:
  check_mode:
    description: Changes nothing in check mode, and asks nobody.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  platform:
    description: Hosts with systemd, and the Alertmanager of the role P(renfo.redundancy.monitoring#role).
    platforms: posix
    support: full
seealso:
  - module: renfo.redundancy.drill
  - module: renfo.redundancy.drill_witness
"""

EXAMPLES = r"""
- name: Wait until it is told that app1 is down
  renfo.redundancy.drill_alerts:
    alerts: [{name: HostDown, label: instance, who: app1}]
    since: "{{ drill_begun.at }}"
  register: drill_told
"""

RETURN = r"""
firings:
  description: What fired, with its C(labels), C(since) when and C(until) when (seconds since the epoch, or none).
  returned: with O(state=asked)
  type: list
  elements: dict
trouble:
  description: Why it isn't known what fires. Empty if it is.
  returned: with O(state=asked)
  type: str
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.renfo.redundancy.plugins.module_utils.drill_alerts_io import Watch, WatchError
from ansible_collections.renfo.redundancy.plugins.module_utils.drill_faults import Alert

ARGUMENTS = {
    "state": {"type": "str", "choices": ["present", "asked", "absent"], "default": "asked"},
    "lifetime": {"type": "float", "default": 86400},
    "alerts": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "label": {"type": "str", "default": ""},
            "who": {"type": "str", "default": ""},
        },
    },
    "gone": {"type": "bool", "default": False},
    "since": {"type": "float", "default": 0},
    "patience": {"type": "float", "default": 120},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    args = module.params
    watch = Watch(lambda command: module.run_command(list(command)))
    try:
        if args["state"] == "asked":
            alerts = [Alert(**alert) for alert in args["alerts"]]
            nothing = {"firings": [], "trouble": ""}
            said = nothing if module.check_mode else watch.ask(alerts, args["gone"], args["since"], args["patience"])
            module.exit_json(changed=False, **said)
        if not module.check_mode:
            if args["state"] == "present":
                watch.begin(time.time() + args["lifetime"])
            else:
                watch.end()
    except (OSError, LookupError, WatchError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
