# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A replicated GlusterFS volume: what is there, and what is missing from what is wanted. Pure.

The shapes of the XML are those of ``gluster ... --xml`` in versions 10 and 11.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from xml.etree import ElementTree


class GlusterError(Exception):
    """What was found can't be led to what is wanted; says why and what to do."""


class VolumeStatus(enum.Enum):
    """State of a volume, as ``gluster volume info`` names it."""

    CREATED = "Created"
    STARTED = "Started"
    STOPPED = "Stopped"


@dataclasses.dataclass(frozen=True)
class Peer:
    """Another server of the trusted pool."""

    address: str
    connected: bool


@dataclasses.dataclass(frozen=True)
class Volume:
    """A volume as the servers know it. ``bricks`` are ``address:/path``."""

    name: str
    status: VolumeStatus
    bricks: tuple[str, ...]
    arbiters: int
    options: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A volume as declared: one brick on each server; an arbiter is the last one."""

    name: str
    servers: tuple[str, ...]
    brick: str
    arbiter: bool
    options: Mapping[str, str]

    @property
    def bricks(self) -> tuple[str, ...]:
        """``address:/path`` of every brick, in order."""
        return tuple(f"{server}:{self.brick}" for server in self.servers)


@dataclasses.dataclass(frozen=True)
class Brick:
    """A brick as ``gluster volume status`` and ``heal info`` see it. ``to_heal`` None: it didn't say."""

    name: str
    online: bool
    to_heal: int | None


def parse_peers(xml: str) -> tuple[Peer, ...]:
    """Peers from ``gluster peer status --xml``; the local server isn't among them."""
    return tuple(
        Peer(_text(peer, "hostname"), _text(peer, "connected") == "1" and _text(peer, "state") == "3")
        for peer in ElementTree.fromstring(xml).iter("peer")
    )


def parse_volume(xml: str, name: str) -> Volume | None:
    """The volume *name* from ``gluster volume info --xml``, or None."""
    for volume in ElementTree.fromstring(xml).iter("volume"):
        if _text(volume, "name") == name:
            return Volume(
                name=name,
                status=VolumeStatus(_text(volume, "statusStr")),
                bricks=tuple(_text(brick, "name") for brick in volume.iter("brick")),
                arbiters=int(_text(volume, "arbiterCount") or 0),
                options={_text(option, "name"): _text(option, "value") for option in volume.iter("option")},
            )
    return None


def parse_bricks(status_xml: str, heal_xml: str) -> tuple[Brick, ...]:
    """Bricks with their state and the number of files they still have to heal.

    *status_xml* is of ``volume status NAME --xml``, *heal_xml* of ``volume heal NAME info summary --xml``
    (empty when it didn't answer).
    """
    waiting: dict[str, int | None] = {}
    if heal_xml:
        for brick in ElementTree.fromstring(heal_xml).iter("brick"):
            entries = _text(brick, "totalNumberOfEntries")
            waiting[_text(brick, "name")] = int(entries) if entries.isdigit() else None
    bricks = []
    for node in ElementTree.fromstring(status_xml).iter("node"):
        path = _text(node, "path")
        if path.startswith("/"):
            name = f"{_text(node, 'hostname')}:{path}"
            # When servers boot at one time, glusterd may lose the port of a brick whose process runs: who is connected
            # stays so, and nobody else finds it.
            online = _text(node, "status") == "1" and _text(node, "port") != "N/A"
            bricks.append(Brick(name, online, waiting.get(name)))
    return tuple(bricks)


def volume_commands(
    wanted: Wanted, local: tuple[str, ...], peers: tuple[Peer, ...], volume: Volume | None
) -> tuple[tuple[str, ...], ...]:
    """Arguments of the ``gluster`` commands that are missing, in order.

    *local* are the addresses of the server that will run them. Raises ``GlusterError`` when the
    volume there is another one than the one wanted: bricks are never taken away or replaced here. And when a volume is
    to be changed while half of the servers or more are out of reach: they might be told something else.
    """
    commands: list[tuple[str, ...]] = []
    if volume is None:
        # A volume's servers are in the pool, under whatever names they first met by: with the volume there,
        # a peer that goes by another name must not be probed, least of all while it is down.
        known = {*local, *(peer.address for peer in peers)}
        commands += [("peer", "probe", server) for server in wanted.servers if server not in known]
        layout = ("replica", "3", "arbiter", "1") if wanted.arbiter else ("replica", str(len(wanted.servers)))
        # force: a brick may be on the root file system, which gluster only warns about.
        commands.append(("volume", "create", wanted.name, *layout, "transport", "tcp", *wanted.bricks, "force"))
    elif set(volume.bricks) != set(wanted.bricks) or bool(volume.arbiters) != wanted.arbiter:
        raise GlusterError(
            f"volume {wanted.name} has the bricks {', '.join(volume.bricks)}"
            f"{' with an arbiter' if volume.arbiters else ''}, the inventory wants {', '.join(wanted.bricks)}"
            f"{' with an arbiter' if wanted.arbiter else ''}. Bricks hold data and are never replaced by a converge. "
            f"Put the old hosts back into shared_storage, or see docs/storage.md on replacing a brick."
        )
    present = volume.options if volume else {}
    commands += [
        ("volume", "set", wanted.name, name, value)
        for name, value in wanted.options.items()
        if not _same(present.get(name), value)
    ]
    if volume is None or volume.status is not VolumeStatus.STARTED:
        commands.append(("volume", "start", wanted.name))
    together, pool = 1 + sum(peer.connected for peer in peers), 1 + len(peers)
    if volume and commands and 2 * together <= pool:
        raise GlusterError(
            f"volume {wanted.name} is to be changed, and this server reaches {together - 1} of the {pool - 1} others, "
            f"expected {pool // 2} at least: who is out of reach might be told something else. Nothing was changed. "
            "Start glusterd there (systemctl start glusterd), then run this again."
        )
    return tuple(commands)


def _same(found: str | None, wanted: str) -> bool:
    words = {
        "on": "on",
        "true": "on",
        "enable": "on",
        "yes": "on",
        "off": "off",
        "false": "off",
        "disable": "off",
        "no": "off",
    }
    if found is None:
        return False
    return words.get(found.lower(), found) == words.get(wanted.lower(), wanted)


def _text(element: ElementTree.Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()
