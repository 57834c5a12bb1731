# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the monitoring watches, and how much of everything there should be: read off the declared site.

Pure: plain data in, frozen dataclasses out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.topology import bracketed

#: Variables of hosts that say where something listens, with the defaults of the roles that own them.
HOST_SETTINGS: dict[str, Any] = {
    "exporters_port": 9998,
    "nginx_lb_https_port": 443,
    "app_replicas_ready_path": "/",
    "shared_storage_backend": "glusterfs",
    "monitoring_port": 9090,
    "monitoring_url": "",
}

Settings = Mapping[str, Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Target:
    """One thing that is asked. ``address`` is that of an exporter, or the URL that the blackbox exporter tries."""

    job: str
    instance: str
    address: str
    host: str


def targets(site: Mapping[str, Any], settings: Settings) -> Iterator[Target]:
    """Everything that is asked.

    *site* is a ``Topology.to_dict()``; *settings* has the values of ``HOST_SETTINGS`` for every host.
    """
    members = [member["name"] for member in site["members"]]
    balancers = [balancer["name"] for balancer in site["load_balancers"]]
    for job, names in (("node", site["hosts"]), ("postgres", members), ("nginx", balancers), ("mtail", balancers)):
        for name in names:
            address = bracketed(site["hosts"][name]["address"])
            yield Target(job, name, f"{address}:{settings[name]['exporters_port']}", name)
    yield from _probes(site, settings)


def _probes(site: Mapping[str, Any], settings: Settings) -> Iterator[Target]:
    balancers = site["load_balancers"]
    if balancers:
        first = balancers[0]
        address = site["settings"]["site_vip"] or first["address"]
        yield Target("site", site["settings"]["site_name"], _https(address, settings[first["name"]]), "")
    for balancer in balancers:
        name = balancer["name"]
        yield Target("lb", name, _https(balancer["address"], settings[name]), name)
    for replica in site["replicas"]:
        path = "/" + str(settings[replica["host"]]["app_replicas_ready_path"]).lstrip("/")
        address = f"http://{bracketed(replica['address'])}:{replica['port']}{path}"
        yield Target("replica", replica["name"], address, replica["host"])


def _https(address: str, settings: Mapping[str, Any]) -> str:
    return f"https://{bracketed(address)}:{settings['nginx_lb_https_port']}/"


def declared(site: Mapping[str, Any], settings: Settings) -> dict[str, int]:
    """How many of what the inventory declares; 0 or 1 for what there is or isn't."""
    bricks = [
        server["name"]
        for server in site["storage_servers"]
        if settings[server["name"]]["shared_storage_backend"] == "glusterfs"
    ]
    return {
        "hosts": len(site["hosts"]),
        "replicas": len(site["replicas"]),
        "load_balancers": len(site["load_balancers"]),
        "members": len(site["members"]),
        "standbys": max(0, len(site["members"]) - 1),
        "bricks": len(bricks),
        "backup": int(site["backup"] is not None),
        "synchronous": int(site["synchronous"] == "any_1"),
        "vip": int(bool(site["settings"]["site_vip"])),
    }


def urls(site: Mapping[str, Any], settings: Settings) -> dict[str, str]:
    """Where people reach Prometheus, by the host that it runs on; each ends with a slash."""
    return {name: _url(site["hosts"][name]["address"], settings[name]) for name in site["monitoring"]}


def _url(address: str, settings: Mapping[str, Any]) -> str:
    given = str(settings["monitoring_url"] or "")
    return (given or f"https://{bracketed(address)}:{settings['monitoring_port']}").rstrip("/") + "/"
