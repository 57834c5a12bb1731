# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = """
name: removal
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: Decide what becomes of hosts that leave the site, and of storage servers
description:
  - Says what is stopped on a host that leaves and when, which slots and servers are given up, and what must be so
    before.
  - Says which storage server works on the volume, and which came back with an empty disk.
  - Reads what the hosts registered as C(pg_observed), C(pg_leaving), C(store_observed) and C(store_leaving).
  - The filter C(still_counted_on) takes the decision, the topology and C(hostvars), in which C(pg_last) is of what
    leaves and C(pg_after) of the members, and says which instance can't be stopped yet, and why (C(hosts)), and which
    C(slots) may be dropped.
  - The filter C(removal_done) takes the decision, the topology, C(hostvars) and the hosts on which nothing failed, and
    says whether nothing of what leaves is left elsewhere.
  - The filter C(store_left) takes C(hostvars) and the topology, and says whether the copies that leave were given up.
positional: _input, plan, hostvars, hosts
options:
  _input:
    description: The topology.
    type: dict
    required: true
  plan:
    description: The cluster plan.
    type: dict
    required: true
  hostvars:
    description: The magic variable C(hostvars).
    type: dict
    required: true
  hosts:
    description: Names of the hosts that this run is meant for.
    type: list
    elements: str
    required: true
"""

EXAMPLES = """
- name: Decide
  ansible.builtin.set_fact:
    removal: "{{ topology | renfo.redundancy.removal(cluster_plan, hostvars, ansible_play_hosts_all) }}"
"""

RETURN = """
_value:
  description:
    - The decision, with C(hosts) (by name, what is done there), C(slots), C(servers), C(leader), C(returned),
      C(firewall), C(refusals) and C(notes).
  type: dict
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.gluster import (
    Brick,
    GlusterError,
    Peer,
    Volume,
    VolumeStatus,
    Wanted,
    volume_commands,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.gluster_pool import (
    Look,
    PoolPlan,
    leave_refusals,
    pool_plan,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_model import observations_from
from ansible_collections.renfo.redundancy.plugins.module_utils.removal import (
    counted_on,
    removal,
)

Hostvars = Mapping[str, Mapping[str, Any]]


def decide(
    site: Mapping[str, Any], plan: Mapping[str, Any], hostvars: Hostvars, hosts: Sequence[str]
) -> dict[str, Any]:
    """What ``removal`` and ``pool_plan`` decide, as plain data."""
    names = dict.fromkeys([*(member["name"] for member in site["members"]), *site["removed"]])
    facts = {name: hostvars[name].get("ansible_facts", {}) for name in (*site["hosts"], *site["removed"])}
    pool = _pool(site, hostvars)
    stores = {name: (hostvars[name].get("store_leaving") or {}).get("store") for name in site["removed"]}
    looks = {
        name: (host["address"], Look.from_dict(store) if (store := stores[name]) else None)
        for name, host in site["removed"].items()
        if "shared_storage" in host["groups"] and name in hosts
    }
    decided = removal(
        site,
        plan,
        observations_from({name: _instance(site, hostvars, name) for name in names}),
        answered=[name for name in site["hosts"] if "distribution_release" in facts[name]],
        run=hosts,
        application={name: str(hostvars[name].get("app_replicas_name", "app")) for name in facts},
        running={
            name: [unit for unit, state in facts[name].get("services", {}).items() if state["state"] == "running"]
            for name in facts
        },
        pool=pool.servers,
        stores=[name for name, store in stores.items() if store and (store["volume_id"] or not store["empty"])],
    )
    stays = {str(server["address"]): str(server["name"]) for server in site["storage_servers"]}
    looked = [name for name in stays.values() if hostvars[name].get("store_observed", {}).get("store")]
    refused = [
        *decided.refusals,
        *pool.refusals,
        *leave_refusals(pool, list(stays.values()), looked, looks),
        *_store_refusals(site, hostvars, decided.servers, pool),
    ]
    data = {**dataclasses.asdict(decided), "leader": pool.leader, "refusals": refused}
    data["returned"] = {
        address: {"name": stays[address], **dataclasses.asdict(found)} for address, found in pool.returned.items()
    }
    plain: dict[str, Any] = json.loads(json.dumps(data))
    return plain


def _instance(site: Mapping[str, Any], hostvars: Hostvars, name: str) -> Mapping[str, Any] | None:
    seen = hostvars[name].get("pg_leaving" if name in site["removed"] else "pg_observed") or {}
    found: Mapping[str, Any] | None = seen.get("instance")
    return found


def _pool(site: Mapping[str, Any], hostvars: Hostvars) -> PoolPlan:
    servers = {server["name"]: server["address"] for server in site["storage_servers"]}
    looks = {
        name: Look.from_dict(hostvars[name]["store_observed"]["store"])
        for name in servers
        if hostvars[name].get("store_observed", {}).get("store")
    }
    return pool_plan(servers, looks, *_store_names(site, hostvars))


def _store_names(site: Mapping[str, Any], hostvars: Hostvars) -> tuple[str, str]:
    """Name of the volume and folder of the brick, as the role has them by default."""
    first = hostvars[site["storage_servers"][0]["name"]] if site["storage_servers"] else {}
    volume = str(first.get("shared_storage_volume", "media"))
    return volume, str(first.get("shared_storage_brick", "/srv/gluster/media/brick"))


def _store_refusals(site: Mapping[str, Any], hostvars: Hostvars, removed: Sequence[str], pool: PoolPlan) -> list[str]:
    """Why a brick can't be replaced, told before anything is changed anywhere."""
    if not removed:
        return []
    servers = [server["address"] for server in site["storage_servers"]]
    leader = next((server["name"] for server in site["storage_servers"] if server["address"] == pool.leader), None)
    seen = hostvars[leader].get("store_observed", {}) if leader else {}
    if not seen.get("layout"):
        return []
    name, brick = _store_names(site, hostvars)
    arbiter = bool(hostvars[leader].get("shared_storage_arbiter", False)) if leader else False
    layout = seen["layout"]
    volume = Volume(name, VolumeStatus.STARTED, tuple(layout["bricks"]), layout["arbiters"], {})
    wanted = Wanted(name, tuple(servers), brick, arbiter, {})
    # Who is in the pool doesn't matter here: gluster itself tells who isn't within reach.
    peers = tuple(Peer(address, connected=True) for address in servers)
    try:
        bricks = [Brick(**found) for found in seen["bricks"]]
        emptied = [address for address, found in pool.returned.items() if found.empty]
        volume_commands(wanted, (), peers, volume, removed, bricks, emptied)
    except GlusterError as error:
        return [str(error)]
    return []


def still_counted_on(decided: Mapping[str, Any], site: Mapping[str, Any], hostvars: Hostvars) -> dict[str, Any]:
    """``hosts``: why an instance that leaves can't be stopped yet (``counted_on``); ``slots``: those of the others."""
    leaving = observations_from(
        {name: (hostvars[name].get("pg_last") or {}).get("instance") for name in decided["hosts"]}
    )
    members = observations_from(
        {member["name"]: (hostvars[member["name"]].get("pg_after") or {}).get("instance") for member in site["members"]}
    )
    reasons = counted_on(site, {name: seen for name, seen in leaving.items() if seen is not None}, members)
    kept = [site["removed"][name]["slot"] for name in reasons]
    return {"hosts": reasons, "slots": [slot for slot in decided["slots"] if slot not in kept]}


def store_left(hostvars: Hostvars, site: Mapping[str, Any]) -> bool:
    """Whether a server of the store noted that all copies are whole without those that leave."""
    return any(hostvars[server["name"]].get("site_store_left", False) for server in site["storage_servers"])


def removal_done(decided: Mapping[str, Any], site: Mapping[str, Any], hostvars: Hostvars, hosts: Sequence[str]) -> bool:
    """Whether nothing of what leaves is left elsewhere. *hosts*: on which the run went well so far."""
    return {*site["hosts"], *decided["hosts"]} <= set(hosts) and (not decided["servers"] or store_left(hostvars, site))


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, Any]:
        """Names of the filters and what they call."""
        return {
            "removal": decide,
            "removal_done": removal_done,
            "still_counted_on": still_counted_on,
            "store_left": store_left,
        }
