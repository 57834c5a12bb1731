"""What Prometheus reads of each host, asked from its own host as it does."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.cluster import Cluster
from tests.support.lab import Lab

TLS = "/etc/prometheus-exporters/tls"
CLIENT = f"--cert {TLS}/host.crt --key {TLS}/host.key"
#: Exporters by port, and the door's own port without TLS.
INSIDE = {9100, 9113, 9187, 3903, 9999}
EVERYWHERE = {
    "node_filesystem_size_bytes",
    "node_systemd_unit_state",
    "stack_metrics_timestamp_seconds",
    "stack_certificate_not_after_timestamp_seconds",
}
PRIMARY = {
    "stack_pg_synchronous_wanted",
    *(f"stack_pg_standby_{what}" for what in ("streaming", "synchronous", "lag_bytes", "lag_seconds")),
    *(f"stack_pg_{what}" for what in ("archiver_failing", "archived_age_seconds", "wal_waiting")),
}
SLOTS = {f"stack_pg_slot_{what}" for what in ("active", "retained_bytes", "lost")}

Figures = dict[str, dict[str, float]]


def scrape(lab: Lab, host: str, module: str) -> Figures:
    """Values by the name of a metric and its labels."""
    url = f"https://{lab.addresses[host]}:9998/proxy?module={module}"
    text = lab.run("ops1", f"curl -sSf --max-time 10 --cacert {TLS}/ca.crt {CLIENT} '{url}'")
    found: Figures = {}
    for name, labels, value in re.findall(r"^(\w+)(?:\{(.*)\})? (\S+)$", text, flags=re.MULTILINE):
        found.setdefault(name, {})[labels] = float(value)
    return found


def eventually(lab: Lab, host: str, module: str, done: Callable[[Figures], bool]) -> None:
    """Until the figures say so; stack-metrics writes every ten seconds, and asks for backups every minute."""
    deadline = time.monotonic() + 75
    while not done(found := scrape(lab, host, module)):
        assert time.monotonic() < deadline, {name: found[name] for name in found if name.startswith("stack_")}
        time.sleep(2)


def expected(lab: Lab) -> Iterator[tuple[str, set[str]]]:
    """What each host has to tell beside what all do."""
    for host in lab.addresses:
        names = set(EVERYWHERE)
        if host in lab.lb_hosts:
            names |= {"stack_vip_held", "stack_store_mounted"}
        if host in lab.app_hosts:
            names |= {"stack_store_mounted", "stack_release_info"}
            names |= {"stack_gluster_brick_up", "stack_gluster_heal_pending"}
        if host in lab.pg_hosts:
            names |= {"stack_pg_fenced"}
        if host in lab.groups["backup"]:
            names |= {"stack_store_mounted", "stack_backup_ok", "stack_backup_timestamp_seconds"}
        yield host, names


def test_every_host_tells_what_it_has(lab: Lab) -> None:
    for host, names in expected(lab):
        eventually(lab, host, "node", lambda found, names=names: names <= set(found))  # type: ignore[misc]


def test_nobody_is_answered_without_a_certificate(lab: Lab) -> None:
    for host, address in lab.addresses.items():
        asked = f"curl -s --max-time 10 --cacert {TLS}/ca.crt https://{address}:9998/proxy?module=node"
        result = lab.host("ops1").run(asked)
        assert (result.rc != 0, result.stdout) == (True, ""), host


def test_nothing_but_the_door_is_open(lab: Lab) -> None:
    for host in lab.addresses:
        listening = [line.split()[3].rpartition(":") for line in lab.run(host, "ss -ltnH").splitlines()]
        open_ports = {int(port) for address, _colon, port in listening if address != "127.0.0.1"}
        assert 9998 in open_ports, host
        assert not open_ports & INSIDE, host


def test_the_figures_are_those_of_a_whole_site(lab: Lab) -> None:
    def mounted(found: Figures) -> bool:
        return list(found.get("stack_store_mounted", {}).values()) == [1]

    for host in (*lab.lb_hosts, *lab.app_hosts, "ops1"):
        eventually(lab, host, "node", mounted)
    for host in lab.app_hosts:
        eventually(lab, host, "node", lambda found: list(found["stack_gluster_brick_up"].values()) == [1])
    assert sum(sum(scrape(lab, host, "node")["stack_vip_held"].values()) for host in lab.lb_hosts) == 1
    backups = scrape(lab, "ops1", "node")["stack_backup_ok"]
    assert set(backups) == {f'what="{what}"' for what in ("database", "media", "verification")}


def test_postgresql_is_asked_on_primary_and_standby(lab: Lab, cluster: Cluster) -> None:
    primary = cluster.primary()
    for host in lab.pg_hosts:
        found = scrape(lab, host, "postgres")
        assert list(found["pg_up"].values()) == [1], host
        assert list(found["pg_exporter_last_scrape_error"].values()) == [0], host
        assert list(found["stack_pg_in_recovery"].values()) == [int(host != primary)]
        assert "stack_pg_timeline" in found
        # Slots are where somebody streams from.
        expected = PRIMARY | SLOTS if host == primary else set()
        assert (PRIMARY | SLOTS) & set(found) == expected, host
    streaming = scrape(lab, primary, "postgres")["stack_pg_standby_streaming"]
    names = {match[1]: value for labels, value in streaming.items() if (match := re.search('standby="(.*?)"', labels))}
    assert names == dict.fromkeys(set(lab.pg_hosts) - {primary}, 1)


@pytest.mark.parametrize("status", [200, 404])
def test_requests_are_counted_by_what_came_of_them(lab: Lab, status: int) -> None:
    host, label = lab.lb_hosts[0], f'class="{status // 100}xx"'

    def counted() -> float:
        return scrape(lab, host, "mtail").get("stack_http_requests_total", {}).get(label, 0)

    before = counted()
    path = "/healthz" if status == 200 else "/there-is-no-such-page"
    assert lab.request("GET", path, at=host).status_code == status
    deadline = time.monotonic() + 10
    while counted() <= before:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    figures = scrape(lab, host, "mtail")
    buckets, total = figures["stack_http_request_seconds_bucket"], figures["stack_http_request_seconds_count"]
    assert buckets['le="+Inf"'] == sum(total.values())
    assert list(scrape(lab, host, "nginx")["nginx_up"].values()) == [1]
