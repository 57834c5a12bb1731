"""A replica and a standby more on a host that had other work, and away again."""

from __future__ import annotations

from tests.support.lab import Lab


def processes(lab: Lab) -> dict[str, str]:
    """What runs on the hosts that must not be restarted, by host and unit."""
    units = "app@1 nginx keepalived glusterd 'postgresql@*'"
    hosts = [*lab.app_hosts, *lab.lb_hosts, *lab.pg_hosts]
    return {
        host: lab.run(host, f"systemctl show {units} --property=Id,MainPID,ExecMainStartTimestamp") for host in hosts
    }


def test_a_replica_and_a_standby_more_restart_nothing_else(lab: Lab) -> None:
    def grow(groups: dict) -> None:
        groups["app_replicas"]["hosts"]["ops1"] = {"app_replicas_count": 2}
        groups["pg_replica"]["hosts"]["ops1"] = None
        # A member of the cluster can't keep its backups.
        groups["backup"]["hosts"] = {}

    before = processes(lab)
    play = lab.play("site.yml", change=grow)
    assert play.rc == 0, play.output
    assert processes(lab) == before

    replicas = {lab.request("GET", "/whoami").json()["replica"] for _ in range(50)}
    assert {"ops1-1", "ops1-2"} <= replicas
    assert lab.sql("ops1", "SELECT pg_is_in_recovery()") == "t"
    assert lab.sql("pg1", "SELECT state FROM pg_stat_replication WHERE application_name = 'ops1'") == "streaming"

    fewer = lab.play(
        "site.yml",
        change=lambda groups: (grow(groups), groups["app_replicas"]["hosts"]["ops1"].update(app_replicas_count=1)),
    )
    assert fewer.rc == 0, fewer.output
    assert (
        lab.run("ops1", "systemctl list-units 'app@*' --no-legend --plain --state=active").split()[0] == "app@1.service"
    )

    # Back to what the inventory of the lab says.
    # A pattern names running units for `stop`, and nothing for `disable`.
    units = lab.run("ops1", "systemctl list-units --plain --no-legend 'app@*' 'postgresql@*' | cut -d' ' -f1")
    lab.run("ops1", f"systemctl disable --now {' '.join(units.split())}")
    lab.run("ops1", "rm -rf /var/lib/postgresql/*/main")
    back = lab.play("site.yml")
    assert back.rc == 0, back.output
    lab.sql("pg1", "SELECT pg_drop_replication_slot('ops1')")
    lab.wait_healthy()
