# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which faults a drill injects, in which order, and on which host; or why it must not. Pure."""

from __future__ import annotations

import dataclasses
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.drill_alerts import BLIND_HOLD, PATIENCE
from ansible_collections.renfo.redundancy.plugins.module_utils.drill_faults import (
    CATALOGUE,
    TIERS,
    Budget,
    Fault,
)

Data = Mapping[str, Any]

#: Seconds after which a host heals by itself if the controller, who should have healed it, died.
DEAD_MAN = 120.0


@dataclasses.dataclass(frozen=True)
class Request:
    """What the user asked for. *faults* is empty for all of them; *rounds* above 0 draws that many at random.

    *inventories* are the names of all that the hosts come from; *limit* is what the run was limited to; *alerts* says
    that each fault must fire its alerts.
    """

    inventories: tuple[str, ...]
    may_break: str
    limit: str = ""
    faults: tuple[str, ...] = ()
    rounds: int = 0
    seed: int = 0
    budgets: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    alerts: bool = False


@dataclasses.dataclass(frozen=True)
class Round:
    """One fault to inject. *draw*, from 0 up to 1, picks the host where a tier has several."""

    number: int
    fault: str
    draw: float


@dataclasses.dataclass(frozen=True)
class Plan:
    """The rounds of a drill; with refusals there are none. *skipped* says why a fault can't be injected here, *alerts*
    that each fault must fire its alerts."""

    refusals: tuple[str, ...]
    rounds: tuple[Round, ...]
    seed: int | None
    skipped: Mapping[str, str]
    alerts: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain data for playbooks."""
        return dataclasses.asdict(self)


def plan_drill(request: Request, topology: Data, variables: Mapping[str, Data]) -> Plan:
    """The rounds for *request*. *topology* is of the filter ``topology``, *variables* those of each host."""
    refusals = tuple(_refusals(request, topology))
    why_not = {name: why for name, fault in CATALOGUE.items() if (why := _unavailable(fault, topology, variables))}
    refusals += tuple(f"{name} can't be injected here: {why_not[name]}" for name in request.faults if name in why_not)
    names = [name for name in request.faults or CATALOGUE if name in CATALOGUE and name not in why_not]
    if refusals:
        return Plan(refusals, (), None, why_not, request.alerts)
    if not request.rounds:
        once = tuple(Round(number, name, 0.0) for number, name in enumerate(names, 1))
        return Plan((), once, None, why_not, request.alerts)
    # The seed alone decides: the same one draws the same faults on the same hosts again.
    dice = random.Random(request.seed)
    rounds = tuple(Round(number, dice.choice(names), dice.random()) for number in range(1, request.rounds + 1))
    return Plan((), rounds, request.seed, why_not, request.alerts)


def inventory_refusals(
    inventories: Sequence[str], named: tuple[str, str], playbook: str, done: str, harm: str
) -> Iterator[str]:
    """Why *playbook* must not touch the hosts: not all of *inventories* was *named* (variable and value) by the user.

    *done* is what would be done to them, in a word; *harm* says what that does, in a sentence without its full stop.
    """
    variable, value = named
    if len(inventories) != 1 or not inventories[0]:
        found = ", ".join(f"'{name}'" for name in inventories)
        yield f"the hosts come from {found}, expected one inventory with a folder of its own, that can be named"
    elif value != inventories[0]:
        (inventory,) = inventories
        found = f"{variable} names '{value}'" if value else f"{variable} is not set"
        yield (
            f"{found}, expected the inventory that is to be {done}, '{inventory}'. {harm}. If that is what you want: "
            f"{playbook} -e {variable}={inventory}"
        )


def _refusals(request: Request, topology: Data) -> Iterator[str]:
    yield from inventory_refusals(
        request.inventories,
        ("drill_i_may_break", request.may_break),
        "drill.yml",
        "broken",
        "A drill kills processes, cuts networks and switches hosts off, and leaves rows and files of its own in the "
        "site",
    )
    if request.limit:
        yield (
            f"--limit {request.limit} leaves hosts out, expected all of them: who isn't watched may lose something "
            "unseen"
        )
    known = ", ".join(CATALOGUE)
    for name in request.faults:
        if name not in CATALOGUE:
            yield f"drill_faults names '{name}', expected of: {known}"
    fields = [field.name for field in dataclasses.fields(Budget)]
    for name, budget in request.budgets.items():
        if name not in CATALOGUE:
            yield f"drill_budgets names '{name}', expected of: {known}"
        for key, value in budget.items():
            if key not in fields:
                yield f"drill_budgets has '{key}' for {name}, expected of: {', '.join(fields)}"
            elif value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value < 0):
                yield f"drill_budgets has {key} {value!r} for {name}, expected a number from 0, or null for no bound"
    if request.alerts and not topology["monitoring"]:
        yield (
            "drill_alerts is true and the group monitoring has no hosts, expected one, which is asked what it tells. "
            "Declare it (docs/monitoring.md) and run site.yml, or drill without drill_alerts"
        )
    if request.rounds < 0:
        yield f"drill_rounds is {request.rounds}, expected 1 or more, or 0 for each fault once"


def _unavailable(fault: Fault, topology: Data, variables: Mapping[str, Data]) -> str:
    """Why *fault* can't be injected on this site; empty if it can."""
    hosts = _tier(fault.tier, topology, {})
    # A primary and its standbys are the same hosts in turn.
    there = len(topology["members"]) if fault.tier in ("primary", "standby") else len(hosts)
    if there < TIERS[fault.tier]:
        return f"it wants {TIERS[fault.tier]} hosts of that tier, there are {there}"
    if fault.tier == "lb" and not topology["settings"]["site_vip"]:
        return "the load balancers share no virtual address"
    if fault.tier == "storage" and any(
        _variable(variables, host, "shared_storage_backend", "glusterfs") != "glusterfs" for host in hosts
    ):
        return "the store is not one of this collection"
    if fault.hopeless and not all(_variable(variables, host, "drill_bad_release", "") for host in hosts):
        return "drill_bad_release is not set: no release is known that never gets ready"
    if fault.means["kind"] in ("fill", "slow"):
        for host in hosts:
            if _variable(variables, host, "drill_data_disk", "").lower() not in ("true", "yes", "1"):
                return f"drill_data_disk is not set for {host}: its data may share a disk with what must not fill up"
    if fault.means["kind"] == "power":
        for host in hosts:
            for hook in ("drill_power_off_command", "drill_power_on_command"):
                if not _variable(variables, host, hook, ""):
                    return f"{hook} is not set for {host}"
    if fault.blind and fault.response:
        for host in hosts:
            if not _variable(variables, host, "pg_fence_command", ""):
                return f"pg_fence_command is not set for {host}: nobody could tell that it is fenced"
            if not _variable(variables, host, "drill_power_on_command", ""):
                return f"drill_power_on_command is not set for {host}: nobody could switch it on after it was fenced"
    return ""


def aim(
    number: Data,
    topology: Data,
    status: Data,
    variables: Mapping[str, Data],
    budgets: Data,
    alerts: bool = False,
) -> dict[str, Any]:
    """The round *number* (of ``plan_drill``), with the hosts that it hits as the stack is now.

    *status* is of ``status.yml``: who is the primary and who holds the virtual address. Gives the fault as plain
    data with its ``hosts``, its ``means`` filled in, and its ``budget`` with the user's *budgets* over it.

    With *alerts* it lasts until they fire: ``watcher`` is the monitoring host that is asked, empty where the fault hits
    all of them.
    """
    fault = CATALOGUE[number["fault"]]
    candidates = _tier(fault.tier, topology, status)
    hosts = candidates if fault.tier == "all" else [candidates[int(number["draw"] * len(candidates))]]
    members = {member["name"]: member["address"] for member in topology["members"]}
    primary = status["primary"]
    peers = {
        "": [],
        "primary": [members.get(primary, "")],
        "standbys": [address for name, address in members.items() if name != primary],
    }
    names = {
        "app": _variable(variables, hosts[0], "app_replicas_name", "app"),
        "volume": _variable(variables, hosts[0], "shared_storage_volume", "media"),
        # Beside the brick: what lies in it is the store's.
        "bricks": os.path.dirname(_variable(variables, hosts[0], "shared_storage_brick", "/srv/gluster/media/brick")),
    }
    means = {key: value.format(**names) if isinstance(value, str) else value for key, value in fault.means.items()}
    if means["kind"] == "cut":
        means["peers"] = peers[means["between"]]
    watcher = next((host for host in topology["monitoring"] if alerts and host not in hosts), "")
    told = bool(watcher and fault.alerts)
    hold = max(fault.hold, BLIND_HOLD) if told and fault.blind else fault.hold
    return {
        **dataclasses.asdict(fault),
        "number": number["number"],
        "hosts": hosts,
        "watcher": watcher,
        "alerts": [
            {**dataclasses.asdict(alert), "who": alert.who.format(host=hosts[0])} for alert in fault.alerts if told
        ],
        "hold": hold,
        # Who can't be reached undoes it in time; for the others this is only if the controller dies.
        "undo_after": hold if fault.blind else hold + DEAD_MAN + (PATIENCE if told else 0.0),
        "means": means,
        # A fence switches off whom nobody can reach; whoever heals has to switch on again.
        "heal": {"kind": "power"} if fault.blind and fault.response else means,
        "word": _word(fault, hosts[0], variables),
        "budget": {**dataclasses.asdict(fault.budget), **budgets.get(fault.name, {})},
    }


def _word(fault: Fault, host: str, variables: Mapping[str, Data]) -> dict[str, Any]:
    """What the operator says beside the name of the playbook."""
    if fault.hopeless:
        # It will not get ready however long somebody waits.
        return {
            "app_replicas_archive": _variable(variables, host, "drill_bad_release", ""),
            "app_replicas_image": "",
            "app_replicas_ready_timeout": 20,
        }
    powerless = not _variable(variables, host, "pg_fence_command", "")
    if fault.response == "failover.yml" and fault.means["kind"] == "power" and powerless:
        # The drill itself switched it off; no command says so.
        return {"failover_fenced": host}
    return {}


def _tier(tier: str, topology: Data, status: Data) -> list[str]:
    """The hosts of a tier that a fault may hit; before there is a *status*, all that it might."""
    members = [member["name"] for member in topology["members"]]
    primary = status.get("primary")
    if tier == "app":
        return list(dict.fromkeys(replica["host"] for replica in topology["replicas"]))
    if tier == "lb":
        return list(status.get("vip_holders") or (balancer["name"] for balancer in topology["load_balancers"]))
    if tier == "primary":
        return [primary] if primary else members
    if tier == "standby":
        return [name for name in members if name != primary]
    if tier == "storage":
        return [server["name"] for server in topology["storage_servers"]]
    return list(topology["hosts"])


def _variable(variables: Mapping[str, Data], host: str, name: str, default: str) -> str:
    return str(variables.get(host, {}).get(name) or default)


def drill_text(plan: Data, names: Sequence[str] = tuple(CATALOGUE)) -> str:
    """What is going to happen, for a terminal."""
    return "\n".join(_lines(plan, names))


def _lines(plan: Data, names: Sequence[str]) -> Iterator[str]:
    if plan["refusals"]:
        yield "Nothing was broken."
        return
    seed = (
        "" if plan["seed"] is None else f", drawn with seed {plan['seed']} (drill_seed={plan['seed']} draws them again)"
    )
    yield f"{len(plan['rounds'])} fault(s), one after the other, each as soon as the stack is whole again{seed}:"
    width = max(len(name) for name in names)
    for item in plan["rounds"]:
        fault = CATALOGUE[item["fault"]]
        yield f"  {item['number']:3}  {fault.name:{width}}  {fault.tier}: {fault.title}"
    if plan["alerts"]:
        yield (
            f"  alerts: a fault lasts until those have fired that it must fire, {PATIENCE:.0f} s at most, and the next "
            "one waits until they have cleared"
        )
    for name, why in plan["skipped"].items():
        yield f"  left out: {name}, {why}"
