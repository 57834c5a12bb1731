# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.ports import integer, strings
from declared_site import declare

LBS, APPS, PGS = ("lb1", "lb2"), ("app1", "app2", "app3"), ("pg1", "pg2", "pg3")


@pytest.mark.parametrize(
    ("host", "first", "clients", "networks"),
    [
        ("lb1", 22, (), ("anyone",)),
        ("lb1", 80, (), ("anyone",)),
        ("lb1", 443, (), ("anyone",)),
        # NGINX's status is for the host itself.
        ("lb1", 8081, (), ()),
        ("app1", 8000, (*LBS, "ops1"), ()),
        ("app1", 24007, (*APPS, *LBS, "ops1"), ()),
        ("app1", 49152, (*APPS, *LBS, "ops1"), ()),
        ("pg2", 5432, (*PGS, *APPS), ()),
        ("pg2", 8432, ("ops1",), ()),
        ("ops1", 8432, PGS, ()),
        ("pg2", 9998, ("ops1",), ()),
        ("ops1", 9090, (), ()),
    ],
)
def test_who_needs_what(host: str, first: int, clients: tuple[str, ...], networks: tuple[str, ...]) -> None:
    (port,) = [port for port in declare().ports if (port.host, port.first) == (host, first)]
    assert (port.clients, port.networks) == (clients, networks)


def test_there_is_nothing_else() -> None:
    found = {host: {port.first for port in declare().ports if port.host == host} for host in ("lb2", "app1", "pg1")}
    assert found == {
        "lb2": {22, 80, 443, 3903, 8081, 9100, 9113, 9998},
        "app1": {22, 8000, 24007, 49152, 9100, 9998},
        "pg1": {22, 5432, 8432, 9100, 9187, 9998},
    }


@pytest.mark.parametrize(
    ("changes", "gone"),
    [
        ({"monitoring": []}, {9998, 9090}),
        ({"backup": []}, {8432}),
        ({"everywhere": {"shared_storage_backend": "mount"}}, {24007, 49152}),
    ],
    ids=["no monitoring", "no backups", "another store"],
)
def test_what_a_site_does_not_have_is_not_open(changes: dict[str, Any], gone: set[int]) -> None:
    everywhere = changes.pop("everywhere", None)
    assert not gone & {port.first for port in declare(changes, everywhere).ports}


def test_ports_of_their_own() -> None:
    site = declare(
        everywhere={"pg_port": 6432, "exporters_port": 9999, "monitoring_viewers": ["10.9.0.0/16"]},
        app1={"app_replicas_port": 9000, "app_replicas_count": 2},
        lb1={"nginx_lb_https_port": 8443},
        pg1={"firewall_ssh_port": 2222, "firewall_ssh_sources": ["10.9.0.1"]},
    )
    there = {(port.host, port.first): port for port in site.ports}
    assert ("app1", 9000) in there
    assert there["app1", 9001].what == "app replica app1-2 (app_replicas_port)"
    assert ("lb1", 8443) in there
    assert ("pg3", 6432) in there
    assert ("lb1", 9999) in there
    assert there["pg1", 2222].networks == ("10.9.0.1",)
    assert there["ops1", 9090].networks == ("10.9.0.0/16",)


def test_what_is_no_number_is_left_out() -> None:
    ports = declare(app1={"exporters_port": "many"}).ports
    assert "app1" not in [port.host for port in ports if port.option == "exporters_port"]


@pytest.mark.parametrize(
    ("value", "number"), [(5432, 5432), ("5432", 5432), ("x", None), (True, None), (None, None), ([1], None)]
)
def test_integer(value: Any, number: int | None) -> None:
    assert integer(value) == number


@pytest.mark.parametrize(("value", "found"), [([1, "a"], ("1", "a")), ("10.0.0.0/8", ("10.0.0.0/8",)), ((), ())])
def test_strings(value: Any, found: tuple[str, ...]) -> None:
    assert strings(value) == found
