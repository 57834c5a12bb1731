# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils import drill_alert_sampler


class Alertmanager(BaseHTTPRequestHandler):
    """Answers each time the next of what it is to say, and then the last again; None is an error."""

    says: list[Any]

    def do_GET(self) -> None:
        said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        self.send_response(200 if self.path == "/api/v2/alerts" and said is not None else 500)
        self.end_headers()
        self.wfile.write(json.dumps(said).encode())

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def alertmanager() -> Iterator[tuple[list[Any], str]]:
    """What it is to say, and where it is."""
    handler = type("Handler", (Alertmanager,), {"says": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield handler.says, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def alert(name: str, starts: str = "1970-01-01T00:01:40.500Z") -> dict[str, Any]:
    return {"labels": {"alertname": name}, "startsAt": starts, "status": {"state": "active"}}


def test_changes_are_said_once(
    alertmanager: tuple[list[Any], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(drill_alert_sampler, "INTERVAL", 0.01)
    says, url = alertmanager
    one, two = alert("HostDown"), alert("SiteDown")
    says.extend([[one, two], [two, one], None, [two], []])
    file = tmp_path / "samples"
    file.write_text('{"at": 1, "ale')
    drill_alert_sampler.main(str(file), time.time() + 0.5, url)
    # The line that was cut stays cut, and spoils no other one.
    lines = [json.loads(line) for line in file.read_text().splitlines()[1:]]
    down = {"labels": {"alertname": "HostDown"}, "since": 100.5}
    site = {"labels": {"alertname": "SiteDown"}, "since": 100.5}
    assert lines[0]["alerts"] == [down, site]
    assert set(lines[1]) == {"at"}
    assert "500" in lines[2]["trouble"]
    assert lines[3]["alerts"] == [site]
    assert lines[4]["alerts"] == []
    assert all(set(line) == {"at"} for line in lines[5:])


def test_nobody_listens(tmp_path: Path) -> None:
    file = tmp_path / "samples"
    drill_alert_sampler.main(str(file), time.time() + 0.01, "http://127.0.0.1:9")
    assert "refused" in json.loads(file.read_text().splitlines()[1])["trouble"]
