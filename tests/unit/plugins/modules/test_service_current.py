# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import fnmatch
import http.server
import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.modules import service_current

Run = Callable[["Host"], dict[str, Any]]


class Ended(Exception):
    """The module called exit_json or fail_json."""


class Unit:
    """What systemd knows of a unit."""

    def __init__(self, active: bool = False, enabled: bool = False) -> None:
        self.enabled = enabled
        self.state = "active" if active else "inactive"
        self.sub = "running" if active else "dead"
        self.started = time.clock_gettime(time.CLOCK_MONOTONIC) if active else 0.0
        self.invocation = "first" if active else ""
        self.reload_due = False
        self.skipped = False  # its ExecCondition= says no
        self.where = ""  # of a mount


class Host:
    """A module on a host with a systemd that does what it is told and keeps the list."""

    def __init__(self, known: dict[str, Unit], check_mode: bool = False, **params: Any) -> None:
        self.units = known
        self.check_mode = check_mode
        self.params = {
            "units": [],
            "files": [],
            "context": "",
            "on_change": "restart",
            "restart_files": [],
            "validate": [],
            "enabled": True,
            "ready_urls": [],
            "ready_timeout": 5,
            "gate": "",
            "gate_seconds": 300,
            "only_instances_of": "",
            **params,
        }
        self.commands: list[str] = []
        self.told: dict[str, str] = {}  # what it says of a file system
        self.broken: set[str] = set()
        self.result: dict[str, Any] = {}
        self._invocations = itertools.count()

    def run_command(self, argv: list[str], environ_update: dict[str, str] | None = None) -> tuple[int, str, str]:
        line = " ".join(argv)
        if line in self.broken:
            return 1, "", f"{argv[0]}: it is broken\n"
        match argv:
            case ["systemctl", "show", name, _properties]:
                return 0, self._show(self.units.get(name, Unit())), ""
            case ["systemctl", "list-units", "--all", "--plain", "--no-legend", pattern]:
                found = [name for name in self.units if fnmatch.fnmatch(name, pattern)]
                return 0, "".join(f"{name} loaded active running app\n" for name in found), ""
            case ["journalctl", "-u", *_rest]:
                return 0, "the unit's last words\n", ""
            case ["timeout", "5", "stat", "-f", where]:
                return 1, "", f"stat: cannot read file system information for '{where}': {self.told.get(where, '')}\n"
        self.commands.append(line)
        match argv:
            case ["systemctl", "daemon-reload"]:
                for unit in self.units.values():
                    unit.reload_due = False
            case ["systemctl", "enable", name]:
                self.units.setdefault(name, Unit()).enabled = True
            case ["systemctl", "restart", name] if name in self.units and self.units[name].skipped:
                pass
            case ["systemctl", "restart" | "start", name]:
                enabled = self.units.setdefault(name, Unit()).enabled
                self.units[name] = Unit(active=True, enabled=enabled)
                self.units[name].invocation = f"later {next(self._invocations)}"
            case ["systemctl", "disable", "--now", name]:
                del self.units[name]
            case ["systemctl", "reset-failed", name] if name not in self.units:
                return 1, "", f"Unit {name} not loaded.\n"
        return 0, "", ""

    @staticmethod
    def _show(unit: Unit) -> str:
        return (
            f"ActiveState={unit.state}\nSubState={unit.sub}\nUnitFileState={'enabled' if unit.enabled else 'disabled'}\n"
            f"InvocationID={unit.invocation}\nActiveEnterTimestampMonotonic={int(unit.started * 1e6)}\n"
            f"NeedDaemonReload={'yes' if unit.reload_due else 'no'}\n{f'Where={unit.where}' if unit.where else ''}\n"
        )

    def exit_json(self, **result: Any) -> None:
        self.result = result
        raise Ended

    def fail_json(self, **result: Any) -> None:
        self.result = {"failed": True, **result}
        raise Ended


@pytest.fixture
def stamps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    directory = tmp_path / "run"
    monkeypatch.setattr(service_current, "STAMPS", directory)
    return directory


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, stamps: Path) -> Run:
    def run(host: Host) -> dict[str, Any]:
        host.commands = []
        monkeypatch.setattr(service_current, "AnsibleModule", lambda **_arguments: host)
        with pytest.raises(Ended):
            service_current.main()
        return host.result

    return run


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "app.conf"
    path.write_text("a=1\n")
    os.utime(path, (1, 1))
    return path


def nginx(config: Path, **params: Any) -> Host:
    units = {"nginx.service": Unit(active=True, enabled=True)}
    return Host(units, units=["nginx.service"], files=[str(config)], on_change="reload", **params)


def test_check_then_apply_then_again(run: Run, stamps: Path, config: Path) -> None:
    host = Host({}, check_mode=True, units=["app@1.service"], files=[str(config)])
    planned = run(host)
    assert planned["actions"] == ["enable app@1.service", "start app@1.service"]
    assert host.commands == []
    assert not stamps.exists()

    host.check_mode = False
    assert run(host) == planned
    assert host.commands == [
        "systemctl daemon-reload",
        "systemctl enable app@1.service",
        # Debian's postgresql@.service may only claim to be active: a start would do nothing.
        "systemctl restart app@1.service",
    ]

    again = run(host)
    assert again == {"changed": False, "actions": [], "diff": {"before": "", "after": ""}}
    assert host.commands == []


def test_a_unit_that_changed_is_restarted_and_not_reloaded(run: Run, config: Path, tmp_path: Path) -> None:
    unit = tmp_path / "nginx.service"
    unit.write_text("[Service]\n")
    os.utime(unit, (1, 1))
    host = nginx(config, restart_files=[str(unit)])
    assert run(host)["actions"] == []
    os.utime(unit, None)
    host.units["nginx.service"].started -= 60
    assert run(host)["actions"] == ["restart nginx.service"]
    assert run(host)["actions"] == []


def test_a_unit_that_somebody_restarted_follows_a_link_that_was_switched(run: Run, tmp_path: Path) -> None:
    """There is no stamp of that start, and the files of the release are older than it."""
    for release in ("old", "new"):
        (tmp_path / release).mkdir()
        (tmp_path / release / "VERSION").write_text(release)
        os.utime(tmp_path / release / "VERSION", (1, 1))
    link = tmp_path / "current"
    link.symlink_to("old")
    os.utime(link, (1, 1), follow_symlinks=False)
    unit = Unit(active=True, enabled=True)
    host = Host({"app@1.service": unit}, units=["app@1.service"], files=[str(link / "VERSION")], context="old")
    assert run(host)["actions"] == []
    unit.invocation = "by hand"
    link.unlink()
    link.symlink_to("new")
    unit.started -= 60
    host.params["context"] = "new"
    assert run(host)["actions"] == ["restart app@1.service"]
    assert run(host)["actions"] == []


@pytest.mark.parametrize(
    ("sub", "afterwards"),
    [
        pytest.param("condition", [], id="nothing was read yet"),
        pytest.param("start", ["systemctl reload app@1.service"], id="older files may have been read"),
    ],
)
def test_a_start_under_way_is_waited_for(run: Run, config: Path, sub: str, afterwards: list[str]) -> None:
    """A restart would kill the server that was just let in."""
    unit = Unit(enabled=True)
    unit.state, unit.sub = "activating", sub
    config.touch()
    host = Host({"app@1.service": unit}, units=["app@1.service"], files=[str(config)], on_change="reload")
    assert run(host)["actions"] == ["start app@1.service"]
    assert host.commands == ["systemctl daemon-reload", "systemctl start app@1.service", *afterwards]


def test_a_changed_file_is_taken_over_once(run: Run, config: Path) -> None:
    host = nginx(config, validate=["nginx", "-t"])
    assert run(host)["actions"] == []

    config.write_text("a=2\n")
    assert run(host)["actions"] == ["reload nginx.service"]
    assert host.commands == ["nginx -t", "systemctl daemon-reload", "systemctl reload nginx.service"]
    assert run(host)["actions"] == []


def test_an_interrupted_run_is_finished_by_the_next_one(run: Run, config: Path) -> None:
    host = nginx(config)
    run(host)
    config.write_text("a=2\n")
    host.broken = {"systemctl reload nginx.service"}
    failed = run(host)
    assert failed["failed"]
    assert failed["msg"] == (
        "systemctl reload nginx.service failed: systemctl: it is broken\nIts journal ends with:\nthe unit's last words"
    )

    host.broken = set()
    assert run(host)["actions"] == ["reload nginx.service"]


def test_a_configuration_that_is_refused_reaches_no_service(run: Run, config: Path) -> None:
    host = nginx(config, validate=["nginx", "-t"])
    run(host)
    config.write_text("nonsense\n")
    host.broken = {"nginx -t"}
    assert run(host)["msg"] == "nginx -t failed: nginx: it is broken"
    assert host.commands == []


def test_a_unit_that_systemd_skips_is_an_error(run: Run) -> None:
    host = Host({"postgresql@17-main.service": Unit(enabled=True)}, units=["postgresql@17-main.service"])
    host.units["postgresql@17-main.service"].skipped = True
    assert run(host)["msg"] == (
        "postgresql@17-main.service doesn't run.\nIts journal ends with:\nthe unit's last words"
    )


def test_another_release_restarts(run: Run, config: Path) -> None:
    host = Host({"app@1.service": Unit(True, True)}, units=["app@1.service"], files=[str(config)], context="r1")
    run(host)
    host.params["context"] = "r2"
    assert run(host)["actions"] == ["restart app@1.service"]


def test_each_instance_has_files_of_its_own(run: Run, tmp_path: Path) -> None:
    for index in (1, 2):
        (tmp_path / f"{index}.env").write_text("x")
        os.utime(tmp_path / f"{index}.env", (1, 1))
    names = ["app@1.service", "app@2.service"]
    host = Host({name: Unit(True, True) for name in names}, units=names, files=[str(tmp_path / "%i.env")])
    assert run(host)["actions"] == []
    (tmp_path / "2.env").write_text("y")
    assert run(host)["actions"] == ["restart app@2.service"]


def test_files_of_a_folder_and_missing_ones(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "conf.d"
    folder.mkdir()
    host = nginx(folder)
    host.params["files"].append(str(tmp_path / "missing"))
    assert run(host)["actions"] == []
    (folder / "new.conf").write_text("x")
    assert run(host)["actions"] == ["reload nginx.service"]


def test_a_unit_that_only_claims_to_be_active_is_started(run: Run, config: Path) -> None:
    host = nginx(config)
    host.units["nginx.service"].sub = "exited"
    assert run(host)["actions"] == ["start nginx.service"]


@pytest.mark.parametrize(
    ("said", "actions"),
    [
        ("Transport endpoint is not connected", ["start srv-media.mount"]),
        # It hangs, or is merely slow: whoever uses it waits.
        ("Input/output error", []),
    ],
)
def test_a_mount_of_a_store_that_is_no_more(run: Run, said: str, actions: list[str]) -> None:
    host = Host({"srv-media.mount": Unit(True, True)}, units=["srv-media.mount"], on_change="nothing")
    host.units["srv-media.mount"].where = "/srv/media"
    host.told["/srv/media"] = said
    assert run(host)["actions"] == actions
    assert ("systemctl restart srv-media.mount" in host.commands) is bool(actions)


def test_a_unit_that_systemd_must_read_again(run: Run, config: Path) -> None:
    host = nginx(config)
    host.units["nginx.service"].reload_due = True
    assert run(host)["actions"] == []
    assert host.commands == ["systemctl daemon-reload"]


def test_copies_that_are_too_many_are_stopped(run: Run) -> None:
    names = ["app@1.service", "app@2.service", "app@3.service"]
    host = Host({name: Unit(True, True) for name in names}, units=names[:1], only_instances_of="app@")
    assert run(host)["actions"] == ["stop app@2.service", "stop app@3.service"]
    assert list(host.units) == ["app@1.service"]
    assert run(host)["actions"] == []


def test_a_url_for_each_unit_or_for_none(run: Run) -> None:
    host = Host({}, units=["app@1.service", "app@2.service"], ready_urls=["http://127.0.0.1:1/"])
    assert run(host)["msg"] == "ready_urls has 1 entries for 2 units: give one for each"


def test_a_broken_stamp_of_another_invocation_is_replaced(run: Run, stamps: Path, config: Path) -> None:
    host = nginx(config)
    run(host)
    before = json.loads((stamps / "nginx.service.json").read_text())
    host.units["nginx.service"].invocation = "after the reboot"
    assert run(host)["actions"] == []
    after = json.loads((stamps / "nginx.service.json").read_text())
    assert (before["invocation"], after["invocation"]) == ("first", "after the reboot")
    assert before["digest"] == after["digest"]


class Application(http.server.BaseHTTPRequestHandler):
    """Answers 503 until it was asked often enough."""

    asked = 0
    ready_after = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        ready = type(self).asked > type(self).ready_after
        body = b"fine" if ready else b"the database is away"
        self.send_response(200 if ready else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        """Nothing to say."""


@pytest.fixture
def application() -> Iterator[str]:
    Application.asked = 0
    Application.ready_after = 0
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Application)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/readyz"
    server.shutdown()
    server.server_close()


def test_a_unit_counts_as_up_when_it_answers(run: Run, application: str) -> None:
    Application.ready_after = 2
    host = Host({}, units=["app@1.service"], ready_urls=[application])
    assert run(host)["changed"]
    assert Application.asked == 3


def test_a_unit_that_never_gets_ready_ends_the_run_before_the_next_one(run: Run, application: str) -> None:
    Application.ready_after = 1000
    units = ["app@1.service", "app@2.service"]
    host = Host({}, units=units, ready_urls=[application, application], ready_timeout=0.5)
    result = run(host)
    assert result["failed"]
    assert result["msg"] == (
        f"app@1.service did not get ready within 0.5 s: {application} says: 503 the database is away\n"
        "Its journal ends with:\nthe unit's last words"
    )
    assert "systemctl restart app@2.service" not in host.commands


def test_nobody_listens(run: Run) -> None:
    host = Host({}, units=["app@1.service"], ready_urls=["http://127.0.0.1:1/"], ready_timeout=0.3)
    assert "Connection refused" in run(host)["msg"]


def test_the_release_before_replaces_one_that_never_got_ready(run: Run, application: str) -> None:
    units = {"app@1.service": Unit()}
    Application.ready_after = 1000
    bad = {"units": ["app@1.service"], "context": "bad", "ready_urls": [application], "ready_timeout": 0.3}
    assert run(Host(units, **bad))["failed"]
    Application.ready_after = 0
    good = Host(units, units=["app@1.service"], context="good", ready_urls=[application])
    assert run(good)["actions"] == ["restart app@1.service"]


def test_nobody_asks_a_unit_before_it_is_ready(run: Run, application: str) -> None:
    given = {"units": ["app@1.service"], "ready_urls": [application], "gate": "app_%i_gate", "gate_seconds": 90}
    host = Host({}, **given)
    run(host)
    closed, *rest, opened = [line for line in host.commands if line.startswith(("nft", "systemctl restart"))]
    port = application.rpartition(":")[2].partition("/")[0]
    assert (
        f"table inet app_1_gate {{ set closed {{ type inet_service; flags timeout; elements = {{ {port} timeout 90s"
        in closed
    )
    assert rest == ["systemctl restart app@1.service"]
    assert opened == "nft add table inet app_1_gate; delete table inet app_1_gate"
    # Who was interrupted may have left it closed.
    run(host)
    assert host.commands == [opened]


def test_a_unit_that_never_gets_ready_stays_behind_its_gate(run: Run, application: str) -> None:
    Application.ready_after = 1000
    given = {"ready_urls": [application], "ready_timeout": 0.3, "gate": "app_%i_gate"}
    host = Host({"app@1.service": Unit()}, units=["app@1.service"], **given)
    assert run(host)["failed"]
    assert [line for line in host.commands if line.startswith("nft add")][-1].startswith(
        "nft add table inet app_1_gate; delete"
    )
    assert "set closed" in [line for line in host.commands if line.startswith("nft")][-1]
