# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.stack_exporters import exporters_of
from declared_site import declare
from project import spec

SITE = declare().to_dict()
NOTHING: dict[str, Any] = {
    "postgres_version": 0,
    "nginx_status_url": "",
    "vip": "",
    "store_directory": "",
    "brick": "",
    "backup": False,
    "certificates": [],
    "release_link": "",
}
MEMBER = ["/etc/postgresql/17/main/tls/server.crt", "/etc/postgresql/17/main/tls/ca.crt"]
BACKUP = ["/etc/pgbackrest/tls/host.crt", "/etc/pgbackrest/tls/ca.crt"]


@pytest.mark.parametrize(
    ("host", "variables", "found"),
    [
        pytest.param(
            "lb1",
            {"nginx_lb_status_port": 9000},
            {
                "nginx_status_url": "http://127.0.0.1:9000/nginx_status",
                "vip": "10.0.0.100",
                "store_directory": "/srv/media",
                "certificates": ["/etc/nginx/tls/site.crt"],
            },
            id="a load balancer",
        ),
        pytest.param(
            "app1",
            {"app_replicas_name": "shop", "shared_storage_brick": "/data/brick"},
            {
                "store_directory": "/srv/media",
                "brick": "/data/brick",
                "certificates": ["/etc/shop/ca.crt"],
                "release_link": "/srv/shop/current",
            },
            id="a host of application and store",
        ),
        pytest.param(
            "app1",
            {"shared_storage_backend": "mount"},
            {
                "store_directory": "/srv/media",
                "certificates": ["/etc/app/ca.crt"],
                "release_link": "/srv/app/current",
            },
            id="a store that others keep",
        ),
        pytest.param("pg2", {}, {"postgres_version": 17, "certificates": MEMBER + BACKUP}, id="a member"),
        pytest.param(
            "ops1", {}, {"store_directory": "/srv/media", "backup": True, "certificates": BACKUP}, id="the backup host"
        ),
    ],
)
def test_a_host_tells_of_what_it_has(host: str, variables: dict[str, Any], found: dict[str, Any]) -> None:
    assert exporters_of(SITE, host, variables, 17) == {**NOTHING, **found}


def test_a_member_of_an_unknown_release_tells_nothing_of_postgresql() -> None:
    assert exporters_of(SITE, "pg1", {}, None) == NOTHING


def test_a_site_without_backups() -> None:
    site = declare({"backup": []}).to_dict()
    assert exporters_of(site, "pg1", {}, 17)["certificates"] == MEMBER
    assert exporters_of(site, "ops1", {}, 17) == NOTHING


def test_what_is_told_are_options_of_the_role() -> None:
    assert {f"exporters_{name}" for name in exporters_of(SITE, "pg1", {}, 17)} <= set(spec("exporters"))
