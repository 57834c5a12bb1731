# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.gluster_pool import (
    RETURNED,
    Look,
    Return,
    is_empty,
    look,
    pool_plan,
)

BRICK = "/srv/gluster/media/brick"
SERVERS = {"app1": "10.0.0.21", "app2": "10.0.0.22", "app3": "10.0.0.23"}
BRICKS = {"10.0.0.21": "one", "10.0.0.22": "two", "10.0.0.23": "three"}


def holder(uuid: str, bricks: dict[str, str] | None = None, volume: str = "v1") -> Look:
    others = tuple(other for other in (bricks or BRICKS).values() if other != uuid)
    return Look(uuid, others, tuple(bricks or BRICKS), volume, bricks or BRICKS, empty=False)


WHOLE = {"app1": holder("one"), "app2": holder("two"), "app3": holder("three")}


def test_the_first_works_on_the_volume() -> None:
    plan = pool_plan(SERVERS, WHOLE, "media", BRICK)
    assert (plan.leader, dict(plan.returned), plan.refusals) == ("10.0.0.21", {}, ())
    assert set(plan.servers) == set(BRICKS)


@pytest.mark.parametrize(
    ("looks", "leader"),
    [
        ({}, ""),
        ({"app2": Look()}, "10.0.0.22"),
        ({"app1": Look(), "app2": holder("two"), "app3": holder("three")}, "10.0.0.22"),
    ],
)
def test_somebody_who_knows_the_volume_works_on_it(looks: dict[str, Look], leader: str) -> None:
    assert pool_plan(SERVERS, looks, "media", BRICK).leader == leader


@pytest.mark.parametrize(
    ("found", "empty"),
    [(Look(uuid="new"), True), (Look(uuid="new", empty=False), False)],
    ids=["an empty disk", "the system's disk alone was lost"],
)
def test_a_server_that_lost_what_it_knew_comes_back(found: Look, empty: bool) -> None:
    plan = pool_plan(SERVERS, {**WHOLE, "app1": found}, "media", BRICK)
    assert plan.leader == "10.0.0.22"
    peers = {"10.0.0.22": "two", "10.0.0.23": "three"}
    assert plan.returned == {"10.0.0.21": Return("one", peers, "v1", empty=empty)}


def test_one_that_was_interrupted_on_its_way_back_is_filled() -> None:
    found = Look("three", ("one", "two"), (), "v1", BRICKS, empty=False, returned=True)
    plan = pool_plan(SERVERS, {**WHOLE, "app3": found}, "media", BRICK)
    assert plan.returned["10.0.0.23"].empty


OTHERS = {"10.0.0.21": "one", "10.0.0.22": "two", "10.0.0.24": "four"}


@pytest.mark.parametrize(
    ("looks", "words"),
    [
        pytest.param(
            {"app1": holder("one", OTHERS), "app2": holder("two", OTHERS), "app3": holder("three")},
            "app3: what its glusterd knows of the volume media is not what app1 knows",
            id="it was away while its brick was replaced",
        ),
        pytest.param(
            {"app1": holder("one"), "app2": holder("two"), "app3": holder("three", volume="v2")},
            "app3: what its glusterd knows",
            id="another pool's volume of that name",
        ),
        pytest.param(
            {"app1": holder("one", OTHERS), "app2": holder("two", OTHERS), "app3": Look("x", ("y",))},
            "app3: it belongs to another pool",
            id="a new one of another pool",
        ),
        pytest.param(
            {"app1": holder("one", OTHERS), "app2": holder("two", OTHERS), "app3": Look("x", empty=False)},
            f"'mv {BRICK} {BRICK}.old' there",
            id="a new one that holds files",
        ),
    ],
)
def test_refusals(looks: dict[str, Look], words: str) -> None:
    (refusal,) = pool_plan(SERVERS, looks, "media", BRICK).refusals
    assert words in refusal


def test_a_new_server_is_welcome() -> None:
    looks = {"app1": holder("one", OTHERS), "app2": holder("two", OTHERS), "app3": Look("x")}
    plan = pool_plan(SERVERS, looks, "media", BRICK)
    assert (plan.refusals, dict(plan.returned)) == ((), {})


def test_looking(tmp_path: Path) -> None:
    brick = tmp_path / "brick"
    assert look("media", brick, tmp_path / "nothing") == Look()
    bricks = tmp_path / "vols/media/bricks"
    bricks.mkdir(parents=True)
    (tmp_path / "peers").mkdir()
    (tmp_path / "glusterd.info").write_text("UUID=one\noperating-version=110000\n")
    (tmp_path / "peers/two").write_text("uuid=two\nstate=3\nhostname1=10.0.0.22\n")
    (tmp_path / "vols/media/info").write_text("type=2\nvolume-id=v1\n")
    (bricks / "10.0.0.21:-srv").write_text("uuid=one\nhostname=10.0.0.21\npath=/srv\n")
    (brick / ".glusterfs").mkdir(parents=True)
    found = look("media", brick, tmp_path)
    assert found == Look("one", ("two",), ("10.0.0.22",), "v1", {"10.0.0.21": "one"}, empty=True)
    (brick / "video").touch()
    (tmp_path / RETURNED).touch()
    assert not is_empty(brick)
    assert look("media", brick, tmp_path).returned
