# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Prometheus sees of a healthy site of the lab's shape, as series of promtool's test files, and faults in it."""

from __future__ import annotations

import re

BALANCERS = ("lb1", "lb2")
APPS = ("app1", "app2", "app3")
MEMBERS = ("pg1", "pg2", "pg3")
HOSTS = (*BALANCERS, *APPS, *MEMBERS, "ops1")
DAY = 86400
#: Ten seconds apart.
SAMPLES = 370
#: The same value in every sample.
Series = dict[str, str]
DECLARED = {
    "hosts": 9, "replicas": 3, "load_balancers": 2, "members": 3, "standbys": 2, "bricks": 3, "backup": 1, "synchronous": 1,
    "vip": 1,
}  # fmt: skip


def always(value: float) -> str:
    return f"{value}x{SAMPLES}"


def growing(step: float) -> str:
    return f"0+{step}x{SAMPLES}"


def counting() -> str:
    """A clock: time begins at zero, and samples are 10 s apart."""
    return growing(10)


def healthy() -> Series:
    series: Series = {}
    for host in HOSTS:
        series[f'up{{job="node",instance="{host}"}}'] = always(1)
        series[f'stack_metrics_timestamp_seconds{{job="node",instance="{host}"}}'] = counting()
        series[f'node_time_seconds{{job="node",instance="{host}"}}'] = counting()
        certificate = (
            f'stack_certificate_not_after_timestamp_seconds{{job="node",instance="{host}",file="/etc/{host}.crt"}}'
        )
        series[certificate] = always(800 * DAY)
        series |= disk(host, "/", 60)
    for what, number in DECLARED.items():
        series[f'stack_declared{{job="node",instance="ops1",what="{what}"}}'] = always(number)
    series['up{job="alertmanager",instance="ops1"}'] = always(1)
    series['alertmanager_notifications_failed_total{job="alertmanager",instance="ops1",integration="email"}'] = always(
        0
    )
    for name in (*BALANCERS, "shop.example"):
        job = "lb" if name in BALANCERS else "site"
        series[f'up{{job="{job}",instance="{name}"}}'] = always(1)
        series[f'probe_success{{job="{job}",instance="{name}"}}'] = always(1)
        series[f'probe_http_status_code{{job="{job}",instance="{name}"}}'] = always(200)
        series[f'probe_ssl_earliest_cert_expiry{{job="{job}",instance="{name}"}}'] = always(800 * DAY)
    for name in BALANCERS:
        for job in ("nginx", "mtail"):
            series[f'up{{job="{job}",instance="{name}"}}'] = always(1)
        series[f'stack_vip_held{{job="node",instance="{name}",address="10.0.0.100"}}'] = always(int(name == "lb1"))
        series[f'node_systemd_unit_state{{job="node",instance="{name}",name="keepalived.service",state="active"}}'] = (
            always(1)
        )
        series[f'stack_http_requests_total{{job="mtail",instance="{name}",class="2xx"}}'] = growing(100)
        series[f'stack_http_requests_total{{job="mtail",instance="{name}",class="5xx"}}'] = growing(0.1)
        series[f'stack_store_mounted{{job="node",instance="{name}",directory="/srv/media"}}'] = always(1)
    for name in APPS:
        labels = f'job="replica",instance="{name}-1",host="{name}"'
        series[f"up{{{labels}}}"] = always(1)
        series[f"probe_success{{{labels}}}"] = always(1)
        series[f'stack_store_mounted{{job="node",instance="{name}",directory="/srv/media"}}'] = always(1)
        brick = f'{{job="node",instance="{name}",brick="/srv/gluster/media/brick"}}'
        series[f"stack_gluster_brick_up{brick}"] = always(1)
        series[f"stack_gluster_heal_pending{brick}"] = always(0)
        series |= disk(name, "/srv/gluster", 60)
    series['stack_store_mounted{job="node",instance="ops1",directory="/srv/media"}'] = always(1)
    for name in MEMBERS:
        series[f'up{{job="postgres",instance="{name}"}}'] = always(1)
        series[f'stack_pg_fenced{{job="node",instance="{name}",cluster="17-main"}}'] = always(0)
        series[f'stack_pg_in_recovery{{job="postgres",instance="{name}"}}'] = always(int(name != "pg1"))
    primary = 'job="postgres",instance="pg1"'
    series[f"stack_pg_synchronous_wanted{{{primary}}}"] = always(1)
    series[f"stack_pg_archiver_failing{{{primary}}}"] = always(0)
    series[f"stack_pg_archived_age_seconds{{{primary}}}"] = always(40)
    series[f"stack_pg_wal_waiting{{{primary}}}"] = always(1)
    for name in ("pg2", "pg3"):
        series |= standby(name)
        series[f'stack_pg_slot_retained_bytes{{{primary},slot="{name}"}}'] = always(1e6)
        series[f'stack_pg_slot_lost{{{primary},slot="{name}"}}'] = always(0)
    for what in ("database", "media", "verification"):
        # Time begins at zero, and a time of zero means never.
        series[f'stack_backup_timestamp_seconds{{job="node",instance="ops1",what="{what}"}}'] = f"-60+10x{SAMPLES}"
        series[f'stack_backup_ok{{job="node",instance="ops1",what="{what}"}}'] = always(1)
    return series


def disk(host: str, mountpoint: str, percent: float) -> Series:
    labels = f'job="node",instance="{host}",device="/dev/vda",fstype="ext4",mountpoint="{mountpoint}"'
    return {
        f"node_filesystem_avail_bytes{{{labels}}}": always(percent),
        f"node_filesystem_size_bytes{{{labels}}}": always(100),
        f"node_filesystem_readonly{{{labels}}}": always(0),
    }


def standby(name: str, streaming: int = 1, seconds: float = 0, size: float = 0) -> Series:
    labels = f'job="postgres",instance="pg1",standby="{name}"'
    return {
        f"stack_pg_standby_streaming{{{labels}}}": always(streaming),
        f"stack_pg_standby_synchronous{{{labels}}}": always(streaming),
        f"stack_pg_standby_lag_seconds{{{labels}}}": always(seconds),
        f"stack_pg_standby_lag_bytes{{{labels}}}": always(size),
    }


def set_to(series: Series, pattern: str, value: float | str) -> Series:
    """*series* with another value in those whose text *pattern* matches; the test fails if none does."""
    return {**series, **dict.fromkeys(matching(series, pattern), value if isinstance(value, str) else always(value))}


def without(series: Series, *patterns: str) -> Series:
    """*series* without those whose text one of *patterns* matches."""
    gone = {name for pattern in patterns for name in matching(series, pattern)}
    return {name: values for name, values in series.items() if name not in gone}


def matching(series: Series, pattern: str) -> list[str]:
    found = [name for name in series if re.search(pattern, name)]
    assert found, f"no series matches {pattern}"
    return found


def host_down(series: Series, host: str) -> Series:
    """Its exporters don't answer; what they said is gone; what is tried out there fails."""
    own = rf'job="(node|nginx|mtail|postgres)",.*instance="{host}"|job="(node|nginx|mtail|postgres)",instance="{host}"'
    left = set_to(without(series, rf"^(?!up\b).*({own})"), rf"^up{{({own})", 0)
    probed = rf'job="(lb|replica)",instance="{host}(-1)?"'
    if any(re.search(probed, name) for name in left):
        left = set_to(left, rf"^probe_(success|http_status_code){{{probed}", 0)
    return without(left, rf'standby="{host}"') if host in MEMBERS[1:] else left


def instance_down(series: Series, member: str) -> Series:
    """PostgreSQL of one member is stopped; its exporter answers, and has nothing to say."""
    left = without(series, rf'^(?!up\b).*job="postgres",instance="{member}"')
    return without(left, rf'standby="{member}"') if member in MEMBERS[1:] else left
