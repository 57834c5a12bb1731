# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils import (
    drill_alert_sampler,
    drill_alerts,
    drill_alerts_io,
    drill_recorder_io,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.drill_alerts_io import UNIT, Watch, WatchError
from ansible_collections.renfo.redundancy.plugins.module_utils.drill_faults import Alert
from ansible_collections.renfo.redundancy.plugins.modules import drill_alerts as module

DOWN = Alert("HostDown", "instance", "app1")
ALWAYS = {"labels": {"alertname": "Watchdog", "severity": "none"}, "since": 1.0}
FIRES = {"labels": {"alertname": "HostDown", "instance": "app1"}, "since": 1003.0}


class Host:
    """A monitoring host whose sampler writes each second what it is given for that second, and then the last again."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.says: list[dict[str, Any]] = []
        self.ran: list[str] = []
        self.file = root / "var/lib/renfo-drill-alerts/samples.jsonl"
        self.root = root
        (root / "etc/systemd/system").mkdir(parents=True)
        monkeypatch.setattr(drill_alerts_io, "time", self)
        monkeypatch.setattr(drill_recorder_io.shutil, "chown", lambda *_arguments: None)
        self.watch = Watch(self._run, root)

    def _run(self, command: Sequence[str]) -> tuple[int, str, str]:
        self.ran.append(" ".join(command))
        return 0, "", ""

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.says:
            said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
            with self.file.open("a") as out:
                out.write(json.dumps({"at": self.now, **said}) + "\n")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def test_it_watches_after_a_reboot_too_and_leaves_no_trace(host: Host) -> None:
    host.says = [{"trouble": "refused"}, {"alerts": [ALWAYS]}]
    host.watch.begin(5000.0)
    assert f"systemctl enable --quiet {UNIT}" in host.ran
    unit = (host.root / "etc/systemd/system" / UNIT).read_text()
    assert "User=prometheus\n" in unit
    assert "samples.jsonl 5000\n" in unit
    program = host.file.with_name("sampler.py")
    assert program.read_text() == Path(drill_alert_sampler.__file__).read_text()
    host.watch.end()
    assert not list((host.root / "etc/systemd/system").iterdir())
    assert not program.parent.exists()


@pytest.mark.parametrize(
    ("says", "why"),
    [
        ([{"trouble": "refused"}], "refused. Expected an Alertmanager on http://127.0.0.1:9093"),
        ([{"alerts": []}], "the alert Watchdog doesn't fire. Expected"),
        ([], "the sampler writes nothing"),
    ],
)
def test_who_says_nothing_is_not_watched(host: Host, says: list[dict[str, Any]], why: str) -> None:
    host.says = says
    with pytest.raises(WatchError, match=why):
        host.watch.begin(5000.0)
    assert not host.file.parent.exists()


def test_a_host_without_the_role_is_not_watched(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_arguments: object) -> None:
        raise LookupError("no such user: 'prometheus'")

    monkeypatch.setattr(drill_recorder_io.shutil, "chown", nobody)
    with pytest.raises(WatchError, match="no such user: 'prometheus'"):
        host.watch.begin(5000.0)
    assert not host.file.parent.exists()


def begun(host: Host, *says: dict[str, Any]) -> Watch:
    host.file.parent.mkdir(parents=True)
    host.says = list(says)
    return host.watch


def test_what_must_fire_is_waited_for(host: Host) -> None:
    watch = begun(host, {"alerts": [ALWAYS]}, {}, {}, {"alerts": [ALWAYS, FIRES]}, {})
    said = watch.ask([DOWN], gone=False, since=900.0, patience=120.0)
    assert said == {"firings": [{"labels": FIRES["labels"], "since": 1003.0, "until": None}], "trouble": ""}
    assert host.now == 1004.0


def test_what_must_clear_is_waited_for(host: Host) -> None:
    watch = begun(host, {"alerts": [FIRES]}, {}, {"alerts": []}, {})
    said = watch.ask([DOWN], gone=True, since=900.0, patience=120.0)
    assert said["firings"][0]["until"] == 1003.0


def test_nobody_waits_for_ever(host: Host) -> None:
    watch = begun(host, {"alerts": [ALWAYS]}, {})
    assert watch.ask([DOWN], gone=False, since=900.0, patience=120.0) == {"firings": [], "trouble": ""}
    assert host.now == 1120.0


def test_who_does_not_know_says_so(host: Host) -> None:
    watch = begun(host, {"alerts": [FIRES]}, {"trouble": "refused"})
    host.sleep(1)
    said = watch.ask([DOWN], gone=False, since=900.0, patience=10.0)
    assert said["trouble"] == "refused"


def test_the_module_waits_as_long_as_the_plan_says() -> None:
    assert module.ARGUMENTS["patience"]["default"] == drill_alerts.PATIENCE
