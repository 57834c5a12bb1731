"""The primary is lost in every way a host can be lost, while a client writes through the load balancer."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.support.cluster import Cluster, overlaps, wait
from tests.support.lab import Lab
from tests.support.rounds import EVERY_STEP
from tests.support.writer import Writer


@dataclass(frozen=True)
class Fault:
    """How a primary is lost, how it comes back, and whether its host still answers meanwhile."""

    lose: Callable[[Cluster, str], object]
    come_back: Callable[[Cluster, str], object]
    reachable: bool


FAULTS = {
    "killed": Fault(Cluster.crash_for_good, Cluster.allow_restart, reachable=True),
    "powered_off": Fault(Cluster.power_off, Cluster.power_on, reachable=False),
    "frozen": Fault(Cluster.freeze, Cluster.thaw, reachable=False),
    "cut_off": Fault(Cluster.cut_off, Cluster.connect, reachable=False),
}


@contextlib.contextmanager
def lost(cluster: Cluster, fault: Fault, host: str) -> Iterator[Callable[[], None]]:
    """The fault, and its end: at the latest when the test is over."""
    state = {"back": False}

    def back() -> None:
        if not state["back"]:
            state["back"] = True
            fault.come_back(cluster, host)

    fault.lose(cluster, host)
    try:
        yield back
    finally:
        back()


#: make rounds has the time for all.
KINDS = list(FAULTS) if EVERY_STEP else ["killed", "cut_off"]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_acknowledged_is_lost(lab: Lab, cluster: Cluster, kind: str) -> None:
    fault = FAULTS[kind]
    cluster.wait_whole()
    old = cluster.primary()
    with cluster.sampled() as samples, Writer(lab) as writer:
        writer.wait_acknowledged()
        with lost(cluster, fault, old) as come_back:
            time.sleep(1)
            if not fault.reachable:
                refused = lab.play("failover.yml", extra={"pg_fence_command": ""})
                assert refused.rc != 0
                assert f"-e failover_fenced={old}" in refused.said(), refused.output
                assert "primary" not in [role for host, role in cluster.roles().items() if host != old]
            word = {} if fault.reachable else {"failover_fenced": old, "pg_fence_command": ""}
            rehearsed = lab.play("failover.yml", "--check", extra=word)
            assert rehearsed.rc == 0, rehearsed.output
            assert "primary" not in [role for host, role in cluster.roles().items() if host != old]

            play = lab.play("failover.yml", extra=word)
            assert play.rc == 0, play.output
            writer.wait_acknowledged()

            come_back()
            # It is on its feet again, and stays out of the way by itself.
            cluster.wait_up(old)
            wait(lambda: cluster.roles()[old] is None, 30, lambda: f"{cluster.roles()}")
            time.sleep(3)
            new = cluster.primary()
            assert new != old
            status = lab.play("status.yml")
            assert "fenced" in status.said(), status.output
            assert "rejoin.yml" in status.said(), status.output

            back = lab.play("rejoin.yml")
            assert back.rc == 0, back.output
            cluster.wait_whole()
            assert cluster.idle_slots() == {}
            writer.wait_acknowledged()
        seen = samples()
    assert writer.lost() == set()
    assert overlaps(seen) == []
    assert {host for _at, host, _timeline in seen} >= {old, new}


def test_site_follows_and_changes_nothing(lab: Lab, cluster: Cluster) -> None:
    play = lab.play("site.yml")
    assert play.rc == 0, play.output
    assert play.changed() == {}
    again = lab.play("failover.yml")
    assert again.changed() == {}
    if cluster.primary() != lab.groups["pg_primary"][0]:
        assert again.rc == 0, again.output
        assert f"{cluster.primary()} is the primary" in play.said()


def test_backups_go_on(lab: Lab, cluster: Cluster) -> None:
    """Into the history of whoever is the primary now, after each way of losing the one before."""
    primary = cluster.primary()
    lab.write_session("after the failovers")
    lab.wait_archived(primary)
    play = lab.play("backup.yml")
    assert play.rc == 0, play.output
    timeline = lab.sql(primary, "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)")
    assert lab.catalogue()["backup"][-1]["archive"]["stop"].startswith(timeline)
    assert timeline > "00000001"


def test_a_healthy_primary_is_not_failed_over(lab: Lab, cluster: Cluster) -> None:
    declared = lab.groups["pg_primary"][0]
    if cluster.primary() != declared:
        assert lab.play("switchover.yml", extra={"switchover_to": declared}).rc == 0
    play = lab.play("failover.yml")
    assert play.rc != 0
    assert "switchover.yml" in play.said(), play.output
    assert cluster.primary() == declared


def test_the_standby_that_is_ahead_is_chosen(lab: Lab, cluster: Cluster) -> None:
    """pg2 comes first in the inventory and misses the last writes."""
    cluster.wait_whole()
    old, (behind, ahead) = cluster.primary(), cluster.standbys()
    with Writer(lab) as writer:
        # It receives no more from now on; the other one acknowledges alone.
        cluster.cut_between(behind, old)
        try:
            time.sleep(2)
            writer.wait_acknowledged()
            cluster.power_off(old)
            play = lab.play("failover.yml", extra={"failover_fenced": old, "pg_fence_command": ""})
            assert play.rc == 0, play.output
            assert cluster.primary() == ahead
            writer.wait_acknowledged()
        finally:
            cluster.connect(behind)
            cluster.power_on(old)
        cluster.wait_up(old)
        back = lab.play("rejoin.yml")
        assert back.rc == 0, back.output
        cluster.wait_whole()
    assert writer.lost() == set()


def test_nobody_is_promoted_unless_everybody_is_looked_at_and_the_old_primary_is_off(
    lab: Lab, cluster: Cluster
) -> None:
    cluster.wait_whole()
    old, standbys = cluster.primary(), cluster.standbys()
    cluster.power_off(old)
    try:
        failed = lab.play("failover.yml", extra={"pg_fence_command": "false"})
        assert failed.rc != 0
        assert "Nobody was promoted: pg_fence_command of" in failed.said(), failed.output
        assert f"-e failover_fenced={old}" in failed.said(), failed.output
        # The lab's own command works, and would not be run for a host outside of the limit.
        limited = lab.play("failover.yml", "--limit", ",".join(standbys))
        assert limited.rc != 0
        assert f"--limit leaves out {old}" in limited.said(), limited.output
        assert set(cluster.roles().values()) == {None, "standby"}
    finally:
        cluster.power_on(old)
    cluster.wait_whole(90)
    assert cluster.primary() == old


def test_with_a_standby_unreachable_loss_is_not_claimed_to_be_ruled_out(lab: Lab, cluster: Cluster) -> None:
    cluster.wait_whole()
    old, (left, gone) = cluster.primary(), cluster.standbys()
    cluster.power_off(old, gone)
    try:
        play = lab.play("failover.yml", "--check", extra={"failover_fenced": old, "pg_fence_command": ""})
        assert play.rc != 0
        assert f"-e failover_accept_loss_of={old}" in play.said(), play.output
        assert cluster.roles()[left] == "standby"
    finally:
        cluster.power_on(old, gone)
    # With two of three gone and back, the old primary is the right one: it comes back by itself.
    cluster.wait_whole(90)
    assert cluster.primary() == old
