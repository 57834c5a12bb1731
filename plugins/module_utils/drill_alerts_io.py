# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watches on a monitoring host which alerts fire while a site is drilled, and waits for some of them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils import drill_alert_sampler, drill_alerts
from ansible_collections.renfo.redundancy.plugins.module_utils.drill_faults import Alert
from ansible_collections.renfo.redundancy.plugins.module_utils.drill_recorder_io import Recorder, Run

UNIT = "renfo-drill-alerts.service"
#: Seconds within which Alertmanager must have said what fires.
FIRST = 15.0


class WatchError(Exception):
    """Nobody says which alerts fire; the message says why, and what to do."""


class Watch:
    """The sampler on this host. *root* is where the file system begins; *run* executes a command."""

    def __init__(self, run: Run, root: Path = Path("/")) -> None:
        self._recorder = Recorder(UNIT, UNIT.removesuffix(".service"), run, root)

    def begin(self, until: float) -> None:
        """Watch from now on, after a reboot too, until *until* (seconds since the epoch).

        WatchError, and nothing left behind, if that is in vain.
        """
        try:
            self._recorder.begin(drill_alert_sampler, "prometheus", f"{until:.0f}")
            why = self._silence()
        except (OSError, LookupError) as error:
            why = str(error)
        if why:
            self.end()
            raise WatchError(
                f"{why}. Expected an Alertmanager on {drill_alert_sampler.URL} that Prometheus tells what fires. Run "
                "site.yml, which sets both up, or drill without drill_alerts"
            )

    def _silence(self) -> str:
        """Why Alertmanager doesn't say within ``FIRST`` seconds that all is watched; empty if it does."""
        began = time.time()
        while not drill_alerts.watchdog(self._lines()):
            if time.time() - began > FIRST:
                return drill_alerts.trouble(self._lines(), began) or "the alert Watchdog doesn't fire"
            time.sleep(drill_alert_sampler.INTERVAL)
        return ""

    def end(self) -> None:
        """Remove every trace."""
        self._recorder.end()

    def ask(self, alerts: Sequence[Alert], gone: bool, since: float, patience: float) -> dict[str, Any]:
        """What fired since *since*, as soon as all *alerts* did or, with *gone*, none of them does any more; after
        *patience* at the latest. Gives ``firings``, and the ``trouble`` if nobody knows."""
        asked = time.time()
        while True:
            time.sleep(drill_alert_sampler.INTERVAL)
            lines = self._lines()
            fired = drill_alerts.firings(lines, since)
            trouble = drill_alerts.trouble(lines, asked)
            done = not trouble and not drill_alerts.awaited(alerts, fired, gone)
            if done or time.time() - asked >= patience:
                return {"firings": [dataclasses.asdict(firing) for firing in fired], "trouble": trouble}

    def _lines(self) -> list[dict[str, Any]]:
        return self._recorder.lines()[0]
