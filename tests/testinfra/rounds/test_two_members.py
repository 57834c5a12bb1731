"""One primary and one standby: the same rules; what safety costs is the user's choice, in one variable."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.cluster import Cluster, overlaps
from tests.support.lab import Lab, Play
from tests.support.writer import Writer


class Pair(Cluster):
    """The lab's cluster without its last member."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.left_out = self.hosts[-1]
        self.hosts = self.hosts[:-1]

    def declare(self, groups: dict[str, Any]) -> None:
        del groups["pg_replica"]["hosts"][self.left_out]

    def play(self, playbook: str, synchronous: str, *arguments: str, **extra: str) -> Play:
        return self.lab.play(
            playbook,
            *arguments,
            change=self.declare,
            extra={"pg_synchronous": synchronous, "pg_fence_command": "", **extra},
        )


@pytest.fixture(scope="module")
def pair(lab: Lab) -> Iterator[Pair]:
    Cluster(lab).wait_whole()
    pair = Pair(lab)
    unit = pair.unit()
    lab.run(pair.left_out, f"systemctl disable --now {unit}")
    play = pair.play("site.yml", "any_1")
    assert play.rc == 0, play.output
    yield pair
    lab.run(pair.left_out, f"systemctl enable --now {unit}")
    play = lab.play("site.yml")
    assert play.rc == 0, play.output
    Cluster(lab).wait_whole()


def test_switchover_there_and_back(lab: Lab, pair: Pair) -> None:
    home, away = pair.primary(), pair.standbys()[0]
    with pair.sampled(pair.hosts) as samples, Writer(lab) as writer:
        for target in (away, home):
            play = pair.play("switchover.yml", "any_1", switchover_to=target)
            assert play.rc == 0, play.output
            writer.wait_acknowledged()
            assert pair.primary() == target
        assert overlaps(samples()) == []
    assert writer.lost() == set()


def test_safety_waits_for_the_second_copy(lab: Lab, pair: Pair) -> None:
    old = pair.primary()
    with pair.sampled(pair.hosts) as samples, Writer(lab) as writer:
        writer.wait_acknowledged()
        pair.power_off(old)
        play = pair.play("failover.yml", "any_1", failover_fenced=old)
        assert play.rc == 0, play.output
        # Promoted, and as safe as it was asked to be: nothing is acknowledged that only one host holds.
        told = len(writer.acknowledged)
        assert "so commits wait" in play.said(), play.output
        pair.power_on(old)
        pair.wait_up(old)
        assert len(writer.acknowledged) == told
        back = pair.play("rejoin.yml", "any_1")
        assert back.rc == 0, back.output
        writer.wait_acknowledged()
        assert overlaps(samples()) == []
    assert writer.lost() == set()


def test_a_new_primary_that_lost_power_too_waits_for_a_person(lab: Lab, pair: Pair) -> None:
    old, new = pair.primary(), pair.standbys()[0]
    with pair.sampled(pair.hosts) as samples:
        pair.power_off(old)
        play = pair.play("failover.yml", "any_1", failover_fenced=old)
        assert play.rc == 0, play.output
        pair.power_off(new)
        pair.power_on(new, old)
        pair.wait_up(new)
        pair.wait_up(old)
        time.sleep(8)
        # Each might be the one that was replaced, as far as it can know alone.
        assert pair.roles() == {old: None, new: None}
        site = pair.play("site.yml", "any_1")
        assert pair.primary() == new, site.output
        back = pair.play("rejoin.yml", "any_1")
        assert back.rc == 0, back.output
        pair.wait_whole()
        assert overlaps(samples()) == []


def test_availability_has_its_price(pair: Pair) -> None:
    old = pair.primary()
    pair.power_off(old)
    try:
        play = pair.play("failover.yml", "off", "--check", failover_fenced=old)
        assert play.rc != 0
        assert f"-e failover_accept_loss_of={old}" in play.said(), play.output
        accepted = pair.play("failover.yml", "off", "--check", failover_fenced=old, failover_accept_loss_of=old)
        assert accepted.rc == 0, accepted.output
    finally:
        pair.power_on(old)
    pair.wait_whole(90)
