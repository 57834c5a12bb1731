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
from collections.abc import Mapping, Sequence
from typing import Any

#: The unit whose timer undoes a fault on a host when nobody else does, and the one that injects it when its time comes.
UNDO_UNIT = "renfo-drill-undo"
INJECT_UNIT = "renfo-drill-inject"
#: A disk with more free space (bytes) is not filled: it is hardly the data's own.
LARGEST_DISK = 50 * 10**9
_TABLE = "renfo_drill"
_FILLER = "renfo-drill-filler"

#: With how many hosts a tier is redundant at all.
TIERS = {"app": 2, "lb": 2, "primary": 2, "standby": 2, "storage": 3, "all": 1}


@dataclasses.dataclass(frozen=True)
class Budget:
    """What a fault may cost; None is not bounded. Times are seconds, the others are numbers of requests.

    ``gap`` is the longest time without an answer to anything, the other gaps are those of a kind of operation.
    ``slowest`` is the longest wait for the answer to a read or a write, not of a file. A read that wants the primary
    counts as a write. Failed and unknown requests count alike: somebody got no answer.
    """

    failed_reads: int | None = 0
    failed_videos: int | None = 0
    failed_writes: int | None = 0
    failed_uploads: int | None = None
    gap: float | None = 1.0
    read_gap: float | None = 1.0
    video_gap: float | None = 1.0
    write_gap: float | None = 1.0
    upload_gap: float | None = 1.5
    slowest: float | None = None
    whole: float | None = 120.0


UNBOUNDED = Budget(**dict.fromkeys(Budget.__dataclass_fields__))


@dataclasses.dataclass(frozen=True)
class Alert:
    """An alert of the role ``monitoring``. Its *label* says *who* it is about, ``{host}`` for the host that the fault
    hits; both are empty for an alert of the whole site.
    """

    name: str
    label: str = ""
    who: str = ""


@dataclasses.dataclass(frozen=True)
class Fault:
    """A fault in a tier. *hold* is for how many seconds it stays, *means* what is done to the host.

    *response* is the playbook that an operator runs while it lasts, *recovery* the one that they run afterwards. A
    *blind* fault cuts the controller off as well, so that only the host itself can undo it. A response that is
    *hopeless* must end with an error that says so.

    *alerts* must fire while it lasts, and it is held until they do, so what it costs must not depend on how long that
    takes. Where there are none, *untold* says why. Any other critical alert is a failure, unless it *may* fire too.
    """

    name: str
    title: str
    tier: str
    means: Mapping[str, Any]
    hold: float = 8.0
    response: str = ""
    recovery: str = ""
    hopeless: str = ""
    blind: bool = False
    budget: Budget = Budget()
    alerts: tuple[Alert, ...] = ()
    untold: str = ""
    may: tuple[str, ...] = ()


def _kill(unit: str, whom: str = "all") -> dict[str, Any]:
    return {"kind": "kill", "unit": unit, "whom": whom}


def _stop(unit: str) -> dict[str, Any]:
    return {"kind": "stop", "unit": unit}


def _freeze(unit: str) -> dict[str, Any]:
    return {"kind": "freeze", "unit": unit}


def _cut(direction: str = "both", between: str = "") -> dict[str, Any]:
    return {"kind": "cut", "direction": direction, "between": between}


def _brick(signal: str) -> dict[str, Any]:
    return {"kind": "brick", "signal": signal, "volume": "{volume}"}


_POWER = {"kind": "power"}
# Who was connected to the host that died learns of it; who comes after must be served.
_ENTRANCE = Budget(failed_reads=None, failed_videos=None, failed_writes=None)
# That it hangs only a question that isn't answered can tell.
_ENTRANCE_FROZEN = dataclasses.replace(_ENTRANCE, gap=5.0, read_gap=5.0, video_gap=5.0, write_gap=5.0, upload_gap=5.0)
# Nobody is told no: who connects while the address moves asks again after TCP's first second.
_ENTRANCE_GIVEN_AWAY = dataclasses.replace(_ENTRANCE, gap=1.5, read_gap=1.5, video_gap=1.5, write_gap=1.5)
_ENTRANCE_STOPPED = dataclasses.replace(_ENTRANCE, gap=0.5, read_gap=0.5, video_gap=0.5, write_gap=0.5)
# What the store takes to see that a brick is gone stalls files, and nothing else.
_BRICK = Budget(video_gap=4.0, upload_gap=4.0)
# Nobody waits for a dead replica longer than it takes to try it and another one.
_REPLICA_HOST = dataclasses.replace(_BRICK, failed_writes=None, slowest=2.5)
# Nobody is served until the hosts have booted.
_POWER_CUT = dataclasses.replace(UNBOUNDED, whole=240.0)
# Reads go on. Writes stop until somebody else is the primary, or the server is back.
_PRIMARY_CRASH = Budget(failed_writes=None, write_gap=10.0, upload_gap=10.0)
# Who had asked it waits until it counts as lost; a video begins with a look into the database too.
_STANDBY_SILENT = Budget(read_gap=4.0, video_gap=4.0)
# A server without room for its log stops, and starts again when there is some.
_DISK_FULL = Budget(failed_writes=None, write_gap=30.0, upload_gap=30.0)
_PRIMARY_LOST = Budget(failed_writes=None, write_gap=15.0, upload_gap=15.0)
# A server that is there and says nothing is asked for a while before it counts as lost.
_PRIMARY_FROZEN = dataclasses.replace(_PRIMARY_LOST, write_gap=20.0, upload_gap=20.0)

_HOST_DOWN = Alert("HostDown", "instance", "{host}")
_REPLICA_DOWN = (Alert("ReplicaNotReady", "host", "{host}"), Alert("RedundancyDegraded", "tier", "app"))
_BALANCER_DOWN = (Alert("LoadBalancerSilent", "instance", "{host}"), Alert("RedundancyDegraded", "tier", "lb"))
_MEMBER_DOWN = (Alert("StandbyNotStreaming", "instance", "{host}"), Alert("RedundancyDegraded", "tier", "database"))
# An old primary whose host answers is fenced there by the failover.
_OLD_PRIMARY = (Alert("InstanceFenced", "instance", "{host}"), *_MEMBER_DOWN)
_BRICK_DOWN = (Alert("BrickDown", "instance", "{host}"), Alert("RedundancyDegraded", "tier", "store"))
# A keepalived that says no word leaves its address where it was, and the other one takes it.
_TWO_ADDRESSES = (Alert("TwoVipHolders"),)

_RESTARTED = "systemd starts it again within seconds, and alerts are for what lasts half a minute"
_WRITES_STOP = "writes stop for as long as it lasts, so it is not held until an alert would fire"
_SLOW = "it is slow and works, and no rule looks for that"

#: Every fault by name. ``{app}``, ``{volume}`` and ``{bricks}`` in a means are filled in by ``drill_plan.aim``.
CATALOGUE: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault("app_kill", "application killed (-9)", "app", _kill("{app}@*.service"), untold=_RESTARTED),
        Fault("app_stop", "application stopped", "app", _stop("{app}@*.service"), alerts=_REPLICA_DOWN),
        Fault(
            "app_freeze",
            "application frozen",
            "app",
            _freeze("{app}@*.service"),
            # Who asks a replica that is frozen waits for it; that it is, only a time-out can tell. It is asked again
            # now and then, whatever the question, and held for an alert it outlasts the client's patience.
            budget=Budget(failed_reads=3, failed_videos=3, failed_writes=None),
            alerts=_REPLICA_DOWN,
        ),
        Fault(
            "app_release",
            "a release that never gets ready",
            "app",
            {"kind": "none"},
            0,
            response="site.yml",
            recovery="site.yml",
            hopeless="no host after it got release",
            # Until it is taken back, a write that comes to it is told no, and is not sent to another one.
            budget=Budget(failed_writes=5, failed_uploads=2),
            untold="the release of before is back before anybody is told",
        ),
        Fault("app_off", "host switched off", "app", _POWER, budget=_REPLICA_HOST, alerts=(_HOST_DOWN, *_REPLICA_DOWN)),
        Fault(
            "app_cut",
            "host cut off, both ways",
            "app",
            _cut(),
            blind=True,
            budget=_REPLICA_HOST,
            alerts=(_HOST_DOWN, *_REPLICA_DOWN),
        ),
        Fault(
            "app_mute",
            "host hears and isn't heard",
            "app",
            _cut("out"),
            blind=True,
            budget=_REPLICA_HOST,
            alerts=(_HOST_DOWN, *_REPLICA_DOWN),
        ),
        Fault(
            "app_primary_cut",
            "cut from the database's primary",
            "app",
            _cut(between="primary"),
            # It says no to writes it can't do once enough of them wait, and a write is not sent to another replica.
            budget=Budget(failed_writes=5),
            untold="the replica stays ready, for it reads from a standby",
        ),
        Fault("lb_kill", "NGINX killed (-9)", "lb", _kill("nginx.service"), budget=_ENTRANCE, untold=_RESTARTED),
        Fault(
            "lb_stop", "NGINX stopped", "lb", _stop("nginx.service"), budget=_ENTRANCE_GIVEN_AWAY, alerts=_BALANCER_DOWN
        ),
        Fault(
            "lb_freeze", "NGINX frozen", "lb", _freeze("nginx.service"), budget=_ENTRANCE_FROZEN, alerts=_BALANCER_DOWN
        ),
        Fault(
            "vrrp_kill",
            "keepalived killed (-9)",
            "lb",
            _kill("keepalived.service"),
            budget=_ENTRANCE,
            untold=_RESTARTED,
        ),
        Fault(
            "vrrp_stop",
            "keepalived stopped",
            "lb",
            _stop("keepalived.service"),
            budget=_ENTRANCE_STOPPED,
            alerts=(Alert("KeepalivedDown", "instance", "{host}"),),
        ),
        Fault(
            "vrrp_freeze",
            "keepalived frozen",
            "lb",
            _freeze("keepalived.service"),
            budget=_ENTRANCE,
            alerts=_TWO_ADDRESSES,
        ),
        Fault("lb_off", "host switched off", "lb", _POWER, budget=_ENTRANCE, alerts=(_HOST_DOWN, *_BALANCER_DOWN)),
        Fault(
            "lb_cut",
            "host cut off, both ways",
            "lb",
            _cut(),
            blind=True,
            budget=_ENTRANCE,
            alerts=(_HOST_DOWN, *_BALANCER_DOWN),
        ),
        Fault(
            "lb_mute",
            "host hears and isn't heard",
            "lb",
            _cut("out"),
            blind=True,
            budget=_ENTRANCE,
            alerts=(_HOST_DOWN, *_BALANCER_DOWN),
        ),
        Fault(
            "primary_kill",
            "server killed (-9)",
            "primary",
            _kill("postgresql@*-main.service"),
            10,
            budget=_PRIMARY_CRASH,
            untold=_RESTARTED,
        ),
        Fault(
            "primary_stop",
            "server stopped, failover",
            "primary",
            _stop("postgresql@*-main.service"),
            response="failover.yml",
            recovery="rejoin.yml",
            budget=_PRIMARY_LOST,
            alerts=_OLD_PRIMARY,
        ),
        Fault(
            "primary_freeze",
            "server frozen, failover",
            "primary",
            _freeze("postgresql@*-main.service"),
            response="failover.yml",
            recovery="rejoin.yml",
            budget=_PRIMARY_FROZEN,
            alerts=_OLD_PRIMARY,
        ),
        Fault(
            "primary_off",
            "host switched off, failover",
            "primary",
            _POWER,
            response="failover.yml",
            recovery="rejoin.yml",
            budget=_PRIMARY_LOST,
            alerts=(_HOST_DOWN, *_MEMBER_DOWN),
        ),
        Fault(
            "primary_cut",
            "host cut off, failover",
            "primary",
            _cut(),
            30,
            response="failover.yml",
            recovery="rejoin.yml",
            blind=True,
            budget=_PRIMARY_LOST,
            alerts=(_HOST_DOWN, *_MEMBER_DOWN),
        ),
        Fault(
            "primary_alone",
            "cut from its standbys",
            "primary",
            _cut(between="standbys"),
            budget=Budget(failed_writes=None, write_gap=15.0, upload_gap=15.0),
            untold=_WRITES_STOP,
            may=("NoSynchronousStandby",),
        ),
        Fault("standby_kill", "server killed (-9)", "standby", _kill("postgresql@*-main.service"), untold=_RESTARTED),
        Fault("standby_stop", "server stopped", "standby", _stop("postgresql@*-main.service"), alerts=_MEMBER_DOWN),
        Fault(
            "standby_freeze",
            "server frozen",
            "standby",
            _freeze("postgresql@*-main.service"),
            budget=_STANDBY_SILENT,
            alerts=_MEMBER_DOWN,
        ),
        Fault(
            "standby_off",
            "host switched off",
            "standby",
            _POWER,
            budget=_STANDBY_SILENT,
            alerts=(_HOST_DOWN, *_MEMBER_DOWN),
        ),
        Fault(
            "standby_cut",
            "host cut off, both ways",
            "standby",
            _cut(),
            blind=True,
            budget=_STANDBY_SILENT,
            alerts=(_HOST_DOWN, *_MEMBER_DOWN),
        ),
        Fault(
            "storage_daemon_kill",
            "storage daemon killed (-9)",
            "storage",
            _kill("glusterd.service", "main"),
            untold=_RESTARTED,
        ),
        Fault("brick_kill", "brick killed (-9)", "storage", _brick("KILL"), budget=_BRICK, alerts=_BRICK_DOWN),
        Fault(
            "brick_freeze",
            "brick frozen",
            "storage",
            _brick("STOP"),
            budget=_BRICK,
            untold="its process is there, and no rule looks whether it answers",
        ),
        Fault(
            "primary_disk_full",
            "disk full",
            "primary",
            {"kind": "fill", "path": "/var/lib/postgresql"},
            budget=_DISK_FULL,
            untold=_WRITES_STOP,
            may=("DiskFull", "NoPrimary", "NoSynchronousStandby"),
        ),
        Fault(
            "primary_disk_slow",
            "disk slow: 200 kB a second",
            "primary",
            {"kind": "slow", "path": "/var/lib/postgresql", "unit": "postgresql@*-main.service", "bytes": 200_000},
            budget=Budget(write_gap=3.0, upload_gap=4.0),
            untold=_SLOW,
        ),
        Fault(
            "brick_disk_full",
            "brick's disk full",
            "storage",
            {"kind": "fill", "path": "{bricks}"},
            budget=_BRICK,
            alerts=(Alert("DiskFull", "instance", "{host}"),),
        ),
        Fault(
            "brick_disk_slow",
            "brick's disk slow: 200 kB a second",
            "storage",
            {"kind": "slow", "path": "{bricks}", "unit": "glusterd.service", "bytes": 200_000},
            budget=_BRICK,
            untold=_SLOW,
        ),
        Fault(
            "all_off",
            "all hosts switched off at once, and on again",
            "all",
            _POWER,
            4,
            budget=_POWER_CUT,
            untold="nobody is there to tell: the monitoring hosts are off too",
        ),
    )
}


@dataclasses.dataclass(frozen=True)
class Steps:
    """What a host runs: a command that injects the fault, a shell line that undoes it, and before either a command that
    fails where there is nothing to break."""

    inject: tuple[str, ...]
    undo: str
    check: tuple[str, ...]


def steps(means: Mapping[str, Any]) -> Steps:
    """The commands for *means*, as ``drill_plan.aim`` filled it in. ``power`` and ``none`` have none on the host.

    ``cut`` drops packets with nftables before anything else sees them, and tells nobody; with ``peers`` (addresses)
    only what goes to or comes from them.
    """
    kind = means["kind"]
    if kind in ("kill", "stop", "freeze"):
        there = _exists(means["unit"])
        if kind == "stop":
            return Steps(("systemctl", "stop", means["unit"]), _start(means["unit"]), there)
        if kind == "kill":
            kill = ("systemctl", "kill", f"--kill-whom={means['whom']}", "--signal=KILL", means["unit"])
            return Steps(kill, _start(means["unit"]), there)
        signal = ("systemctl", "kill", "--kill-whom=all")
        # A unit that a failover ended meanwhile has nobody left to wake.
        wake = shlex.join((*signal, "--signal=CONT", means["unit"]))
        return Steps((*signal, "--signal=STOP", means["unit"]), f"{wake} 2>/dev/null || true", there)
    if kind == "brick":
        # Of this volume: others have theirs.
        brick = f"glusterfsd .*--volfile-id {means['volume']}[.]"
        start = shlex.join(("gluster", "--mode=script", "volume", "start", means["volume"], "force"))
        wake = f"pkill -CONT -f {shlex.quote(brick)} || true"
        undo = wake if means["signal"] == "STOP" else f"{start} >/dev/null"
        return Steps(("pkill", f"-{means['signal']}", "-f", brick), undo, ("pgrep", "-f", brick))
    if kind == "cut":
        undo = "; ".join(f"nft delete table {family} {_TABLE} 2>/dev/null" for family in ("inet", "netdev"))
        if means["peers"]:
            rules = _between(means["direction"], means["peers"])
            return Steps(("nft", rules), f"{undo} || true", ("nft", "--check", rules))
        return Steps(
            _shell(_wire(means["direction"], "")), f"{undo} || true", _shell(_wire(means["direction"], "--check "))
        )
    if kind == "fill":
        filler = shlex.quote(f"{means['path']}/{_FILLER}")
        return Steps(
            _shell(_fill(means["path"], filler)), f"rm -f {filler} {filler}.rest", _shell(_small(means["path"]))
        )
    if kind == "slow":
        unit = f'"$({_units(means["unit"])} | head -n1)"'
        device = f'"$(findmnt --noheadings --output SOURCE --target {shlex.quote(means["path"])})'
        limit = f"systemctl set-property --runtime {unit} IOWriteBandwidthMax="
        return Steps(_shell(f'{limit}{device} {means["bytes"]}"'), limit, _exists(means["unit"]))
    raise ValueError(f"no means of that kind: {kind}")


def _units(pattern: str) -> str:
    # Only some of systemd's commands take patterns, and not for units that don't run.
    return f"systemctl list-units --all --plain --no-legend {shlex.quote(pattern)} | cut -d' ' -f1"


def _start(pattern: str) -> str:
    return f"{_units(pattern)} | xargs --no-run-if-empty systemctl start"


def _exists(pattern: str) -> tuple[str, ...]:
    return _shell(f'[ -n "$({_units(pattern)})" ]')


def _shell(script: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", script)


def _free(path: str) -> str:
    return f"$(df --output=avail --block-size=1 {shlex.quote(path)} | tail -n1)"


def _small(path: str) -> str:
    """Not a disk that others share."""
    return (
        f'[ "{_free(path)}" -lt {LARGEST_DISK} ] ||'
        f' {{ echo "more than {LARGEST_DISK} bytes are free: not filled" >&2; exit 1; }}'
    )


def _fill(path: str, filler: str) -> str:
    """Take what is free: in one piece what can be had that way, then the rest."""
    return (
        f'fallocate --length "{_free(path)}" {filler} 2>/dev/null;'
        f" timeout 60 dd if=/dev/zero of={filler}.rest bs=64k 2>/dev/null;"
        f' [ "{_free(path)}" -lt 1000000 ]'
    )


def _between(direction: str, peers: Sequence[str]) -> str:
    """One transaction for ``nft``: a table that drops what comes from *peers*, or goes to them, before any other table
    sees it."""
    chains = []
    for chain, hook, side in (("incoming", "input", "saddr"), ("outgoing", "output", "daddr")):
        if direction in ("both", hook.removesuffix("put")):
            drops = " ".join(f"{'ip6' if ':' in peer else 'ip'} {side} {peer} drop;" for peer in peers)
            chains.append(f"chain {chain} {{ type filter hook {hook} priority -300; {drops} }}")
    return f"table inet {_TABLE} {{ {'; '.join(chains)}; }}"


def _wire(direction: str, option: str) -> str:
    """Everything on every interface, as where a cable is pulled: ARP too, with which a host that can't be heard would
    hold on to an address that another one has taken over.

    Source: https://wiki.nftables.org/wiki-nftables/index.php/Nftables_families (netdev)
    """
    chains = "".join(
        f"chain {chain} {{ type filter hook {hook} devices = {{ $devices }} priority -300; policy drop; }}; "
        for chain, hook, word in (("incoming", "ingress", "in"), ("outgoing", "egress", "out"))
        if direction in ("both", word)
    )
    return (
        "devices=; for path in /sys/class/net/*/; do name=$(basename $path);"
        ' [ $name = lo ] || devices="${devices:+$devices, }$name"; done;'
        f' nft {option}"table netdev {_TABLE} {{ {chains}}}"'
    )
