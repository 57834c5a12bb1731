# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which alerts fire? ``drill_alert_sampler.py FILE UNTIL [URL]`` runs on a monitoring host, through faults and reboots,
and depends on nothing of the collection.

Asks Alertmanager every second and appends one JSON line to FILE: ``at`` (seconds since the epoch), with ``alerts`` when
they are others than in the line before, or with the ``trouble`` of asking. Ends at UNTIL (seconds since the epoch).
"""

from __future__ import annotations

import datetime
import http.client
import json
import sys
import time
import urllib.request
from typing import Any

INTERVAL = 1.0
TIMEOUT = 5.0
URL = "http://127.0.0.1:9093"


def main(path: str, until: float, url: str = URL) -> None:
    """Ask until *until*, whatever becomes of Alertmanager."""
    # A line that a reboot cut is ended, and what fires is said anew.
    before: list[dict[str, Any]] | None = None
    with open(path, "a", encoding="utf-8") as out:
        out.write("\n")
        while time.time() < until:
            line: dict[str, Any] = {"at": time.time()}
            try:
                alerts = fetch(url)
            except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
                line["trouble"] = str(error) or type(error).__name__
                before = None
            else:
                if alerts != before:
                    line["alerts"] = before = alerts
            out.write(json.dumps(line) + "\n")
            out.flush()
            time.sleep(INTERVAL)


def fetch(url: str) -> list[dict[str, Any]]:
    """The alerts that fire: their ``labels``, and ``since`` when (seconds since the epoch)."""
    # No proxy: it is on this host.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{url}/api/v2/alerts", timeout=TIMEOUT) as answer:
        found = json.load(answer)
    alerts = [
        {"labels": alert["labels"], "since": datetime.datetime.fromisoformat(alert["startsAt"]).timestamp()}
        for alert in found
    ]
    return sorted(alerts, key=lambda alert: json.dumps(alert, sort_keys=True))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), *sys.argv[3:4])
