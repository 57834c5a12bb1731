# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A replicated GlusterFS volume: what is there, and what is missing from what is wanted. Pure.

The shapes of the XML are those of ``gluster ... --xml`` in versions 10 and 11.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Collection, Mapping, Sequence
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
    """Another server of the trusted pool. ``names``: all that the pool calls it, ``address`` among them."""

    address: str
    connected: bool
    names: tuple[str, ...] = ()

    def is_at(self, address: str) -> bool:
        """Whether it is the server at *address*."""
        return address == self.address or address in self.names


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
        Peer(
            _text(peer, "hostname"),
            _text(peer, "connected") == "1" and _text(peer, "state") == "3",
            tuple((name.text or "").strip() for name in peer.findall("hostnames/hostname")),
        )
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


def parse_heal_count(text: str) -> dict[str, int]:
    """Entries in each brick's index of what others lack, from ``volume heal NAME statistics heal-count``.

    The self-heal daemons count; a brick that they don't reach is not among them. There is no XML of it.
    """
    counts: dict[str, int] = {}
    brick = ""
    for line in text.splitlines():
        word, _space, rest = line.partition(" ")
        if word == "Brick":
            brick = rest.strip()
        elif line.startswith("Number of entries:") and rest.rpartition(":")[2].strip().isdigit():
            counts[brick] = int(rest.rpartition(":")[2])
    return counts


def every_brick(volume: Volume, told: Sequence[Brick], counts: Mapping[str, int]) -> tuple[Brick, ...]:
    """All bricks of *volume*, by what ``parse_bricks`` and ``parse_heal_count`` tell; of a server out of reach they
    tell nothing.

    ``heal info`` alone said 0 for a new brick that nobody reached and that was empty: the index is asked as well.
    """
    found = {brick.name: brick for brick in told}
    bricks = []
    for name in volume.bricks:
        brick = found.get(name, Brick(name, online=False, to_heal=None))
        waiting = (brick.to_heal, counts.get(name))
        to_heal = None if None in waiting else max(count for count in waiting if count is not None)
        bricks.append(dataclasses.replace(brick, to_heal=to_heal))
    return tuple(bricks)


def volume_commands(
    wanted: Wanted,
    local: tuple[str, ...],
    peers: tuple[Peer, ...],
    volume: Volume | None,
    removed: Collection[str] = (),
    bricks: Sequence[Brick] = (),
    returned: Collection[str] = (),
) -> tuple[tuple[str, ...], ...]:
    """Arguments of the ``gluster`` commands that are missing, in order.

    *local* are the addresses of the server that will run them, *removed* those of servers that leave, *returned* those
    of servers that came back with an empty disk, *bricks* how the volume's bricks are (asked for where ``looks`` says
    so). Raises ``GlusterError`` when the volume there is another one than the one wanted, and no server that leaves
    explains it: bricks hold data. And when a volume is to be changed while half of the servers or more are out of
    reach: they might be told something else.
    """
    commands: list[tuple[str, ...]] = []
    known = {*local, *(name for peer in peers for name in (peer.address, *peer.names))}
    if volume is None:
        # A volume's servers are in the pool, under whatever names they first met by: with the volume there,
        # a peer that goes by another name must not be probed, least of all while it is down.
        commands += [("peer", "probe", server) for server in wanted.servers if server not in known]
        layout = ("replica", "3", "arbiter", "1") if wanted.arbiter else ("replica", str(len(wanted.servers)))
        # force: a brick may be on the root file system, which gluster only warns about.
        commands.append(("volume", "create", wanted.name, *layout, "transport", "tcp", *wanted.bricks, "force"))
    elif set(volume.bricks) != set(wanted.bricks) or bool(volume.arbiters) != wanted.arbiter:
        if returned:
            raise GlusterError(
                f"{', '.join(returned)} came back with an empty disk, and another copy of {wanted.name} is to be "
                "replaced. One at a time: put the host that leaves back, run site.yml, then replace it."
            )
        old, new = _replacement(wanted, volume, removed)
        _refuse_loss(wanted, volume, bricks, old)
        commands += [("peer", "probe", server) for server in (_server(new),) if server not in known]
        commands.append(("volume", "replace-brick", wanted.name, old, new, "commit", "force"))
    else:
        for brick in (brick for brick in volume.bricks if _server(brick) in returned):
            _refuse_unless_online(wanted, bricks, brick)
            # Stopped first, or it is not taken for one that is to be filled.
            commands.append(("volume", "reset-brick", wanted.name, brick, "start"))
            commands.append(("volume", "reset-brick", wanted.name, brick, brick, "commit", "force"))
    present = volume.options if volume else {}
    commands += [
        ("volume", "set", wanted.name, name, value)
        for name, value in wanted.options.items()
        if not _same(present.get(name), value)
    ]
    if volume is None or volume.status is not VolumeStatus.STARTED:
        commands.append(("volume", "start", wanted.name))
    if volume is not None:
        # Not while anything waits: until then the server that leaves is the way back.
        healed = not commands and is_healed(bricks)
        commands += [
            ("peer", "detach", address, *(() if peer.connected else ("force",)))
            for address, peer in _leaving(peers, volume, removed)
            if healed
        ]
    together, pool = 1 + sum(peer.connected for peer in peers), 1 + len(peers)
    if volume and commands and 2 * together <= pool:
        raise GlusterError(
            f"volume {wanted.name} is to be changed, and this server reaches {together - 1} of the {pool - 1} others, "
            f"expected {pool // 2} at least: who is out of reach might be told something else. Nothing was changed. "
            "Start glusterd there (systemctl start glusterd), then run this again."
        )
    return tuple(commands)


def still_in_pool(
    peers: Sequence[Peer], removed: Collection[str], commands: Sequence[Sequence[str]]
) -> tuple[str, ...]:
    """Addresses of servers that leave and are in the pool even after *commands* (``volume_commands``)."""
    detached = {command[2] for command in commands if tuple(command[:2]) == ("peer", "detach")}
    return tuple(
        address for address in removed if address not in detached and any(peer.is_at(address) for peer in peers)
    )


def looks(
    wanted: Wanted, peers: tuple[Peer, ...], volume: Volume | None, removed: Collection[str], returned: Collection[str]
) -> bool:
    """Whether ``volume_commands`` must know how the bricks are."""
    return volume is not None and (
        set(volume.bricks) != set(wanted.bricks) or bool(returned) or bool(_leaving(peers, volume, removed))
    )


def is_healed(bricks: Sequence[Brick]) -> bool:
    """Whether every one of *bricks* (``every_brick``) is there, and none has anything to heal."""
    return bool(bricks) and all(brick.online and brick.to_heal == 0 for brick in bricks)


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a heal is. ``files`` None: a brick that is online didn't say. ``offline`` counts bricks."""

    files: int | None
    offline: int
    text: str


def heal_progress(bricks: Sequence[Brick]) -> Progress:
    """What is left to heal, in words for somebody who waits. Each file counts on every brick that has it to give."""
    offline = [_server(brick.name) for brick in bricks if not brick.online]
    counts = [brick.to_heal for brick in bricks if brick.online]
    told = [count for count in counts if count is not None]
    files = max(told, default=0) if len(told) == len(counts) else None
    text = f"{'an unknown number of' if files is None else files} files wait to be healed"
    return Progress(files, len(offline), text + (f"; offline: {', '.join(offline)}" if offline else ""))


class Movement:
    """Whether a heal gets on, from one look to the next.

    Files are found as their folders are healed: the number goes up first, then down. While files are written it goes up
    and down by a few, for ever. So only more than ever, or fewer than ever since then, is movement.
    """

    def __init__(self) -> None:
        self._offline: int | None = None
        self._most = self._least = -1

    def further(self, seen: Progress) -> bool:
        """Whether it is further than at every look before."""
        returned = self._offline is None or seen.offline < self._offline
        if returned:
            self._offline = seen.offline
        if seen.files is None:
            return returned
        if returned or seen.files > self._most:
            self._most = self._least = seen.files
            return True
        if seen.files < self._least:
            self._least = seen.files
            return True
        return False


def _leaving(peers: Sequence[Peer], volume: Volume, removed: Collection[str]) -> list[tuple[str, Peer]]:
    """Servers that leave and have no brick of the volume any more, but are in the pool."""
    serving = {_server(brick) for brick in volume.bricks}
    return [
        (address, peer)
        for address in removed
        for peer in peers
        if peer.is_at(address) and not serving.intersection((address, peer.address, *peer.names))
    ]


def _server(brick: str) -> str:
    return brick.rpartition(":")[0]


def _replacement(wanted: Wanted, volume: Volume, removed: Collection[str]) -> tuple[str, str]:
    """The brick that goes and the one that takes its place."""
    gone = [brick for brick in volume.bricks if brick not in wanted.bricks]
    new = [brick for brick in wanted.bricks if brick not in volume.bricks]
    found = (
        f"volume {wanted.name} has the bricks {', '.join(volume.bricks)}"
        f"{' with an arbiter' if volume.arbiters else ''}, the inventory wants {', '.join(wanted.bricks)}"
        f"{' with an arbiter' if wanted.arbiter else ''}."
    )
    if bool(volume.arbiters) != wanted.arbiter or len(gone) != len(new):
        raise GlusterError(f"{found} A layout is never changed. Put shared_storage back as it was.")
    unnamed = [_server(brick) for brick in gone if _server(brick) not in removed]
    if unnamed:
        raise GlusterError(
            f"{found} Bricks hold data: one is given up only for a host that is named. Put the host at "
            f"{unnamed[0]} back "
            "into shared_storage; or, to replace it for good, into the group removed (docs/growing.md)."
        )
    if len(gone) > 1:
        raise GlusterError(
            f"{found} One host is replaced at a time, so that two copies remain: put {_server(gone[1])} back into "
            f"shared_storage instead of {_server(new[1])}, and replace it in another run."
        )
    expected = [new[0] if brick == gone[0] else brick for brick in volume.bricks]
    if wanted.arbiter and expected[-1] != wanted.bricks[-1]:
        raise GlusterError(f"{found} The arbiter is {_server(expected[-1])}: list it last in shared_storage.")
    return gone[0], new[0]


def _refuse_unless_online(wanted: Wanted, bricks: Sequence[Brick], old: str) -> None:
    there = {brick.name for brick in bricks if brick.online}
    missing = [brick for brick in wanted.bricks if brick not in there and brick != old]
    if missing:
        raise GlusterError(
            f"{_server(old)} is to give its copy up, and the one of {_server(missing[0])} is offline: expected "
            "both others, "
            "for what the two don't hold would be lost. Nothing was changed. Bring that one back and let it heal "
            f"(gluster volume heal {wanted.name} info summary), then run this again."
        )


def _refuse_loss(wanted: Wanted, volume: Volume, bricks: Sequence[Brick], old: str) -> None:
    """GlusterError if *old* may hold what no other brick does.

    A write is acknowledged with more than half of the bricks, so the two others hold it between them; while the old
    brick is down, what they wait to give it is no reason. But an arbiter holds names only: with one, what waits may
    have its content on the old brick alone.
    """
    stays = dataclasses.replace(wanted, servers=tuple(_server(brick) for brick in volume.bricks if brick != old))
    _refuse_unless_online(stays, bricks, old)
    waits = [brick for brick in bricks if brick.to_heal != 0 and (brick.online or brick.name != old)]
    alive = any(brick.online for brick in bricks if brick.name == old)
    if waits and (alive or (volume.arbiters and old != volume.bricks[-1])):
        count = waits[0].to_heal if waits[0].to_heal is not None else "an unknown number of"
        raise GlusterError(
            f"{count} files of {_server(waits[0].name)} wait to be healed, expected none while {_server(old)} leaves: "
            f"{'' if alive else 'the arbiter holds no content, so '}it may hold what no other brick does. Nothing was "
            f"changed. {'Wait' if alive else f'Bring {_server(old)} back and wait'} until 'gluster volume heal "
            f"{wanted.name} info summary' shows none, then run this again."
        )


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
