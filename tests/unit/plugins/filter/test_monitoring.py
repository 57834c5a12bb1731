# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.renfo.redundancy.plugins.filter.monitoring import FilterModule
from ansible_collections.renfo.redundancy.plugins.module_utils.topology import topology
from ansible_collections.renfo.redundancy.plugins.plugin_utils.bcrypt import _crypt

filters = FilterModule().filters()
SITE = topology(
    {"nginx_lb": ["web"], "app_replicas": ["web"], "pg_primary": ["web"], "monitoring": ["web"]},
    {"web": {"ansible_host": "10.0.0.1", "site_name": "shop.example"}},
).to_dict()


def test_settings_come_from_the_hosts() -> None:
    hostvars: dict[str, Any] = {"web": {"exporters_port": 9000, "monitoring_url": "https://mon.example/"}}
    found = filters["monitoring_targets"](SITE, hostvars)
    assert {"job": "node", "instance": "web", "address": "10.0.0.1:9000", "host": "web"} in found
    assert filters["monitoring_declared"](SITE, hostvars)["hosts"] == 1
    assert filters["monitoring_urls"](SITE, hostvars) == {"web": "https://mon.example/"}


def test_a_hash_is_the_same_each_time_and_another_for_another() -> None:
    bcrypt = filters["bcrypt"]
    made = bcrypt("sesame", "monitoring")
    assert re.fullmatch(r"\$2b\$10\$[./A-Za-z0-9]{53}", made)
    assert made == bcrypt("sesame", "monitoring")
    assert len({made, bcrypt("sesame", "other"), bcrypt("sesam", "monitoring")}) == 3


def test_the_hash_is_what_others_make_of_it() -> None:
    # A published test vector of bcrypt.
    vector = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
    assert _crypt(b"U*U", vector.encode()) == vector


@pytest.mark.parametrize("password", ["", "x" * 73, "a\0b"], ids=["empty", "longer than bcrypt looks", "with a zero"])
def test_a_password_that_cannot_be_hashed(password: str) -> None:
    with pytest.raises(AnsibleFilterError, match="expected 1 to 72"):
        filters["bcrypt"](password, "monitoring")
