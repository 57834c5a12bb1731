# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The firewall of a host whose kernel and systemd are played."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.firewall_io import (
    FirewallError,
    HostFirewall,
    ssh_connection,
)

OLD, NEW = "add table inet site_firewall # old\n", "add table inet site_firewall # new\n"


class Host:
    """What is loaded (a text), the unit's state, and the timer that was set."""

    def __init__(self, root: Path, loaded: str = "", nft: bool = True, refuses: str = "nothing") -> None:
        for folder in ("etc/systemd/system", "run"):
            (root / folder).mkdir(parents=True)
        self.root, self.loaded, self.nft, self.refuses = root, loaded, nft, refuses
        self.active, self.enabled, self.reload_needed = False, False, False
        self.undo = ""
        self.ran: list[str] = []
        self.firewall = HostFirewall(self, root)

    def __call__(self, command: Sequence[str]) -> tuple[int, str, str]:
        self.ran.append(shlex.join(command))
        if self.refuses in self.ran[-1]:
            return 1, "", "no"
        if command[:2] == ("sh", "-c"):
            return (0 if self.nft else 1), "", ""
        answer = {"nft": self._nft, "unshare": self._unshare, "systemctl": self._systemctl, "systemd-run": self._run}
        return answer[command[0]](list(command))

    def _nft(self, command: list[str]) -> tuple[int, str, str]:
        if "--json" in command:
            return (0, listing(self.loaded, 7), "") if self.loaded else (1, "", "No such file")
        if "--file" in command and "--check" not in command:
            self.loaded = Path(command[-1]).read_text()
        elif "delete table" in command[-1]:
            self.loaded = ""
        return 0, "", ""

    def _unshare(self, command: list[str]) -> tuple[int, str, str]:
        return 0, listing(Path(command[-1]).read_text(), 1), ""

    def _systemctl(self, command: list[str]) -> tuple[int, str, str]:
        if command[1] == "show":
            if command[2].startswith("site-firewall-undo"):
                return 0, "ActiveState=inactive\n", ""
            state = {
                "ActiveState": "active" if self.active else "inactive",
                "UnitFileState": "enabled" if self.enabled else "",
                "NeedDaemonReload": "yes" if self.reload_needed else "no",
            }
            return 0, "".join(f"{name}={value}\n" for name, value in state.items()), ""
        if command[1] == "stop" and command[2].startswith("site-firewall-undo"):
            self.undo = ""
        elif command[1] == "enable":
            self.enabled = True
        elif command[1] == "daemon-reload":
            self.reload_needed = False
        elif command[1] == "reload-or-restart":
            self.active = True
            self.loaded = (self.root / "etc/site-firewall.nft").read_text()
        elif command[1] == "disable":
            self.active = self.enabled = False
            self.loaded = ""
        return 0, "", ""

    def _run(self, command: list[str]) -> tuple[int, str, str]:
        self.undo = command[-1]
        return 0, "", ""

    def undo_it(self) -> None:
        """What the timer does."""
        file = self.root / "etc/site-firewall.nft"
        assert str(file) in self.undo
        self.loaded = file.read_text() if file.exists() else ""
        (self.root / "run/site-firewall.nft").unlink()
        self.undo = ""


def listing(text: str, handle: int) -> str:
    """What ``nft --json`` says; handles and guests differ and mean nothing."""
    table = {"table": {"name": "site_firewall", "handle": handle, "text": text}}
    guests = {"set": {"name": "guests4", "handle": handle, "elem": [handle]}}
    return json.dumps({"nftables": [{"metainfo": {"version": str(handle)}}, table, guests]})


def settled(root: Path) -> Host:
    """A host that keeps the old rules."""
    host = Host(root)
    host.firewall.attempt(OLD, 60)
    host.firewall.confirm(OLD)
    host.ran.clear()
    assert host.firewall.is_settled()
    return host


def test_new_rules_are_undone_unless_they_are_confirmed(tmp_path: Path) -> None:
    host = settled(tmp_path)
    host.firewall.attempt(NEW, 60)
    assert host.loaded == NEW
    # The timer comes before the rules.
    armed = next(number for number, line in enumerate(host.ran) if line.startswith("systemd-run"))
    loaded = next(number for number, line in enumerate(host.ran) if line.startswith("nft --file"))
    assert armed < loaded
    assert "--on-active=60 " in host.ran[armed]
    assert host.firewall.confirmed() == OLD
    assert not host.firewall.is_settled()
    host.undo_it()
    assert host.loaded == OLD
    assert host.firewall.is_settled()
    with pytest.raises(FirewallError, match="has undone the new rules"):
        host.firewall.confirm(NEW)
    assert host.firewall.confirmed() == OLD


def test_rules_that_are_confirmed_stay(tmp_path: Path) -> None:
    host = settled(tmp_path)
    host.firewall.attempt(NEW, 60)
    host.firewall.confirm(NEW)
    assert (host.loaded, host.firewall.confirmed(), host.undo) == (NEW, NEW, "")
    assert host.firewall.is_settled()
    # Whoever didn't hear the answer asks again.
    host.firewall.confirm(NEW)
    assert host.firewall.is_settled()


def test_rules_that_nft_does_not_take_change_nothing(tmp_path: Path) -> None:
    host = settled(tmp_path)
    host.refuses = "--check"
    with pytest.raises(FirewallError, match="nft --check"):
        host.firewall.attempt(NEW, 60)
    assert (host.loaded, host.undo) == (OLD, "")
    host.refuses = "nothing"
    assert host.firewall.is_settled()


def test_rules_whose_undo_cannot_be_set_are_not_loaded(tmp_path: Path) -> None:
    host = settled(tmp_path)
    host.refuses = "systemd-run"
    with pytest.raises(FirewallError, match="systemd-run"):
        host.firewall.attempt(NEW, 60)
    assert host.loaded == OLD


@pytest.mark.parametrize("change", ["flushed", "edited", "stopped", "disabled", "unit", "reload", "tried"])
def test_what_somebody_changed_is_put_back(tmp_path: Path, change: str) -> None:
    host = settled(tmp_path)
    if change == "flushed":
        host.loaded = ""
    elif change == "edited":
        host.loaded += "tcp dport 1 accept"
    elif change == "stopped":
        host.active = False
    elif change == "disabled":
        host.enabled = False
    elif change == "unit":
        (tmp_path / "etc/systemd/system/site-firewall.service").write_text("[Unit]\n")
    elif change == "reload":
        host.reload_needed = True
    else:
        # Somebody's run ended between the two.
        host.firewall.attempt(NEW, 60)
    assert not host.firewall.is_settled()
    host.firewall.settle()
    assert (host.loaded, host.undo) == (OLD, "")
    assert host.firewall.is_settled()
    # Nobody gets in meanwhile.
    assert not [line for line in host.ran if "systemctl restart" in line or "stop site-firewall.service" in line]


def test_all_of_it_is_removed(tmp_path: Path) -> None:
    host = settled(tmp_path)
    assert host.firewall.is_there()
    host.firewall.remove()
    assert (host.loaded, host.active, host.firewall.confirmed()) == ("", False, "")
    assert not host.firewall.is_there()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_rules_that_are_tried_are_removed_too(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.firewall.attempt(NEW, 60)
    assert host.firewall.is_there()
    host.firewall.remove()
    assert (host.loaded, host.undo) == ("", "")
    assert not host.firewall.is_there()


def test_a_host_without_nftables(tmp_path: Path) -> None:
    host = Host(tmp_path, nft=False)
    assert not host.firewall.is_installed()
    assert not host.firewall.is_there()


def process(proc: Path, number: int, parent: int, environ: str) -> None:
    folder = proc / str(number)
    folder.mkdir()
    (folder / "environ").write_bytes(environ.replace(" ", "\0").encode())
    (folder / "status").write_text(f"Name:\tx\nPPid:\t{parent}\nUid:\t0\n")


def test_ssh_connection_of_a_process_that_sudo_cleaned(tmp_path: Path) -> None:
    process(tmp_path, 40, 1, "PATH=/bin")
    process(tmp_path, 41, 40, "PATH=/bin SSH_CONNECTION=192.0.2.1")
    (tmp_path / "41/environ").write_bytes(b"PATH=/bin\0SSH_CONNECTION=192.0.2.1 50000 192.0.2.31 22\0")
    process(tmp_path, 42, 41, "PATH=/bin")
    process(tmp_path, 43, 42, "")
    assert ssh_connection(43, tmp_path) == "192.0.2.1 50000 192.0.2.31 22"
    assert ssh_connection(40, tmp_path) == ""
    assert ssh_connection(99, tmp_path) == ""
