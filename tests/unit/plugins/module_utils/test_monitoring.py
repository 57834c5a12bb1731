# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.monitoring import (
    HOST_SETTINGS,
    Target,
    declared,
    targets,
    urls,
)
from declared_site import OCTETS, declare


def site(groups: dict[str, list[str]] | None = None, **everywhere: Any) -> dict[str, Any]:
    """The lab's shape with *groups* changed and variables *everywhere*, as playbooks have it."""
    return declare(groups, everywhere).to_dict()


def settings(**changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: {**HOST_SETTINGS, **changes.get(name, {})} for name in OCTETS}


def of(job: str, found: list[Target]) -> dict[str, str]:
    return {target.instance: target.address for target in found if target.job == job}


def test_everything_is_asked() -> None:
    found = list(targets(site(), settings()))
    assert of("node", found) == {name: f"10.0.0.{octet}:9998" for name, octet in OCTETS.items()}
    assert of("postgres", found) == {f"pg{number}": f"10.0.0.3{number}:9998" for number in (1, 2, 3)}
    assert of("nginx", found) == of("mtail", found) == {"lb1": "10.0.0.11:9998", "lb2": "10.0.0.12:9998"}
    assert of("site", found) == {"shop.example": "https://10.0.0.100:443/"}
    assert of("lb", found) == {"lb1": "https://10.0.0.11:443/", "lb2": "https://10.0.0.12:443/"}
    assert of("replica", found) == {f"app{number}-1": f"http://10.0.0.2{number}:8000/" for number in (1, 2, 3)}
    assert {target.host for target in found if target.job == "replica"} == {"app1", "app2", "app3"}


def test_ports_and_paths_are_those_of_the_hosts() -> None:
    changed = settings(
        pg1={"exporters_port": 9999}, app1={"app_replicas_ready_path": "readyz"}, lb1={"nginx_lb_https_port": 8443}
    )
    found = list(targets(site(), changed))
    assert of("postgres", found)["pg1"] == "10.0.0.31:9999"
    assert of("replica", found)["app1-1"] == "http://10.0.0.21:8000/readyz"
    assert of("site", found) == {"shop.example": "https://10.0.0.100:8443/"}


def test_one_load_balancer_is_the_site() -> None:
    found = list(targets(site({"nginx_lb": ["lb1"]}, site_vip=""), settings()))
    assert of("site", found) == {"shop.example": "https://10.0.0.11:443/"}


def test_ipv6_stands_in_brackets() -> None:
    document = site()
    document["hosts"]["pg1"]["address"] = "fd00::31"
    document["replicas"][0]["address"] = "fd00::21"
    found = list(targets(document, settings()))
    assert of("node", found)["pg1"] == "[fd00::31]:9998"
    assert of("replica", found)["app1-1"] == "http://[fd00::21]:8000/"


def test_what_is_declared() -> None:
    assert declared(site(), settings()) == {
        "hosts": 9,
        "replicas": 3,
        "load_balancers": 2,
        "members": 3,
        "standbys": 2,
        "bricks": 3,
        "backup": 1,
        "synchronous": 1,
        "vip": 1,
    }


def test_what_is_not_there_is_not_declared() -> None:
    small = site({"nginx_lb": ["lb1"], "pg_replica": [], "backup": []}, site_vip="")
    mounted = {name: {"shared_storage_backend": "mount"} for name in OCTETS}
    found = declared(small, settings(**mounted))
    assert {name for name, number in found.items() if number == 0} == {
        "standbys",
        "bricks",
        "backup",
        "synchronous",
        "vip",
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({}, "https://10.0.0.41:9090/", id="by its address"),
        pytest.param({"monitoring_port": 9443}, "https://10.0.0.41:9443/", id="another port"),
        pytest.param({"monitoring_url": "https://mon.example"}, "https://mon.example/", id="given"),
    ],
)
def test_where_people_reach_it(given: dict[str, Any], expected: str) -> None:
    assert urls(site(), settings(ops1=given)) == {"ops1": expected}
