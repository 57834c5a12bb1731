# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the options of the role become in the configuration of its services."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from project import ROOT, variables

ROLE = ROOT / "roles/monitoring"
GIVEN: dict[str, Any] = {
    **variables("monitoring", "defaults"),
    "__monitoring_config": "/etc/monitoring",
    "ansible_managed": "managed",
    "monitoring_name": "ops1",
    "monitoring_url": "https://10.0.0.41:9090/",
    "monitoring_site_name": "shop.example",
    "monitoring_declared": {"replicas": 3, "hosts": 9},
    "monitoring_targets": [
        {"job": "node", "instance": "app1", "address": "[fd00::21]:9998", "host": "app1"},
        {"job": "site", "instance": "shop.example", "address": "https://10.0.0.100:443/", "host": ""},
        {"job": "replica", "instance": "app1-1", "address": "http://10.0.0.21:8000/readyz", "host": "app1"},
    ],
}
MAIL = {
    "monitoring_mail_to": ["ops@example.org", "boss@example.org"],
    "monitoring_mail_from": "mon@example.org",
    "monitoring_mail_smarthost": "smtp.example.org:587",
    "monitoring_mail_user": "mon",
    "monitoring_mail_password": "mail-secret",
}


def render(name: str, **options: Any) -> str:
    """As Ansible does it."""
    loader = jinja2.FileSystemLoader(ROLE / "templates")
    environment = jinja2.Environment(
        loader=loader, trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["to_json"] = json.dumps
    return environment.get_template(f"{name}.j2").render({**GIVEN, **options})


def alertmanager(**options: Any) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(render("alertmanager.yml", **options))
    return found


def test_nobody_is_told_by_default() -> None:
    config = alertmanager()
    assert config["receivers"] == [{"name": "people"}, {"name": "deadman"}]
    assert "global" not in config


def test_people_are_told_by_mail_and_webhooks() -> None:
    config = alertmanager(**MAIL, monitoring_webhooks=["https://chat.example/hook?key=a:b"])
    people = config["receivers"][0]
    assert [mail["to"] for mail in people["email_configs"]] == MAIL["monitoring_mail_to"]
    assert people["email_configs"][0]["text"] == '{{ template "renfo.text" . }}'
    assert people["webhook_configs"] == [{"url": "https://chat.example/hook?key=a:b", "send_resolved": True}]
    # The password is in a file that Alertmanager reads.
    assert config["global"]["smtp_auth_password_file"] == "/etc/monitoring/secrets/mail_password"
    assert "mail-secret" not in json.dumps(config)


def test_a_mail_server_without_a_login_gets_none() -> None:
    assert "smtp_auth_username" not in alertmanager(**{**MAIL, "monitoring_mail_user": ""})["global"]


def test_the_dead_mans_switch_gets_the_watchdog_each_minute() -> None:
    config = alertmanager(monitoring_deadman_url="https://switch.example/1")
    assert config["receivers"][1]["webhook_configs"][0]["url"] == "https://switch.example/1"
    route = config["route"]["routes"][0]
    assert (route["matchers"], route["receiver"]) == (['alertname="Watchdog"'], "deadman")
    assert (route["group_interval"], route["repeat_interval"]) == ("1m", "30s")


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    path = tmp_path / "prometheus.yml"
    path.write_text(render("prometheus.yml"))
    command = ["promtool", "check", "config", "--syntax-only", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = {job["job_name"]: job for job in yaml.safe_load(path.read_text())["scrape_configs"]}
    assert set(jobs) == {"alertmanager", "node", "site", "replica"}
    assert jobs["node"]["static_configs"] == [{"targets": ["[fd00::21]:9998"], "labels": {"instance": "app1"}}]
    assert (jobs["node"]["scheme"], jobs["node"]["params"]) == ("https", {"module": ["node"]})
    assert jobs["replica"]["static_configs"][0]["labels"] == {"instance": "app1-1", "host": "app1"}
    assert jobs["site"]["params"] == {"module": ["site"]}


def test_the_site_is_asked_by_its_name() -> None:
    http = yaml.safe_load(render("blackbox.yml"))["modules"]["site"]["http"]
    assert http["headers"] == {"Host": "shop.example"}
    assert http["tls_config"]["server_name"] == "shop.example"


def test_what_is_declared_is_a_metric() -> None:
    lines = render("declared.prom").splitlines()
    assert lines[2:] == ['stack_declared{what="hosts"} 9', 'stack_declared{what="replicas"} 3']


@pytest.mark.parametrize("unit", ["prometheus", "prometheus-alertmanager", "prometheus-blackbox-exporter"])
def test_a_unit_does_not_start_before_it_is_told_how(unit: str) -> None:
    text = render(f"{unit}.service")
    assert "ConditionPathExists=/etc/monitoring/" in text
    assert "ProtectSystem=strict" in text
    # Whoever asks for no password listens on loopback.
    assert unit == "prometheus" or "--web.listen-address=127.0.0.1:" in text
