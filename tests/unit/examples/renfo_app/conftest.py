# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference application against real PostgreSQL servers, started in a temporary directory."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ports import free_port
from renfo_servers import Server, Servers, unprivileged, url

sys.path.insert(0, str(Path(__file__).parents[4] / "examples" / "renfo_app"))

from flask import Flask
from renfo_app import create_app
from renfo_app.config import Config
from renfo_app.db import Pool
from renfo_app.schema import apply


@pytest.fixture(scope="session")
def workplace() -> Iterator[Path]:
    """A directory that the server's user may enter (pytest's own is closed to others)."""
    directory = Path(tempfile.mkdtemp(prefix="renfo-pg-"))
    if owner := unprivileged():
        os.chown(directory, owner["user"], owner["group"])
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def template(workplace: Path) -> Path:
    """A data directory with the schema, stopped, to copy from."""
    server = Server("template", workplace / "template", free_port())
    server.init()
    server.start()
    pool = Pool(url(server), name="schema", size=1)
    assert pool.run(apply) == ["sessions", "videos"]
    assert pool.run(apply) == []
    pool.close()
    server.stop("fast")
    return server.data


@pytest.fixture(scope="session")
def shared_servers(workplace: Path, template: Path) -> Iterator[Servers]:
    servers = Servers(workplace, template)
    yield servers
    servers.end()


@pytest.fixture(scope="session")
def shared(shared_servers: Servers) -> Server:
    """A primary for the tests that do it no harm."""
    return shared_servers.primary()


@pytest.fixture
def servers(workplace: Path, template: Path) -> Iterator[Servers]:
    """For the tests that break servers."""
    servers = Servers(workplace, template)
    yield servers
    servers.end()


@pytest.fixture
def make_app(tmp_path: Path) -> Iterator[Callable[..., Flask]]:
    apps: list[Flask] = []

    def make(write: str, read: str | None = None, **env: str) -> Flask:
        media = tmp_path / "media"
        media.mkdir(exist_ok=True)
        settings = {
            "APP_WRITE_URL": write,
            "APP_READ_URL": read or write,
            "APP_MEDIA_DIR": str(media),
            "APP_REPLICA": "app1-1",
            "APP_HOST": "app1",
            "APP_VERSION": "test",
            **env,
        }
        app = create_app(Config.from_env(settings))
        apps.append(app)
        return app

    yield make
    for app in apps:
        app.extensions["renfo"].close()


@pytest.fixture
def app(make_app: Callable[..., Flask], shared: Server) -> Flask:
    return make_app(url(shared))
