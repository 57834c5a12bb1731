# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Injects a fault on this host and undoes it. The undo is armed first, by a timer of systemd's, and fires even if
whoever ordered the fault is never heard of again."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ansible_collections.renfo.redundancy.plugins.module_utils.drill_faults import INJECT_UNIT, UNDO_UNIT, Steps

Run = Callable[[Sequence[str]], tuple[int, str, str]]


class DrillError(Exception):
    """A fault could not be injected or undone; nothing of it is left, or the message says what is."""


class HostFault:
    """One fault on this host. *run* executes a command and gives exit code, output and errors.

    *folder* holds what the timers leave word of: when one undid it, and that one has not injected it yet.
    """

    def __init__(self, steps: Steps, run: Run, folder: Path = Path("/run")) -> None:
        self._steps = steps
        self._run = run
        self._undone = folder / "renfo-drill-undone"
        self._due = folder / "renfo-drill-due"

    def inject(self, undo_after: float, delay: float = 0.0) -> float:
        """Do it, to be undone *undo_after* seconds later at the latest; when it is done, in seconds since the epoch.

        With a *delay* the host does it by itself so many seconds from now: whoever cuts a network could not say that
        he did.
        """
        self._disarm()
        self._must(*self._steps.check)
        self._later(UNDO_UNIT, delay + undo_after, f"{self._steps.undo}; date +%s.%N >{self._undone}")
        if delay:
            self._due.touch()
            self._later(INJECT_UNIT, delay, f"{shlex.join(self._steps.inject)} && rm {self._due}")
            return time.time() + delay
        try:
            self._must(*self._steps.inject)
        except DrillError:
            self.undo()
            raise
        return time.time()

    def undo(self) -> float:
        """As it was before; does no harm if that is so already. When it was undone, in seconds since the epoch.

        DrillError if it was to be injected by a timer, and was not.
        """
        self._must("/bin/sh", "-c", self._steps.undo)
        at = time.time()
        with contextlib.suppress(OSError, ValueError):
            at = float(self._undone.read_text())
        never = self._due.exists()
        self._disarm()
        if never:
            raise DrillError(f"the fault was never injected: see 'journalctl -u {INJECT_UNIT}' on the host")
        return at

    def _later(self, unit: str, seconds: float, script: str) -> None:
        timer = (f"--unit={unit}", f"--on-active={seconds:.1f}", "--timer-property=AccuracySec=50ms")
        self._must("systemd-run", "--quiet", *timer, "/bin/sh", "-c", script)

    def _disarm(self) -> None:
        """Take the timers away; a service that is just undoing may end its work first."""
        for unit in (INJECT_UNIT, UNDO_UNIT):
            self._run(("systemctl", "stop", f"{unit}.timer"))
            self._run(("systemctl", "reset-failed", f"{unit}.timer", f"{unit}.service"))
        for path in (self._undone, self._due):
            path.unlink(missing_ok=True)

    def _must(self, *command: str) -> None:
        try:
            code, output, errors = self._run(command)
        except OSError as error:
            raise DrillError(f"{command[0]}: {error.strerror}") from error
        if code != 0:
            raise DrillError(f"{' '.join(command)} ended with {code}: {(errors or output).strip()}")
