"""The lab's Prometheus as tests see it, who it tells, and its page."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import requests
import yaml

from tests.support.lab import INVENTORY, Lab

HOST = "ops1"
CONFIG = "/etc/monitoring"
RECEIVED = "/var/tmp/received.jsonl"
RECEIVER = f"""
import http.server, json, time

class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with open("{RECEIVED}", "a") as file:
            file.write(json.dumps({{"path": self.path, "at": time.time(), "body": body}}) + "\\n")
        self.send_response(200)
        self.end_headers()

http.server.ThreadingHTTPServer(("127.0.0.1", 9099), Receiver).serve_forever()
"""


class Prometheus:
    """Asked on its own host, as an operator would there."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.url = f"https://{lab.addresses[HOST]}:9090"
        self.password = (INVENTORY / ".secrets" / lab.name / "site_monitoring_password").read_text().strip()

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of one answer of the API."""
        url = f"{self.url}/api/v1/{path}?{urlencode(parameters)}"
        config = f'user = "monitoring:{self.password}"\nurl = "{url}"\n'
        said = self.lab.feed(HOST, f"curl --silent --show-error --fail --cacert {CONFIG}/tls/ca.crt --config -", config)
        return json.loads(said)["data"]

    def firing(self) -> set[tuple[str, str]]:
        """Alerts that fire, each with its host, its replica or its tier. Without the one that always does."""
        return {
            (alert["labels"]["alertname"], alert["labels"].get("tier") or alert["labels"].get("instance", ""))
            for alert in self.ask("alerts")["alerts"]
            if alert["state"] == "firing" and alert["labels"]["alertname"] != "Watchdog"
        }

    def silent_targets(self) -> set[tuple[str, str]]:
        """What doesn't answer: job, instance."""
        targets = self.ask("targets", state="active")["activeTargets"]
        return {(one["labels"]["job"], one["labels"]["instance"]) for one in targets if one["health"] != "up"}

    @contextlib.contextmanager
    def heard(self) -> Iterator[Any]:
        """Somebody listens to notifications on the host; gives a function that returns what came, path by path."""
        before = self.lab.run(HOST, f"cat {CONFIG}/alertmanager.yml")
        config = yaml.safe_load(before)
        for receiver in config["receivers"]:
            receiver["webhook_configs"] = [{"url": f"http://127.0.0.1:9099/{receiver['name']}"}]
        self.lab.feed(HOST, "cat > /usr/local/sbin/receiver.py", RECEIVER)
        self.lab.run(
            HOST, f"rm -f {RECEIVED}; systemd-run -q --collect --unit=receiver python3 /usr/local/sbin/receiver.py"
        )
        try:
            self._tell(yaml.safe_dump(config))
            yield self._received
        finally:
            self._tell(before + "\n")
            self.lab.run(HOST, f"systemctl stop receiver; rm -f {RECEIVED} /usr/local/sbin/receiver.py")

    def _tell(self, config: str) -> None:
        # In its place: owner and mode stay.
        self.lab.feed(HOST, f"cat > {CONFIG}/alertmanager.yml", config)
        self.lab.run(HOST, f"{CONFIG}/check && systemctl reload prometheus-alertmanager")

    def _received(self) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        for line in self.lab.run(HOST, f"cat {RECEIVED} 2>/dev/null || true").splitlines():
            said = json.loads(line)
            found.setdefault(said["path"], []).append(said["body"])
        return found

    @contextlib.contextmanager
    def local(self) -> Iterator[str]:
        """An address on this machine that leads there and knows the password: a browser is told none."""
        prometheus = self

        class Door(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = requests.get(
                    prometheus.url + self.path, auth=("monitoring", prometheus.password), verify=False, timeout=30
                )
                self.send_response(answer.status_code)
                self.send_header("Content-Type", answer.headers.get("Content-Type", "text/plain"))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, *_arguments: object) -> None:
                """Nobody reads it."""

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Door)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
