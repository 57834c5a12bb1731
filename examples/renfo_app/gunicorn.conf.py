# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""gunicorn's settings, from the environment."""

from __future__ import annotations

import os

bind = os.environ.get("APP_BIND", "127.0.0.1:8000")
worker_class = "gthread"
workers = int(os.environ.get("APP_WORKERS", "2"))
threads = int(os.environ.get("APP_THREADS", "16"))
# Longer than NGINX keeps an idle upstream connection (60 s): the side that never sends a request
# must not be the side that hangs up.
keepalive = 75
# A deployment lets running uploads and requests end.
graceful_timeout = 30
# Each worker opens its own connections to PostgreSQL after the fork.
preload_app = False
# NGINX writes the access log; errors go to the journal.
accesslog = None
errorlog = "-"
forwarded_allow_ips = os.environ.get("APP_TRUSTED_PROXIES", "127.0.0.1")
# The workers' heartbeat is a file: on a slow disk it would stop a healthy worker.
if os.path.isdir("/dev/shm"):
    worker_tmp_dir = "/dev/shm"
