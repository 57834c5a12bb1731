# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The faults that a drill can inject: what each does to a host, and how it is undone there. Pure.

A fault is data (``Fault``); what a host runs for it follows from its ``means``. Every means has an undo that
may run at any time and any number of times, since a timer on the host runs it too.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from typing import Any

#: The unit whose timer undoes a fault on a host when nobody else does, and the one that injects it when its time comes.
UNDO_UNIT = "renfo-drill-undo"
INJECT_UNIT = "renfo-drill-inject"
_TABLE = "renfo_drill"
_FILLER = "renfo-drill-filler"

TIERS = ("app", "lb", "primary", "standby", "storage", "all")


@dataclasses.dataclass(frozen=True)
class Budget:
    """What a fault may cost; None is not bounded. Times are seconds, the others are numbers of requests.

    ``gap`` is the longest time without an answer of a kind of operation, ``slowest`` the longest wait for a good
    answer. Failed and unknown requests count alike: somebody got no answer.
    """

    failed_reads: int | None = 0
    failed_writes: int | None = 0
    failed_uploads: int | None = None
    read_gap: float | None = 1.0
    write_gap: float | None = 1.0
    upload_gap: float | None = 4.0
    slowest: float | None = None
    whole: float | None = 120.0


@dataclasses.dataclass(frozen=True)
class Fault:
    """A fault in a tier. *hold* is for how many seconds it stays, *means* what is done to the host.

    *response* is the playbook that an operator runs while it lasts. A *blind* fault cuts the controller off as
    well, so that only the host itself can undo it.
    """

    name: str
    title: str
    tier: str
    means: Mapping[str, Any]
    hold: float = 8.0
    response: str = ""
    blind: bool = False
    budget: Budget = Budget()


def _kill(unit: str, whom: str = "all") -> dict[str, Any]:
    return {"kind": "kill", "unit": unit, "whom": whom}


def _stop(unit: str) -> dict[str, Any]:
    return {"kind": "stop", "unit": unit}


def _freeze(unit: str) -> dict[str, Any]:
    return {"kind": "freeze", "unit": unit}


def _cut(direction: str = "both", between: str = "") -> dict[str, Any]:
    return {"kind": "cut", "direction": direction, "between": between}


_POWER = {"kind": "power"}
# Who was connected to the host that died learns of it; who comes after must be served.
_ENTRANCE = Budget(failed_reads=None, failed_writes=None, read_gap=1.0, write_gap=1.5)
_ENTRANCE_STOPPED = dataclasses.replace(_ENTRANCE, read_gap=0.5, write_gap=0.5)
# A dead replica takes nobody's time; only the host's store may stall uploads, for as long as its ping takes.
_REPLICA_HOST = Budget(failed_writes=None, upload_gap=4.0, slowest=None)
# Reads go on. Writes stop until somebody else is the primary, or the server is back.
_PRIMARY_CRASH = Budget(failed_writes=None, write_gap=10.0, upload_gap=10.0)
_PRIMARY_LOST = Budget(failed_writes=None, write_gap=10.0, upload_gap=15.0)

#: Every fault by name. ``{app}`` and ``{volume}`` in a means are filled in by ``drill_plan.aim``.
CATALOGUE: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault("app_kill", "application killed (-9)", "app", _kill("{app}@*.service")),
        Fault("app_stop", "application stopped", "app", _stop("{app}@*.service")),
        Fault(
            "app_freeze",
            "application frozen",
            "app",
            _freeze("{app}@*.service"),
            budget=Budget(failed_writes=None, failed_reads=None, read_gap=1.0, write_gap=1.0),
        ),
        Fault("app_off", "host switched off", "app", _POWER, budget=_REPLICA_HOST),
        Fault("app_cut", "host cut off, both ways", "app", _cut(), blind=True, budget=_REPLICA_HOST),
        Fault("app_mute", "host hears and isn't heard", "app", _cut("out"), blind=True, budget=_REPLICA_HOST),
        Fault("app_primary_cut", "cut from the database's primary", "app", _cut(between="primary")),
        Fault("lb_kill", "NGINX killed (-9)", "lb", _kill("nginx.service"), budget=_ENTRANCE),
        Fault("lb_stop", "NGINX stopped", "lb", _stop("nginx.service"), budget=_ENTRANCE_STOPPED),
        Fault("lb_freeze", "NGINX frozen", "lb", _freeze("nginx.service"), budget=_ENTRANCE),
        Fault("vrrp_kill", "keepalived killed (-9)", "lb", _kill("keepalived.service"), budget=_ENTRANCE),
        Fault("vrrp_stop", "keepalived stopped", "lb", _stop("keepalived.service"), budget=_ENTRANCE_STOPPED),
        Fault("vrrp_freeze", "keepalived frozen", "lb", _freeze("keepalived.service"), budget=_ENTRANCE),
        Fault("lb_off", "host switched off", "lb", _POWER, budget=_ENTRANCE),
        Fault("lb_cut", "host cut off, both ways", "lb", _cut(), blind=True, budget=_ENTRANCE),
        Fault("lb_mute", "host hears and isn't heard", "lb", _cut("out"), blind=True, budget=_ENTRANCE),
        Fault(
            "primary_kill",
            "server killed (-9)",
            "primary",
            _kill("postgresql@*-main.service"),
            10,
            budget=_PRIMARY_CRASH,
        ),
        Fault(
            "primary_stop",
            "server stopped, failover",
            "primary",
            _stop("postgresql@*-main.service"),
            response="failover.yml",
            budget=_PRIMARY_LOST,
        ),
        Fault(
            "primary_freeze",
            "server frozen, failover",
            "primary",
            _freeze("postgresql@*-main.service"),
            response="failover.yml",
            budget=_PRIMARY_LOST,
        ),
        Fault(
            "primary_off",
            "host switched off, failover",
            "primary",
            _POWER,
            response="failover.yml",
            budget=_PRIMARY_LOST,
        ),
        Fault(
            "primary_cut",
            "host cut off, failover",
            "primary",
            _cut(),
            30,
            response="failover.yml",
            blind=True,
            budget=_PRIMARY_LOST,
        ),
        Fault(
            "primary_alone",
            "cut from its standbys",
            "primary",
            _cut(between="standbys"),
            budget=Budget(failed_writes=None, write_gap=15.0, upload_gap=15.0),
        ),
        Fault("standby_kill", "server killed (-9)", "standby", _kill("postgresql@*-main.service")),
        Fault("standby_stop", "server stopped", "standby", _stop("postgresql@*-main.service")),
        Fault(
            "standby_freeze",
            "server frozen",
            "standby",
            _freeze("postgresql@*-main.service"),
            budget=Budget(read_gap=4.0),
        ),
        Fault("standby_off", "host switched off", "standby", _POWER, budget=Budget(read_gap=4.0)),
        Fault("standby_cut", "host cut off, both ways", "standby", _cut(), blind=True, budget=Budget(read_gap=4.0)),
        Fault("storage_daemon_kill", "storage daemon killed (-9)", "storage", _kill("glusterd.service", "main")),
        Fault("brick_kill", "brick killed (-9)", "storage", {"kind": "brick", "signal": "KILL", "volume": "{volume}"}),
        Fault("brick_freeze", "brick frozen", "storage", {"kind": "brick", "signal": "STOP", "volume": "{volume}"}),
        Fault(
            "all_off",
            "all hosts switched off at once, and on again",
            "all",
            _POWER,
            4,
            budget=Budget(None, None, None, None, None, None, None, 240.0),
        ),
    )
}


@dataclasses.dataclass(frozen=True)
class Steps:
    """What a host runs: commands that inject the fault, in order, and a shell line that undoes it."""

    inject: tuple[tuple[str, ...], ...]
    undo: str


def steps(means: Mapping[str, Any]) -> Steps:
    """The commands for *means*, as ``plan_round`` filled it in. ``power`` has none on the host itself.

    ``cut`` drops packets with nftables before anything else sees them, and tells nobody; with ``peers`` (addresses)
    only what goes to or comes from them.
    """
    kind = means["kind"]
    if kind == "kill":
        kill = ("systemctl", "kill", f"--kill-whom={means['whom']}", "--signal=KILL", means["unit"])
        return Steps((kill,), _start(means["unit"]))
    if kind == "stop":
        return Steps((("systemctl", "stop", means["unit"]),), _start(means["unit"]))
    if kind == "freeze":
        signal = ("systemctl", "kill", "--kill-whom=all")
        # A unit that a failover ended meanwhile has nobody left to wake.
        wake = shlex.join((*signal, "--signal=CONT", means["unit"]))
        return Steps(((*signal, "--signal=STOP", means["unit"]),), f"{wake} 2>/dev/null || true")
    if kind == "brick":
        send = ("pkill", f"-{means['signal']}", "-x", "glusterfsd")
        start = shlex.join(("gluster", "--mode=script", "volume", "start", means["volume"], "force"))
        return Steps(
            (send,), "pkill -CONT -x glusterfsd || true" if means["signal"] == "STOP" else f"{start} >/dev/null"
        )
    if kind == "cut":
        return Steps(
            (("nft", _rules(means["direction"], means["peers"])),),
            f"nft delete table inet {_TABLE} 2>/dev/null || true",
        )
    if kind == "fill":
        filler = f"{means['path'].rstrip('/')}/{_FILLER}"
        return Steps((("fallocate", "--length", str(means["bytes"]), filler),), f"rm -f {shlex.quote(filler)}")
    raise ValueError(f"no means of that kind: {kind}")


def _start(unit: str) -> str:
    # `systemctl start` takes no patterns for units that don't run; those that may run are enabled.
    pattern = shlex.quote(unit)
    return (
        f"systemctl list-units --all --plain --no-legend {pattern} | cut -d' ' -f1"
        " | xargs --no-run-if-empty systemctl start"
    )


def _rules(direction: str, peers: tuple[str, ...] | list[str]) -> str:
    """One transaction for ``nft``: a table that drops before any other table sees the packet."""
    chains = []
    for chain, hook, side, interface in (("incoming", "input", "saddr", "iif"), ("outgoing", "output", "daddr", "oif")):
        if direction not in ("both", hook.removesuffix("put")):
            continue
        if peers:
            drops = " ".join(f"{'ip6' if ':' in peer else 'ip'} {side} {peer} drop;" for peer in peers)
        else:
            drops = f"{interface} lo accept; drop;"
        chains.append(f"chain {chain} {{ type filter hook {hook} priority -300; {drops} }}")
    return f"table inet {_TABLE} {{ {'; '.join(chains)}; }}"
