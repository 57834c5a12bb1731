# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What listens where, and who has to reach it. Pure.

The only list of the site's ports: it tells two services that want the same one, and what the firewall lets in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ansible_collections.renfo.redundancy.plugins.module_utils.topology import Replica

#: Instead of an address: whoever asks.
ANYONE = "anyone"
#: Of an Ansible host that says nothing else.
SSH_PORT = 22
#: Where GlusterFS' servers and clients ask each other.
GLUSTERD = 24007
#: A brick takes any port between these that is free when it starts.
#: Source: glusterd.vol of Debian 12 (GlusterFS 10) and 13 (11): base-port, max-port.
BRICKS = (49152, 60999)


@dataclasses.dataclass(frozen=True)
class Port:
    """A port of a host (or all from *first* to *last*), what listens there, and who has to reach it.

    *clients* are hosts of the site by name; *networks* are addresses, networks or ``anyone``. With neither, only the
    host itself asks. *option* is the variable that sets the port, *copy* the name of one of several copies.
    *where* and *whom* tell people on which hosts it is, and who is let in.
    """

    host: str
    first: int
    last: int
    service: str
    where: str
    whom: str
    option: str = ""
    copy: str = ""
    clients: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        """The service and its variable, for people: ``PostgreSQL (pg_port)``."""
        return (self.copy or self.service) + (f" ({self.option})" if self.option else "")


def ports(
    members_of: Mapping[str, Sequence[str]],
    settings: Mapping[str, Any],
    hostvars: Mapping[str, Mapping[str, Any]],
    replicas: Sequence[Replica],
    leaving: Sequence[str] = (),
) -> Iterator[Port]:
    """Every port of the site. Values that are no number are left out: their spec reports them.

    *members_of* maps the groups to their hosts, *hostvars* the hosts to their variables; *leaving* are the hosts that
    are in none of the groups any more.
    """

    def port(host: str, service: str, option: str, value: Any, where: str, whom: str, **more: Any) -> Iterator[Port]:
        number = integer(value)
        if number is not None:
            yield Port(host, number, number, service, where, whom, option, **more)

    everybody = _once(*members_of.values())
    members = _once(members_of["pg_primary"], members_of["pg_replica"])
    balancers, apps, monitoring = (_once(members_of[group]) for group in ("nginx_lb", "app_replicas", "monitoring"))
    backup, servers = _once(members_of["backup"]), _once(members_of["shared_storage"])

    for host in (*everybody, *leaving):
        variables = hostvars.get(host, {})
        sources = strings(variables.get("firewall_ssh_sources", [ANYONE]))
        number = variables.get("firewall_ssh_port", SSH_PORT)
        yield from port(
            host, "SSH", "firewall_ssh_port", number, "every host", "`firewall_ssh_sources`", networks=sources
        )
    for host in members:
        yield from port(
            host,
            "PostgreSQL",
            "pg_port",
            settings["pg_port"],
            "PostgreSQL hosts",
            "PostgreSQL and app hosts",
            clients=_once(members, apps),
        )
    for replica in replicas:
        yield from port(
            replica.host,
            "application",
            "app_replicas_port",
            replica.port,
            "app hosts",
            "load balancers, monitoring hosts",
            copy=f"app replica {replica.name}",
            clients=_once(balancers, monitoring),
        )
    for host in balancers:
        for option, default in (("nginx_lb_http_port", 80), ("nginx_lb_https_port", 443)):
            number = hostvars[host].get(option, default)
            yield from port(host, "NGINX", option, number, "load balancers", ANYONE, networks=(ANYONE,))
        number = hostvars[host].get("nginx_lb_status_port", 8081)
        yield from port(host, "NGINX", "nginx_lb_status_port", number, "load balancers", "")
    if servers and all(hostvars[host].get("shared_storage_backend", "glusterfs") == "glusterfs" for host in servers):
        clients = _once(servers, apps, balancers, backup)
        where, whom = "storage hosts", "storage, app and backup hosts, load balancers"
        for host in servers:
            yield Port(host, GLUSTERD, GLUSTERD, "GlusterFS (glusterd)", where, whom, clients=clients)
            yield Port(host, *BRICKS, "GlusterFS (bricks)", where, whom, clients=clients)
    if backup:
        # Members bring WAL and fetch backups; a backup is fetched from them.
        for hosts, where, whom, clients in (
            (backup, "backup host", "PostgreSQL hosts", members),
            (members, "PostgreSQL hosts", "backup host", backup),
        ):
            for host in hosts:
                number = hostvars[host].get("pg_backup_port", 8432)
                yield from port(host, "pgBackRest", "pg_backup_port", number, where, whom, clients=clients)
    if monitoring:
        for host in everybody:
            number = hostvars[host].get("exporters_port", 9998)
            yield from port(
                host, "metrics", "exporters_port", number, "every host", "monitoring hosts", clients=monitoring
            )
            yield from port(host, "node-exporter", "", 9100, "every host", "")
        for host in members:
            yield from port(host, "the exporter of PostgreSQL", "", 9187, "PostgreSQL hosts", "")
        for host in balancers:
            yield from port(host, "the exporter of NGINX", "", 9113, "load balancers", "")
            yield from port(host, "mtail", "", 3903, "load balancers", "")
        viewers = strings(settings.get("monitoring_viewers") or ())
        for host in monitoring:
            number = hostvars[host].get("monitoring_port", 9090)
            where, whom = "monitoring hosts", "`monitoring_viewers`"
            yield from port(host, "Prometheus", "monitoring_port", number, where, whom, networks=viewers)
            yield from port(host, "Alertmanager", "", 9093, where, "")
            yield from port(host, "the blackbox exporter", "", 9115, where, "")


def integer(value: Any) -> int | None:
    """*value* as a whole number, or None: a mistyped variable is reported elsewhere, by its spec."""
    if isinstance(value, bool):
        return None
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def strings(value: Any) -> tuple[str, ...]:
    """The entries of a list of an inventory, which may be a single one."""
    return tuple(str(each) for each in (value if isinstance(value, (list, tuple)) else [value]))


def _once(*names: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for each in names for name in each))
