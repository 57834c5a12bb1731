# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which storage servers know the volume, who is new and who came back with an empty disk. Pure, but for ``look``."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

#: Where glusterd keeps what it knows, and where a server that came back notes that its brick is to be filled.
STATE = Path("/var/lib/glusterd")
RETURNED = "renfo-returned"


@dataclasses.dataclass(frozen=True)
class Look:
    """What glusterd's files on one server say.

    ``bricks``: the identity of each server by its address. ``neighbours``: addresses of the others of its pool.
    """

    uuid: str = ""
    peers: tuple[str, ...] = ()
    neighbours: tuple[str, ...] = ()
    volume_id: str = ""
    bricks: Mapping[str, str] = dataclasses.field(default_factory=dict)
    empty: bool = True
    returned: bool = False

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Look:
        """Read back what ``dataclasses.asdict`` gave."""
        return cls(**{**data, "peers": tuple(data["peers"]), "neighbours": tuple(data["neighbours"])})


@dataclasses.dataclass(frozen=True)
class Return:
    """A server that came back without what it knew. ``empty``: without its files, too. ``peers``: the others' "
    "identities."""

    uuid: str
    peers: Mapping[str, str]
    volume_id: str
    empty: bool


@dataclasses.dataclass(frozen=True)
class PoolPlan:
    """Who works on the volume (an address), and who is led back into the pool first, by address."""

    leader: str
    returned: Mapping[str, Return]
    refusals: tuple[str, ...]
    #: Addresses that have to do with the volume as it is: of its bricks, and of the pool. And their identities.
    servers: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()


def pool_plan(servers: Mapping[str, str], looks: Mapping[str, Look], volume: str, brick: str) -> PoolPlan:
    """*servers*: address of each declared one, in order; *looks*: those that were reached, by name."""
    seen = {name: looks[name] for name in servers if name in looks}
    holders = {name: look for name, look in seen.items() if look.volume_id}
    if not holders:
        return PoolPlan(servers[next(iter(seen))] if seen else "", {}, ())
    # Who was away while a brick was replaced still believes in the old one.
    common, _count = Counter(map(_known, holders.values())).most_common(1)[0]
    leader = next(name for name, look in holders.items() if _known(look) == common)
    knows = holders[leader]
    returned: dict[str, Return] = {}
    refusals = []
    for name, look in seen.items():
        address = servers[name]
        forget = "systemctl stop glusterd; rm -rf /var/lib/glusterd/peers/* /var/lib/glusterd/vols/*"
        if look.returned or (address in knows.bricks and not look.volume_id and not look.peers):
            others = {other: identity for other, identity in knows.bricks.items() if other != address}
            returned[address] = Return(
                knows.bricks.get(address, ""), others, knows.volume_id, look.empty or look.returned
            )
        elif look.volume_id and _known(look) != common:
            refusals.append(
                f"{name}: what its glusterd knows of the volume {volume} is not what {leader} knows: it was away "
                "while a brick "
                f"was replaced, or is of another pool. If nothing on it is needed: '{forget}' there; then run "
                "site.yml again."
            )
        elif address not in knows.bricks and look.peers and look.uuid not in knows.peers:
            refusals.append(
                f"{name}: it belongs to another pool of GlusterFS servers, expected one that belongs to none. If "
                f"that pool is not needed: '{forget}' there; then run site.yml again."
            )
        elif address not in knows.bricks and not look.empty:
            refusals.append(
                f"{name}: {brick} holds files, expected an empty folder for a new copy. Move them away "
                f"('mv {brick} {brick}.old' there), then run site.yml again."
            )
    return PoolPlan(
        servers[leader],
        returned,
        tuple(refusals),
        tuple(dict.fromkeys((*knows.bricks, *knows.neighbours))),
        tuple(dict.fromkeys((*knows.bricks.values(), *knows.peers))),
    )


def leave_refusals(
    plan: PoolPlan, servers: Collection[str], looked: Collection[str], leaving: Mapping[str, tuple[str, Look | None]]
) -> Iterator[str]:
    """Why a copy of the store can't be given up: nobody who stays is known to have another.

    *servers*: names of the declared ones; *looked*: those that were reached. *leaving*: address and look of each host
    that leaves the store; None where nobody answered. Without servers the store is somebody else's.
    """
    for name, (address, look) in leaving.items():
        alone = bool(servers) and not plan.servers
        if look is None and alone and set(servers) <= set(looked):
            yield (
                f"{name} is to be removed and can't be reached, and none of {', '.join(servers)} knows the store: it "
                "may hold the only copy, and an empty store would be made. Put it back; or delete its line, if "
                "nothing on it is needed."
            )
        elif look is not None and (look.volume_id or not look.empty) and alone:
            yield (
                f"{name} is to be removed and holds a copy of the store, and no server that stays and was asked "
                f"({', '.join(servers)}) knows it. Replace one host at a time, and run site.yml for all of them."
            )
        elif look is not None and look.uuid in plan.identities and address not in plan.servers:
            yield (
                f"{name} is to be removed, and the pool knows it by another address than {address or 'none'}: set "
                f"site_address of {name} to one of {', '.join(plan.servers)}."
            )


def _known(look: Look) -> tuple[str, frozenset[str]]:
    return look.volume_id, frozenset(look.bricks)


def look(volume: str, brick: Path, state: Path = STATE) -> Look:
    """What is on this host, whether glusterd runs or not."""
    peers = sorted((state / "peers").glob("*"))
    names = [value for path in peers for key, value in _settings(path).items() if key.startswith("hostname")]
    bricks = [_settings(path) for path in (state / "vols" / volume / "bricks").glob("*")]
    return Look(
        uuid=_settings(state / "glusterd.info").get("UUID", ""),
        peers=tuple(path.name for path in peers),
        neighbours=tuple(dict.fromkeys(address for name in names for address in resolved(name))),
        volume_id=_settings(state / "vols" / volume / "info").get("volume-id", ""),
        bricks={found["hostname"]: found["uuid"] for found in bricks if "hostname" in found and "uuid" in found},
        empty=is_empty(brick),
        returned=(state / RETURNED).exists(),
    )


def resolved(name: str) -> tuple[str, ...]:
    """*name*, and the addresses that it has: who was probed knows the other one by the name that its resolver gives."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return (name,)
    return tuple(dict.fromkeys((name, *(str(entry[4][0]) for entry in found))))


def is_empty(brick: Path) -> bool:
    """Whether a brick holds no file, whatever GlusterFS itself keeps there."""
    with contextlib.suppress(FileNotFoundError):
        return all(entry.name == ".glusterfs" for entry in brick.iterdir())
    return True


def _settings(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return dict(line.split("=", 1) for line in lines if "=" in line)
