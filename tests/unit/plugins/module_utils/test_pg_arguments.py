# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.renfo.redundancy.plugins.doc_fragments.postgresql import ModuleDocFragment
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_arguments import (
    ACCESS,
    LOCATION,
    UNIT,
    access_from,
    instance_from,
    unit_from,
)

PARAMS: dict[str, Any] = {
    "version": 17,
    "cluster": "main",
    "data_directory": None,
    "config_directory": None,
    "port": 5433,
    "unit": None,
    "replication_user": "replication",
    "passfile": None,
    "sslmode": "verify-full",
    "ssl_root_certificate": None,
}


def test_every_argument_is_documented() -> None:
    for spec, text in (
        (LOCATION, ModuleDocFragment.DOCUMENTATION),
        (UNIT, ModuleDocFragment.UNIT),
        (ACCESS, ModuleDocFragment.ACCESS),
    ):
        assert [line.strip(" :") for line in text.splitlines() if line.startswith("  ") and line[2] != " "] == list(
            spec
        )


def test_where_an_instance_lives() -> None:
    instance = instance_from(PARAMS)
    assert (instance.data_directory, instance.port) == (Path("/var/lib/postgresql/17/main"), 5433)
    assert unit_from(PARAMS) == "postgresql@17-main.service"
    assert unit_from({**PARAMS, "unit": "db.service"}) == "db.service"


def test_access_takes_what_lies_in_the_configuration_directory(tmp_path: Path) -> None:
    params = {**PARAMS, "config_directory": str(tmp_path)}
    instance = instance_from(params)
    assert access_from(params, instance)["passfile"] is None
    (tmp_path / "replication.pgpass").touch()
    (tmp_path / "tls").mkdir()
    (tmp_path / "tls" / "ca.crt").touch()

    assert access_from(params, instance) == {
        "user": "replication",
        "sslmode": "verify-full",
        "ssl_root_certificate": f"{tmp_path}/tls/ca.crt",
        "passfile": f"{tmp_path}/replication.pgpass",
    }
    given = access_from({**params, "ssl_root_certificate": "/a", "passfile": "/b"}, instance)
    assert (given["ssl_root_certificate"], given["passfile"]) == ("/a", "/b")
