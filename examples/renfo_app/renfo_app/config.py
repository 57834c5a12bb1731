# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings, all of them from the environment."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from psycopg2.extensions import parse_dsn


class ConfigError(Exception):
    """A setting is missing or wrong. The message never repeats a value that may hold a secret."""


@dataclass(frozen=True)
class Config:
    """What the environment says; see README.md for each variable."""

    write_url: str
    read_url: str
    media_dir: Path
    replica: str
    host: str
    version: str
    accel_prefix: str
    max_upload_bytes: int
    threads: int
    require_mount: bool

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Config:
        env = os.environ if env is None else env
        host = env.get("APP_HOST") or socket.gethostname()
        prefix = env.get("APP_ACCEL_PREFIX", "/_media/")
        if prefix and not (prefix.startswith("/") and prefix.endswith("/")):
            raise ConfigError(
                f"APP_ACCEL_PREFIX is {prefix!r}: expected a path such as /_media/ "
                "(empty: the application sends the files itself)"
            )
        write_url = _conninfo(env, "APP_WRITE_URL")
        return cls(
            write_url=write_url,
            read_url=_conninfo(env, "APP_READ_URL") if env.get("APP_READ_URL") else write_url,
            media_dir=Path(_required(env, "APP_MEDIA_DIR")),
            replica=env.get("APP_REPLICA") or f"{host}-1",
            host=host,
            version=env.get("APP_VERSION", "dev"),
            accel_prefix=prefix,
            max_upload_bytes=_positive(env, "APP_MAX_UPLOAD_BYTES", 2 * 1024**3),
            threads=_positive(env, "APP_THREADS", 16),
            require_mount=env.get("APP_MEDIA_REQUIRE_MOUNT", "0") == "1",
        )


def _required(env: Mapping[str, str], name: str) -> str:
    value = env.get(name, "")
    if not value:
        raise ConfigError(f"{name} is not set; README.md lists the variables")
    return value


def _conninfo(env: Mapping[str, str], name: str) -> str:
    value = _required(env, name)
    try:
        parse_dsn(value)
    except psycopg2.Error:
        # libpq's own message would quote the string, password included.
        raise ConfigError(f"{name} is not a valid libpq connection string") from None
    return value


def _positive(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name) or str(default)
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"{name} is {text!r}: expected a whole number above 0")
    return int(text)
