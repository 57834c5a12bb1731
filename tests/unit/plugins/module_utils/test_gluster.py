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
    every_brick,
    heal_progress,
    is_healed,
    looks,
    parse_bricks,
    parse_heal_count,
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
        Peer(SERVERS[1], connected=True, names=(SERVERS[1],)),
        Peer(SERVERS[2], connected=False, names=(SERVERS[2],)),
        # Not in the cluster yet: as good as gone.
        Peer("10.0.0.24", connected=False, names=("10.0.0.24",)),
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


NEW = "10.0.0.24"
SWAPPED = dataclasses.replace(WANTED, servers=(*SERVERS[:2], NEW))
OLD_BRICK, NEW_BRICK = BRICKS[2], f"{NEW}:{BRICK}"
WHOLE = tuple(Brick(name, online=True, to_heal=0) for name in BRICKS)
DEAD = (Brick(BRICKS[0], True, 7), Brick(BRICKS[1], True, 7), Brick(OLD_BRICK, online=False, to_heal=None))
REPLACE = f"volume replace-brick media {OLD_BRICK} {NEW_BRICK} commit force"


def say(commands: tuple[tuple[str, ...], ...]) -> list[str]:
    return [" ".join(command) for command in commands]


@pytest.mark.parametrize(
    ("peers", "bricks", "expected"),
    [
        pytest.param(PEERS, WHOLE, [f"peer probe {NEW}", REPLACE], id="the old one lives and all is healed"),
        pytest.param(
            (PEERS[0], Peer(SERVERS[2], connected=False)),
            DEAD,
            [f"peer probe {NEW}", REPLACE],
            id="the old one is dead, and files wait for it",
        ),
        pytest.param((*PEERS, Peer(NEW, connected=True)), WHOLE, [REPLACE], id="interrupted after the probe"),
        pytest.param(
            (*PEERS, Peer("app4.example", connected=True, names=(NEW,))), WHOLE, [REPLACE], id="known by another name"
        ),
    ],
)
def test_a_brick_is_replaced(peers: tuple[Peer, ...], bricks: tuple[Brick, ...], expected: list[str]) -> None:
    assert looks(SWAPPED, peers, THERE, SERVERS[2:], ())
    assert say(volume_commands(SWAPPED, SERVERS[:1], peers, THERE, SERVERS[2:], bricks)) == expected


REPLACED = dataclasses.replace(THERE, bricks=SWAPPED.bricks)
FILLED = tuple(Brick(name, online=True, to_heal=0) for name in SWAPPED.bricks)


@pytest.mark.parametrize(
    ("bricks", "connected", "expected"),
    [
        (FILLED, True, [f"peer detach {SERVERS[2]}"]),
        (FILLED, False, [f"peer detach {SERVERS[2]} force"]),
        ((*FILLED[:2], dataclasses.replace(FILLED[2], to_heal=3)), True, []),
        ((*FILLED[:2], dataclasses.replace(FILLED[2], to_heal=None)), True, []),
        ((*FILLED[:2], dataclasses.replace(FILLED[2], online=False)), True, []),
    ],
)
def test_the_old_server_leaves_once_the_new_copy_is_whole(
    bricks: tuple[Brick, ...], connected: bool, expected: list[str]
) -> None:
    peers = (PEERS[0], Peer(SERVERS[2], connected), Peer(NEW, connected=True))
    assert looks(SWAPPED, peers, REPLACED, SERVERS[2:], ())
    assert say(volume_commands(SWAPPED, SERVERS[:1], peers, REPLACED, SERVERS[2:], bricks)) == expected
    # Nobody leaves who wasn't named.
    assert volume_commands(SWAPPED, SERVERS[:1], peers, REPLACED, (), bricks) == ()
    assert not looks(SWAPPED, peers, REPLACED, (), ())


def test_nothing_is_left_of_it() -> None:
    peers = (PEERS[0], Peer(NEW, connected=True))
    assert not looks(SWAPPED, peers, REPLACED, SERVERS[2:], ())
    assert volume_commands(SWAPPED, SERVERS[:1], peers, REPLACED, SERVERS[2:]) == ()


ARBITER = dataclasses.replace(THERE, arbiters=1)
WITH_ARBITER = dataclasses.replace(SWAPPED, arbiter=True)
FIRST_LOST = (Brick(BRICKS[0], online=False, to_heal=None), Brick(BRICKS[1], True, 7), Brick(BRICKS[2], True, 7))


@pytest.mark.parametrize(
    ("wanted", "volume", "removed", "bricks", "words"),
    [
        pytest.param(SWAPPED, THERE, (), WHOLE, "Put the host at 10.0.0.23 back", id="nobody was named"),
        pytest.param(SWAPPED, THERE, (NEW,), WHOLE, "Put the host at 10.0.0.23 back", id="another one was named"),
        pytest.param(
            dataclasses.replace(WANTED, servers=(SERVERS[0], NEW, "10.0.0.25")),
            THERE,
            SERVERS[1:],
            WHOLE,
            "One host is replaced at a time, so that two copies remain: put 10.0.0.23 back",
            id="two at a time",
        ),
        pytest.param(
            dataclasses.replace(WANTED, servers=SERVERS[:2]), THERE, SERVERS[2:], WHOLE, "never changed", id="fewer"
        ),
        pytest.param(WANTED, ARBITER, (), WHOLE, "with an arbiter, the inventory wants", id="an arbiter less"),
        pytest.param(
            SWAPPED,
            THERE,
            SERVERS[2:],
            (WHOLE[0], dataclasses.replace(WHOLE[1], online=False, to_heal=None), WHOLE[2]),
            "the one of 10.0.0.22 is offline",
            id="another copy is offline",
        ),
        pytest.param(
            SWAPPED,
            THERE,
            SERVERS[2:],
            (*WHOLE[:2], dataclasses.replace(WHOLE[2], to_heal=4)),
            "4 files of 10.0.0.23 wait to be healed, expected none while 10.0.0.23 leaves: it may hold what no other",
            id="the old one has something to give",
        ),
        pytest.param(
            SWAPPED,
            THERE,
            SERVERS[2:],
            (dataclasses.replace(WHOLE[0], to_heal=None), *WHOLE[1:]),
            "an unknown number of files of 10.0.0.21",
            id="one doesn't say",
        ),
        pytest.param(
            dataclasses.replace(WITH_ARBITER, servers=(NEW, *SERVERS[1:])),
            ARBITER,
            SERVERS[:1],
            FIRST_LOST,
            "the arbiter holds no content, so it may hold what no other brick does",
            id="content may be on the dead one alone",
        ),
        pytest.param(
            dataclasses.replace(WITH_ARBITER, servers=(SERVERS[1], SERVERS[2], NEW)),
            ARBITER,
            SERVERS[:1],
            WHOLE,
            "The arbiter is 10.0.0.23: list it last",
            id="the arbiter would become a copy",
        ),
    ],
)
def test_a_brick_is_kept(
    wanted: Wanted, volume: Volume, removed: tuple[str, ...], bricks: tuple[Brick, ...], words: str
) -> None:
    with pytest.raises(GlusterError) as caught:
        volume_commands(wanted, (SERVERS[0],), PEERS, volume, removed, bricks)
    assert words in str(caught.value)


def test_an_arbiter_is_replaced_while_files_wait_for_it() -> None:
    assert say(volume_commands(WITH_ARBITER, SERVERS[:1], PEERS, ARBITER, SERVERS[2:], DEAD)) == [
        f"peer probe {NEW}",
        REPLACE,
    ]


def test_a_server_that_came_back_empty_is_filled() -> None:
    online = tuple(Brick(name, online=True, to_heal=0) for name in BRICKS)
    assert looks(WANTED, PEERS, THERE, (), SERVERS[1:2])
    assert say(volume_commands(WANTED, SERVERS[:1], PEERS, THERE, (), online, SERVERS[1:2])) == [
        f"volume reset-brick media {BRICKS[1]} start",
        f"volume reset-brick media {BRICKS[1]} {BRICKS[1]} commit force",
    ]
    with pytest.raises(GlusterError, match=r"the one of 10\.0\.0\.23 is offline"):
        volume_commands(WANTED, SERVERS[:1], PEERS, THERE, (), DEAD, SERVERS[1:2])


COUNT = f"""Gathering count of entries to be healed on volume media has been successful

Brick {BRICKS[0]}
Number of entries: 7

Brick {BRICKS[1]}
Status: Brick is not connected
No gathered input for this brick

Brick {BRICKS[2]}
Number of entries: 0
"""


def test_a_brick_that_nobody_reaches_is_not_whole() -> None:
    """Found on a server that had served the brick before: status and heal info called it connected, and healed."""
    assert parse_heal_count(COUNT) == {BRICKS[0]: 7, BRICKS[2]: 0}
    assert every_brick(THERE, WHOLE[:2], parse_heal_count(COUNT)) == (
        Brick(BRICKS[0], online=True, to_heal=7),
        Brick(BRICKS[1], online=True, to_heal=None),
        # Of a server that is out of reach, volume status says nothing at all.
        Brick(BRICKS[2], online=False, to_heal=None),
    )


@pytest.mark.parametrize(
    ("bricks", "healed", "text"),
    [
        (WHOLE, True, "0 files wait to be healed"),
        (DEAD, False, "7 files wait to be healed; offline: 10.0.0.23"),
        ((dataclasses.replace(WHOLE[0], to_heal=None),), False, "an unknown number of files wait to be healed"),
        ((), False, "0 files wait to be healed"),
    ],
)
def test_how_far_a_heal_is(bricks: tuple[Brick, ...], healed: bool, text: str) -> None:
    assert is_healed(bricks) is healed
    assert heal_progress(bricks).text == text


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
