"""How long writes pause: a switchover idle and under load, a failover with the old primary dead or its host answering.

Part of ``make bench``; alone on any lab: ``LAB_NAME=demo .venv/bin/python -m tests.bench_handover``. All is measured from
outside, through the load balancer.
"""

from __future__ import annotations

import os
import statistics
import time
from typing import Any

from tests.support.cluster import Cluster
from tests.support.lab import Lab
from tests.support.writer import Writer

ROUNDS = int(os.environ.get("ROUNDS", "5"))
#: From shared measurements of the same client on such a machine, one run each: what there is to beat.
PATRONI = {"switchover": 1.4, "host killed": 14.9}


def switchover(lab: Lab, cluster: Cluster, **load: Any) -> float:
    """Seconds without an acknowledged write."""
    cluster.wait_whole()
    with Writer(lab, **load) as writer:
        writer.wait_acknowledged()
        play = lab.play("switchover.yml", extra={"switchover_to": cluster.standbys()[0]})
        assert play.rc == 0, play.output
        writer.wait_acknowledged()
    assert not writer.lost()
    return writer.longest_gap()


def failover(lab: Lab, cluster: Cluster, dead: bool) -> float:
    """Seconds from Enter to the first acknowledged write."""
    cluster.wait_whole()
    old = cluster.primary()
    with Writer(lab) as writer:
        writer.wait_acknowledged()
        cluster.power_off(old) if dead else cluster.crash_for_good(old)
        time.sleep(2)
        word = {"pg_fence_command": "", "failover_fenced": old} if dead else None
        enter = time.monotonic()
        running = lab.start("failover.yml", extra=word)
        took = writer.wait_acknowledged(60) - enter
        assert running.wait() == 0
    assert not writer.lost()
    if dead:
        cluster.power_on(old)
        cluster.wait_up(old)
    else:
        cluster.allow_restart(old)
    assert lab.play("rejoin.yml").rc == 0
    return took


def floor(lab: Lab, cluster: Cluster) -> list[float]:
    """Seconds of pg_promote with its first local commit, as the module reports them for switchovers."""
    found = []
    for _ in range(ROUNDS):
        cluster.wait_whole()
        output = lab.play("switchover.yml", extra={"switchover_to": cluster.standbys()[0]}).said()
        found.append(int(output.split("promoted in ")[1].split(" ms")[0]) / 1000)
    return found


def show(title: str, seconds: list[float], note: str = "") -> None:
    values = ", ".join(f"{value:.2f}" for value in seconds)
    print(f"{statistics.median(seconds):8.2f} s  {title}  ({values}){note}", flush=True)


def main() -> None:
    """Measure and print medians."""
    lab = Lab.from_environment()
    cluster = Cluster(lab)
    print(f"\nhandovers, median of {ROUNDS}, load average {os.getloadavg()[0]:.1f}")
    show("floor: pg_promote with its first commit", floor(lab, cluster))
    beat = f"; Patroni {PATRONI['switchover']} s"
    show(
        "switchover, idle: no acknowledged write",
        [switchover(lab, cluster, interval=0.05, reading=False) for _ in range(ROUNDS)],
        beat,
    )
    show("switchover, under load", [switchover(lab, cluster, interval=0.02) for _ in range(ROUNDS)], beat)
    beat = f"; Patroni {PATRONI['host killed']} s from the loss"
    show("failover, host dead: Enter to the first write", [failover(lab, cluster, True) for _ in range(ROUNDS)], beat)
    show("failover, its host answers", [failover(lab, cluster, False) for _ in range(ROUNDS)])


if __name__ == "__main__":
    main()
