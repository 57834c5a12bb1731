#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: host_firewall
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: What this host lets in, tried before it is kept
description:
  - Loads one table of nftables, C(site_firewall), in one step, and keeps it in C(/etc/site-firewall.nft), from where
    the unit C(site-firewall.service), which it writes too, loads it at boot. Other tables are not touched.
  - Rules that leave out the SSH connection by which it was called are refused, and nothing is changed.
  - New rules are tried first. The host goes back to those before by itself, unless it is reached by a new connection
    in time; the action plugin of the same name makes one.
  - Decides by what the kernel has, so a table that somebody changed or flushed is loaded again.
requirements:
  - root privileges on the host (C(become))
  - Package nftables on the host
options:
  state:
    description:
      - C(confirmed) keeps the rules that are being tried; it is for the action plugin.
      - C(absent) removes table, unit and file.
    type: str
    choices: [present, confirmed, absent]
    default: present
  rules:
    description: What is let in, beside ICMP and the answers to what the host asked itself.
    type: list
    elements: dict
    default: []
    suboptions:
      protocol:
        description: C(tcp), C(udp), C(vrrp), C(gre), C(esp) or C(ah).
        type: str
        required: true
      ports:
        description: Ports or ranges of them. Empty for a protocol without ports.
        type: list
        elements: str
        required: true
      sources:
        description: Addresses and networks, or C(anyone).
        type: list
        elements: str
        required: true
      why:
        description: What for.
        type: str
        required: true
  untracked:
    description: Connections of TCP that the kernel must not remember, by where they go to.
    type: list
    elements: dict
    default: []
    suboptions:
      addresses:
        description: Addresses of this host or of others.
        type: list
        elements: str
        required: true
      ports:
        description: Their ports.
        type: list
        elements: str
        required: true
  undo_after:
    description: Seconds that rules are tried for.
    type: float
    default: 60
  tried_by:
    description: With O(state=confirmed), the connection by which the rules were loaded. It must not be the same.
    type: str
    default: ""
attributes:
  check_mode:
    description: Finds the same changes and makes none.
    support: full
  diff_mode:
    description: Shows what changes in the rules.
    support: full
  platform:
    description: Debian with systemd.
    platforms: debian
    support: full
"""

EXAMPLES = r"""
- name: Let in who needs to, and nobody else
  renfo.redundancy.host_firewall:
    rules:
      - {protocol: tcp, ports: ["22"], sources: [anyone], why: SSH}
      - {protocol: tcp, ports: ["5432"], sources: [192.0.2.21, 192.0.2.22], why: PostgreSQL}
"""

RETURN = r"""
tried:
  description: Whether the rules are being tried, and have to be confirmed by another connection.
  returned: with O(state=present)
  type: bool
connection:
  description: The SSH connection by which it was called, as sshd tells it; empty if there is none.
  returned: with O(state=present)
  type: str
  sample: 192.0.2.1 40112 192.0.2.31 22
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.renfo.redundancy.plugins.module_utils.firewall import Flow, Rule, admits, ruleset
from ansible_collections.renfo.redundancy.plugins.module_utils.firewall_io import (
    FirewallError,
    HostFirewall,
    ssh_connection,
)

ARGUMENTS = {
    "state": {"type": "str", "choices": ["present", "confirmed", "absent"], "default": "present"},
    "rules": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "protocol": {"type": "str", "required": True},
            "ports": {"type": "list", "elements": "str", "required": True},
            "sources": {"type": "list", "elements": "str", "required": True},
            "why": {"type": "str", "required": True},
        },
    },
    "untracked": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "addresses": {"type": "list", "elements": "str", "required": True},
            "ports": {"type": "list", "elements": "str", "required": True},
        },
    },
    "undo_after": {"type": "float", "default": 60.0},
    "tried_by": {"type": "str", "default": ""},
}


def present(host, rules, text, args, check):
    """Load *rules*, which are *text* for nft, to be confirmed if they are new."""
    connection = ssh_connection(os.getpid())
    if connection:
        address, _port, _server, port = connection.split()
        if not admits(rules, address, int(port)):
            raise FirewallError(
                f"Nothing was changed. Ansible comes from {address} to port {port} of this host, and the new rules "
                f"don't let it in. Put {address} into firewall_ssh_sources, and {port} into firewall_ssh_port"
            )
    before = host.confirmed()
    result = {"tried": False, "connection": connection, "diff": {"before": before, "after": text}}
    if text == before and host.is_installed() and host.is_settled():
        return {**result, "changed": False}
    if not check:
        if text == before:
            host.settle()
        else:
            host.attempt(text, args["undo_after"])
            result["tried"] = True
    return {**result, "changed": True}


def confirmed(host, text, args):
    """Keep the rules of *text*, if whoever says so came in under them."""
    if args["tried_by"] and ssh_connection(os.getpid()) == args["tried_by"]:
        raise FirewallError("the connection is the one that was there before the new rules, expected a new one")
    host.confirm(text)
    return {"changed": True}


def absent(host, check):
    """Let everybody in."""
    found = host.is_there()
    if found and not check:
        host.remove()
    return {"changed": found}


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    args = module.params
    host = HostFirewall(lambda command: module.run_command(list(command)))
    rules = [Rule.from_dict(rule) for rule in args["rules"]]
    text = ruleset(rules, [Flow.from_dict(flow) for flow in args["untracked"]])
    try:
        if args["state"] == "absent":
            result = absent(host, module.check_mode)
        elif args["state"] == "confirmed":
            result = confirmed(host, text, args)
        else:
            result = present(host, rules, text, args, module.check_mode)
    except (FirewallError, OSError, ValueError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
