# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts are updated, in which order, and what each of them gives away before; or why nothing is. Pure.

One host at a time, over all tiers, and the next one only when the stack is whole: so no tier ever lacks two. Whoever
is the primary comes last, after it handed over to a standby that has its updates.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Data = Mapping[str, Any]

#: What a host is updated as, in order. A host of several tiers waits for the last of them.
TIERS = ("monitoring or backup", "load balancer", "application", "store", "PostgreSQL standby", "PostgreSQL primary")
REBOOTS = ("needed", "never", "always")
#: Jobs of the backup host that an update would break off.
BUSY = ("pg-backup@*.service", "media-backup.service", "backup-verify.service")
ACCEPT = "If that may be: update.yml -e update_accept_outage=true"
#: Packages that bring a kernel, which runs only after a reboot.
KERNEL = re.compile(r"linux-image-\d")
MAJOR = re.compile(r"postgresql-(\d+)")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What the user asked for. *hosts* is empty for all of them; *limit* is what the run was limited to."""

    hosts: tuple[str, ...] = ()
    reboot: str = "needed"
    accept_outage: bool = False
    switch_back: bool = False
    limit: str = ""


@dataclasses.dataclass(frozen=True)
class Step:
    """A host to update. ``hand_over_to`` is who is to be the primary before, empty where it isn't one.

    ``stop`` are the units that visitors use, ``units`` all of the stack's on this host, in the order in which they
    start. ``vip`` is the virtual address, where another load balancer can take it. ``reboot`` says why one is foreseen;
    ``alone`` that it is updated as a primary, for there is no other instance.
    """

    number: int
    host: str
    tiers: tuple[str, ...]
    packages: tuple[str, ...]
    why: tuple[str, ...]
    reboot: str
    hand_over_to: str
    alone: bool
    stop: tuple[str, ...]
    units: tuple[str, ...]
    vip: str
    vip_port: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """The steps; with refusals there are none. ``idle`` are hosts with nothing to do, ``left_out`` those not asked for.

    ``primary`` is who it is now, ``back_to`` who gets the role back at the end, or empty.
    """

    refusals: tuple[str, ...]
    notes: tuple[str, ...]
    steps: tuple[Step, ...]
    idle: tuple[str, ...]
    left_out: tuple[str, ...]
    primary: str
    back_to: str
    reboot: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data for playbooks."""
        return dataclasses.asdict(self)


def questions(topology: Data, host: str, variables: Data) -> dict[str, list[str]]:
    """What to ask of *host*: its units of the stack, in the order in which they start, and what keeps it busy."""
    app = variables.get("app_replicas_name", "app")
    media = topology["settings"]["site_media_directory"].strip("/").replace("-", r"\x2d").replace("/", "-")
    return {
        "units": [
            "glusterd.service",
            f"{media}.mount",
            "shared-storage-keeper.service",
            "postgresql@*.service",
            "pg-guard@*.service",
            "pgbackrest.service",
            f"{app}@*.service",
            "nginx-media.service",
            "nginx.service",
            "keepalived.service",
        ],
        "busy": list(BUSY) if topology["backup"] and topology["backup"]["name"] == host else [],
    }


def plan_update(
    topology: Data, status: Data, seen: Mapping[str, Data], variables: Mapping[str, Data], wanted: Wanted
) -> Plan:
    """The plan for *wanted*. *seen* has what ``update_host_info`` said of each host, *status* is of ``status.yml``."""
    site = _Site(topology, status, seen, variables, wanted)
    refusals = tuple(site.refusals())
    order = sorted((name for name in site.chosen if site.why(name)), key=site.turn)
    refusals += tuple(site.outages(order)) if not wanted.accept_outage else ()
    steps = () if refusals else tuple(site.step(number, name) for number, name in enumerate(order, 1))
    return Plan(
        refusals=refusals,
        notes=() if refusals else tuple(site.notes(order)),
        steps=steps,
        idle=tuple(name for name in site.chosen if name not in order),
        left_out=tuple(name for name in site.hosts if name not in site.chosen),
        primary=site.primary,
        back_to=site.back_to(steps) if not refusals else "",
        reboot=wanted.reboot,
    )


def reboots(plan: Data, seen: Data) -> bool:
    """Whether a host is rebooted that has its packages now; *seen* is of ``update_host_info``."""
    return plan["reboot"] == "always" or (plan["reboot"] == "needed" and bool(seen["reboot"]))


class _Site:
    """The declared site, and what was seen of it."""

    def __init__(
        self, topology: Data, status: Data, seen: Mapping[str, Data], variables: Mapping[str, Data], wanted: Wanted
    ) -> None:
        self._topology = topology
        self._seen = seen
        self._variables = variables
        self._wanted = wanted
        self._holders = tuple(status["vip_holders"])
        self.primary: str = status["primary"] or ""
        self.hosts = tuple(topology["hosts"])
        self.chosen = tuple(name for name in self.hosts if not wanted.hosts or name in wanted.hosts)
        self._members: list[str] = [member["name"] for member in topology["members"]]
        self._balancers = [balancer["name"] for balancer in topology["load_balancers"]]

    def tiers(self, host: str) -> tuple[str, ...]:
        """What *host* is, in the order of ``TIERS``; the first one where it is nothing else."""
        is_in = (
            False,
            host in self._balancers,
            host in self._topology["replicas_by_host"],
            host in [server["name"] for server in self._topology["storage_servers"]],
            host in self._members and host != self.primary,
            host in self._members and host == self.primary,
        )
        return tuple(tier for tier, there in zip(TIERS, is_in, strict=True) if there) or TIERS[:1]

    def turn(self, host: str) -> tuple[int, bool, int]:
        """The last tier of a host decides; who holds the virtual address comes last there, so that it moves once."""
        last = TIERS.index(self.tiers(host)[-1])
        # The same hosts serve the application and the store, or others: they are one tier here.
        last = TIERS.index("application") if last == TIERS.index("store") else last
        return last, host in self._holders, self.hosts.index(host)

    def why(self, host: str) -> tuple[str, ...]:
        """What is to be done there; empty for a host that is left alone."""
        seen = self._seen.get(host, {})
        number = len(seen.get("packages", ()))
        replaced = {unit["name"]: unit["replaced"] for unit in seen.get("units", ()) if unit["replaced"]}
        return (
            *([f"{number} package{'' if number == 1 else 's'} to update"] if number else []),
            *(f"{name} is not set up to its end" for name in seen.get("unfinished", ())),
            *(seen.get("reboot", ()) if self._wanted.reboot != "never" else ()),
            *(f"{name} runs {path}, which was replaced" for name, path in replaced.items()),
        )

    def reboot(self, host: str) -> str:
        """Why a reboot is foreseen; once the packages are there the host is asked again."""
        if self._wanted.reboot == "never":
            return ""
        if self._wanted.reboot == "always":
            return "update_reboot is always"
        kernels = [item["name"] for item in self._seen[host]["packages"] if KERNEL.match(item["name"])]
        return "; ".join((*self._seen[host]["reboot"], *(f"{name} brings a kernel" for name in kernels)))

    def step(self, number: int, host: str) -> Step:
        units = [unit["name"] for unit in self._seen[host]["units"]]
        app = f"{self._variables.get(host, {}).get('app_replicas_name', 'app')}@"
        fronts = [name for name in ("nginx.service", "nginx-media.service") if host in self._balancers]
        serves = [*fronts, *(name for name in units if name.startswith(app))]
        alone = host == self.primary and len(self._members) == 1
        return Step(
            number=number,
            host=host,
            tiers=self.tiers(host),
            packages=tuple(_package(item) for item in self._seen[host]["packages"]),
            why=self.why(host),
            reboot=self.reboot(host),
            hand_over_to=self._candidate() if host == self.primary and not alone else "",
            alone=alone,
            stop=tuple(name for name in serves if name in units),
            units=tuple(units),
            vip=self._topology["settings"]["site_vip"] if host in self._balancers and len(self._balancers) > 1 else "",
            vip_port=int(self._variables.get(host, {}).get("nginx_lb_https_port", 443)),
        )

    def _candidate(self) -> str:
        """A standby that has its updates by then, the one that the inventory names as the primary first."""
        standbys = [name for name in self._members if name != self.primary]
        done = [name for name in standbys if name in self.chosen or not self.why(name)]
        return next(iter(done or standbys))

    def back_to(self, steps: Sequence[Step]) -> str:
        """The member that the inventory names, if it is to be the primary at the end and isn't."""
        if not self._wanted.switch_back or len(self._members) < 2:
            return ""
        last = next((step.hand_over_to for step in steps if step.hand_over_to), self.primary)
        declared: str = next(item["name"] for item in self._topology["members"] if item["role"] == "primary")
        return declared if last != declared else ""

    # ---- what is refused

    def refusals(self) -> Iterator[str]:
        wanted = self._wanted
        if wanted.limit:
            yield (
                f"--limit {wanted.limit} leaves hosts out, expected all of them: whether the stack is whole, and who "
                "is next, only all of them tell. To update some: update.yml -e update_hosts=pg2,pg3"
            )
            return
        for name in wanted.hosts:
            if name not in self.hosts:
                yield f"update_hosts names {name}, expected hosts of this site: {', '.join(self.hosts)}"
        if wanted.reboot not in REBOOTS:
            yield f"update_reboot is {wanted.reboot}, expected {' or '.join(REBOOTS)}"
        for name in self.chosen:
            yield from (f"{name}: {sentence}" for sentence in self._refused(name))

    def _refused(self, host: str) -> Iterator[str]:
        if host not in self._seen:
            yield "it was not asked what is to be updated, expected an answer. Run update.yml again"
            return
        seen = self._seen[host]
        if seen["trouble"]:
            yield f"{seen['trouble']}. Then run update.yml again"
        if seen["busy"] and self.why(host):
            yield f"{_and(seen['busy'])} runs, and would be broken off. Wait until it has ended"
        for item in seen["packages"]:
            found = {int(number) for number in re.findall(r"\bDebian[^:/,]*:(\d+)", item["origin"])}
            if seen["release"] and found and seen["release"] not in found:
                yield (
                    f"{item['name']} {item['candidate']} is of Debian {max(found)}, this host is Debian "
                    f"{seen['release']}. update.yml stays within a release: see to the files in /etc/apt/sources.list.d"
                )
                # The others come from there too.
                break
        if seen["removed"]:
            yield f"{_and(seen['removed'])} would be removed, expected no package to go. Run 'apt-get upgrade' there"
        for item in seen["packages"]:
            major = MAJOR.fullmatch(item["name"])
            if major and not item["installed"]:
                yield (
                    f"{item['name']} would be installed, another major version of PostgreSQL, expected none. Run "
                    "'apt-mark hold postgresql' there, or remove the package postgresql, which brings it"
                )

    def outages(self, order: Sequence[str]) -> Iterator[str]:
        """What the site can't do without while a host is updated."""
        alone = {
            "load balancer, so the site is away": self._balancers,
            "host of the application, so the site is away": list(self._topology["replicas_by_host"]),
            "PostgreSQL instance, so there is no database": self._members,
        }
        for what, hosts in alone.items():
            if len(hosts) == 1 and hosts[0] in order:
                yield f"{hosts[0]} is the only {what} while it is updated. {ACCEPT}"
        if len(self._members) == 2 and self._topology["synchronous"] != "off":
            for name in order:
                if name in self._members:
                    yield f"there is one standby, and every write waits for it: none while {name} is updated. {ACCEPT}"

    def notes(self, order: Sequence[str]) -> Iterator[str]:
        for name in self.chosen:
            kept = self._seen[name]["kept_back"]
            if kept:
                yield f"{name}: apt keeps back {_and(kept)}; that stays so"
        behind = [name for name in self.hosts if name not in self.chosen and self.why(name)]
        if behind:
            yield f"left out, though there is something to do: {_and(behind)}"
        if self._wanted.accept_outage:
            yield from (sentence.removesuffix(f" {ACCEPT}") for sentence in self.outages(order))


def _package(item: Data) -> str:
    return f"{item['name']} {item['installed'] or 'new'} -> {item['candidate']}"


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
