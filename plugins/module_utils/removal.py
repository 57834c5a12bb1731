# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of hosts that leave the site: what is stopped there, in which order, and what must be so before.
Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.firewall import Rule
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_model import Observation, State
from ansible_collections.renfo.redundancy.plugins.module_utils.ports import BRICKS, GLUSTERD

Data = Mapping[str, Any]

#: Groups whose hosts mount the store.
CLIENTS = ("app_replicas", "nginx_lb", "backup")


@dataclasses.dataclass(frozen=True)
class Leaving:
    """What is done on one host. Units are stopped in the order given.

    ``first``: before anything else changes, so that nobody is turned away. ``database``: once the others don't count on
    it any more. ``store``: once its copy is replaced. ``last``: what told how it is. ``fence``: its instance would
    start as a primary.
    """

    first: tuple[str, ...]
    database: tuple[str, ...]
    store: tuple[str, ...]
    last: tuple[str, ...]
    version: int | None
    fence: bool


@dataclasses.dataclass(frozen=True)
class Removal:
    """The decision. ``hosts`` are those that answered; ``slots`` and ``servers`` are of all that leave.

    ``firewall``: what hosts let in besides until the copies of the store that leave aren't needed any more.
    """

    hosts: Mapping[str, Leaving]
    slots: tuple[str, ...]
    servers: tuple[str, ...]
    firewall: Mapping[str, tuple[Rule, ...]]
    refusals: tuple[str, ...]
    notes: tuple[str, ...]


def removal(
    site: Data,
    plan: Data,
    observed: Mapping[str, Observation | None],
    answered: Collection[str],
    run: Collection[str],
    application: Mapping[str, str],
    running: Mapping[str, Collection[str]],
    pool: Collection[str],
    stores: Collection[str],
) -> Removal:
    """*observed*: instances of members and of hosts that leave; None where nobody answered.

    *answered*: hosts that stay and were reached. *run*: all that this run was meant for; what leaves and isn't among
    them is not touched, here or elsewhere. *application*: name of the application on each host that leaves.
    *running*: units that run on those that leave. *pool*: addresses of the store's servers, as they know each other;
    *stores*: hosts that leave and hold a copy.
    """
    leaving = {name: host for name, host in site["removed"].items() if name in run}
    servers = {
        name: host["address"]
        for name, host in leaving.items()
        if "shared_storage" in host["groups"] and host["address"] in pool
    }
    return Removal(
        hosts={
            name: _leaving(site, plan, host, seen, application[name], name in stores)
            for name, host in leaving.items()
            if (seen := observed.get(name)) is not None
        },
        slots=tuple(host["slot"] for host in leaving.values() if host["slot"]),
        servers=tuple(servers.values()),
        firewall=_firewall(site, servers),
        refusals=tuple(_refusals(site, plan, leaving, observed))
        + tuple(_last(site, leaving, answered, running, application)),
        notes=tuple(_orphans(site, plan, leaving, observed))
        + tuple(
            f"{name} was removed and can't be reached, so nothing was stopped there. Should it ever come back, let "
            "it not reach these hosts, or leave it in the inventory until site.yml has stopped it."
            for name in leaving
            if observed.get(name) is None
        ),
    )


def _firewall(site: Data, servers: Mapping[str, str]) -> dict[str, tuple[Rule, ...]]:
    """How the store's servers, and those that leave (*servers*, by name), go on to reach each other."""
    leaving = tuple(servers.values())
    staying = tuple(site["storage_addresses"])
    names = [server["name"] for server in site["storage_servers"]]
    sources = {**dict.fromkeys(names, leaving), **dict.fromkeys(servers, staying + leaving)} if leaving else {}
    spans = (str(GLUSTERD), f"{BRICKS[0]}-{BRICKS[1]}")
    return {
        name: (Rule("tcp", spans, tuple(dict.fromkeys(found)), "GlusterFS, until a copy has left"),)
        for name, found in sources.items()
    }


def _leaving(site: Data, plan: Data, host: Data, seen: Observation, application: str, stores: bool) -> Leaving:
    groups = host["groups"]
    stays = host["stays"]
    first: list[str] = []
    last: list[str] = []
    if "nginx_lb" in groups:
        # As long as keepalived is there, NGINX gives the address away without losing a request.
        first += ["nginx.service", "keepalived.service", "nginx-media.service"]
        last += ["prometheus-nginx-exporter.service", "mtail.service"]
    if "app_replicas" in groups:
        first.append(f"{application}@*.service")
    if "backup" in groups:
        first += ["pg-backup-full.timer", "pg-backup-diff.timer", "media-backup.timer", "backup-verify.timer"]
    if "monitoring" in groups:
        first += [f"prometheus{part}.service" for part in ("", "-alertmanager", "-blackbox-exporter")]
    if any(group in groups for group in CLIENTS) and not any(group in stays for group in CLIENTS):
        first += ["shared-storage-keeper.service", mount_unit(site["settings"]["site_media_directory"])]
    database: list[str] = []
    if "pg_replica" in groups and seen.version:
        database += [f"pg-guard@{seen.version}-main.service", f"postgresql@{seen.version}-main.service"]
        last.append("prometheus-postgres-exporter.service")
    if ("pg_replica" in groups or "backup" in groups) and not {"pg_primary", "pg_replica", "backup"} & set(stays):
        database.append("pgbackrest.service")
    if host["whole"]:
        last += [
            "prometheus-exporter-exporter.service",
            "prometheus-node-exporter.service",
            "stack-metrics.service",
        ]
    return Leaving(
        first=tuple(first),
        database=tuple(database),
        store=("glusterd.service",) if "shared_storage" in groups and stores else (),
        last=tuple(last),
        version=seen.version,
        fence="pg_replica" in groups and seen.has_data and not seen.standby_signal and bool(plan["primary"]),
    )


def _orphans(site: Data, plan: Data, leaving: Data, observed: Mapping[str, Observation | None]) -> Iterator[str]:
    """Slots that hold WAL back for nobody who is declared, nor removed by name. A line may merely be missing."""
    primary = observed.get(plan["primary"]) if plan["primary_observed"] else None
    known = {*site["slots"].values(), *(host["slot"] for host in leaving.values())}
    for slot in primary.slots if primary else ():
        if slot.kind == "physical" and not slot.active and slot.name not in known:
            yield (
                f"The slot {slot.name} on {plan['primary']} holds WAL back, and no declared standby has it. If a "
                "host is gone for good, put its name into the group removed and run site.yml again; if its line is "
                "missing, put it back. If the slot is another tool's, leave it."
            )


def mount_unit(directory: str) -> str:
    """The unit that systemd names after a path: / becomes -, and a - in a name becomes ``\\x2d``."""
    return directory.strip("/").replace("-", "\\x2d").replace("/", "-") + ".mount"


def _refusals(
    site: Data,
    plan: Data,
    leaving: Data,
    observed: Mapping[str, Observation | None],
) -> Iterator[str]:
    primary = observed.get(plan["primary"]) if plan["primary_observed"] else None
    for name, host in leaving.items():
        if "pg_replica" in host["groups"]:
            yield from _database_refusals(site, plan, name, observed.get(name), primary)


def _database_refusals(
    site: Data, plan: Data, name: str, seen: Observation | None, primary: Observation | None
) -> Iterator[str]:
    back = f"Put {name} back where it was in the inventory"
    other = next((member["name"] for member in site["members"]), "pg2")
    if primary is None and plan["problems"] and (seen is None or seen.has_data):
        found = "can't be reached" if seen is None else f"is a {seen.state.value} instance"
        lost = "If it was the primary and is lost, failover.yml chooses another one. " if seen is None else ""
        yield (
            f"{name} is to be removed and {found}, and none of the others is a primary. {back}, hand the role over "
            f"with switchover.yml -e switchover_to={other}, then remove it. {lost}"
        ).strip()
    elif seen is not None and seen.state is State.PRIMARY and not _outdated(seen, primary):
        yield (
            f"{name} is to be removed, and it accepts writes as a primary. {back}, hand the role over with "
            f"switchover.yml -e switchover_to={other}, then remove it."
        )
    elif primary is None and seen is not None and seen.has_data and _nobody_has_data(plan):
        yield (
            f"{name} is to be removed, and it holds a database while no member does. {back}; or, if the database "
            "is not needed, move its data directory away."
        )
    elif primary is not None and site["cluster"]["synchronous"] == "any_1":
        streams = {client.name for client in primary.replication if client.state == "streaming"}
        members = {member["name"] for member in site["members"]}
        if seen is not None and name in streams and not streams & members:
            yield (
                f"{name} is to be removed, and it is the only standby that streams from {plan['primary']}: with "
                "pg_synchronous: any_1 every write would wait from then on. Bring another one back first "
                "(status.yml says how), or choose pg_synchronous: off."
            )


def _outdated(seen: Observation, primary: Observation | None) -> bool:
    """Whether a primary that leaves was replaced by the one of the site."""
    return (
        primary is not None and seen.system_identifier == primary.system_identifier and seen.timeline < primary.timeline
    )


def _nobody_has_data(plan: Data) -> bool:
    return any(member["action"] in ("bootstrap", "restore") for member in plan["members"].values())


def _last(
    site: Data,
    leaving: Data,
    answered: Collection[str],
    running: Mapping[str, Collection[str]],
    application: Mapping[str, str],
) -> Iterator[str]:
    """Whether nobody that answers would be left to do what a host that leaves does."""
    for name, host in leaving.items():
        units = running.get(name, ())
        balancers = [balancer["name"] for balancer in site["load_balancers"]]
        copies = any(unit.startswith(f"{application[name]}@") for unit in units)
        for group, serves, what, others in (
            ("nginx_lb", "keepalived.service" in units, "load balancer", balancers),
            ("app_replicas", copies, "host of the application", list(site["replicas_by_host"])),
        ):
            if group in host["groups"] and serves and not set(others) & set(answered):
                yield (
                    f"{name} is to be removed, and no other {what} answers ({', '.join(others)}): the site would "
                    "be gone. Bring one back first."
                )
