# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses

import gluster_says
import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.gluster import (
    Brick,
    GlusterError,
    Peer,
    Volume,
    VolumeStatus,
    Wanted,
    parse_bricks,
    parse_peers,
    parse_volume,
    volume_commands,
)
from hypothesis import given
from hypothesis import strategies as st

SERVERS = ("10.0.0.21", "10.0.0.22", "10.0.0.23")
BRICK = "/srv/gluster/media/brick"
BRICKS = tuple(f"{server}:{BRICK}" for server in SERVERS)
WANTED = Wanted("media", SERVERS, BRICK, arbiter=False, options={"network.ping-timeout": "2", "nfs.disable": "on"})
THERE = Volume("media", VolumeStatus.STARTED, BRICKS, arbiters=0, options=WANTED.options)
PEERS = tuple(Peer(server, connected=True) for server in SERVERS[1:])


def test_peers() -> None:
    xml = gluster_says.peer_status((SERVERS[1], True, 3), (SERVERS[2], False, 3), ("10.0.0.24", True, 4))
    assert parse_peers(xml) == (
        Peer(SERVERS[1], connected=True),
        Peer(SERVERS[2], connected=False),
        # Not in the cluster yet: as good as gone.
        Peer("10.0.0.24", connected=False),
    )
    assert parse_peers(gluster_says.peer_status()) == ()


def test_a_volume() -> None:
    xml = gluster_says.volume_info("media", BRICKS, options={"network.ping-timeout": "2", "nfs.disable": "on"})
    assert parse_volume(xml, "media") == THERE


@pytest.mark.parametrize(
    ("status", "expected"),
    [("Created", VolumeStatus.CREATED), ("Stopped", VolumeStatus.STOPPED), ("Started", VolumeStatus.STARTED)],
)
def test_a_volume_with_an_arbiter(status: str, expected: VolumeStatus) -> None:
    volume = parse_volume(gluster_says.volume_info("media", BRICKS, status=status, arbiters=1), "media")
    assert volume is not None
    assert (volume.status, volume.arbiters) == (expected, 1)


def test_no_such_volume() -> None:
    assert parse_volume(gluster_says.NO_VOLUMES, "media") is None
    assert parse_volume(gluster_says.volume_info("other", BRICKS), "media") is None


def test_bricks_and_what_they_have_to_heal() -> None:
    status = gluster_says.volume_status(
        [(SERVERS[0], BRICK, True), (SERVERS[1], BRICK, False), (SERVERS[2], BRICK, True)]
    )
    heal = gluster_says.heal_summary({BRICKS[0]: 7, BRICKS[1]: None, BRICKS[2]: 0})
    assert parse_bricks(status, heal) == (
        Brick(BRICKS[0], online=True, to_heal=7),
        Brick(BRICKS[1], online=False, to_heal=None),
        Brick(BRICKS[2], online=True, to_heal=0),
    )


def test_a_brick_whose_port_nobody_knows_is_not_there() -> None:
    """As found after servers had booted at one time: its process runs, and no new client finds it."""
    status = gluster_says.volume_status([(SERVERS[0], BRICK, True)]).replace("60573", "N/A")
    assert parse_bricks(status, "") == (Brick(BRICKS[0], online=False, to_heal=None),)


def test_bricks_without_an_answer_on_healing() -> None:
    status = gluster_says.volume_status([(SERVERS[0], BRICK, True)])
    assert parse_bricks(status, "") == (Brick(BRICKS[0], online=True, to_heal=None),)


@pytest.mark.parametrize(
    ("wanted", "peers", "volume", "expected"),
    [
        pytest.param(WANTED, PEERS, THERE, [], id="all is there"),
        pytest.param(
            WANTED,
            (),
            None,
            [
                "peer probe 10.0.0.22",
                "peer probe 10.0.0.23",
                f"volume create media replica 3 transport tcp {' '.join(BRICKS)} force",
                "volume set media network.ping-timeout 2",
                "volume set media nfs.disable on",
                "volume start media",
            ],
            id="three new servers",
        ),
        pytest.param(
            dataclasses.replace(WANTED, arbiter=True, options={}),
            PEERS,
            None,
            [f"volume create media replica 3 arbiter 1 transport tcp {' '.join(BRICKS)} force", "volume start media"],
            id="two full copies and an arbiter",
        ),
        pytest.param(WANTED, (Peer("app2.example", connected=False),), THERE, [], id="a peer goes by another name"),
        pytest.param(
            WANTED,
            PEERS,
            dataclasses.replace(THERE, status=VolumeStatus.CREATED),
            ["volume start media"],
            id="interrupted before the start",
        ),
        pytest.param(
            WANTED,
            PEERS,
            dataclasses.replace(THERE, status=VolumeStatus.STOPPED, options={}),
            ["volume set media network.ping-timeout 2", "volume set media nfs.disable on", "volume start media"],
            id="stopped and without its options",
        ),
        pytest.param(
            WANTED,
            PEERS,
            dataclasses.replace(THERE, options={"network.ping-timeout": "42", "nfs.disable": "true"}),
            ["volume set media network.ping-timeout 2"],
            id="one option differs, the other one only in words",
        ),
        pytest.param(
            WANTED, PEERS, dataclasses.replace(THERE, bricks=BRICKS[::-1]), [], id="the bricks in another order"
        ),
    ],
)
def test_commands(wanted: Wanted, peers: tuple[Peer, ...], volume: Volume | None, expected: list[str]) -> None:
    commands = volume_commands(wanted, ("127.0.0.1", SERVERS[0]), peers, volume)
    assert [" ".join(command) for command in commands] == expected


@pytest.mark.parametrize(
    ("connected", "change"),
    [([True, False], True), ([False, False], False), ([True, True, False, False], True), ([True, False, False], False)],
)
def test_a_volume_is_changed_where_most_servers_hear_of_it(connected: list[bool], change: bool) -> None:
    peers = tuple(Peer(f"10.0.0.{number}", there) for number, there in enumerate(connected))
    assert volume_commands(WANTED, (SERVERS[0],), peers, THERE) == ()
    other = dataclasses.replace(THERE, options={**THERE.options, "network.ping-timeout": "42"})
    if change:
        assert volume_commands(WANTED, (SERVERS[0],), peers, other)
    else:
        with pytest.raises(GlusterError, match=r"Nothing was changed\. Start glusterd there"):
            volume_commands(WANTED, (SERVERS[0],), peers, other)


@pytest.mark.parametrize(
    ("volume", "words"),
    [
        pytest.param(
            dataclasses.replace(THERE, bricks=(*BRICKS[:2], f"10.0.0.99:{BRICK}")),
            [
                f"volume media has the bricks {BRICKS[0]}, {BRICKS[1]}, 10.0.0.99:{BRICK}, the inventory wants {', '.join(BRICKS)}."
            ],
            id="a host was swapped in the inventory",
        ),
        pytest.param(dataclasses.replace(THERE, bricks=BRICKS[:2]), ["has the bricks"], id="a brick more"),
        pytest.param(
            dataclasses.replace(THERE, arbiters=1),
            ["with an arbiter, the inventory wants"],
            id="an arbiter that isn't wanted",
        ),
    ],
)
def test_bricks_are_never_replaced(volume: Volume, words: list[str]) -> None:
    with pytest.raises(GlusterError) as caught:
        volume_commands(WANTED, (SERVERS[0],), PEERS, volume)
    for text in [
        *words,
        "Bricks hold data and are never replaced by a converge. Put the old hosts back into shared_storage",
    ]:
        assert text in str(caught.value)


@given(
    known=st.sets(st.sampled_from(SERVERS[1:])),
    volume=st.none()
    | st.builds(
        Volume,
        name=st.just("media"),
        status=st.sampled_from(VolumeStatus),
        bricks=st.permutations(BRICKS).map(tuple),
        arbiters=st.just(0),
        options=st.dictionaries(st.sampled_from(sorted(WANTED.options)), st.sampled_from(["on", "off", "2", "enable"])),
    ),
)
def test_nothing_is_ever_taken_away(known: set[str], volume: Volume | None) -> None:
    peers = tuple(Peer(server, connected=True) for server in sorted(known))
    commands = volume_commands(WANTED, (SERVERS[0],), peers, volume)
    assert {command[1] for command in commands} <= {"probe", "create", "set", "start"}
    assert ("volume", "start", "media") not in commands or commands[-1] == ("volume", "start", "media")
