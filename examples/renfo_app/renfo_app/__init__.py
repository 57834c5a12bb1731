# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renfo Pas à Pas: the reference application of the collection renfo.redundancy."""

from __future__ import annotations

import logging

from flask import Flask

from .config import Config
from .db import Pool
from .storage import Store
from .views import Services, UploadRequest, site


def create_app(config: Config | None = None) -> Flask:
    """The application. It starts whether or not its database and its store answer yet."""
    config = config or Config.from_env()
    app = Flask(__name__)
    app.request_class = UploadRequest
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 3600
    app.logger.setLevel(logging.INFO)
    store = Store(config.media_dir, max_bytes=config.max_upload_bytes, require_mount=config.require_mount)
    services = Services(
        config=config,
        store=store,
        # Writes get connections for a quarter of a worker's threads, and while no primary answers no more than as
        # many wait for one. Until that is known (a frozen server says nothing for three seconds) more of them
        # wait; the rest of the threads goes on serving what the standbys can answer.
        write_pool=Pool(
            config.write_url,
            name=f"{config.replica}-w",
            size=max(1, config.threads // 4),
            max_waiting_when_failing=config.threads // 4,
        ),
        read_pool=Pool(config.read_url, name=f"{config.replica}-r", size=max(1, config.threads // 2), read_only=True),
    )
    app.extensions["renfo"] = services
    try:
        store.prepare()
    except OSError as error:
        # Not fatal: /readyz keeps the load balancer away until the store is there.
        app.logger.warning("media store %s is not usable yet: %s", config.media_dir, error)
    app.register_blueprint(site)
    return app
