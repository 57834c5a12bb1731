# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is this replica fit to serve? Each check has a bound: a hung mount is an answer too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Result:
    ok: bool
    detail: str
    ms: int

    def as_json(self) -> dict[str, Any]:
        return {"ok": self.ok, "detail": self.detail, "ms": self.ms}


class BoundedCheck:
    """Runs `check` in a thread and stops waiting for it after `bound` seconds.

    A check that hangs is never started a second time, so a dead mount costs one thread.
    """

    def __init__(self, check: Callable[[], str], *, bound: float = 2.0) -> None:
        self._check = check
        self._bound = bound
        self._lock = threading.Lock()
        self._running: _Run | None = None

    def start(self) -> Callable[[], Result]:
        """Begin; the returned function waits for the result."""
        began = time.monotonic()
        with self._lock:
            run = self._running
            if run is None or run.done.is_set():
                run = self._running = _Run(self._check)
                run.start()

        def result() -> Result:
            finished = run.done.wait(max(0.0, began + self._bound - time.monotonic()))
            ms = round((time.monotonic() - began) * 1000)
            if not finished:
                return Result(False, f"no answer within {self._bound:g} s", ms)
            return Result(run.ok, run.detail, ms)

        return result


class _Run(threading.Thread):
    def __init__(self, check: Callable[[], str]) -> None:
        super().__init__(name="readiness", daemon=True)
        self._check = check
        self.done = threading.Event()
        self.ok = False
        self.detail = ""

    def run(self) -> None:
        try:
            self.detail = self._check()
            self.ok = True
        except Exception as error:  # noqa: BLE001 - failing in whatever way is "not ready"
            self.detail = str(error).strip() or type(error).__name__
        finally:
            self.done.set()
