# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.renfo.redundancy.plugins.filter.exporters import FilterModule
from ansible_collections.renfo.redundancy.plugins.module_utils.topology import topology

SITE = topology(
    {"app_replicas": ["app1"], "pg_primary": ["pg1"]},
    {name: {"site_name": "x.example", "ansible_host": f"192.0.2.{n}"} for n, name in enumerate(("app1", "pg1"), 1)},
).to_dict()


@pytest.mark.parametrize(("release", "version"), [("bookworm", 15), ("trixie", 17), ("sid", 0)])
def test_the_version_of_postgresql_follows_from_the_release(release: str, version: int) -> None:
    hostvars = {"app1": {}, "pg1": {"ansible_facts": {"distribution_release": release}}}
    assert FilterModule().filters()["exporters"](SITE, hostvars)["pg1"]["postgres_version"] == version


def test_the_variables_of_the_host_name_its_parts() -> None:
    hostvars = {"app1": {"app_replicas_name": "blog"}, "pg1": {}}
    assert FilterModule().filters()["exporters"](SITE, hostvars)["app1"]["release_link"] == "/srv/blog/current"
