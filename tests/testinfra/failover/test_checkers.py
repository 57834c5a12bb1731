"""The checkers are shown a set-up that must lose: asynchronous, with the guard off."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.cluster import Cluster, wait
from tests.support.drill import drilled
from tests.support.lab import Lab
from tests.support.rounds import rounds_only
from tests.support.writer import Writer


@pytest.fixture
def asynchronous(lab: Lab) -> Cluster:
    cluster = Cluster(lab)
    cluster.wait_whole()
    play = lab.play("site.yml", "--limit", "pg_primary:pg_replica", extra={"pg_synchronous": "off"})
    assert play.rc == 0, play.output
    for host in cluster.hosts:
        cluster.disarm(host)
    yield cluster
    for host in cluster.hosts:
        cluster.arm(host)
    play = lab.play("site.yml", "--limit", "pg_primary:pg_replica")
    assert play.rc == 0, play.output
    assert lab.sql(cluster.primary(), "SHOW synchronous_standby_names").startswith("ANY 1")


@rounds_only
def test_loss_and_two_primaries_are_seen(lab: Lab, asynchronous: Cluster, tmp_path: Path) -> None:
    cluster = asynchronous
    old, standbys = cluster.primary(), cluster.standbys()
    with drilled(lab, tmp_path) as control, Writer(lab) as writer:
        writer.wait_acknowledged()
        for standby in standbys:
            cluster.cut_between(standby, old)
        time.sleep(2)
        writer.wait_acknowledged()
        cluster.power_off(old)
        for standby in standbys:
            cluster.connect(standby)
        word = {"pg_synchronous": "off", "failover_fenced": old, "pg_fence_command": ""}
        refused = lab.play("failover.yml", extra=word)
        assert refused.rc != 0
        assert f"-e failover_accept_loss_of={old}" in refused.said(), refused.output
        play = lab.play("failover.yml", extra={**word, "failover_accept_loss_of": old})
        assert play.rc == 0, play.output
        new = cluster.primary()
        writer.wait_acknowledged()
        cluster.power_on(old)
        wait(lambda: cluster.roles()[old] == "primary", 60, lambda: f"{cluster.roles()}")
        time.sleep(3)
        # Two primaries: everything refuses, and says what to do.
        site = lab.play("site.yml", extra={"pg_synchronous": "off"})
        assert site.rc != 0
        assert "2 primaries accept writes" in site.said(), site.output
        cluster.arm(old)
        wait(lambda: cluster.roles()[old] is None, 30, lambda: f"{cluster.roles()}")
        assert cluster.primary() == new
        seen = control.judge()
    found = seen["losses"]
    assert found["two_primaries"], "two instances accepted writes, and nobody noticed"
    assert found["writes"], "acknowledged writes were lost, and nobody noticed"
    assert any("acknowledged write(s) lost" in failure for failure in seen["failures"])
    assert writer.lost(), "acknowledged writes were lost, and the tests' own client didn't notice"

    back = lab.play("rejoin.yml", extra={"pg_synchronous": "off"})
    assert back.rc == 0, back.output
    cluster.wait_whole()
    # What is lost on the site is kept for the operator.
    rows = lab.run(old, "cat /var/lib/postgresql/lost-*/rows/*sessions*")
    assert all(key in rows for key in [*list(writer.lost())[:20], *found["writes"][:20]])
    lab.run(old, "rm -rf /var/lib/postgresql/lost-*")
