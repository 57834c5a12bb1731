# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory declares, as one value: who is what, where, and what is wrong with it.

Pure: plain data in, frozen dataclasses out. The filter ``renfo.redundancy.topology`` is the only
caller on the controller; roles get plain variables made of the result.
"""

from __future__ import annotations

import dataclasses
import ipaddress
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.firewall import OPTIONS as FIREWALL_OPTIONS
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import slot_name
from ansible_collections.renfo.redundancy.plugins.module_utils.ports import Port, integer, ports

GROUPS = (
    "nginx_lb",
    "app_replicas",
    "shared_storage",
    "pg_primary",
    "pg_replica",
    "monitoring",
    "backup",
)

#: Hosts that were taken out of all of these groups, until their last traces are gone.
REMOVED = "removed"

#: Options of the whole site: any inventory scope may set them, every host must agree on them.
#: Shape: an argument spec (``type``, ``default``, ``choices``, ``required``) with a description.
SITE_OPTIONS: dict[str, dict[str, Any]] = {
    "site_name": {
        "type": "str",
        "required": True,
        "description": "Public name of the site: NGINX answers to it and the certificate carries it.",
    },
    "site_vip": {
        "type": "str",
        "default": "",
        "description": "Virtual address that the load balancers share by VRRP. Required with two or more of them.",
    },
    "site_database": {
        "type": "str",
        "default": "app",
        "description": "Name of the application's database.",
    },
    "site_database_user": {
        "type": "str",
        "default": "app",
        "description": "Role that owns the database and that the application connects as.",
    },
    "site_media_directory": {
        "type": "path",
        "default": "/srv/media",
        "description": "Where the shared store is mounted, on every app, load balancer and backup host.",
    },
    "site_media_query": {
        "type": "str",
        "default": "",
        "description": (
            "SQL that lists the files which the application's database names: columns id, path (below the store) and "
            "sha256 (or null). After a restore, and whenever a backup is verified, store and database are compared by "
            "it. Default: they are not compared."
        ),
    },
    "site_newest_query": {
        "type": "str",
        "default": "",
        "description": (
            "SQL that gives the time of the newest row of the application, such as SELECT max(created_at) FROM "
            "sessions. Whenever a backup is verified, that row must not be too old. Default: the newest commit tells."
        ),
    },
    "site_secrets_directory": {
        "type": "path",
        "description": (
            "Folder on the controller for generated passwords, keys and the CA. "
            "Default: .secrets/ beside the inventory; hidden, since Ansible takes every other file there "
            "for an inventory."
        ),
    },
    "app_replicas_version": {
        "type": "str",
        "default": "",
        "description": (
            "Version of the application. app_replicas_archive may be named by it, and the release is. "
            "deploy.yml -e app_replicas_version=previous goes back to the release that ran before. Default: releases "
            "have no version, and are named after their content."
        ),
    },
    "app_replicas_batch": {
        "type": "str",
        "default": "1",
        "description": (
            "How many hosts deploy.yml gives a release to at the same time: a number, or a percentage of the hosts."
        ),
    },
    "pg_replication_password": {
        "type": "str",
        "no_log": True,
        "description": "Password of the role that standbys connect as. Default: generated into the secrets folder.",
    },
    "site_database_password": {
        "type": "str",
        "no_log": True,
        "description": "Password of site_database_user. Default: generated into the secrets folder.",
    },
    "site_backup_passphrase": {
        "type": "str",
        "no_log": True,
        "description": (
            "Encrypts the backups. Without it none can be read: keep a copy outside of these hosts. "
            "Default: generated into the secrets folder."
        ),
    },
    "site_monitoring_password": {
        "type": "str",
        "no_log": True,
        "description": "Password of monitoring_user. Default: generated into the secrets folder.",
    },
    "pg_port": {
        "type": "int",
        "default": 5432,
        "description": "Port of every PostgreSQL instance.",
    },
    "pg_synchronous": {
        "type": "str",
        "choices": ["any_1", "off"],
        "description": (
            "any_1: a commit is acknowledged when one standby has it on disk; no acknowledged write is lost "
            "with the primary. With a single standby its loss blocks writes until it is back. "
            "off: a commit is acknowledged by the primary alone; its loss can lose the last acknowledged "
            "writes. Default any_1 with two or more standbys; a cluster of two must choose."
        ),
    },
    "pg_unattended_start": {
        "type": "str",
        "choices": ["vouched", "always"],
        "default": "vouched",
        "description": (
            "Whether a primary starts at boot, or after a crash, when none of its standbys can be asked. "
            "vouched: it stays down until one of them runs and follows it, or somebody decides; after a power cut "
            "that only the primary survived there is no service, and never a second primary. always: it starts, "
            "and there is service again; but if a standby was promoted while it was down, it takes writes beside "
            "the new primary until it sees it, and these are lost. Either way it stays down while a peer shows "
            "that another one took over."
        ),
    },
    "pg_contact_timeout": {
        "type": "int",
        "default": 3,
        "description": (
            "Seconds that failover.yml, switchover.yml and rejoin.yml wait for a host that doesn't answer. "
            "A lost primary costs a failover that much."
        ),
    },
    "monitoring_viewers": {
        "type": "list",
        "elements": "str",
        "default": [],
        "description": (
            "Who may see the pages of Prometheus on the monitoring hosts: addresses, networks or hosts of the site. "
            "Default: nobody."
        ),
    },
}

#: Debian releases that the roles are tested on, with their version of PostgreSQL.
RELEASES = {"bookworm": 15, "trixie": 17}

#: Options of one host.
HOST_OPTIONS: dict[str, dict[str, Any]] = {
    "site_address": {
        "type": "str",
        "description": "IP address the other hosts reach this one at. Default: ansible_host, if that is an address.",
    },
    "pg_fence_command": {
        "type": "str",
        "description": (
            "Command that failover.yml runs on the controller when this PostgreSQL host is lost and can't be "
            "reached. It must end with 0 only when the host is off, or cut off from every client. Default: none, "
            "and the operator is asked for their word."
        ),
    },
    **FIREWALL_OPTIONS,
    "site_removed_from": {
        "type": "list",
        "elements": "str",
        "choices": ["nginx_lb", "app_replicas", "shared_storage", "pg_replica", "monitoring", "backup"],
        "description": (
            "Groups that this host was taken out of while it stays in others: site.yml stops what it did there, and "
            "removes what is left of it elsewhere. A host that goes as a whole is put into the group removed instead."
        ),
    },
}


@dataclasses.dataclass(frozen=True)
class Host:
    """A machine in the inventory and the address its peers reach it at."""

    name: str
    address: str


@dataclasses.dataclass(frozen=True)
class Member:
    """A declared PostgreSQL instance. ``role`` is ``primary`` or ``replica``, as declared."""

    name: str
    address: str
    port: int
    role: str
    slot: str


@dataclasses.dataclass(frozen=True)
class Replica:
    """One running copy of the application."""

    name: str
    host: str
    address: str
    port: int
    index: int


@dataclasses.dataclass(frozen=True)
class HbaRule:
    """One line of ``pg_hba.conf``, with the keys of ``community.postgresql.postgresql_pg_hba``."""

    contype: str
    databases: str
    users: str
    address: str
    method: str
    options: str = ""


@dataclasses.dataclass(frozen=True)
class Certificate:
    """A certificate that the site needs: file name, the names and addresses it is good for, and what for."""

    name: str
    subject_alt_names: tuple[str, ...]
    usages: tuple[str, ...] = ("serverAuth",)


@dataclasses.dataclass(frozen=True)
class Removed:
    """A host that leaves some ``groups``, or all, and ``stays`` in others.

    ``slot``: the one that its PostgreSQL instance had; empty if it leaves no cluster, or a member has it by now.
    """

    name: str
    address: str
    whole: bool
    groups: tuple[str, ...]
    stays: tuple[str, ...]
    slot: str


@dataclasses.dataclass(frozen=True)
class Topology:
    """The declared site. ``problems`` is empty, or nothing may be changed on any host."""

    problems: tuple[str, ...]
    settings: Mapping[str, Any]
    hosts: Mapping[str, Host]
    members: tuple[Member, ...]
    synchronous: str
    replicas: tuple[Replica, ...]
    load_balancers: tuple[Host, ...]
    storage_servers: tuple[Host, ...]
    storage_clients: tuple[str, ...]
    monitoring: tuple[str, ...]
    backup: Host | None
    certificates: tuple[Certificate, ...]
    ports: tuple[Port, ...]
    removed: Mapping[str, Removed]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for playbooks, with what follows from the declared site already worked out."""
        data = dataclasses.asdict(self)
        # They are many, and only what follows from them is asked for.
        del data["ports"]
        data |= _cluster_facts(self.members, self.synchronous)
        data["hba"] = [dataclasses.asdict(rule) for rule in hba_rules(self)]
        data["database_services"] = {
            host: {"write": write_service(self), "read": read_service(self, turn)}
            for turn, host in enumerate(dict.fromkeys(replica.host for replica in self.replicas))
        }
        # Only then is it asked how its copies are, which takes a second.
        data["storage_leaves"] = any("shared_storage" in host.groups for host in self.removed.values())
        data["priorities"] = {host.name: 100 - 10 * place for place, host in enumerate(self.load_balancers)}
        data["storage_addresses"] = list(
            dict.fromkeys(
                [*(host.address for host in self.storage_servers)]
                + [self.hosts[name].address for name in self.storage_clients]
            )
        )
        data["replicas_by_host"] = {
            host: [dataclasses.asdict(replica) for replica in self.replicas if replica.host == host]
            for host in dict.fromkeys(replica.host for replica in self.replicas)
        }
        return data


def release_problems(releases: Mapping[str, str]) -> Iterator[str]:
    """A problem for every host whose release (``Debian trixie``, as observed) is not supported."""
    for host, found in releases.items():
        if found not in {f"Debian {release}" for release in RELEASES}:
            yield (
                f"{host}: runs {found}, expected Debian {' or Debian '.join(RELEASES)}. "
                "Reinstall it with one of these, or take it out of the inventory."
            )


def is_address(text: str) -> bool:
    """Whether *text* is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def bracketed(address: str) -> str:
    """*address* as a URL wants it: IPv6 in brackets."""
    return f"[{address}]" if ":" in address else address


def host_network(address: str) -> str:
    """The network of exactly one host: ``/32``, or ``/128`` for IPv6."""
    return str(ipaddress.ip_network(address))


def topology(
    groups: Mapping[str, Sequence[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
) -> Topology:
    """Read the groups, once, and say what the site is and what is wrong with it.

    *groups* maps group names to host names in inventory order; *hostvars* maps host names to their
    (resolved) variables. Never raises for bad input: everything found is in ``problems``.
    """
    members_of = {group: tuple(groups.get(group, ())) for group in GROUPS}
    names = tuple(dict.fromkeys(host for group in GROUPS for host in members_of[group]))
    problems: list[str] = []

    hosts = {name: Host(name, _address(hostvars.get(name, {}))) for name in names}
    problems += _address_problems(hosts)

    settings, conflicts = _site_settings(names, hostvars, SITE_OPTIONS)
    problems += conflicts

    members = _members(members_of, hosts, settings)
    problems += _cluster_problems(members_of["pg_primary"], members_of["pg_replica"], members)
    synchronous, choice = _synchronous(settings["pg_synchronous"], len(members_of["pg_replica"]))
    problems += choice

    removed = _removed(groups.get(REMOVED, ()), members_of, members, hostvars)
    problems += _removal_problems(removed, hosts, hostvars)

    replicas = tuple(_replicas(members_of["app_replicas"], hosts, hostvars))
    problems += _replica_problems(members_of["app_replicas"], hostvars)
    problems += _load_balancer_problems(members_of["nginx_lb"], settings)
    problems += _storage_problems(members_of["shared_storage"], hostvars)
    problems += _backup_problems(members_of)
    listening = tuple(
        ports(members_of, settings, hostvars, replicas, [host.name for host in removed.values() if host.whole])
    )
    problems += _port_problems(listening)

    return Topology(
        problems=tuple(problems),
        settings=settings,
        hosts=hosts,
        members=members,
        synchronous=synchronous,
        replicas=replicas,
        load_balancers=tuple(hosts[name] for name in members_of["nginx_lb"]),
        storage_servers=tuple(hosts[name] for name in members_of["shared_storage"]),
        storage_clients=tuple(
            dict.fromkeys((*members_of["app_replicas"], *members_of["nginx_lb"], *members_of["backup"]))
        ),
        monitoring=members_of["monitoring"],
        backup=next((hosts[name] for name in members_of["backup"]), None),
        certificates=(
            *_certificates(members, members_of["nginx_lb"], hosts, settings),
            *_backup_certificates(members_of, hosts),
            *_metrics_certificates(members_of, hosts),
        ),
        ports=listening,
        removed=removed,
    )


def cluster_facts(groups: Mapping[str, Sequence[str]], hostvars: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The PostgreSQL members alone, as plain data: what a failover needs, whatever else the inventory gets wrong.

    Keys as in ``Topology.to_dict`` (``problems``, ``settings``, ``hosts``, ``members``, ``cluster``, ``slots``,
    ``peers``), and ``fence_commands``: the names of the members that have one.
    """
    members_of = {group: tuple(groups.get(group, ())) for group in ("pg_primary", "pg_replica")}
    names = tuple(dict.fromkeys(host for found in members_of.values() for host in found))
    hosts = {name: Host(name, _address(hostvars[name])) for name in names}
    options = {name: spec for name, spec in SITE_OPTIONS.items() if name.startswith("pg_")}
    settings, problems = _site_settings(names, hostvars, options)
    # A host that was reached may be busy: the load that a lost primary leaves behind comes all at once.
    contact = integer(settings["pg_contact_timeout"]) or SITE_OPTIONS["pg_contact_timeout"]["default"]
    settings |= {"pg_contact_timeout": contact, "pg_answer_timeout": contact + 2}
    members = _members(members_of, hosts, settings)
    synchronous, choice = _synchronous(settings["pg_synchronous"], len(members_of["pg_replica"]))
    problems += _address_problems(hosts)
    problems += _cluster_problems(members_of["pg_primary"], members_of["pg_replica"], members)
    return {
        "problems": [*problems, *choice],
        "settings": settings,
        "hosts": {name: dataclasses.asdict(host) for name, host in hosts.items()},
        "members": [dataclasses.asdict(member) for member in members],
        "fence_commands": [name for name in names if hostvars[name].get("pg_fence_command")],
        **_cluster_facts(members, synchronous),
    }


def _members(
    members_of: Mapping[str, Sequence[str]], hosts: Mapping[str, Host], settings: Mapping[str, Any]
) -> tuple[Member, ...]:
    return tuple(
        Member(name, hosts[name].address, settings["pg_port"], role, slot_name(name))
        for group, role in (("pg_primary", "primary"), ("pg_replica", "replica"))
        for name in members_of[group]
    )


def _cluster_facts(members: Sequence[Member], synchronous: str) -> dict[str, Any]:
    """What follows from the members for those who talk to them."""
    plain = {member.name: dataclasses.asdict(member) for member in members}
    return {
        "cluster": {"members": list(plain.values()), "synchronous": synchronous},
        "slots": {member.name: member.slot for member in members},
        "peers": {name: [peer for other, peer in plain.items() if other != name] for name in plain},
    }


def hba_rules(site: Topology) -> Iterator[HbaRule]:
    """Who may connect to PostgreSQL: TLS and SCRAM only, one line per peer, nobody else.

    Source: https://www.postgresql.org/docs/current/auth-pg-hba-conf.html
    """
    yield HbaRule("local", "all", "postgres", "", "peer", "map=administrators")
    if site.monitoring:
        # The exporter on each member; its role reads figures and no table.
        yield HbaRule("local", "postgres", "prometheus", "", "peer")
    for member in site.members:
        # Not only to stream: members ask each other by SQL who is primary, and pg_rewind reads files by it.
        for database in ("replication", "postgres"):
            yield HbaRule("hostssl", database, "replication", host_network(member.address), "scram-sha-256")
    for host in dict.fromkeys((replica.host, replica.address) for replica in site.replicas):
        yield HbaRule(
            "hostssl",
            site.settings["site_database"],
            # And who is a member of it: while its password changes, the application has a second login.
            f"+{site.settings['site_database_user']}",
            host_network(host[1]),
            "scram-sha-256",
        )


def write_service(site: Topology) -> dict[str, str]:
    """Settings of a libpq service that finds the primary among all members. Holds no password.

    Source: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-MULTIPLE-HOSTS
    """
    return _service(site, site.members, "read-write")


def read_service(site: Topology, turn: int) -> dict[str, str]:
    """Settings of a libpq service that prefers a standby.

    *turn* rotates the members, so that the hosts of the application spread over the standbys: libpq
    before version 16 has no ``load_balance_hosts``, and tries hosts in the order given.
    """
    standbys = [member for member in site.members if member.role == "replica"]
    others = [member for member in site.members if member.role != "replica"]
    shift = turn % len(standbys) if standbys else 0
    return _service(site, (*standbys[shift:], *standbys[:shift], *others), "prefer-standby")


def _service(site: Topology, members: Sequence[Member], session: str) -> dict[str, str]:
    return {
        "host": ",".join(member.name for member in members),
        "hostaddr": ",".join(member.address for member in members),
        "port": ",".join(str(member.port) for member in members),
        "dbname": site.settings["site_database"],
        "user": site.settings["site_database_user"],
        "target_session_attrs": session,
        "sslmode": "verify-full",
        # Bounds on a silent death: two seconds is the least libpq takes to give up on a host, and
        # an established connection to a vanished one ends after tcp_user_timeout (milliseconds).
        "connect_timeout": "2",
        "keepalives_idle": "3",
        "keepalives_interval": "1",
        "keepalives_count": "3",
        "tcp_user_timeout": "5000",
    }


def _removed(
    gone: Sequence[str],
    members_of: Mapping[str, Sequence[str]],
    members: Sequence[Member],
    hostvars: Mapping[str, Mapping[str, Any]],
) -> dict[str, Removed]:
    """Who leaves what. A slot that a member has by now is nobody else's."""
    taken = {member.slot for member in members}
    found = {}
    for name in dict.fromkeys((*gone, *(host for hosts in members_of.values() for host in hosts))):
        variables = hostvars.get(name, {})
        whole = name in gone
        groups = GROUPS if whole else _names(variables.get("site_removed_from"))
        if groups:
            held = slot_name(name) if "pg_replica" in groups else ""
            stays = tuple(group for group in GROUPS if name in members_of[group])
            found[name] = Removed(name, _address(variables), whole, groups, stays, "" if held in taken else held)
    return found


def _names(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, (list, tuple)) else ()


def _removal_problems(
    removed: Mapping[str, Removed],
    hosts: Mapping[str, Host],
    hostvars: Mapping[str, Mapping[str, Any]],
) -> Iterator[str]:
    for host in removed.values():
        both = [group for group in host.stays if host.whole or _tier(group) in host.groups]
        if both:
            named = "the group removed" if host.whole else "site_removed_from"
            yield (
                f"{host.name}: declared in {', '.join(both)}, and {named} says that it has left. Take it out of "
                "one of the "
                "two. A host that stays in other groups is not in the group removed: name what it leaves in "
                "site_removed_from."
            )
        if not host.whole:
            continue
        by_controller = _login(hostvars.get(host.name, {}))
        addresses = {host.address, by_controller[0]} - {""}
        for other in hosts.values():
            same_login = by_controller[0] and by_controller == _login(hostvars.get(other.name, {}))
            shared = other.address in addresses or same_login
            if other.name != host.name and shared:
                yield (
                    f"{host.name}: is in the group removed with the address {other.address}, which "
                    f"{other.name} has: what "
                    f"is to be stopped there would be {other.name}'s. Remove the address of {host.name}, if it is gone."
                )


def _login(variables: Mapping[str, Any]) -> tuple[str, int]:
    """Where the controller reaches a host: several may share an address, behind ports of their own."""
    return str(variables.get("ansible_host") or ""), int(variables.get("ansible_port") or 22)


def _tier(group: str) -> str:
    return "pg_replica" if group == "pg_primary" else group


def _address(variables: Mapping[str, Any]) -> str:
    return str(variables.get("site_address") or variables.get("ansible_host") or "")


def _address_problems(hosts: Mapping[str, Host]) -> Iterator[str]:
    for host in hosts.values():
        if not is_address(host.address):
            yield (
                f"{host.name}: its address is {host.address or 'not given'!r}, expected an IP address. "
                f"Set site_address (or ansible_host) of {host.name} to the address its peers reach it at."
            )
    for address, count in Counter(host.address for host in hosts.values()).items():
        if count > 1 and is_address(address):
            shared = ", ".join(host.name for host in hosts.values() if host.address == address)
            yield f"{shared}: declared with the same address {address}. Give every host its own."


def _site_settings(
    names: Sequence[str],
    hostvars: Mapping[str, Mapping[str, Any]],
    options: Mapping[str, Mapping[str, Any]],
) -> tuple[dict[str, Any], list[str]]:
    settings: dict[str, Any] = {}
    problems = []
    for option, spec in options.items():
        if spec.get("no_log"):
            continue
        values = {name: hostvars[name][option] for name in names if option in hostvars.get(name, {})}
        distinct = list(dict.fromkeys(repr(value) for value in values.values()))
        if len(distinct) > 1:
            said = ", ".join(f"{name} says {value!r}" for name, value in values.items())
            problems.append(f"{option} must be the same for the whole site: {said}. Set it once, in group_vars/all.")
        settings[option] = next(iter(values.values()), spec.get("default"))
        if spec.get("required") and settings[option] in (None, ""):
            problems.append(f"{option} is not set. {spec['description']} Set it in group_vars/all.")
    return settings, problems


def _synchronous(chosen: Any, standbys: int) -> tuple[str, list[str]]:
    # YAML reads a bare `off` as false.
    value = "off" if chosen is False else chosen
    if value is None:
        if standbys == 1:
            return "any_1", [
                "pg_synchronous is not set, and a cluster of two members must choose: "
                "any_1 (no acknowledged write is ever lost, but while the only standby is down every write "
                "waits) or off (writes go on without the standby, but losing the primary can lose the last "
                "acknowledged writes). Set pg_synchronous in group_vars/all, or declare a second standby."
            ]
        return ("any_1" if standbys else "off"), []
    if value not in ("any_1", "off"):
        return "any_1", [f"pg_synchronous is {value!r}, expected any_1 or off."]
    if value == "any_1" and not standbys:
        return "off", [
            "pg_synchronous is any_1 but no standby is declared: add a host to pg_replica, or set it to off."
        ]
    return value, []


def _cluster_problems(primaries: Sequence[str], standbys: Sequence[str], members: Sequence[Member]) -> Iterator[str]:
    if len(primaries) != 1:
        found = ", ".join(primaries) or "none"
        yield f"group pg_primary: found {found}, expected exactly one host. It names the initial primary."
    for both in sorted(set(primaries) & set(standbys)):
        yield f"{both}: declared in pg_primary and in pg_replica. Keep it in one of the two groups."
    for slot, count in Counter(member.slot for member in members).items():
        clash = dict.fromkeys(member.name for member in members if member.slot == slot)
        if count > 1 and len(clash) > 1:
            yield f"{', '.join(clash)}: these names give the same replication slot {slot!r}. Rename one."


def _replicas(
    names: Sequence[str], hosts: Mapping[str, Host], hostvars: Mapping[str, Mapping[str, Any]]
) -> Iterator[Replica]:
    for name in names:
        count = integer(hostvars[name].get("app_replicas_count", 1))
        base = integer(hostvars[name].get("app_replicas_port", 8000)) or 8000
        for index in range(1, (count or 0) + 1):
            yield Replica(f"{name}-{index}", name, hosts[name].address, base + index - 1, index)


def _replica_problems(names: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    if not names:
        yield "group app_replicas: found no host, expected at least one. Nothing would serve the site."
    for name in names:
        count = hostvars[name].get("app_replicas_count", 1)
        number = integer(count)
        if number is None or number < 1:
            yield f"{name}: app_replicas_count is {count!r}, expected a whole number of at least 1."


def _load_balancer_problems(names: Sequence[str], settings: Mapping[str, Any]) -> Iterator[str]:
    vip = settings["site_vip"]
    if not names:
        yield "group nginx_lb: found no host, expected at least one."
    if len(names) > 1 and not vip:
        yield f"{', '.join(names)}: several load balancers need one address in common. Set site_vip."
    if vip and not is_address(vip):
        yield f"site_vip is {vip!r}, expected an IP address."


def _storage_problems(names: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    backends = {str(variables.get("shared_storage_backend", "glusterfs")) for variables in hostvars.values()}
    if backends - {"glusterfs"}:
        return
    arbiter = any(variables.get("shared_storage_arbiter", False) for variables in hostvars.values())
    layout = "two full copies and an arbiter" if arbiter else "three full copies"
    found = f"group shared_storage: found {len(names)} hosts ({', '.join(names) or 'none'})"
    if len(names) == 2:
        yield (
            f"{found}. Two bricks cannot tell which of them is right after a network cut and would split "
            "their brain. Add a third host; with shared_storage_arbiter: true it stores names only."
        )
    elif len(names) != 3:
        yield (
            f"{found}, expected exactly three ({layout}). "
            "Or set shared_storage_backend: mount and name the store that you already have."
        )


def _backup_problems(members_of: Mapping[str, Sequence[str]]) -> Iterator[str]:
    names = members_of["backup"]
    if len(names) > 1:
        yield (
            f"group backup: found {', '.join(names)}, expected one host. For a second place name it in "
            "pg_backup_second_repository."
        )
    for name in names:
        for group in ("pg_primary", "pg_replica"):
            if name in members_of[group]:
                yield (
                    f"{name}: declared in backup and in {group}. Losing it would lose the database and its backups: "
                    "keep backups on a host of their own."
                )


def _port_problems(listening: Sequence[Port]) -> Iterator[str]:
    taken: dict[tuple[str, int], list[str]] = {}
    for port in listening:
        # A brick finds a port of its own among many.
        if port.first == port.last:
            taken.setdefault((port.host, port.first), []).append(port.what)
    for (host, number), users in taken.items():
        if len(users) > 1:
            yield f"{host}: port {number} is used by {' and by '.join(users)}. Give one of them another port."
        if not 0 < number < 65536:
            yield f"{host}: {users[0]} would use port {number}, expected 1 to 65535."


def _certificates(
    members: Sequence[Member],
    load_balancers: Sequence[str],
    hosts: Mapping[str, Host],
    settings: Mapping[str, Any],
) -> Iterator[Certificate]:
    for member in members:
        yield Certificate(member.name, (f"DNS:{member.name}", f"IP:{member.address}"))
    if load_balancers:
        addresses = [
            settings["site_vip"],
            *(hosts[name].address for name in load_balancers),
            "127.0.0.1",
        ]
        yield Certificate(
            "site",
            (
                f"DNS:{settings['site_name']}",
                "DNS:localhost",
                *(f"IP:{address}" for address in dict.fromkeys(addresses) if address),
            ),
        )


def backup_certificate(host: str) -> str:
    """Name of the certificate by which *host* takes part in backups, as server and as client."""
    return f"backup.{host}"


def _backup_certificates(members_of: Mapping[str, Sequence[str]], hosts: Mapping[str, Host]) -> Iterator[Certificate]:
    if members_of["backup"]:
        for name in dict.fromkeys((*members_of["backup"], *members_of["pg_primary"], *members_of["pg_replica"])):
            address = hosts[name].address
            # pgBackRest before 2.46 takes an address only where it stands as a DNS name.
            names = (f"DNS:{name}", f"DNS:{address}", f"IP:{address}")
            yield Certificate(backup_certificate(name), names, ("serverAuth", "clientAuth"))


def metrics_certificate(host: str) -> str:
    """Name of the certificate by which *host* tells Prometheus how it is, and asks others if it is Prometheus' host."""
    return f"metrics.{host}"


def _metrics_certificates(members_of: Mapping[str, Sequence[str]], hosts: Mapping[str, Host]) -> Iterator[Certificate]:
    if members_of["monitoring"]:
        for host in hosts.values():
            names = (f"DNS:{host.name}", f"IP:{host.address}")
            yield Certificate(metrics_certificate(host.name), names, ("serverAuth", "clientAuth"))
