# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small site with the contract that a drill uses, which misbehaves as a test wants."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


class Site:
    """What it holds, and what is wrong with it."""

    def __init__(self) -> None:
        self.sessions: list[dict[str, Any]] = []
        self.videos: dict[str, bytes] = {}
        self.status = 0  # answered instead of anything else
        self.stall = 0.0  # seconds before an answer
        self.hang_up = False
        self.forgetful = False  # acknowledges writes and keeps nothing
        self.lies = False  # acknowledges other bytes than it was sent
        self.lock = threading.Lock()

    def add(self, key: str) -> dict[str, Any]:
        with self.lock:
            row = {"id": len(self.sessions) + 1, "key": key}
            if not self.forgetful:
                self.sessions.append(row)
            return row


class Handler(BaseHTTPRequestHandler):
    site: Site

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""

    def _answer(self, status: int, body: bytes | Any) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _misbehaves(self) -> bool:
        time.sleep(self.site.stall)
        if self.site.hang_up:
            self.close_connection = True
            return True
        if self.site.status:
            self._answer(self.site.status, b"")
        return bool(self.site.status)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self._misbehaves():
            return
        if self.path == "/sessions":
            self._answer(201, self.site.add(json.loads(body)["key"]))
            return
        # The file is the last part, and may hold anything.
        data = body[body.index(b"\r\n\r\n", body.index(b'name="file"')) + 4 : body.rindex(b"\r\n--")]
        video = str(uuid.uuid4())
        self.site.videos[video] = data
        taken = b"" if self.site.lies else data
        self._answer(201, {"id": video, "sha256": hashlib.sha256(taken).hexdigest()})

    def do_GET(self) -> None:
        if self._misbehaves():
            return
        if found := re.fullmatch(r"/videos/(.+)/file", self.path):
            data = self.site.videos.get(found[1])
            if data is None:
                self._answer(404, b"")
            elif wanted := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
                self._answer(206, data[int(wanted[1]) : int(wanted[2]) + 1])
            else:
                self._answer(200, data)
        elif self.path.startswith("/sessions"):
            after = int((re.search(r"after=(\d+)", self.path) or "00")[1])
            limit = int((re.search(r"limit=(\d+)", self.path) or ["", "100"])[1])
            self._answer(200, {"sessions": [row for row in self.site.sessions if row["id"] > after][:limit]})
        else:
            self._answer(200, b"page")


@pytest.fixture
def site() -> Iterator[tuple[Site, str]]:
    """The site, and where it is."""
    handler = type("Handler", (Handler,), {"site": Site()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield handler.site, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
