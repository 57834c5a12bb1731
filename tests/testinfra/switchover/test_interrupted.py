"""The controller is killed at each step in turn; a second run finishes the job."""

from __future__ import annotations

import pytest

from tests.support.cluster import Cluster, overlaps, wait
from tests.support.lab import Lab
from tests.support.rounds import EVERY_STEP, rounds_only
from tests.support.writer import Writer

#: Every step with `make rounds`; in CI the one in which the hosts act.
SWITCHOVER = ["Stream | Stream from", "Hand over", "Slots | Make"] if EVERY_STEP else ["Hand over"]
FAILOVER = ["Stop the old primary", "Promote", "Slots | Make"]


@pytest.mark.parametrize("step", SWITCHOVER)
def test_switchover(lab: Lab, cluster: Cluster, step: str) -> None:
    cluster.wait_whole()
    target = cluster.standbys()[0]
    with cluster.sampled() as samples, Writer(lab) as writer:
        writer.wait_acknowledged()
        play = lab.start("switchover.yml", extra={"switchover_to": target})
        play.wait_for_task(step)
        play.kill()
        again = lab.play("switchover.yml", extra={"switchover_to": target})
        assert again.rc == 0, again.output
        writer.wait_acknowledged()
        assert cluster.primary() == target
        cluster.wait_whole()
        assert overlaps(samples()) == []
    assert writer.lost() == set()


@rounds_only
@pytest.mark.parametrize("step", FAILOVER)
def test_failover(lab: Lab, cluster: Cluster, step: str) -> None:
    cluster.wait_whole()
    old = cluster.primary()
    with cluster.sampled() as samples, Writer(lab) as writer:
        writer.wait_acknowledged()
        cluster.crash_for_good(old)
        try:
            play = lab.start("failover.yml")
            play.wait_for_task(step)
            play.kill()
            again = lab.play("failover.yml")
            assert again.rc == 0, again.output
            writer.wait_acknowledged()
            assert cluster.primary() != old
        finally:
            cluster.allow_restart(old)
        wait(lambda: lab.play("rejoin.yml").rc == 0, 60, lambda: "rejoin.yml fails")
        cluster.wait_whole()
        assert overlaps(samples()) == []
    assert writer.lost() == set()
