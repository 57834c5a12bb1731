# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Arguments that the modules for PostgreSQL share; doc_fragments/postgresql.py documents them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.pg_io import Instance

Spec = dict[str, dict[str, Any]]

LOCATION: Spec = {
    "version": {"type": "int", "required": True},
    "cluster": {"type": "str", "default": "main"},
    "data_directory": {"type": "path"},
    "config_directory": {"type": "path"},
    "port": {"type": "int", "default": 5432},
}
UNIT: Spec = {"unit": {"type": "str"}}
ACCESS: Spec = {
    "replication_user": {"type": "str", "default": "replication"},
    "passfile": {"type": "path", "no_log": False},
    "sslmode": {
        "type": "str",
        "choices": ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"],
        "default": "verify-full",
    },
    "ssl_root_certificate": {"type": "path"},
}


def instance_from(params: Mapping[str, Any]) -> Instance:
    """The instance that ``LOCATION`` describes."""
    return Instance.of(**{name: params[name] for name in LOCATION})


def unit_from(params: Mapping[str, Any]) -> str:
    """The systemd unit of the instance."""
    return str(params["unit"] or f"postgresql@{params['version']}-{params['cluster']}.service")


def access_from(params: Mapping[str, Any], instance: Instance) -> dict[str, Any]:
    """How other members are reached, as ``Access`` and ``Replication`` take it; None for a file that isn't there."""

    def found(path: Path) -> str | None:
        return str(path) if path.exists() else None

    return {
        "user": params["replication_user"],
        "sslmode": params["sslmode"],
        "ssl_root_certificate": params["ssl_root_certificate"] or found(instance.config_directory / "tls" / "ca.crt"),
        "passfile": params["passfile"] or found(instance.config_directory / "replication.pgpass"),
    }
