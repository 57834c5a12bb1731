"""Planned handovers under load, there and back, and those that cannot succeed."""

from __future__ import annotations

import os

from tests.support.cluster import Cluster, overlaps
from tests.support.lab import Lab
from tests.support.rounds import rounds_only
from tests.support.writer import Writer

#: There and back counts two. `make rounds` asks for more.
HANDOVERS = int(os.environ.get("HANDOVERS", "2"))


def test_there_and_back_under_load(lab: Lab, cluster: Cluster) -> None:
    cluster.wait_whole()
    home = cluster.primary()
    away = cluster.standbys()[0]
    gaps = []
    with cluster.sampled() as samples:
        for turn in range(HANDOVERS):
            target = home if turn % 2 else away
            with Writer(lab) as writer:
                writer.wait_acknowledged()
                play = lab.play("switchover.yml", extra={"switchover_to": target})
                assert play.rc == 0, play.output
                writer.wait_acknowledged()
            assert cluster.primary() == target
            assert writer.lost() == set()
            assert writer.failed_reads() == []
            cluster.wait_whole(30)
            assert cluster.idle_slots() == {}
            gaps.append(round(writer.longest_gap(), 2))
        assert overlaps(samples()) == []
    print(f"longest gaps in acknowledged writes: {gaps} s")


@rounds_only
def test_site_follows_and_changes_nothing(lab: Lab, cluster: Cluster) -> None:
    if cluster.primary() == lab.groups["pg_primary"][0]:
        assert lab.play("switchover.yml", extra={"switchover_to": cluster.standbys()[0]}).rc == 0
    play = lab.play("site.yml")
    assert play.rc == 0, play.output
    assert play.changed() == {}
    assert f"{cluster.primary()} is the primary" in play.said(), play.output
    # Without a name it goes back to the one that the inventory names.
    assert lab.play("switchover.yml").rc == 0
    assert cluster.primary() == lab.groups["pg_primary"][0]


def test_a_second_switchover_to_the_same_host_changes_nothing(lab: Lab, cluster: Cluster) -> None:
    play = lab.play("switchover.yml", extra={"switchover_to": cluster.primary()})
    assert play.rc == 0, play.output
    assert play.changed() == {}


def test_a_candidate_that_cannot_take_over_is_refused(lab: Lab, cluster: Cluster) -> None:
    primary, candidate = cluster.primary(), cluster.standbys()[0]
    lab.sql(candidate, "SELECT pg_wal_replay_pause()")
    try:
        play = lab.play("switchover.yml", extra={"switchover_to": candidate})
        assert play.rc != 0
        assert "pg_wal_replay_resume" in play.said(), play.output
    finally:
        lab.sql(candidate, "SELECT pg_wal_replay_resume()")
    assert lab.play("switchover.yml", extra={"switchover_to": "nobody"}).rc != 0
    assert cluster.primary() == primary
