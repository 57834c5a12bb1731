# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The firewall of this host: what is loaded, what is loaded at boot, and rules that are tried.

New rules are tried first: the host goes back to those of the file by itself, unless somebody who came in by a new
connection confirms them. Only confirmed rules are in the file, which is what boot loads.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.firewall import TABLE

Run = Callable[[Sequence[str]], tuple[int, str, str]]

UNIT = "site-firewall.service"
UNDO = "site-firewall-undo"
_EMPTY = f"add table inet {TABLE}; delete table inet {TABLE}"

_UNIT = f"""\
# Managed by Ansible: site.yml writes this file.
[Unit]
Description=What this host lets in (nftables, table {TABLE})
DefaultDependencies=no
# Debian's own unit flushes all tables whenever it starts or reloads.
After=nftables.service
PartOf=nftables.service
ReloadPropagatedFrom=nftables.service
Wants=network-pre.target
Before=network-pre.target shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
StandardInput=null
ProtectSystem=full
ProtectHome=true
ExecStart=/usr/sbin/nft -f /etc/site-firewall.nft
ExecReload=/usr/sbin/nft -f /etc/site-firewall.nft
ExecStop=/usr/sbin/nft '{_EMPTY}'

[Install]
WantedBy=sysinit.target
"""


class FirewallError(Exception):
    """The firewall is not as it was wanted; the message says how it is."""


class HostFirewall:
    """*run* executes a command and gives exit code, output and errors; *root* is where the file system begins."""

    def __init__(self, run: Run, root: Path = Path("/")) -> None:
        self._run = run
        self._file = root / "etc/site-firewall.nft"
        self._unit = root / "etc/systemd/system" / UNIT
        self._tried = root / "run/site-firewall.nft"

    def confirmed(self) -> str:
        """The rules that boot loads; empty if there are none."""
        return self._file.read_text(encoding="utf-8") if self._file.exists() else ""

    def is_installed(self) -> bool:
        """Whether there is nftables, which a check of a new host misses."""
        return self._run(("sh", "-c", "command -v nft >/dev/null"))[0] == 0

    def is_settled(self) -> bool:
        """Whether what is loaded is what the file says, now and at boot, and nothing is being tried."""
        if not self._unit.exists() or self._unit.read_text(encoding="utf-8") != _UNIT:
            return False
        shown = self._show(UNIT, "ActiveState", "UnitFileState", "NeedDaemonReload")
        wanted = {"ActiveState": "active", "UnitFileState": "enabled", "NeedDaemonReload": "no"}
        return shown == wanted and not self._tried.exists() and self._loaded() == self._would_load(self._file)

    def settle(self) -> None:
        """Load the rules of the file, now and at boot."""
        self._disarm()
        _write(self._unit, _UNIT)
        self._do("systemctl", "daemon-reload")
        self._do("systemctl", "enable", "--quiet", UNIT)
        # Not restarted: that would let in everybody for a moment.
        self._do("systemctl", "reload-or-restart", UNIT)
        self._tried.unlink(missing_ok=True)

    def attempt(self, rules: str, undo_after: float) -> None:
        """Load *rules*, for *undo_after* seconds."""
        self._disarm()
        self._tried.write_text(rules, encoding="utf-8")
        try:
            self._do("nft", "--check", "--file", str(self._tried))
            timer = (f"--unit={UNDO}", f"--on-active={undo_after:g}", "--timer-property=AccuracySec=100ms")
            back = f'if [ -e {self._file} ]; then nft -f {self._file}; else nft "{_EMPTY}"; fi; rm -f {self._tried}'
            self._do("systemd-run", "--quiet", *timer, "/bin/sh", "-c", back)
            self._do("nft", "--file", str(self._tried))
        except FirewallError:
            self._tried.unlink(missing_ok=True)
            self._disarm()
            raise

    def confirm(self, rules: str) -> None:
        """Keep *rules*, which are being tried. FirewallError if the host has gone back to those before."""
        self._disarm()
        if self.confirmed() == rules and not self._tried.exists():
            # Asked before; only the answer was lost.
            self.settle()
            return
        if not self._tried.exists() or self._loaded() != self._would_load(self._tried):
            raise FirewallError("this host has undone the new rules, for it took too long to come back to it")
        _write(self._file, rules)
        self.settle()

    def is_there(self) -> bool:
        """Whether there is anything of it."""
        return any(path.exists() for path in (self._file, self._unit, self._tried)) or bool(self._loaded())

    def remove(self) -> None:
        """Let everybody in, now and at boot."""
        self._disarm()
        if self._unit.exists():
            self._do("systemctl", "disable", "--quiet", "--now", UNIT)
        for path in (self._unit, self._file, self._tried):
            path.unlink(missing_ok=True)
        self._do("systemctl", "daemon-reload")
        if self._loaded():
            self._do("nft", _EMPTY)

    def _loaded(self) -> list[Any]:
        """The table as the kernel has it, without guests; nothing if it isn't there."""
        if not self.is_installed():
            return []
        code, out, _errors = self._run(("nft", "--json", "list", "table", "inet", TABLE))
        return _plain(out) if code == 0 else []

    def _would_load(self, file: Path) -> list[Any]:
        """What the kernel has after it loaded *file*, in a network of its own."""
        script = f'nft -f "$1" && nft -j list table inet {TABLE}'
        return _plain(self._do("unshare", "--net", "/bin/sh", "-c", script, "sh", str(file)))

    def _disarm(self) -> None:
        """Take the timer away; a service that is just undoing ends its work first."""
        self._run(("systemctl", "stop", f"{UNDO}.timer"))
        while self._show(f"{UNDO}.service", "ActiveState")["ActiveState"] in ("activating", "active"):
            time.sleep(0.05)
        self._run(("systemctl", "reset-failed", f"{UNDO}.timer", f"{UNDO}.service"))

    def _show(self, unit: str, *names: str) -> dict[str, str]:
        out = self._do("systemctl", "show", unit, f"--property={','.join(names)}")
        return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)

    def _do(self, *command: str) -> str:
        code, out, errors = self._run(command)
        if code != 0:
            raise FirewallError(f"{' '.join(command)} ended with {code}: {(errors or out).strip()[-1000:]}")
        return out


def ssh_connection(process: int, proc: Path = Path("/proc")) -> str:
    """By which connection of SSH's *process* was started, as sshd tells: the client's address and port, the server's.
    Empty if by none.

    ``sudo`` takes it out of the environment; one of the processes before still has it.
    """
    with contextlib.suppress(OSError, ValueError):
        while process > 1:
            for entry in (proc / str(process) / "environ").read_bytes().split(b"\0"):
                if entry.startswith(b"SSH_CONNECTION="):
                    return entry.partition(b"=")[2].decode(errors="replace")
            status = (proc / str(process) / "status").read_text()
            process = int(_field(status.splitlines(), "PPid:"))
    return ""


def _write(path: Path, text: str) -> None:
    """Boot finds the old file or the new one, whole."""
    temporary = path.with_name(f".{path.name}")
    with temporary.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)


def _field(lines: Sequence[str], name: str) -> str:
    return next((line.removeprefix(name).strip() for line in lines if line.startswith(name)), "0")


def _plain(listing: str) -> list[Any]:
    """A listing of ``nft --json`` without what differs between two that say the same."""
    items: list[Mapping[str, Mapping[str, Any]]] = json.loads(listing)["nftables"]
    return [
        {kind: {name: value for name, value in item.items() if name not in ("handle", "elem")}}
        for each in items
        for kind, item in each.items()
        if kind != "metainfo"
    ]
