# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A declared site, and how it is, as far as a drill wants to know."""

from __future__ import annotations

from typing import Any

HOSTS = ("lb1", "lb2", "app1", "app2", "app3", "pg1", "pg2", "pg3")
TOPOLOGY: dict[str, Any] = {
    "hosts": {name: {"name": name} for name in HOSTS},
    "settings": {"site_vip": "10.0.0.100"},
    "members": [{"name": f"pg{n}", "address": f"10.0.0.3{n}"} for n in (1, 2, 3)],
    "replicas": [{"host": f"app{n}"} for n in (1, 2, 3)],
    "load_balancers": [{"name": "lb1"}, {"name": "lb2"}],
    "storage_servers": [{"name": f"app{n}"} for n in (1, 2, 3)],
    "monitoring": ["pg2", "ops1"],
}
STATUS = {"primary": "pg2", "vip_holders": ["lb2"]}
