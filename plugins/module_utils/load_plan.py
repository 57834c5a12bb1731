# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a load test measures, where, and by which command; or why it must not. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.drill_plan import inventory_refusals
from ansible_collections.renfo.redundancy.plugins.module_utils.topology import bracketed

Data = Mapping[str, Any]

#: Where the hosts keep what a load test needs; removed at its end.
FOLDER = "/var/lib/renfo-load"
#: The database, and the instance with the settings that Debian ships, that exist as long as the load test runs.
DATABASE = "renfo_load"
STOCK_PORT = 5999
#: Where a bare NGINX serves the same file without anything before it.
BARE_PORT = 8089
#: What is asked for, and the least it can be.
LEAST = {
    "rounds": 1,
    "seconds": 1,
    "connections": 1,
    "clients": 1,
    "scale": 1,
    "upload_bytes": 1,
    "video_bytes": 1024 * 1024,
}


@dataclasses.dataclass(frozen=True)
class Chart:
    """Measures that are compared with each other: a title, and what a rate counts (or ``MB/s``)."""

    title: str
    unit: str


CHARTS = {
    "replicas": Chart("A page through the load balancer, as replicas are added", "requests/s"),
    "balancer": Chart("A page of one replica: asked directly, and through the load balancer", "requests/s"),
    "video": Chart("A video: NGINX alone, and the whole way", "MB/s"),
    "upload": Chart("Uploads to the shared store", "uploads/s"),
    "write": Chart("Database, writes (pgbench, TPC-B-like)", "transactions/s"),
    "read": Chart("Database, reads (pgbench, select only)", "transactions/s"),
}


@dataclasses.dataclass(frozen=True)
class Measure:
    """One thing to measure, at the same time on all of *hosts*, while the application is down on those of *stopped*.

    *charts* are those that show it, with what it is called there; the first measure of a chart is what its others are
    compared with.
    """

    name: str
    charts: Mapping[str, str]
    hosts: tuple[str, ...]
    argv: tuple[str, ...]
    stopped: tuple[str, ...] = ()


def refusals(
    inventories: Sequence[str], may_load: str, limit: str, topology: Data, generator: str, wanted: Data
) -> list[str]:
    """Why nothing may be measured, a sentence each. *generator* is the host that the load comes from."""
    found = list(
        inventory_refusals(
            inventories,
            ("loadtest_i_may_load", may_load),
            "loadtest.yml",
            "loaded",
            "A load test takes all that the site can give, stops application replicas, and leaves videos of its own in "
            "the site",
        )
    )
    if limit:
        found.append(f"--limit {limit} leaves hosts out, expected all of them")
    if generator not in topology["hosts"]:
        named = f"loadtest_from names '{generator}'" if generator else "there is no host in the group monitoring"
        found.append(
            f"{named}, expected a host of the inventory that the load can come from, best one that serves nothing: "
            "-e loadtest_from=HOST"
        )
    for name, least in LEAST.items():
        value = wanted[name]
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            found.append(f"loadtest_{name} is {value!r}, expected a whole number from {least}")
    return found


def measures(
    topology: Data, status: Data, generator: str, wanted: Data, url: str, video: str, stored: str
) -> list[dict[str, Any]]:
    """Everything that is measured in one round, in order, as plain data.

    *status* is of ``status.yml``. *wanted* has ``seconds`` of each, ``connections`` of an HTTP client, ``clients`` of
    pgbench and ``upload_bytes``, and ``paths`` of the application. The site is at *url*, and has a video at the path
    *video*, whose file is *stored* below the store's directory (empty: nobody knows where).
    """
    # The address is asked; the application may look at the name.
    wanted = {**wanted, "host": topology["settings"]["site_name"]}
    upload = _wrk(wanted, url + wanted["paths"]["videos"], "upload", str(wanted["upload_bytes"]))
    found = [
        *_pages(topology, generator, wanted, url),
        *_bare_videos(topology["hosts"][bare_host(topology, status)], generator, wanted, stored),
        Measure("video_site", {"video": "the site"}, (generator,), _wrk(wanted, url + video)),
        Measure("upload", {"upload": "the site"}, (generator,), upload),
        *_writes(topology, status, wanted),
        *_reads(topology, status, wanted),
    ]
    return [dataclasses.asdict(item) for item in found]


def bare_host(topology: Data, status: Data) -> str:
    """The load balancer that the bare NGINX runs on: the one that serves the site."""
    return str((status["vip_holders"] or [host["name"] for host in topology["load_balancers"]])[0])


def replica_url(topology: Data) -> str:
    """Where the first replica is asked directly."""
    first = topology["replicas"][0]
    return f"http://{bracketed(first['address'])}:{first['port']}"


def _pages(topology: Data, generator: str, wanted: Data, url: str) -> Iterator[Measure]:
    page = wanted["paths"]["page"]
    hosts = list(topology["replicas_by_host"])
    yield Measure("direct", {"balancer": "directly"}, (generator,), _wrk(wanted, replica_url(topology) + page))
    for count in range(1, len(hosts) + 1):
        title = f"{count} host{'s' if count > 1 else ''}"
        charts = {"replicas": title} | ({"balancer": "through the load balancer"} if count == 1 else {})
        yield Measure(f"hosts_{count}", charts, (generator,), _wrk(wanted, url + page), stopped=tuple(hosts[count:]))


def _bare_videos(host: Data, generator: str, wanted: Data, stored: str) -> Iterator[Measure]:
    if stored:
        for name, title, path in (
            ("video_disk", "bare NGINX, disk", "disk/video"),
            ("video_store", "bare NGINX, store", f"store/{stored}"),
        ):
            address = f"http://{bracketed(host['address'])}:{BARE_PORT}/{path}"
            yield Measure(name, {"video": title}, (generator,), _wrk(wanted, address))


def _writes(topology: Data, status: Data, wanted: Data) -> Iterator[Measure]:
    hosts, port = (status["primary"],), topology["settings"]["pg_port"]
    yield Measure("stock", {"write": "Debian's settings"}, hosts, _pgbench(wanted, STOCK_PORT))
    # What a commit waits for is its session's to say: nothing is switched for it.
    local = _pgbench(wanted, port, environment=("PGOPTIONS=-c synchronous_commit=local",))
    yield Measure("off", {"write": "tuned, off"}, hosts, local)
    if topology["cluster"]["synchronous"] == "any_1":
        yield Measure("any_1", {"write": "tuned, any_1"}, hosts, _pgbench(wanted, port))


def _reads(topology: Data, status: Data, wanted: Data) -> Iterator[Measure]:
    standbys = tuple(member["name"] for member in topology["members"] if member["name"] != status["primary"])
    argv = _pgbench(wanted, topology["settings"]["pg_port"], "--select-only")
    for count in range(1, len(standbys) + 1):
        title = f"{count} standby{'s' if count > 1 else ''}"
        yield Measure(f"standbys_{count}", {"read": title}, standbys[:count], argv)


def _wrk(wanted: Data, url: str, *arguments: str) -> tuple[str, ...]:
    """Source: https://github.com/wg/wrk/blob/master/README.md"""
    connections = wanted["connections"]
    size = ("--threads", str(min(2, connections)), "--connections", str(connections))
    how = ("--duration", f"{wanted['seconds']}s", "--timeout", "30s", "--script", f"{FOLDER}/wrk.lua")
    return ("wrk", *size, *how, "--header", f"Host: {wanted['host']}", url, *(("--", *arguments) if arguments else ()))


def _pgbench(wanted: Data, port: int, *options: str, environment: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Source: https://www.postgresql.org/docs/current/pgbench.html"""
    clients = wanted["clients"]
    size = ("--client", str(clients), "--jobs", str(min(2, clients)), "--time", str(wanted["seconds"]))
    where = ("--host", "/var/run/postgresql", "--port", str(port), DATABASE)
    as_postgres = ("runuser", "-u", "postgres", "--", "env", *environment)
    return (*as_postgres, "pgbench", "--no-vacuum", "--protocol=prepared", *size, *options, *where)
