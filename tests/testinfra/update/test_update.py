"""Updates host by host under load: what check mode says, a tier after the other, and nothing where nothing is due."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.support.cluster import Cluster, overlaps, wait
from tests.support.lab import Lab, Play
from tests.support.pending import BROKEN, boots, on_all, pending, version
from tests.support.writer import Writer


def update(lab: Lab, folder: Path, *arguments: str, **extra: Any) -> Play:
    return lab.play(
        "update.yml",
        *arguments,
        extra={"update_report": str(folder / "report"), "update_whole_timeout": 300, **extra},
    )


def order(play: Play) -> list[str]:
    """The hosts of the plan that it showed."""
    return re.findall(r"^ +\d+  (\S+) \(", play.output, flags=re.MULTILINE)


def test_application_and_database_under_load(lab: Lab, cluster: Cluster, tmp_path: Path) -> None:
    cluster.wait_whole()
    home, (other, third) = cluster.primary(), cluster.standbys()
    postgresql = f"postgresql-{cluster.version()}"
    # One host of the application, one standby, and the primary.
    some = {"update_hosts": ["app1", home, other]}
    server = {"app1": ["lab-thing"], home: ["lab-thing", postgresql], other: ["lab-thing", postgresql]}
    with pending(lab, server):
        check = update(lab, tmp_path, "--check", **some)
        assert check.rc == 0, check.output
        assert check.changed() == {}
        assert order(check) == ["app1", other, home]
        assert f"{home} (PostgreSQL primary): 2 packages to update; hands over to {other} first" in check.said()
        assert "lab-thing 1 -> 2" in check.output
        assert version(lab, "app1") == "1"
        assert cluster.primary() == home

        booted = boots(lab)
        with cluster.sampled() as samples, Writer(lab) as writer:
            writer.wait_acknowledged()
            play = update(lab, tmp_path, **some)
            assert play.rc == 0, play.output
            writer.wait_acknowledged()
            seen = samples()
        assert overlaps(seen) == []
        assert writer.lost() == set()
        assert writer.failed_reads() == []
        print(f"longest gap in acknowledged writes: {writer.longest_gap():.2f} s")
        assert f"The primary is {other} now, it was {home}" in play.said(), play.output
        assert cluster.primary() == other
        assert boots(lab) == booted
        for host in some["update_hosts"]:
            assert version(lab, host) == "2"
        for host in (home, other):
            assert version(lab, host, postgresql).endswith("+lab1")
            # Debian's scripts, or the playbook, started the new one.
            running = lab.run(
                host, f"cat /proc/$(head -n 1 /var/lib/postgresql/{cluster.version()}/main/postmaster.pid)/maps"
            )
            assert "bin/postgres" in running
            assert "bin/postgres (deleted)" not in running
        assert third in cluster.streaming()

        again = update(lab, tmp_path, **some)
        assert again.rc == 0, again.output
        assert again.changed() == {}
        assert "There is nothing to update" in again.output


def test_what_is_refused(lab: Lab, tmp_path: Path) -> None:
    with pending(lab, {"lb2": ["lab-thing"]}):
        limited = update(lab, tmp_path, "--limit", "lb2")
        assert limited.rc != 0
        assert "--limit lb2 leaves hosts out" in limited.said(), limited.output
        lab.run("lb2", "systemctl stop nginx-media")
        try:
            degraded = update(lab, tmp_path)
        finally:
            lab.run("lb2", "systemctl start nginx-media")
        assert degraded.rc != 0
        assert "Nothing was updated. The stack is degraded as it is" in degraded.said(), degraded.output
        assert version(lab, "lb2") == "1"


def test_everybody_reboots_and_one_does_not_come_back(lab: Lab, cluster: Cluster, tmp_path: Path) -> None:
    cluster.wait_whole()
    home = cluster.primary()
    before = boots(lab)
    with pending(lab, {host: ["lab-thing"] for host in lab.addresses}):
        on_all(lab, lambda host: lab.run(host, "touch /run/reboot-required"))
        lab.run("app2", f"touch {BROKEN}")
        with cluster.sampled() as samples, Writer(lab) as writer:
            writer.wait_acknowledged()
            stopped = update(lab, tmp_path)
            assert stopped.rc != 0
            assert "The update stopped at app2 (5 of 9)" in stopped.said(), stopped.output
            assert "Not begun: app3, " in stopped.said(), stopped.output
            writer.wait_acknowledged()
        print(f"first half: longest gap in acknowledged writes: {writer.longest_gap():.2f} s")
        # Though both load balancers were rebooted, and the address moved.
        assert writer.failed_reads() == []
        assert writer.lost() == set()
        half = boots(lab)
        assert {host for host in half if half[host] != before[host]} == {"ops1", "lb1", "lb2", "app1"}
        # It was put back into service.
        wait(lambda: lab.play("status.yml").rc == 0, 120, lambda: "the stack is degraded")
        lab.run("app2", f"rm {BROKEN}")

        with Writer(lab) as writer:
            writer.wait_acknowledged()
            resumed = update(lab, tmp_path, update_switch_back=True)
            assert resumed.rc == 0, resumed.output
            writer.wait_acknowledged()
        print(f"second half: longest gap in acknowledged writes: {writer.longest_gap():.2f} s")
        assert order(resumed)[:2] == ["app2", "app3"]
        assert order(resumed)[-1] == home
        assert writer.failed_reads() == []
        assert writer.lost() == set()
        assert overlaps(samples()) == []
        # Each once: who was done is left alone.
        after = boots(lab)
        assert {host for host in after if after[host] == half[host]} == {"ops1", "lb1", "lb2", "app1"}
        assert {version(lab, host) for host in lab.addresses} == {"2"}
        # The one that the inventory names, wherever the role was.
        assert cluster.primary() == lab.pg_hosts[0]
    assert lab.play("status.yml").rc == 0
