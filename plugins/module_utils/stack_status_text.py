# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status of the stack as a text for a terminal of 80 to 100 columns. Pure."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterator, Sequence

from ansible_collections.renfo.redundancy.plugins.module_utils.backup_catalogue import utc
from ansible_collections.renfo.redundancy.plugins.module_utils.backup_results import Backups
from ansible_collections.renfo.redundancy.plugins.module_utils.stack_status import (
    Brick,
    Certificate,
    Instance,
    LoadBalancer,
    Mount,
    Replica,
    Status,
    in_bytes,
)

WIDTH = 98
GOOD, BAD, NOTHING = "✓", "!", "-"
GREEN, RED, BOLD, RESET = "\033[32m", "\033[31m", "\033[1m", "\033[0m"


@dataclasses.dataclass(frozen=True)
class _Row:
    good: bool
    cells: tuple[str, ...]


def render(status: Status, colour: bool = False) -> str:
    """The status as a table, the verdict first and what to do last; *colour* adds ANSI codes."""
    return "\n".join(_lines(status, colour))


def _lines(status: Status, colour: bool) -> Iterator[str]:
    yield _verdict(status, colour)
    yield f"  {_site(status)}"
    sections = list(_sections(status))
    # One width for the first column, so that the eye can run down the names.
    first = max(
        (len(cells[0]) for header, rows in sections for cells in (header, *(row.cells for row in rows))), default=0
    )
    for header, rows in sections:
        yield ""
        yield from _table(header, rows, first, colour)
    for title, sentences in (("What to do", status.degraded), ("Good to know", (*status.notes, *status.single_points))):
        if sentences:
            yield ""
            yield _painted(title, BOLD, colour)
            for sentence in sentences:
                yield from textwrap.wrap(sentence, WIDTH, initial_indent="  - ", subsequent_indent="    ")


def _verdict(status: Status, colour: bool) -> str:
    if status.healthy:
        words = "all that was declared is there" if status.single_points else "any one host may be lost"
        return _painted(f"{GOOD} Healthy: {words}", GREEN, colour)
    count = len(status.degraded)
    things = f"{count} thing{'' if count == 1 else 's'} to see to, listed below"
    return _painted(f"{BAD} DEGRADED: {things}", RED, colour)


def _site(status: Status) -> str:
    where = f"{status.address} ({status.site_name})"
    if not status.vip:
        return where
    return f"{where}, virtual address held by {', '.join(status.vip_holders) or 'nobody'}"


def _sections(status: Status) -> Iterator[tuple[tuple[str, ...], list[_Row]]]:
    yield (
        ("LOAD BALANCERS", "NGINX", "keepalived", "virtual address", "certificate"),
        [_load_balancer(item) for item in status.load_balancers],
    )
    yield ("APPLICATION", "ready", "answers in", "release", "since (UTC)"), [_replica(item) for item in status.replicas]
    yield (
        ("POSTGRESQL", "role", "TL", "position", "lag", "sync", "TLS", "slot", "cert"),
        [_instance(item, status) for item in status.instances],
    )
    bricks = {item.host: item for item in status.bricks}
    mounts = {item.host: item for item in status.mounts}
    if bricks or mounts:
        yield (
            ("SHARED STORE", "copy", "to heal", "mount", "free"),
            [_store(host, bricks.get(host), mounts.get(host)) for host in dict.fromkeys((*bricks, *mounts))],
        )
    if status.backups:
        yield (
            ("BACKUPS", "newest", "ended (UTC)", "took", "size", "kept", "next (UTC)"),
            [_backups(item) for item in status.backups],
        )
    shown = {
        *(item.host for item in status.backups),
        *(balancer.host for balancer in status.load_balancers),
        *(replica.host for replica in status.replicas),
        *(instance.host for instance in status.instances),
        *bricks,
        *mounts,
    }
    others = [item for item in status.hosts if item.name not in shown]
    if others:
        yield (
            ("OTHER HOSTS", "", "address"),
            [_Row(item.reachable, (item.name, _reach(item.reachable), item.address)) for item in others],
        )


def _load_balancer(item: LoadBalancer) -> _Row:
    vip = {True: "holds it", False: NOTHING, None: NOTHING}[item.holds_vip]
    if not item.reachable:
        return _Row(False, (item.host, "unreachable", NOTHING, NOTHING, NOTHING))
    return _Row(
        not item.problems, (item.host, item.nginx, item.keepalived or NOTHING, vip, _certificate(item.certificate))
    )


def _replica(item: Replica) -> _Row:
    if not item.reachable:
        return _Row(False, (item.name, "unreachable", NOTHING, NOTHING, NOTHING))
    ready = "yes" if item.ready else f"no ({item.status})" if item.status else "no"
    ms = NOTHING if item.ms is None else f"{item.ms} ms"
    since = (item.since or NOTHING).replace("T", " ")[:16]
    return _Row(not item.problems, (item.name, ready, ms, item.release or NOTHING, since))


def _instance(item: Instance, status: Status) -> _Row:
    role = item.role if item.reachable else "unreachable"
    if item.fenced and item.role not in ("primary", "standby"):
        role = "fenced"
    elif item.reachable and item.role == "standby" and item.upstream:
        role = f"standby of {item.upstream}"
    sync = {"quorum": "yes", "sync": "yes", None: NOTHING}.get(item.sync_state, "no")
    if item.host == status.primary:
        sync = "any 1" if status.synchronous == "any_1" else status.synchronous
    return _Row(
        item.reachable and not item.problems,
        (
            item.host,
            role,
            NOTHING if item.timeline is None else str(item.timeline),
            item.lsn or NOTHING,
            _lag(item),
            sync,
            {True: "yes", False: "NO", None: NOTHING}[item.tls],
            item.slot or NOTHING,
            _certificate(item.certificate),
        ),
    )


def _lag(item: Instance) -> str:
    parts = [
        *([] if item.lag_bytes is None else [in_bytes(item.lag_bytes)]),
        *([] if item.lag_seconds is None else [f"{item.lag_seconds:.1f} s"]),
    ]
    return ", ".join(parts) or NOTHING


def _store(host: str, brick: Brick | None, mount: Mount | None) -> _Row:
    items = [item for item in (brick, mount) if item is not None]
    copy, heal = NOTHING, NOTHING
    if brick is not None:
        copy = {True: "online", False: "OFFLINE", None: "unknown"}[brick.online]
        heal = "unknown" if brick.to_heal is None else f"{brick.to_heal} file{'' if brick.to_heal == 1 else 's'}"
    mounted, free = NOTHING, NOTHING
    if mount is not None and not mount.reachable:
        mounted = "unreachable"
    elif mount is not None:
        mounted = mount.path if mount.answers else "stalled" if mount.mounted else "MISSING"
        if mount.total_bytes and mount.free_bytes is not None:
            share = 100 * mount.free_bytes // mount.total_bytes
            free = f"{in_bytes(mount.free_bytes)} of {in_bytes(mount.total_bytes)} ({share} %)"
    good = all(item.reachable and not item.problems for item in items)
    return _Row(good, (host, copy, heal, mounted, free))


def _backups(item: Backups) -> _Row:
    name = f"{item.host} {item.what}"
    if not item.reachable:
        return _Row(False, (name, "unreachable", *[NOTHING] * 5))
    cells = (
        item.newest or NOTHING,
        NOTHING if item.stop is None else utc(item.stop)[:16],
        NOTHING if item.took is None else f"{item.took:.0f} s",
        NOTHING if item.size is None else in_bytes(item.size),
        NOTHING if item.count is None else str(item.count),
        item.next[:16] or NOTHING,
    )
    return _Row(not item.problems, (name, *cells))


def _certificate(certificate: Certificate | None) -> str:
    if certificate is None:
        return NOTHING
    if certificate.days is None:
        return "missing" if "no such file" in certificate.error else "unreadable"
    return f"{certificate.days} d"


def _reach(reachable: bool) -> str:
    return "reachable" if reachable else "unreachable"


def _table(header: Sequence[str], rows: Sequence[_Row], first: int, colour: bool) -> Iterator[str]:
    widths = [max(len(row[column]) for row in (header, *(row.cells for row in rows))) for column in range(len(header))]
    widths[0] = first

    def line(cells: Sequence[str]) -> str:
        return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=False)).rstrip()

    yield _painted(f"  {line(header)}", BOLD, colour)
    for row in rows:
        mark = _painted(GOOD, GREEN, colour) if row.good else _painted(BAD, RED, colour)
        yield f"{mark} {line(row.cells)}"


def _painted(text: str, code: str, colour: bool) -> str:
    return f"{code}{text}{RESET}" if colour else text
