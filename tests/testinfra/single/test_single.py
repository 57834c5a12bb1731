"""Everything on one host, ops1: no virtual address, the `mount` backend, two copies of the application
with wheels of their own; and a data directory that the main cluster must not take."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.lab import Lab

Groups = dict[str, Any]
Variables = dict[str, Any]


def on_one_host(groups: Groups) -> None:
    for group in groups.values():
        if "hosts" in group:
            group["hosts"] = {}
    for name in ("nginx_lb", "app_replicas", "pg_primary"):
        groups[name]["hosts"] = {"ops1": {"lab_octet": 41}}


def with_a_ghost(groups: Groups) -> None:
    on_one_host(groups)
    groups["pg_replica"]["hosts"] = {"ghost": {"lab_octet": 99}}


@pytest.fixture(scope="module")
def variables(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Variables]:
    lab.rebuild("ops1")
    folder = tmp_path_factory.mktemp("single")
    requirements = folder / "requirements.txt"
    requirements.write_text("colorama==0.4.6\n")
    yield {
        "site_vip": "",
        "site_secrets_directory": str(folder / "secrets"),
        "pg_synchronous": "off",
        "shared_storage_backend": "mount",
        "shared_storage_source": "tmpfs",
        "shared_storage_type": "tmpfs",
        "shared_storage_options": "size=64m",
        "app_replicas_count": 2,
        "app_replicas_requirements": str(requirements),
        "app_replicas_ready_timeout": 20,
    }
    lab.rebuild("ops1")
    # It keeps the backups of the lab's own site, which others find converged.
    play = lab.play("site.yml")
    assert play.rc == 0, play.output


def test_check_mode_works_on_a_fresh_host(lab: Lab, variables: Variables) -> None:
    play = lab.play("site.yml", "--check", "--diff", change=on_one_host, extra=variables)
    assert play.rc == 0, play.output
    assert play.recap()["ops1"]["changed"] > 5
    assert not Path(variables["site_secrets_directory"]).exists()
    assert lab.run("ops1", "ls -d /etc/nginx /etc/postgresql /srv/app 2>/dev/null || true") == ""


def test_postgresql_is_not_initialised_while_a_member_cannot_be_asked(lab: Lab, variables: Variables) -> None:
    play = lab.play("site.yml", change=with_a_ghost, extra={**variables, "app_replicas_ready_timeout": 2})
    assert play.rc != 0
    assert "ghost" in play.said()
    assert lab.run("ops1", "ls /var/lib/postgresql/*/main/PG_VERSION 2>/dev/null || true") == ""


def test_one_host_serves_the_site(lab: Lab, variables: Variables) -> None:
    play = lab.play("site.yml", change=on_one_host, extra=variables)
    assert play.rc == 0, play.output
    address = lab.addresses["ops1"]

    def replica() -> str:
        return str(requests.get(f"https://{address}/whoami", verify=False, timeout=10).json()["replica"])

    assert {replica() for _ in range(20)} == {"ops1-1", "ops1-2"}
    assert lab.run("ops1", "findmnt -no FSTYPE /srv/media") == "tmpfs"
    assert lab.run("ops1", "stat -c '%U:%G %a' /srv/media") == "media:media 2770"
    assert (
        lab.run("ops1", "/srv/app/current/venv/bin/python -c 'import colorama, flask; print(colorama.__version__)'")
        == "0.4.6"
    )
    session = requests.post(f"https://{address}/sessions", json={"key": "one"}, verify=False, timeout=10)
    assert session.status_code == 201


def test_again_nothing_changes(lab: Lab, variables: Variables) -> None:
    play = lab.play("site.yml", change=on_one_host, extra=variables)
    assert play.rc == 0, play.output
    assert play.changed() == {}


def test_the_main_cluster_refuses_its_data(lab: Lab, variables: Variables) -> None:
    before = lab.sql("ops1", "SELECT count(*) FROM sessions")

    def adopt(groups: Groups) -> None:
        groups["pg_replica"]["hosts"]["ops1"] = None
        groups["backup"]["hosts"] = {}

    running = lab.play("site.yml", change=adopt)
    assert running.rc != 0
    assert "they belong to different clusters" in running.said(), running.output
    assert running.changed() == {}
    assert lab.sql("ops1", "SELECT count(*) FROM sessions") == before

    lab.run("ops1", "systemctl stop 'postgresql@*'")
    stopped = lab.play("site.yml", change=adopt)
    assert stopped.rc != 0
    assert "it belongs to another cluster" in stopped.said(), stopped.output
    assert stopped.changed() == {}
    assert lab.run("ops1", "ls /var/lib/postgresql/*/main/PG_VERSION")
