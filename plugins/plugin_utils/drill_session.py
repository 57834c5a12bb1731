# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A drill on the controller: the folder of its report, the client that uses the site, the verdicts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.drill_verdict import (
    Evidence,
    Losses,
    judge,
    losses,
)
from ansible_collections.renfo.redundancy.plugins.plugin_utils.drill_journal import forget, last_line, lines, note

CLIENT = Path(__file__).with_name("drill_client.py")
#: What an earlier drill left in the folder. Nothing else there is touched.
OWN = ("events.jsonl", "rounds.jsonl", "probe", "logs", "report.json", "report.md", "junit.xml", "index.html")
#: Seconds in which the client has used everything once.
FIRST = 60
#: Seconds that the site has to say what it holds.
EVIDENCE = 300


class SessionError(Exception):
    """The drill can't go on; the message says why."""


class Session:
    """The drill whose report goes to *folder*."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder).absolute()
        self.events = self.folder / "events.jsonl"
        self.rounds = self.folder / "rounds.jsonl"
        self._probe = self.folder / "probe"
        self._requests = self._probe / "requests.jsonl"
        self._config = self._probe / "config.json"

    def start(self, client: Mapping[str, Any], parent: int) -> None:
        """Forget the drill before, and use the site from now on, until ``stop`` or the end of process *parent*."""
        forget(self.folder, OWN)
        self._probe.mkdir(parents=True)
        # Without uploads there would be no video whose bytes are known.
        rates = client["rates"] | ({} if client["rates"].get("upload") else {"video": 0})
        config = {
            **client,
            "rates": rates,
            "out": str(self._requests),
            "stop": str(self._probe / "stop"),
            "parent": parent,
        }
        self._config.write_text(json.dumps(config))
        with open(self._probe / "log", "wb") as log:
            process = subprocess.Popen(
                [sys.executable, str(CLIENT), "probe", str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Not by the Ctrl-C that the operator gives the playbook, but in order.
                start_new_session=True,
            )
        (self._probe / "pid").write_text(str(process.pid))
        ready = Path(f"{self._requests}.ready")
        end = time.monotonic() + FIRST
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                said = (self._probe / "log").read_text().strip()
                raise SessionError(f"the site can't be drilled: {said or f'no answer within {FIRST} s'}")
            time.sleep(0.1)

    def stop(self) -> None:
        """The client ends once everything that it sent was answered."""
        if not self._probe.exists():
            return
        (self._probe / "stop").touch()
        if not (self._probe / "pid").exists():
            return
        process = int((self._probe / "pid").read_text())
        end = time.monotonic() + self._timeout() + 5
        while _runs(process):
            if time.monotonic() > end:
                os.kill(process, signal.SIGKILL)
            time.sleep(0.1)

    def note(self, event: str, **details: Any) -> None:
        """Note what happened just now."""
        note(self.events, event, **details)

    def settle(self) -> None:
        """End the round and wait for the answers to what was sent in it; then the hosts can be asked what they have."""
        self.note("end")
        self._answered(lines(self.events)[-1]["at"])

    def judge(
        self,
        target: Mapping[str, Any],
        witnesses: Mapping[str, Mapping[str, Any]],
        alerts: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """What the round of *target* cost. *witnesses* is what ``drill_witness`` said on each host, *alerts* what
        ``drill_alerts`` did on one."""
        events = lines(self.events)
        begin = max(place for place, event in enumerate(events) if event["event"] == "begin")
        events = events[begin:]
        begun, ended = events[0]["at"], events[-1]["at"]
        requests = [item for item in self.requests() if begun <= item["sent"] < ended]
        # A host that has a store and sees nothing in it counts; one that has none doesn't.
        digests = {host: said["digests"] for host, said in witnesses.items() if said.get("digests") is not None}
        samples = {
            host: [sample for sample in said.get("samples", ()) if begun <= sample["at"] < ended]
            for host, said in witnesses.items()
        }
        rates = json.loads(self._config.read_text())["rates"]
        found = self._evidence(requests, digests)
        result = judge(target, events, requests, samples, found, rates, alerts).to_dict()
        with open(self.rounds, "a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")
        return result

    def lost_since(self) -> Losses:
        """What of everything that was acknowledged since the drill began the site doesn't have any more."""
        return losses(self.requests(), self.held(), ())

    def held(self) -> Evidence:
        """What the site has now of everything that was acknowledged since the drill began."""
        requests = self.requests()
        if not requests:
            raise SessionError(f"the client that uses the site wrote nothing: see {self._probe / 'log'}")
        return self._evidence(requests, {})

    def requests(self) -> list[dict[str, Any]]:
        """Every request of the drill that has ended."""
        return lines(self._requests)

    def _answered(self, until: float) -> None:
        """Wait until no request that was sent before *until* is still under way."""
        end = time.monotonic() + self._timeout() + 5
        while True:
            last = last_line(self._requests)
            if last is None:
                raise SessionError(f"the client that uses the site wrote nothing: see {self._probe / 'log'}")
            if last["sent"] >= until and (last["pending"] is None or last["pending"] >= until):
                return
            if time.monotonic() > end:
                raise SessionError(f"the client that uses the site has ended: see {self._probe / 'log'}")
            time.sleep(0.2)

    def _evidence(self, requests: Sequence[Mapping[str, Any]], digests: Mapping[str, Sequence[str]]) -> Evidence:
        acknowledged = [item for item in requests if item["outcome"] == "ok"]
        wanted = {
            "after": min((item["id"] for item in acknowledged if item["operation"] == "write"), default=1) - 1,
            # Those too of which nobody knows whether they happened: twice they must not have.
            "keys": [item["key"] for item in requests if item["operation"] == "write" and "key" in item],
            "videos": [item["id"] for item in acknowledged if item["operation"] == "upload"],
        }
        files = [self._probe / "wanted.json", self._probe / "found.json"]
        files[0].write_text(json.dumps(wanted))
        try:
            done = subprocess.run(
                [sys.executable, str(CLIENT), "evidence", str(self._config), *map(str, files)],
                capture_output=True,
                text=True,
                timeout=EVIDENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise SessionError(f"the site doesn't say within {EVIDENCE} s what it holds") from None
        if done.returncode != 0:
            raise SessionError(f"the site doesn't say what it holds: {done.stderr.strip()[-500:]}")
        found = json.loads(files[1].read_text())
        return Evidence(found["sessions"], digests, found["downloads"])

    def _timeout(self) -> float:
        return float(json.loads(self._config.read_text())["timeout"])


def _runs(process: int) -> bool:
    """Whether it still works; whoever started it may be gone, or may not have looked yet."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
