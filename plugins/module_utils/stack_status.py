# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the whole stack is: every part that was declared, as observed, and what is missing. Pure.

A part says what is wrong with it in its ``problems``, in a sentence that ends with what to do. Where
a host can't be reached, that is its one problem; its parts show what the others know about them.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.backup_results import Backups, backups_of
from ansible_collections.renfo.redundancy.plugins.module_utils.topology import bracketed

#: A certificate with fewer days left is a problem: ``site.yml`` renews its own nine days earlier.
CERTIFICATE_DAYS = 21
#: A store with less free space than this share is worth a note.
FREE_SHARE = 0.1
#: Seconds that archiving may fail before it counts: its first attempts come before the repository is there.
ARCHIVE_SECONDS = 300
EXCERPT = 120
WAL_FILE = re.compile("[0-9A-F]{24}")

Data = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Names:
    """What a host's variables call the parts on it; the defaults are those of the roles."""

    app: str = "app"
    ready_path: str = "/"
    backend: str = "glusterfs"
    volume: str = "media"
    firewall: bool = True

    @classmethod
    def from_variables(cls, variables: Data) -> Names:
        """The names among the variables of a host."""
        return cls(
            app=str(variables.get("app_replicas_name", cls.app)),
            ready_path=str(variables.get("app_replicas_ready_path", cls.ready_path)),
            backend=str(variables.get("shared_storage_backend", cls.backend)),
            volume=str(variables.get("shared_storage_volume", cls.volume)),
            firewall=str(variables.get("firewall_enabled", cls.firewall)).lower() in ("true", "yes", "on", "1"),
        )


@dataclasses.dataclass(frozen=True)
class Host:
    """A machine in the inventory."""

    name: str
    address: str
    reachable: bool
    problems: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Certificate:
    """A certificate on a host. ``days`` and ``not_after`` are None where it can't be read, for ``error``."""

    path: str
    not_after: str | None
    days: int | None
    error: str = ""


@dataclasses.dataclass(frozen=True)
class LoadBalancer:
    """One NGINX. States are systemd's; ``keepalived`` and ``holds_vip`` are None without a virtual address."""

    host: str
    reachable: bool
    nginx: str
    keepalived: str | None
    holds_vip: bool | None
    certificate: Certificate | None
    problems: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Replica:
    """One copy of the application. ``ms`` is how long its readiness took to answer, in milliseconds.

    ``over`` is the release that the inventory declared when ``deploy.yml`` brought another one in its place.
    """

    name: str
    host: str
    reachable: bool
    ready: bool
    status: int | None
    ms: int | None
    release: str | None
    since: str | None
    problems: tuple[str, ...] = ()
    over: str | None = None


@dataclasses.dataclass(frozen=True)
class Instance:
    """One PostgreSQL instance. ``role`` is absent, stopped, primary, standby or unknown.

    Lag, ``sync_state`` and ``tls`` are the primary's view of a standby; None where there is none.
    """

    host: str
    reachable: bool
    declared: str
    role: str
    timeline: int | None
    lsn: str | None
    upstream: str | None
    streaming: bool | None
    lag_bytes: int | None
    lag_seconds: float | None
    sync_state: str | None
    tls: bool | None
    slot: str | None
    fenced: bool
    fenced_reason: str | None
    since: str | None
    certificate: Certificate | None
    problems: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Brick:
    """One copy of the store. ``online`` and ``to_heal`` are None where no server could tell."""

    host: str
    reachable: bool
    online: bool | None
    to_heal: int | None
    problems: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Mount:
    """The store as one client sees it."""

    host: str
    reachable: bool
    path: str
    mounted: bool
    answers: bool
    total_bytes: int | None
    free_bytes: int | None
    problems: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Status:
    """The stack. ``degraded`` is empty, or says what is wrong and what to do, most urgent first.

    ``single_points`` says what the inventory itself leaves without a second; that is a choice, not a fault.
    """

    address: str
    site_name: str
    vip: str
    vip_holders: tuple[str, ...]
    primary: str | None
    synchronous: str
    hosts: tuple[Host, ...]
    load_balancers: tuple[LoadBalancer, ...]
    replicas: tuple[Replica, ...]
    instances: tuple[Instance, ...]
    bricks: tuple[Brick, ...]
    mounts: tuple[Mount, ...]
    backups: tuple[Backups, ...]
    degraded: tuple[str, ...]
    single_points: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def healthy(self) -> bool:
        """Whether every declared part is there and does what it should."""
        return not self.degraded

    @property
    def unreachable(self) -> tuple[str, ...]:
        """Names of the hosts that could not be reached."""
        return tuple(host.name for host in self.hosts if not host.reachable)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"healthy": self.healthy, "unreachable": list(self.unreachable), **_plain(dataclasses.asdict(self))}

    @classmethod
    def from_dict(cls, data: Data) -> Status:
        """Read back what ``to_dict`` gave."""
        rows = {
            "hosts": Host,
            "load_balancers": LoadBalancer,
            "replicas": Replica,
            "instances": Instance,
            "bricks": Brick,
            "mounts": Mount,
            "backups": Backups,
        }
        values: dict[str, Any] = {field.name: data[field.name] for field in dataclasses.fields(cls)}
        for name, row in rows.items():
            values[name] = tuple(_row(row, item) for item in data[name])
        for name in ("vip_holders", "degraded", "single_points", "notes"):
            values[name] = tuple(data[name])
        return cls(**values)


def questions(topology: Data, host: str, names: Names, pg_version: int | None) -> dict[str, Any]:
    """Arguments of ``stack_host_info`` for *host*: what it has, as declared.

    *pg_version* is None where it isn't known (the release of the host isn't).
    """
    settings = topology["settings"]
    replicas = topology["replicas_by_host"].get(host, [])
    balances = host in _hosts(topology["load_balancers"])
    serves = names.backend == "glusterfs" and host in _hosts(topology["storage_servers"])
    stores = host in topology["storage_clients"]
    keeps = host in topology["slots"] and pg_version is not None
    vip = settings["site_vip"] if balances else ""
    backs_up = topology["backup"] and (host in topology["slots"] or host == topology["backup"]["name"])
    return {
        "units": [
            *(["nginx.service", "nginx-media.service"] if balances else []),
            *(["keepalived.service"] if vip else []),
            *(app_unit(names, replica["index"]) for replica in replicas),
            *(["glusterd.service"] if serves else []),
            *(["shared-storage-keeper.service"] if stores else []),
            *([f"postgresql@{pg_version}-main.service"] if keeps else []),
            *(["pgbackrest.service"] if backs_up else []),
            *_beside(topology, host, names),
        ],
        "ready": [
            {"name": replica["name"], "url": f"http://{_netloc(replica)}{names.ready_path}"} for replica in replicas
        ],
        "addresses": [vip] if vip else [],
        "certificates": [
            *(["/etc/nginx/tls/site.crt"] if balances else []),
            *([f"/etc/postgresql/{pg_version}/main/tls/server.crt"] if keeps else []),
        ],
        "mounts": [settings["site_media_directory"]] if stores else [],
        "gluster_volume": names.volume if serves else "",
        "release_home": f"/srv/{names.app}" if replicas else "",
    }


def stack_status(
    topology: Data,
    plan: Data,
    pg_observations: Mapping[str, Data | None],
    host_observations: Mapping[str, Data | None],
    names: Mapping[str, Names] | None = None,
    backups: Data | None = None,
    now: float = 0,
) -> Status:
    """Compare the declared *topology* with what was observed.

    *plan* is of the filter ``cluster_plan``. *pg_observations* are of ``pg_instance_info`` and
    *host_observations* of ``stack_host_info``, by host; None where a host could not be reached. A
    host that was reached but could not be observed has ``{"error": why}``. *backups* are of ``backup_info``, *now*
    is in seconds since the epoch.
    """
    stack = _Stack(topology, plan, pg_observations, host_observations, names or {})
    hosts = tuple(stack.host(name) for name in topology["hosts"])
    balancers = tuple(stack.load_balancer(item["name"]) for item in topology["load_balancers"])
    replicas = tuple(stack.replica(item) for item in topology["replicas"])
    instances = tuple(stack.instance(item) for item in topology["members"])
    bricks = tuple(stack.brick(item) for item in topology["storage_servers"] if stack.serves(item["name"]))
    mounts = tuple(stack.mount(name) for name in topology["storage_clients"])
    keeper = (topology["backup"] or {}).get("name")
    kept = tuple(stack.backups(keeper, backups, now)) if keeper else ()
    holders = tuple(item.host for item in balancers if item.holds_vip)
    settings = topology["settings"]
    rows: Iterable[Any] = (*hosts, *instances, *balancers, *replicas, *bricks, *mounts, *kept)
    degraded = (
        *stack.cluster_problems(),
        *_vip_problems(settings["site_vip"], balancers),
        *(problem for row in rows for problem in row.problems),
        *_mixed_releases(replicas),
    )
    first = topology["load_balancers"][0]["address"] if topology["load_balancers"] else settings["site_name"]
    return Status(
        address=f"https://{bracketed(settings['site_vip'] or first)}/",
        site_name=settings["site_name"],
        vip=settings["site_vip"],
        vip_holders=holders,
        primary=stack.primary,
        synchronous=topology["synchronous"],
        hosts=hosts,
        load_balancers=balancers,
        replicas=replicas,
        instances=instances,
        bricks=bricks,
        mounts=mounts,
        backups=kept,
        degraded=tuple(dict.fromkeys(degraded)),
        single_points=tuple(_single_points(topology)),
        notes=(
            *stack.plan_notes(),
            *_release_notes(replicas, topology),
            *_space_notes(mounts),
            *(note for name in topology["hosts"] for note in stack.beside_notes(name)),
        ),
    )


class _Stack:
    """Declared and observed side by side."""

    def __init__(
        self,
        topology: Data,
        plan: Data,
        pg_observations: Mapping[str, Data | None],
        host_observations: Mapping[str, Data | None],
        names: Mapping[str, Names],
    ) -> None:
        self._topology = topology
        self._plan = plan
        self._pg = pg_observations
        self._seen = host_observations
        self._names = names
        self.primaries = [
            member["name"] for member in topology["members"] if self._instance(member["name"]).get("state") == "primary"
        ]

    @property
    def primary(self) -> str | None:
        """The one live primary."""
        return self.primaries[0] if len(self.primaries) == 1 else None

    def serves(self, host: str) -> bool:
        """Whether *host* should hold a brick."""
        return self._name(host).backend == "glusterfs"

    def host(self, name: str) -> Host:
        address = self._topology["hosts"][name]["address"]
        seen = self._seen.get(name)
        if seen is None:
            problem = f"{name} ({address}) can't be reached: bring it back, then run site.yml"
            return Host(name, address, False, (problem,))
        if seen.get("error"):
            problem = f"{name} ({address}) can't be observed: {_excerpt(seen['error'])}"
            return Host(name, address, False, (problem,))
        return Host(name, address, True)

    def load_balancer(self, name: str) -> LoadBalancer:
        vip = self._topology["settings"]["site_vip"]
        nginx = self._unit(name, "nginx.service")
        media = self._unit(name, "nginx-media.service")
        keepalived = self._unit(name, "keepalived.service") if vip else None
        certificate = self._certificate(name, "nginx")
        problems: list[str] = []
        if self._reachable(name):
            if not nginx["running"]:
                problems.append(
                    f"{name}: NGINX doesn't run ({nginx['active']}): run site.yml; if it fails again, read "
                    f"'journalctl -u nginx' on {name}"
                )
            if not media["running"]:
                problems.append(
                    f"{name}: the NGINX for media doesn't run ({media['active']}), so {name} serves no files: run "
                    f"site.yml; if it fails again, read 'journalctl -u nginx-media' on {name}"
                )
            if keepalived is not None and not keepalived["running"]:
                problems.append(
                    f"{name}: keepalived doesn't run ({keepalived['active']}), so {name} can't take over the virtual "
                    f"address: run site.yml; if it fails again, read 'journalctl -u keepalived' on {name}"
                )
            if nginx["running"]:
                problems += _certificate_problems(name, certificate)
        return LoadBalancer(
            host=name,
            reachable=self._reachable(name),
            nginx=_word(nginx),
            keepalived=None if keepalived is None else _word(keepalived),
            holds_vip=self._answers(name, "addresses").get(vip) if vip else None,
            certificate=certificate,
            problems=tuple(problems),
        )

    def replica(self, declared: Data) -> Replica:
        name, host = declared["name"], declared["host"]
        answer = self._answers(host, "ready").get(name) or {}
        unit_name = app_unit(self._name(host), declared["index"])
        unit = self._unit(host, unit_name)
        # A unit that is down while something else answers on its port is not this replica.
        ready = bool(answer.get("ok")) and bool(unit["running"])
        problems = []
        if self._reachable(host) and not ready:
            if not unit["running"]:
                why = f"{unit_name} doesn't run ({unit['active']})"
            elif answer.get("status"):
                why = f"it answers {answer['status']} {_excerpt(answer.get('body', ''))}".rstrip()
            else:
                why = _excerpt(answer.get("error") or "no answer")
            problems.append(
                f"{name} isn't ready: {why}. Run site.yml; if that doesn't help, read 'journalctl -u "
                f"{unit_name.removesuffix('.service')}' on {host}"
            )
        return Replica(
            name=name,
            host=host,
            reachable=self._reachable(host),
            ready=ready,
            status=answer.get("status"),
            ms=answer.get("ms"),
            release=release_in(unit.get("running_in")),
            over=self._answers(host, "releases").get("over") or None,
            since=unit.get("since"),
            problems=tuple(problems),
        )

    def instance(self, declared: Data) -> Instance:
        name = declared["name"]
        seen = self._instance(name)
        client = self._client(name) if name != self.primary else {}
        slot = self._slot(name) if name != self.primary else None
        certificate = self._certificate(name, "postgresql") if self._has_files(seen) else None
        lag_bytes = client.get("lag_bytes")
        # The primary stops measuring the time once a standby has everything.
        seconds = client.get("lag_seconds")
        lag_seconds = 0.0 if lag_bytes == 0 else seen.get("lag_seconds") if seconds is None else seconds
        problems: list[str] = []
        if self._reachable(name):
            problems += self._instance_problems(name, seen, client, slot)
            problems += _certificate_problems(name, certificate)
        told = seen.get("upstream") or {}
        return Instance(
            host=name,
            reachable=self._reachable(name),
            declared=declared["role"],
            role=str(seen.get("state", "unknown")),
            timeline=seen.get("timeline") or None,
            lsn=seen.get("current_lsn") or seen.get("received_lsn") or seen.get("replayed_lsn"),
            upstream=(told.get("host") or told.get("address")) if name not in self.primaries else None,
            streaming=client.get("state") == "streaming" if client or name != self.primary else None,
            lag_bytes=lag_bytes,
            lag_seconds=None if lag_seconds is None else float(lag_seconds),
            sync_state=client.get("sync_state"),
            tls=client.get("ssl"),
            slot=slot,
            fenced=bool(seen.get("fenced")),
            fenced_reason=seen.get("fenced_reason"),
            since=self._pg_since(name),
            certificate=certificate,
            problems=tuple(problems),
        )

    def brick(self, server: Data) -> Brick:
        name, volume = server["name"], self._name(server["name"]).volume
        told = {
            observer: {brick["name"].rpartition(":")[0]: brick for brick in view["bricks"]}
            for observer, view in self._gluster_views()
            if view["answered"]
        }
        found = {observer: bricks.get(server["address"]) for observer, bricks in told.items()}
        # A server leaves out the bricks of peers that it doesn't hear.
        missed = [observer for observer, brick in found.items() if brick is None or not brick["online"]]
        counts = [brick["to_heal"] for brick in found.values() if brick is not None and brick["to_heal"] is not None]
        online = None if not told else not missed
        to_heal = max(counts, default=None)
        problems = []
        if self._reachable(name):
            daemon = self._unit(name, "glusterd.service")
            view = self._answers(name, "gluster")
            if not daemon["running"]:
                problems.append(
                    f"{name}: glusterd doesn't run ({daemon['active']}): run site.yml; if it fails again, read "
                    f"'journalctl -u glusterd' on {name}"
                )
            elif not view.get("answered"):
                problems.append(
                    f"{name}: gluster doesn't answer ({_excerpt(view.get('error', 'no answer'))}): run 'gluster volume "
                    f"status {volume}' on {name} and follow what it says"
                )
            if missed:
                problems.append(
                    f"the copy of the store on {name} is offline as {_and(missed)} {_see(missed)} it: run 'gluster "
                    f"volume start {volume} force' on {name}, and see that the storage hosts reach each other; if "
                    "neither helps, run 'systemctl restart glusterd' there"
                )
        if to_heal:
            problems.append(
                f"{_count(to_heal, 'file')} on {name} {'waits' if to_heal == 1 else 'wait'} to be copied to the other "
                f"storage hosts: that goes on by itself; stop none of them until 'gluster volume heal {volume} info' "
                "says 0"
            )
        elif online and to_heal is None:
            problems.append(
                f"{name} doesn't say how many files wait to be healed: run 'gluster volume heal {volume} info' there"
            )
        return Brick(name, self._reachable(name), online, to_heal, tuple(problems))

    def mount(self, host: str) -> Mount:
        path = self._topology["settings"]["site_media_directory"]
        seen = self._answers(host, "mounts").get(path) or {}
        problems = []
        if self._reachable(host):
            keeper = self._unit(host, "shared-storage-keeper.service")
            if not keeper["running"]:
                problems.append(
                    f"{host}: shared-storage-keeper doesn't run ({keeper['active']}), so a lost mount would stay lost: "
                    "run site.yml"
                )
            if not seen.get("mounted"):
                problems.append(
                    f"{host}: the store isn't mounted at {path}: run site.yml; if it fails again, read 'journalctl -u "
                    f"shared-storage-keeper' on {host}"
                )
            elif not seen.get("answers"):
                problems.append(
                    f"{host}: the store mounted at {path} doesn't answer ({_excerpt(seen.get('error', ''))}): bring "
                    "back the storage hosts that are down; most of them must be up"
                )
        return Mount(
            host=host,
            reachable=self._reachable(host),
            path=path,
            mounted=bool(seen.get("mounted")),
            answers=bool(seen.get("answers")),
            total_bytes=seen.get("total_bytes"),
            free_bytes=seen.get("free_bytes"),
            problems=tuple(problems),
        )

    def backups(self, host: str, seen: Data | None, now: float) -> Iterator[Backups]:
        error = (seen or {}).get("error")
        reachable = self._reachable(host)
        first, *others = backups_of(host, reachable, reachable and not error, None if error else seen, now)
        problems = [
            f"{name}: pgbackrest.service doesn't run, so it takes no part in backups: run site.yml"
            for name in (host, *self._topology["slots"])
            if self._reachable(name) and not self._unit(name, "pgbackrest.service")["running"]
        ]
        problems += self._dropped_wal(None if error else seen)
        if error and reachable:
            problems.append(f"the backups on {host} can't be observed: {_excerpt(error)}")
        yield dataclasses.replace(first, problems=(*first.problems, *problems))
        yield from others

    def _dropped_wal(self, backups: Data | None) -> Iterator[str]:
        """Whether the archive lacks what PostgreSQL was told that it has: beyond pg_backup_queue_max WAL is dropped."""
        told = ((self._instance(self.primary) if self.primary else {}).get("archiver") or {}).get("last_wal") or ""
        archives = (backups or {}).get("catalogue", {}).get("archives", ())
        there = max((archive["last"] for archive in archives), default="")
        if WAL_FILE.fullmatch(told) and there and there < told:
            yield (
                f"WAL was dropped: the archive ends with {there}, {self.primary} wrote {told} since. Times after that "
                "can't be restored until the next backup: see that the backup host has room, then run backup.yml"
            )

    def cluster_problems(self) -> Iterator[str]:
        """What is wrong with PostgreSQL as a whole."""
        if not self.primaries:
            yield f"PostgreSQL has no live primary, nothing can be written: {self._way_out()}"
        elif len(self.primaries) > 1:
            known = next(iter(self._plan["problems"]), None)
            yield known or (
                f"{_and(self.primaries)} accept writes, expected one primary: stop PostgreSQL on the one to give up, "
                "then run rejoin.yml for it"
            )
        if self.primary is None or self._topology["synchronous"] == "off":
            return
        seen = self._instance(self.primary)
        if not seen.get("accepts_connections"):
            return
        if not seen.get("synchronous_standby_names"):
            yield (
                f"{self.primary} acknowledges commits without waiting for a standby, the inventory says "
                f"{self._topology['synchronous']}: its loss would lose writes. Run site.yml"
            )
        elif len(self._topology["members"]) > 1 and not any(map(_is_synchronous, seen.get("replication") or ())):
            yield (
                f"{self.primary} has no synchronous standby, so every write waits: bring back a standby "
                f"({_and(self._others(self.primary))})"
            )

    def plan_notes(self) -> Iterator[str]:
        """Notes of the plan, but for those that are problems here."""
        mine = ("acknowledges commits without", "replay is paused on", "a fence marker keeps it")
        yield from (note for note in self._plan["notes"] if not any(words in note for words in mine))

    def beside_notes(self, host: str) -> Iterator[str]:
        """What the site does without, and shouldn't for long."""
        if self._reachable(host):
            for unit, without in _beside(self._topology, host, self._name(host)).items():
                active = self._unit(host, unit)["active"]
                if active != "active":
                    yield (
                        f"{host}: {without}, for {unit} is {active}: run site.yml; if that doesn't help, read "
                        f"'journalctl -u {unit.removesuffix('.service')}' there"
                    )

    def _instance_problems(self, name: str, seen: Data, client: Data, slot: str | None) -> Iterator[str]:
        if not seen or seen.get("error"):
            yield (
                f"{name}: PostgreSQL can't be observed ({_excerpt(seen.get('error') or 'no answer')}): "
                f"run 'pg_lsclusters' on {name}"
            )
            return
        if seen.get("fenced"):
            # Whole: the guard says which members it could not ask, and why.
            why = " ".join(str(seen.get("fenced_reason") or "no reason given").split()).rstrip(".")
            yield f"{name} is fenced ({why}): {self._unfence(name)}"
        if name in self.primaries:
            if not seen.get("accepts_connections"):
                yield f"the primary {name} runs but doesn't answer: {self._advice(name)}"
            elif self._topology["backup"]:
                yield from self._archive_problems(name, seen)
            return
        state = seen["state"]
        if state in ("absent", "stopped"):
            if not seen.get("fenced"):
                yield f"PostgreSQL on {name} is {state}: {self._advice(name)}"
            return
        if self.primary is None:
            return
        if not seen.get("streaming") or not client:
            yield f"{name} doesn't stream from the primary {self.primary}: {self._advice(name)}"
            if slot == "lost":
                # That is why it doesn't, and what the advice is about.
                return
        elif client["state"] != "streaming":
            yield f"{name} is not streaming yet ({client['state']}): it is catching up, look again in a minute"
        else:
            if not client["ssl"]:
                yield (
                    f"{name} streams from {self.primary} without TLS: run site.yml, then restart the standby ("
                    f"'systemctl restart postgresql' on {name})"
                )
            if self._topology["synchronous"] != "off" and not _is_synchronous(client):
                yield (
                    f"{name} streams but no commit waits for it ({client['sync_state']}), the inventory says "
                    f"{self._topology['synchronous']}: run site.yml"
                )
        yield from self._slot_problems(name, slot)
        if seen.get("replay_paused"):
            yield f"replay is paused on {name}: SELECT pg_wal_replay_resume() there lets it go on"

    def _archive_problems(self, name: str, seen: Data) -> Iterator[str]:
        archiver = seen.get("archiver")
        if archiver is None:
            yield (
                f"{name} archives no WAL, so a backup can't be made: archiving begins when PostgreSQL is restarted. "
                "Restart the standbys one after the other ('systemctl restart postgresql'), then run switchover.yml"
            )
        elif (archiver["failing_for"] or 0) > ARCHIVE_SECONDS:
            yield (
                f"{name} can't archive WAL for {int(archiver['failing_for'] / 60)} minutes, it waits in pg_wal: bring "
                f"{self._topology['backup']['name']} back, or read the log of PostgreSQL on {name}"
            )

    def _slot_problems(self, name: str, slot: str | None) -> Iterator[str]:
        wanted = self._topology["slots"][name]
        if slot == "lost":
            yield (
                f"the replication slot {wanted} of {name} on {self.primary} is lost: {name} was away for too long. Run "
                "rejoin.yml"
            )
        elif slot == "unreserved":
            yield (
                f"the replication slot {wanted} of {name} on {self.primary} is about to be lost: let {name} catch up "
                "now, or it will need a fresh copy"
            )
        elif slot == "missing":
            yield f"{self.primary} has no replication slot {wanted} for {name}: run site.yml"

    def _advice(self, name: str) -> str:
        """The plan's reason for a member, which says what to do where ``site.yml`` won't do it."""
        decided = self._plan["members"].get(name) or {}
        if decided.get("action") in ("hold", "refuse", "restore"):
            return str(decided["reason"])
        if decided.get("action") in ("bootstrap", "start", "clone", "follow", "rejoin"):
            return f"{decided['reason']}. Run site.yml"
        return f"run site.yml; if that doesn't help, read 'journalctl -u postgresql@*' on {name}"

    def _unfence(self, name: str) -> str:
        """What takes a fence away."""
        if name in self.primaries:
            # Whoever promoted it has shown that it may be the primary; its host's next boot doesn't know.
            return (
                "it serves, but would not start again. Remove the file that ends in .fenced from /var/lib/postgresql "
                "there"
            )
        return self._advice(name)

    def _way_out(self) -> str:
        for problem in self._plan["problems"]:
            return str(problem)
        if self._plan["primary"]:
            return f"run site.yml, which brings up {self._plan['primary']}"
        reasons = [
            decided["reason"]
            for name, decided in self._plan["members"].items()
            if self._reachable(name) and decided["action"] in ("hold", "refuse", "restore")
        ]
        return reasons[0] if reasons else "bring the PostgreSQL hosts back, or run failover.yml if the primary is lost"

    def _reachable(self, host: str) -> bool:
        seen = self._seen.get(host)
        return seen is not None and not seen.get("error")

    def _name(self, host: str) -> Names:
        return self._names.get(host, Names())

    def _instance(self, host: str) -> Data:
        return self._pg.get(host) or {}

    def _answers(self, host: str, kind: str) -> Data:
        return (self._seen.get(host) or {}).get(kind) or {}

    def _unit(self, host: str, unit: str) -> Data:
        return self._answers(host, "units").get(unit) or {"running": False, "active": "unknown"}

    def _pg_since(self, host: str) -> str | None:
        found = [unit["since"] for name, unit in self._answers(host, "units").items() if name.startswith("postgresql@")]
        return next((since for since in found if since and self._has_files(self._instance(host))), None)

    @staticmethod
    def _has_files(seen: Data) -> bool:
        return bool(seen) and seen.get("state") not in ("absent", None)

    def _certificate(self, host: str, of: str) -> Certificate | None:
        for path, found in self._answers(host, "certificates").items():
            if f"/etc/{of}/" in path:
                return Certificate(path, found["not_after"], found["days"], found["error"])
        return None

    def _others(self, name: str) -> list[str]:
        return [member["name"] for member in self._topology["members"] if member["name"] != name]

    def _client(self, name: str) -> Data:
        """The standby *name* as the primary sees it."""
        clients = self._instance(self.primary).get("replication") or () if self.primary else ()
        return next((client for client in clients if client["name"] == name), {})

    def _slot(self, name: str) -> str | None:
        primary = self._instance(self.primary) if self.primary else {}
        if not primary.get("accepts_connections"):
            return None
        slots = primary.get("slots") or ()
        wanted = self._topology["slots"][name]
        return next((str(slot["wal_status"]) for slot in slots if slot["name"] == wanted), "missing")

    def _gluster_views(self) -> Iterator[tuple[str, Data]]:
        for server in self._topology["storage_servers"]:
            view = self._answers(server["name"], "gluster")
            if view:
                yield server["name"], view


def _vip_problems(vip: str, balancers: Sequence[LoadBalancer]) -> Iterator[str]:
    if not vip:
        return
    holders = [item.host for item in balancers if item.holds_vip]
    if len(holders) > 1:
        yield (
            f"{_and(holders)} hold the virtual address {vip} at the same time: they don't hear each other. Let VRRP "
            "(IP protocol 112) pass between them"
        )
    asked = [item.host for item in balancers if item.reachable]
    if asked and not holders:
        yield (
            f"no load balancer that answers holds the virtual address {vip}, so the site can't be reached there: run "
            f"site.yml; if that doesn't help, read 'journalctl -u keepalived' on {_and(asked)}"
        )


def _single_points(topology: Data) -> Iterator[str]:
    """What the declared site can't lose, however well it is."""
    if not topology["backup"]:
        yield "there are no backups: a dropped table is dropped on every standby. Declare a host in the group backup"
    for hosts, what in (
        ([item["name"] for item in topology["load_balancers"]], "load balancer"),
        (list(topology["replicas_by_host"]), "host of the application"),
        (list(topology["slots"]), "PostgreSQL instance"),
    ):
        if len(hosts) == 1:
            yield f"{hosts[0]} is the only {what}: its loss stops the site. Declare a second one"
    standbys = len(topology["members"]) - 1
    if standbys > 0 and topology["synchronous"] == "off":
        yield "commits are acknowledged by the primary alone (pg_synchronous: off): its loss can lose the last ones"
    elif standbys == 1:
        yield "there is one standby, and every write waits for it (pg_synchronous: any_1): its loss stops all writes"


def _certificate_problems(host: str, certificate: Certificate | None) -> Iterator[str]:
    if certificate is None:
        return
    if certificate.days is None:
        yield f"{host}: the certificate {certificate.path} can't be read ({_excerpt(certificate.error)}): run site.yml"
    elif certificate.days < CERTIFICATE_DAYS:
        date = str(certificate.not_after).partition("T")[0]
        when = f"ends in {_count(certificate.days, 'day')}, on {date}" if certificate.days >= 0 else f"ended on {date}"
        yield (
            f"{host}: the certificate {certificate.path} {when}: run site.yml, which renews its own; replace the file "
            "if you brought it"
        )


def _release_notes(replicas: Sequence[Replica], topology: Data) -> Iterator[str]:
    wanted = (topology.get("release") or {}).get("id")
    other = [item for item in replicas if wanted and item.release not in (None, wanted)]
    for release in dict.fromkeys(item.release for item in other):
        running = [item.name for item in other if item.release == release]
        runs = f"{_and(running)} {'runs' if len(running) == 1 else 'run'} release {release}"
        if all(item.over == wanted for item in other if item.release == release):
            yield f"{runs}, which deploy.yml brought, the inventory declares {wanted}: write into it what is to run"
        else:
            yield f"{runs}, the archive on this controller is {wanted}: site.yml rolls it out"


def _mixed_releases(replicas: Sequence[Replica]) -> Iterator[str]:
    runs: dict[str, list[str]] = {}
    for item in replicas:
        if item.ready and item.release:
            runs.setdefault(item.release, []).append(item.name)
    if len(runs) > 1:
        who = "; ".join(f"{_and(names)} {release}" for release, names in runs.items())
        yield (
            f"the replicas run different releases ({who}): run again what was interrupted, site.yml or deploy.yml; or "
            "deploy.yml -e app_replicas_version=previous"
        )


def _space_notes(mounts: Sequence[Mount]) -> Iterator[str]:
    for item in mounts:
        if item.total_bytes and item.free_bytes is not None and item.free_bytes < FREE_SHARE * item.total_bytes:
            yield f"the store has {in_bytes(item.free_bytes)} of {in_bytes(item.total_bytes)} left: make room soon"
            return


def _is_synchronous(client: Data) -> bool:
    return client["state"] == "streaming" and client["sync_state"] in ("sync", "quorum")


def _hosts(items: Iterable[Data]) -> Collection[str]:
    return [item["name"] for item in items]


def _beside(topology: Data, host: str, names: Names) -> dict[str, str]:
    """Units of *host* that no redundancy depends on, and what is missing without each."""
    watches = host in topology["monitoring"]
    return {
        **({"site-firewall.service": "everybody is let in to every port"} if names.firewall else {}),
        **({"prometheus-exporter-exporter.service": "nobody is told how it is"} if topology["monitoring"] else {}),
        **({"prometheus.service": "nothing is watched from there"} if watches else {}),
        **({"prometheus-alertmanager.service": "nobody is told of alerts"} if watches else {}),
    }


def app_unit(names: Names, index: int) -> str:
    """The unit of one copy of the application."""
    return f"{names.app}@{index}.service"


def _netloc(replica: Data) -> str:
    return f"{bracketed(replica['address'])}:{replica['port']}"


def release_in(directory: str | None) -> str | None:
    """The release in ``/srv/app/releases/<release>``."""
    before, _folder, release = (directory or "").partition("/releases/")
    return release.partition("/")[0] or None if before else None


def _word(unit: Data) -> str:
    return "running" if unit["running"] else str(unit["active"])


def _excerpt(text: str) -> str:
    flat = " ".join(str(text).split())
    return flat if len(flat) <= EXCERPT else f"{flat[: EXCERPT - 3]}..."


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _see(names: Sequence[str]) -> str:
    return "sees" if len(names) == 1 else "see"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _row(row: Any, item: Data) -> Any:
    values = {**item, "problems": tuple(item["problems"])}
    if values.get("certificate") is not None:
        values["certificate"] = Certificate(**values["certificate"])
    return row(**values)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def in_bytes(number: int) -> str:
    """*number* bytes, for people."""
    size = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
