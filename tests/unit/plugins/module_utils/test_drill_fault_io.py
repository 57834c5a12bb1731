# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.drill_fault_io import DrillError, HostFault
from ansible_collections.renfo.redundancy.plugins.module_utils.drill_faults import Steps

STEPS = Steps(("break", "it"), "mend it", ("look", "at it"))
TIMER = "systemd-run --quiet --unit=renfo-drill-{} --on-active={} --timer-property=AccuracySec=50ms /bin/sh -c {}"


class Shell:
    """Remembers what ran; what is in *failing* fails."""

    def __init__(self, *failing: str) -> None:
        self.ran: list[str] = []
        self._failing = failing

    def __call__(self, command: Sequence[str]) -> tuple[int, str, str]:
        line = " ".join(command)
        self.ran.append(line)
        return (1, "", "no such thing") if line.startswith(self._failing or ("\0",)) else (0, "", "")


@pytest.fixture
def stamp(tmp_path: Path) -> Path:
    return tmp_path / "renfo-drill-undone"


def test_the_undo_is_armed_before_anything_breaks(stamp: Path) -> None:
    shell = Shell()
    HostFault(STEPS, shell, stamp.parent).inject(10)
    undo = f"mend it; date +%s.%N >{stamp}"
    assert shell.ran[-2:] == [TIMER.format("undo", "10.0", undo), "break it"]


def test_who_cuts_the_network_is_told_before_it_is_cut(stamp: Path) -> None:
    shell = Shell()
    began = time.time()
    at = HostFault(STEPS, shell, stamp.parent).inject(10, delay=1)
    assert at - began >= 1
    due = stamp.with_name("renfo-drill-due")
    undo = f"mend it; date +%s.%N >{stamp}"
    assert shell.ran[-2:] == [
        TIMER.format("undo", "11.0", undo),
        TIMER.format("inject", "1.0", f"break it && rm {due}"),
    ]


def test_the_host_says_when_it_was_undone(stamp: Path) -> None:
    stamp.write_text("1234.5\n")
    assert HostFault(STEPS, Shell(), stamp.parent).undo() == 1234.5
    # Only the last time counts.
    assert HostFault(STEPS, Shell(), stamp.parent).undo() > 1234.5


def test_nothing_breaks_that_the_host_could_not_undo(stamp: Path) -> None:
    shell = Shell("systemd-run")
    with pytest.raises(DrillError, match=r"systemd-run .* ended with 1: no such thing"):
        HostFault(STEPS, shell, stamp.parent).inject(10)
    assert "break it" not in shell.ran


def test_what_broke_half_way_is_mended_at_once(stamp: Path) -> None:
    shell = Shell("break")
    with pytest.raises(DrillError, match="break it ended with 1"):
        HostFault(STEPS, shell, stamp.parent).inject(10)
    assert "/bin/sh -c mend it" in shell.ran
    assert "systemctl stop renfo-drill-undo.timer" in shell.ran[shell.ran.index("break it") :]


def test_mended_it_is_not_mended_again_later(stamp: Path) -> None:
    shell = Shell()
    HostFault(STEPS, shell, stamp.parent).undo()
    assert shell.ran[:2] == ["/bin/sh -c mend it", "systemctl stop renfo-drill-inject.timer"]


def test_what_can_not_be_mended_is_said_and_the_timer_stays(stamp: Path) -> None:
    shell = Shell("/bin/sh")
    with pytest.raises(DrillError, match="mend it ended with 1"):
        HostFault(STEPS, shell, stamp.parent).undo()
    assert "systemctl stop renfo-drill-undo.timer" not in shell.ran


def test_a_timer_that_never_injected_it_is_found_out(stamp: Path) -> None:
    HostFault(STEPS, Shell(), stamp.parent).inject(10, delay=1)
    with pytest.raises(DrillError, match="never injected"):
        HostFault(STEPS, Shell(), stamp.parent).undo()
    HostFault(STEPS, Shell(), stamp.parent).inject(10, delay=1)
    stamp.with_name("renfo-drill-due").unlink()
    HostFault(STEPS, Shell(), stamp.parent).undo()


def test_where_there_is_nothing_to_break_nothing_is_armed(stamp: Path) -> None:
    shell = Shell("look")
    with pytest.raises(DrillError, match="look at it ended with 1"):
        HostFault(STEPS, shell, stamp.parent).inject(10)
    assert not any(line.startswith(("systemd-run", "break")) for line in shell.ran)
