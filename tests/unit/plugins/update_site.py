# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A declared site, and what is to be updated on it."""

from __future__ import annotations

from typing import Any

HOSTS = ("lb1", "lb2", "app1", "app2", "app3", "pg1", "pg2", "pg3", "ops1")
UNITS = {
    "lb": ["srv-media.mount", "nginx-media.service", "nginx.service", "keepalived.service"],
    "app": ["glusterd.service", "srv-media.mount", "app@1.service", "app@2.service"],
    "pg": ["postgresql@17-main.service", "pg-guard@17-main.service"],
    "ops": ["srv-media.mount", "pgbackrest.service"],
}
THING = {"name": "lab-thing", "installed": "1", "candidate": "2", "origin": "localhost"}
STATUS = {"primary": "pg1", "vip_holders": ["lb1"]}


def site(**changes: Any) -> dict[str, Any]:
    """The topology."""
    return {
        "hosts": {name: {"name": name} for name in HOSTS},
        "settings": {"site_vip": "10.0.0.100", "site_media_directory": "/srv/media"},
        "members": [{"name": "pg1", "role": "primary"}, {"name": "pg2", "role": "replica"}, {"name": "pg3", "role": "replica"}],
        "synchronous": "any_1",
        "replicas_by_host": {f"app{n}": [] for n in (1, 2, 3)},
        "load_balancers": [{"name": "lb1"}, {"name": "lb2"}],
        "storage_servers": [{"name": f"app{n}"} for n in (1, 2, 3)],
        "backup": {"name": "ops1"},
        **changes,
    }  # fmt: skip


def host(name: str, **found: Any) -> dict[str, Any]:
    """What a host says of itself; nothing is to be done there unless it is *found*."""
    units = UNITS[name.rstrip("0123456789")]
    return {
        "trouble": "", "packages": [], "unfinished": [], "removed": [], "kept_back": [], "release": 13, "reboot": [],
        "boot": "a/1", "units": [{"name": unit, "replaced": ""} for unit in units], "busy": [], **found,
    }  # fmt: skip


def everybody(**found: Any) -> dict[str, dict[str, Any]]:
    """The same for all hosts."""
    return {name: host(name, **found) for name in HOSTS}
