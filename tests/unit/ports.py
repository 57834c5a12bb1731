# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports for servers that a test starts, stops and starts again."""

from __future__ import annotations

import itertools
import os
import socket

# Below those that the kernel gives to connections, one of which could take a stopped server's port; and of their own
# for each of pytest's workers, which would choose the same one until a server listens on it.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PORTS = itertools.cycle(range(10000 + 1000 * _WORKER, 11000 + 1000 * _WORKER))


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens, and which nobody else is given."""
    for port in _PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server will
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("unreachable")
