"""All hosts lose power at once, and come back in any order."""

from __future__ import annotations

import time

import pytest

from tests.support.cluster import Cluster, overlaps, wait
from tests.support.lab import Lab


def everything_but(lab: Lab, *hosts: str) -> list[str]:
    return [host for host in lab.addresses if host not in hosts]


@pytest.mark.parametrize("order", ["primary_first", "primary_last"])
def test_the_service_returns_by_itself(lab: Lab, cluster: Cluster, order: str) -> None:
    cluster.wait_whole()
    primary = cluster.primary()
    written = lab.write_session("before the power cut")
    cluster.power_off(*lab.addresses)
    if order == "primary_first":
        cluster.power_on(primary)
        time.sleep(5)
        # Nobody vouches for it yet: somebody else might have been promoted meanwhile.
        assert cluster.roles()[primary] is None
        cluster.power_on(*everything_but(lab, primary))
    else:
        cluster.power_on(*everything_but(lab, primary))
        time.sleep(5)
        cluster.power_on(primary)
    cluster.wait_whole(90)
    assert cluster.primary() == primary
    wait(lambda: lab.request("GET", "/readyz").status_code == 200, 60, lambda: "the site is not ready")
    sessions = lab.request("GET", f"/sessions?consistent=1&after={written['id'] - 1}").json()["sessions"]
    assert written["id"] in [row["id"] for row in sessions]
    assert lab.write_session("after the power cut")["id"]
    # One that is started twice may run without a port that new clients could learn of.
    for host in lab.app_hosts:
        started = "awk '/Started running/ {n = 0} /starting a fresh brick/ {n++} END {print n}' /var/log/glusterfs/glusterd.log"
        assert lab.run(host, started) == "1", host


@pytest.mark.parametrize("first_back", ["old", "new"])
def test_after_a_failover_the_new_primary_comes_back_as_primary(lab: Lab, cluster: Cluster, first_back: str) -> None:
    cluster.wait_whole()
    old = cluster.primary()
    cluster.power_off(old)
    play = lab.play("failover.yml", extra={"failover_fenced": old, "pg_fence_command": ""})
    assert play.rc == 0, play.output
    new = cluster.primary()
    written = lab.write_session("after the failover")
    with cluster.sampled(
        everything_but_down := [new, *(host for host in cluster.hosts if host not in (old, new))]
    ) as samples:
        cluster.power_off(*everything_but(lab, old))
        first = {"old": old, "new": new}[first_back]
        cluster.power_on(first)
        time.sleep(5)
        cluster.power_on(*everything_but(lab, first))
        wait(lambda: cluster.roles()[new] == "primary", 90, lambda: f"{cluster.roles()}")
        time.sleep(3)
        assert cluster.primary() == new
        assert cluster.roles()[old] is None
        seen = samples()
    assert overlaps(seen) == []
    assert {host for _at, host, _timeline in seen} <= set(everything_but_down)
    wait(lambda: lab.request("GET", "/readyz").status_code == 200, 60, lambda: "the site is not ready")
    back = lab.play("rejoin.yml")
    assert back.rc == 0, back.output
    cluster.wait_whole()
    sessions = lab.request("GET", f"/sessions?consistent=1&after={written['id'] - 1}").json()["sessions"]
    assert written["id"] in [row["id"] for row in sessions]
