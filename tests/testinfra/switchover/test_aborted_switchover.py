"""A candidate that is lost while it was to take over: the old primary goes on."""

from __future__ import annotations

from tests.support.cluster import Cluster, overlaps, wait
from tests.support.lab import Lab
from tests.support.writer import Writer


def test_when_the_candidate_dies_the_old_primary_goes_on(lab: Lab, cluster: Cluster) -> None:
    cluster.wait_whole()
    primary, candidate = cluster.primary(), cluster.standbys()[0]
    with cluster.sampled([primary, cluster.standbys()[1]]) as samples, Writer(lab) as writer:
        writer.wait_acknowledged()
        play = lab.start("switchover.yml", extra={"switchover_to": candidate})
        # The other standby follows the candidate by now, and the old primary is about to look for it.
        play.wait_for_task("Stream | Stream from")
        cluster.power_off(candidate)
        try:
            assert play.wait() != 0
            wait(lambda: cluster.roles()[primary] == "primary", 60, lambda: f"{cluster.roles()}")
            writer.wait_acknowledged(60)
        finally:
            cluster.power_on(candidate)
        cluster.wait_whole()
        again = lab.play("switchover.yml", extra={"switchover_to": candidate})
        assert again.rc == 0, again.output
        back = lab.play("switchover.yml", extra={"switchover_to": primary})
        assert back.rc == 0, back.output
        cluster.wait_whole()
        assert overlaps(samples()) == []
    assert writer.lost() == set()
