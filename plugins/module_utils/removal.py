# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of hosts that leave the site: what is stopped there, in which order, and what must be so before.
Pure."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.firewall import Rule
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import Action
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import plan as plan_of
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_model import (
    Declared,
    Lsn,
    Member,
    Observation,
    Role,
    State,
    listed,
)
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
    them is not touched, here or elsewhere. *application*: name of the application on each host.
    *running*: units that run, by host. *pool*: addresses of the store's servers, as they know each other;
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
        firewall=_firewall(site, servers, [name for name in servers if observed.get(name) is not None]),
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


def _firewall(site: Data, servers: Mapping[str, str], reached: Collection[str]) -> dict[str, tuple[Rule, ...]]:
    """How the store's servers, and those that leave (*servers*, by name), go on to reach each other. To one that leaves
    and wasn't *reached* nothing can be told."""
    leaving = tuple(servers.values())
    staying = tuple(site["storage_addresses"])
    names = [server["name"] for server in site["storage_servers"]]
    sources = {**dict.fromkeys(names, leaving), **dict.fromkeys(reached, staying + leaving)} if leaving else {}
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
    members = {name: host for name, host in leaving.items() if "pg_replica" in host["groups"]}
    refused = [
        refusal for name in members for refusal in _database_refusals(site, plan, name, observed.get(name), primary)
    ]
    yield from refused or _bolder(site, plan, members, observed)


def _bolder(site: Data, plan: Data, leaving: Data, observed: Mapping[str, Observation | None]) -> Iterator[str]:
    """Without a primary: what is done only because hosts that leave are no members any more.

    One of them may have been promoted, or be the only one with the database, just as a member may.
    """
    acts = (Action.START, Action.BOOTSTRAP)
    bold = {name: member["action"] for name, member in plan["members"].items() if member["action"] in acts}
    doubtful = [name for name in leaving if (seen := observed.get(name)) is None or seen.has_data]
    if not bold or not doubtful:
        return
    declared = Declared.from_dict(site["cluster"])
    also = (Member(name, leaving[name]["address"], declared.primary.port, Role.REPLICA) for name in doubtful)
    beside = plan_of(observed, dataclasses.replace(declared, members=(*declared.members, *also)))
    for member in beside.members:
        if member.name in bold and member.action != bold[member.name]:
            yield (
                f"{listed(doubtful)} is to be removed, and there is no primary. With it as a member, {member.name} "
                f"would wait: {member.reason}. If it never ran PostgreSQL here, or certainly holds nothing newer, "
                "delete its line. Else put it back where it was in the inventory, have a primary, then remove it."
            )


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
    elif seen is not None and primary is not None and _later(seen, primary):
        yield (
            f"{name} is to be removed, and it is on timeline {seen.timeline}, later than timeline "
            f"{primary.timeline} of {plan['primary']}: it may hold writes that no member has. {back} and run "
            "status.yml; or, if what it holds is not needed, move its data directory away."
        )
    elif primary is None and seen is not None and seen.has_data and _nobody_has_data(plan):
        yield (
            f"{name} is to be removed, and it holds a database while no member does. {back}; or, if the database "
            "is not needed, move its data directory away."
        )
    elif primary is not None and site["cluster"]["synchronous"] == "any_1":
        streams = {client.name for client in primary.replication if client.state == "streaming"}
        members = {member["name"] for member in site["members"]}
        if name in streams and not streams & members:
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


def _later(seen: Observation, primary: Observation) -> bool:
    """Whether it was promoted after the primary of the site."""
    return seen.has_data and seen.system_identifier == primary.system_identifier and seen.timeline > primary.timeline


def _nobody_has_data(plan: Data) -> bool:
    return any(member["action"] in ("bootstrap", "restore") for member in plan["members"].values())


def counted_on(
    site: Data, leaving: Mapping[str, Observation], members: Mapping[str, Observation | None]
) -> dict[str, str]:
    """Why an instance that leaves can't be stopped yet, by host; of the others nothing is said.

    *leaving* was looked at before *members*, and these after they were told to do without it: the primary waits for
    it no more, and what it confirmed another standby has, or a failover would take that for lost.
    """
    primaries = [
        (name, seen)
        for name, seen in members.items()
        if seen and seen.state is State.PRIMARY and seen.accepts_connections
    ]
    reasons = {}
    for name, seen in leaving.items():
        if seen.state is not State.STANDBY:
            continue
        if len(primaries) != 1:
            reasons[name] = "no member, or more than one, answered as the primary"
            continue
        primary, its = primaries[0]
        setting = its.synchronous_standby_names
        flushed = [
            client.flush_lsn
            for client in its.replication
            if client.name in members and client.state == "streaming" and client.flush_lsn is not None
        ]
        if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", setting, re.IGNORECASE):
            reasons[name] = f"{primary} may still wait for it (synchronous_standby_names is {setting})"
        elif site["cluster"]["synchronous"] == "any_1" and max(flushed, default=Lsn(0)) < (held := _shared(seen, its)):
            reasons[name] = (
                f"it holds WAL up to {held}, and no other standby does ({max(flushed) if flushed else 'none streams'})"
            )
    return reasons


def _shared(seen: Observation, primary: Observation) -> Lsn:
    """How far an instance holds the history of *primary*: beyond that it confirmed nothing of it."""
    if seen.system_identifier != primary.system_identifier:
        return Lsn(0)
    if seen.timeline == primary.timeline:
        return seen.position
    return min(seen.position, primary.fork_from(seen.timeline) or Lsn(0))


def _last(
    site: Data,
    leaving: Data,
    answered: Collection[str],
    running: Mapping[str, Collection[str]],
    application: Mapping[str, str],
) -> Iterator[str]:
    """Whether nobody that answers would be left to do what a host that leaves does."""
    balancers = [balancer["name"] for balancer in site["load_balancers"]]
    for name, host in leaving.items():
        for group, what, others in (
            ("nginx_lb", "load balancer", balancers),
            ("app_replicas", "host of the application", list(site["replicas_by_host"])),
        ):
            # One that is to be set up in this run serves nobody yet.
            serving = [
                one
                for one in (name, *others)
                if any(unit.startswith(_unit(group, application[one])) for unit in running.get(one, ()))
            ]
            if group in host["groups"] and name in serving and not set(serving) & set(others) & set(answered):
                yield (
                    f"{name} is to be removed, and no other {what} serves the site now ({', '.join(others)}): it would "
                    "be gone. Have one that does first."
                )


def _unit(group: str, application: str) -> str:
    """How the units begin by which a host serves the site."""
    return "keepalived." if group == "nginx_lb" else f"{application}@"
