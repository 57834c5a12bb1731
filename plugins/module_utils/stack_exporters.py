# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of the stack runs on a host, for what tells Prometheus about it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Data = Mapping[str, Any]

#: What a host's variables call its parts; the defaults are those of the roles.
NAMES = {
    "app_replicas_name": "app",
    "nginx_lb_status_port": 8081,
    "shared_storage_backend": "glusterfs",
    "shared_storage_brick": "/srv/gluster/media/brick",
}


def exporters_of(topology: Data, host: str, variables: Data, pg_version: int | None) -> dict[str, Any]:
    """What the role ``exporters`` is told of *host*, without the prefix of its variables.

    *variables* are those of the host among ``NAMES``. *pg_version* is None where it isn't known.
    """
    names = {**NAMES, **variables}
    balances = host in _hosts(topology["load_balancers"])
    serves = names["shared_storage_backend"] == "glusterfs" and host in _hosts(topology["storage_servers"])
    runs = host in topology["replicas_by_host"]
    version = pg_version if pg_version and host in topology["slots"] else 0
    keeps = topology["backup"] is not None and host == topology["backup"]["name"]
    return {
        "postgres_version": version,
        "nginx_status_url": f"http://127.0.0.1:{names['nginx_lb_status_port']}/nginx_status" if balances else "",
        "vip": topology["settings"]["site_vip"] if balances else "",
        "store_directory": topology["settings"]["site_media_directory"] if host in topology["storage_clients"] else "",
        "brick": str(names["shared_storage_brick"]) if serves else "",
        "backup": keeps,
        "certificates": [
            *(["/etc/nginx/tls/site.crt"] if balances else []),
            *([f"/etc/{names['app_replicas_name']}/ca.crt"] if runs else []),
            *(_pair(f"/etc/postgresql/{version}/main/tls/server.crt") if version else []),
            *(_pair("/etc/pgbackrest/tls/host.crt") if keeps or (version and topology["backup"]) else []),
        ],
        "release_link": f"/srv/{names['app_replicas_name']}/current" if runs else "",
    }


def _pair(certificate: str) -> list[str]:
    """A certificate and that of the CA, which lies beside it."""
    return [certificate, f"{certificate.rpartition('/')[0]}/ca.crt"]


def _hosts(items: Any) -> list[str]:
    return [item["name"] for item in items]
