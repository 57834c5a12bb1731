# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every alert, evaluated by promtool: it fires on its fault, not before its time, and on a healthy site none does."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from healthy_site import (
    DAY,
    SAMPLES,
    Series,
    always,
    disk,
    growing,
    healthy,
    host_down,
    instance_down,
    matching,
    set_to,
    standby,
    without,
)
from project import ROOT, load

RULES = ROOT / "roles/monitoring/files/rules.yml"
ALERTS: list[dict[str, Any]] = [rule for group in load(RULES)["groups"] for rule in group["rules"]]
RUNBOOKS = ROOT / "docs/runbooks.md"
ADDRESS = "https://github.com/renfo/redundancy/blob/main/docs/runbooks.md#"


def seconds(text: str) -> int:
    """A duration of Prometheus', such as 30s or 36h."""
    units = {"s": 1, "m": 60, "h": 3600, "d": DAY}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([smhd])", text))


def promtool(tmp_path: Path, series: Series, expected: dict[int, dict[str, dict[str, float]]], step: int = 10) -> None:
    """Fails unless each expression gives at each time (in seconds) just these labels with these values."""
    tests = [
        {
            "expr": expression,
            "eval_time": f"{at}s",
            "exp_samples": [{"labels": k, "value": v} for k, v in found.items()],
        }
        for at, expressions in expected.items()
        for expression, found in expressions.items()
    ]
    # No more samples than are looked at: promtool reads them all.
    enough = max(expected) // step + 2
    document = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "5s" if step == 10 else "10m",
        "tests": [
            {
                "interval": f"{step}s",
                "input_series": [
                    {"series": name, "values": values.replace(f"x{SAMPLES}", f"x{enough}")}
                    for name, values in series.items()
                ],
                "promql_expr_test": tests,
            }
        ],
    }
    path = tmp_path / "test.yml"
    path.write_text(yaml.safe_dump(document, width=10_000))
    done = subprocess.run(["promtool", "test", "rules", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


FIRING = 'count by (alertname, tier) (ALERTS{alertstate="firing",alertname!="Watchdog"})'


def labels(alert: str) -> str:
    name, _, tier = alert.partition("/")
    return f'{{alertname="{name}", tier="{tier}"}}' if tier else f'{{alertname="{name}"}}'


@dataclasses.dataclass(frozen=True)
class Case:
    """A fault: what Prometheus sees, and all that must fire (with how often) when it has lasted for long enough."""

    series: Series
    firing: dict[str, int]
    #: Seconds after which to look, if it isn't `for` and half a minute.
    at: int = 0
    #: Seconds between samples.
    step: int = 10
    #: Whether the fault is there from the first sample.
    at_once: bool = True


SITE = healthy()
GIB = 2**30
BACKUP = r'^stack_backup_timestamp_seconds{{.*what="{}"'
OK = r'^stack_backup_ok{{.*what="{}"'
CASES: dict[str, Case] = {
    "ExporterDown": Case(set_to(SITE, r'^up{job="mtail",instance="lb1"', 0), {"ExporterDown": 1}),
    "MetricsStale": Case(
        set_to(SITE, r'^stack_metrics_timestamp_seconds{.*"app1"', always(-100)), {"MetricsStale": 1}
    ),
    "DeclaredUnknown": Case(without(SITE, "^stack_declared"), {"DeclaredUnknown": 1}),
    "NotificationsFailing": Case(
        set_to(SITE, "^alertmanager_notifications_failed_total", growing(1)), {"NotificationsFailing": 1}, at=150, at_once=False
    ),
    "HostDown": Case(
        host_down(SITE, "app1"),
        {
            "HostDown": 1,
            "ReplicaNotReady": 1,
            "RedundancyDegraded/app": 1,
            "RedundancyDegraded/store": 1,
        },
    ),
    "ClockSkew": Case(set_to(SITE, r'^node_time_seconds{.*"pg2"', "5+10x100"), {"ClockSkew": 1}),
    "DiskFilling": Case({**SITE, **disk("pg1", "/", 9)}, {"DiskFilling": 1}),
    "DiskFull": Case({**SITE, **disk("pg1", "/", 2)}, {"DiskFull": 1}),
    "CertificateExpiring": Case(
        set_to(SITE, r'^stack_certificate.*"pg1"', 29 * DAY), {"CertificateExpiring": 1}
    ),
    "CertificateExpiresSoon": Case(
        set_to(SITE, '^probe_ssl.*job="site"', 6 * DAY), {"CertificateExpiresSoon": 1}
    ),
    "SiteDown": Case(set_to(SITE, '^probe_success{job="site"', 0), {"SiteDown": 1}),
    "ErrorRate": Case(
        set_to(SITE, '^stack_http_requests_total.*class="5xx"', growing(10)), {"ErrorRate": 1}, at=240, at_once=False
    ),
    "LoadBalancerSilent": Case(
        set_to(SITE, r'^probe_(success|http_status_code){job="lb",instance="lb2"', 0),
        {"LoadBalancerSilent": 1, "RedundancyDegraded/lb": 1},
    ),
    "KeepalivedDown": Case(set_to(SITE, '^node_systemd_unit_state.*"lb2"', 0), {"KeepalivedDown": 1}),
    "NoVipHolder": Case(set_to(SITE, "^stack_vip_held", 0), {"NoVipHolder": 1}),
    "TwoVipHolders": Case(set_to(SITE, "^stack_vip_held", 1), {"TwoVipHolders": 1}),
    "ReplicaNotReady": Case(
        set_to(SITE, '^probe_success{job="replica",instance="app2-1"', 0),
        {"ReplicaNotReady": 1, "RedundancyDegraded/app": 1},
    ),
    "RedundancyDegraded/app": Case(
        set_to(SITE, '^probe_success{job="replica"', 0), {"ReplicaNotReady": 3, "RedundancyDegraded/app": 1}
    ),
    "RedundancyDegraded/lb": Case(
        set_to(SITE, '^probe_http_status_code{job="lb"', 0), {"LoadBalancerSilent": 2, "RedundancyDegraded/lb": 1}
    ),
    "RedundancyDegraded/database": Case(
        host_down(SITE, "pg3"), {"HostDown": 1, "RedundancyDegraded/database": 1, "StandbyNotStreaming": 1}
    ),
    "RedundancyDegraded/store": Case(
        without(SITE, r'^stack_gluster.*"app2"'), {"RedundancyDegraded/store": 1}
    ),
    "NoPrimary": Case(instance_down(SITE, "pg1"), {"NoPrimary": 1, "RedundancyDegraded/database": 1}),
    "TwoPrimaries": Case(
        set_to(SITE, r'^stack_pg_in_recovery{.*"pg2"', 0), {"TwoPrimaries": 1}
    ),
    "StandbyNotStreaming": Case(
        instance_down(SITE, "pg2"), {"StandbyNotStreaming": 1, "RedundancyDegraded/database": 1}
    ),
    "NoSynchronousStandby": Case(
        set_to(SITE, "^stack_pg_standby_(streaming|synchronous)", 0),
        {"NoSynchronousStandby": 1, "StandbyNotStreaming": 2, "RedundancyDegraded/database": 1},
    ),
    "SynchronousOff": Case(set_to(SITE, "^stack_pg_synchronous_wanted", 0), {"SynchronousOff": 1}),
    "ReplicationLag": Case(
        {**SITE, **standby("pg2", seconds=31), **standby("pg3", size=GIB)}, {"ReplicationLag": 2}
    ),
    "SlotRetainsWal": Case(set_to(SITE, '^stack_pg_slot_retained.*"pg2"', 3 * GIB), {"SlotRetainsWal": 1}),
    "SlotLost": Case(set_to(SITE, '^stack_pg_slot_lost.*"pg2"', 1), {"SlotLost": 1}),
    "InstanceFenced": Case(set_to(SITE, '^stack_pg_fenced.*"pg2"', 1), {"InstanceFenced": 1}),
    "BrickDown": Case(
        set_to(SITE, '^stack_gluster_brick_up.*"app1"', 0), {"BrickDown": 1, "RedundancyDegraded/store": 1}
    ),
    "StoreQuorumLost": Case(
        set_to(SITE, '^stack_gluster_brick_up.*"app[12]"', 0),
        {"BrickDown": 2, "StoreQuorumLost": 1, "RedundancyDegraded/store": 1},
    ),
    "HealPending": Case(set_to(SITE, '^stack_gluster_heal_pending.*"app1"', 2), {"HealPending": 1}),
    "StoreFilling": Case({**SITE, **disk("app1", "/srv/gluster", 15)}, {"StoreFilling": 1}),
    "StoreNotMounted": Case(set_to(SITE, '^stack_store_mounted.*"lb1"', 0), {"StoreNotMounted": 1}),
    "ArchiverFailing": Case(set_to(SITE, "^stack_pg_archiver_failing", 1), {"ArchiverFailing": 1}),
    "ArchiverSilent": Case(set_to(SITE, "^stack_pg_archived_age_seconds", 400), {"ArchiverSilent": 1}),
    "BackupTooOld": Case(set_to(SITE, BACKUP.format("database"), -37 * 3600), {"BackupTooOld": 1}),
    "MediaBackupTooOld": Case(set_to(SITE, BACKUP.format("media"), -3700), {"MediaBackupTooOld": 1}),
    "BackupFailed": Case(
        set_to(set_to(SITE, OK.format("database"), 0), OK.format("media"), 0), {"BackupFailed": 2}
    ),
    # With minutes between samples all else would look old.
    "BackupMissing": Case(
        dict.fromkeys(matching(SITE, '^stack_declared.*what="(hosts|backup)"'), "1x600"), {"BackupMissing": 1}, step=240
    ),
    "VerifiedRestoreTooOld": Case(
        set_to(SITE, BACKUP.format("verification"), -37 * 3600), {"VerifiedRestoreTooOld": 1}
    ),
    "VerifiedRestoreFailed": Case(set_to(SITE, OK.format("verification"), 0), {"VerifiedRestoreFailed": 1}),
}  # fmt: skip


def named(rule: dict[str, Any]) -> str:
    tier = rule["labels"].get("tier")
    return f"{rule['alert']}/{tier}" if tier else str(rule["alert"])


BY_NAME = {named(rule): rule for rule in ALERTS}


def test_every_alert_has_a_fault_that_it_must_fire_on() -> None:
    assert set(CASES) == set(BY_NAME) - {"Watchdog"}
    assert len(BY_NAME) == len(ALERTS)


def test_nothing_but_the_watchdog_fires_on_a_healthy_site(tmp_path: Path) -> None:
    ever = 'count by (alertname) (count_over_time(ALERTS{alertstate="firing"}[1h]))'
    promtool(tmp_path, SITE, {700: {ever: {'{alertname="Watchdog"}': 1}}})


@pytest.mark.parametrize("name", CASES)
def test_it_fires_on_its_fault_and_not_before_its_time(name: str, tmp_path: Path) -> None:
    case, rule = CASES[name], BY_NAME[name]
    patience = seconds(rule.get("for", "0s"))
    selector = ",".join(f'{key}="{value}"' for key, value in {"alertname": rule["alert"], **rule["labels"]}.items())
    this = f"count(ALERTS{{{selector}}}) or vector(0)"
    firing = f'count(ALERTS{{{selector},alertstate="firing"}}) or vector(0)'
    expected: dict[int, dict[str, dict[str, float]]] = {
        case.at or patience + 3 * case.step: {FIRING: {labels(alert): count for alert, count in case.firing.items()}}
    }
    if case.at_once:
        # Pending from the first evaluation, and no more than that.
        expected[case.step] = {this: {"{}": case.firing[name]}}
        expected[patience - case.step // 2] = {firing: {"{}": 0}}
    promtool(tmp_path, case.series, expected, case.step)


#: What passes within seconds: samples before it, during it, and after it.
BRIEF = {
    "the primary restarts": set_to(
        set_to(SITE, r'^stack_pg_(in_recovery|synchronous_wanted)\b.*"pg1"', "_x3"), r"^stack_pg_standby_", "_x3"
    ),
    "nobody holds the address while it moves": set_to(SITE, "^stack_vip_held", "0x2"),
    "both hold it while it moves": set_to(SITE, "^stack_vip_held", "1x2"),
    "an old primary is still there when the new one is": set_to(SITE, r'^stack_pg_in_recovery.*"pg2"', "0x0"),
    "the site is asked while a load balancer is lost": set_to(SITE, '^probe_success{job="site"', "0x2"),
    "no standby streams while they get to know the new primary": set_to(SITE, "^stack_pg_standby_", "0x2"),
    "two bricks restart": set_to(SITE, '^stack_gluster_brick_up.*"app[12]"', "0x2"),
}


@pytest.mark.parametrize("name", BRIEF)
def test_nobody_gets_up_for_what_passes_within_seconds(name: str, tmp_path: Path) -> None:
    series = {
        series: f"{values} {SITE[series]}" if values != SITE[series] else values
        for series, values in BRIEF[name].items()
    }
    critical = 'count(count_over_time(ALERTS{alertstate="firing",severity="critical"}[10m])) or vector(0)'
    promtool(tmp_path, series, {600: {critical: {"{}": 0}}})


def test_the_rules_are_what_prometheus_takes() -> None:
    done = subprocess.run(["promtool", "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout + done.stderr


@pytest.mark.parametrize("rule", ALERTS, ids=named)
def test_what_it_says(rule: dict[str, Any]) -> None:
    said = rule["annotations"]
    assert set(said) == {"summary", "description", "runbook_url"}
    assert rule["labels"]["severity"] in (["none"] if rule["alert"] == "Watchdog" else ["critical", "warning"])
    for name in ("summary", "description"):
        assert said[name].rstrip().endswith((".", "}}")), said[name]
    # Whoever is woken has to know where to look.
    if rule["alert"] not in ("Watchdog", "DeclaredUnknown", "BackupMissing"):
        assert re.search(r"abels\.instance", said["summary"] + said["description"])
    # Not told in time is not told.
    if rule["labels"]["severity"] == "critical":
        assert seconds(rule["for"]) <= 120


def headings() -> dict[str, str]:
    """Anchors of the runbooks' headings, as GitHub makes them, with the text below each."""
    parts = re.split(r"^## (.+)$", RUNBOOKS.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {heading.lower().replace(" ", "-"): text for heading, text in zip(parts[::2], parts[1::2], strict=True)}


@pytest.mark.parametrize("rule", ALERTS, ids=named)
def test_it_has_a_runbook(rule: dict[str, Any]) -> None:
    assert rule["annotations"]["runbook_url"] == ADDRESS + rule["alert"].lower()
    text = headings()[rule["alert"].lower()]
    assert re.search(r"`[^`]+`|```", text), "a runbook says what to run"
    assert f"({rule['labels']['severity']})" in text or rule["alert"] == "Watchdog"


def test_no_runbook_is_left_over() -> None:
    alerts = {rule["alert"].lower() for rule in ALERTS}
    assert set(headings()) - alerts == set()


def test_playbooks_that_runbooks_name_exist() -> None:
    for name in re.findall(r"renfo\.redundancy\.(\w+)", RUNBOOKS.read_text(encoding="utf-8")):
        assert (ROOT / "playbooks" / f"{name}.yml").exists(), name
