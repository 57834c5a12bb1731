# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site in the lab's shape, as an inventory declares it."""

from __future__ import annotations

import copy
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.topology import Topology, topology

Groups = dict[str, list[str]]
Hostvars = dict[str, dict[str, Any]]

GROUPS: Groups = {
    "nginx_lb": ["lb1", "lb2"],
    "app_replicas": ["app1", "app2", "app3"],
    "shared_storage": ["app1", "app2", "app3"],
    "pg_primary": ["pg1"],
    "pg_replica": ["pg2", "pg3"],
    "monitoring": ["ops1"],
    "backup": ["ops1"],
}
OCTETS = {"lb1": 11, "lb2": 12, "app1": 21, "app2": 22, "app3": 23, "pg1": 31, "pg2": 32, "pg3": 33, "ops1": 41}
SITE = {"site_name": "shop.example", "site_vip": "10.0.0.100"}


def variables(everywhere: dict[str, Any] | None = None, **hosts: Any) -> Hostvars:
    """Variables of every host: its address, the site's, those *everywhere* and those of single *hosts*."""
    return {
        name: {"ansible_host": f"10.0.0.{octet}", **SITE, **(everywhere or {}), **hosts.get(name, {})}
        for name, octet in OCTETS.items()
    }


def declare(changes: Groups | None = None, everywhere: dict[str, Any] | None = None, **hosts: Any) -> Topology:
    """The lab's shape with *changes* to the groups, and variables *everywhere* and of single *hosts*."""
    return topology({**copy.deepcopy(GROUPS), **(changes or {})}, variables(everywhere, **hosts))
