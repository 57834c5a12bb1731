# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an update asks of a host, and what it does to its units. ``update_observed`` says what the answers mean."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.stack_host import ProbeError, Run
from ansible_collections.renfo.redundancy.plugins.module_utils.update_observed import (
    may_be_restarted,
    newer_kernel,
    parse_simulation,
    replaced_file,
    unit_of,
)

#: Seconds for what only reads; for package lists; for a unit to stop or start.
READ, FETCH, ACT = 60.0, 300.0, 180.0
#: Seconds within which another load balancer has to take the address.
TAKE_OVER = 10.0
#: Whose end makes keepalived give the address away.
FRONT = "nginx.service"
UPGRADE = ("apt-get", "--simulate", "--quiet", "upgrade", "--with-new-pkgs")


class UpdateError(Exception):
    """A host can't be updated, or not now; says why and what to do."""


def observe(asked: Mapping[str, Any], private: bool, run: Run, root: Path = Path("/")) -> dict[str, Any]:
    """Everything that the arguments of ``update_host_info`` ask for.

    *private*: package lists are fetched into a folder that is removed again, so that nothing is changed.
    """
    running = Processes(root)
    return {
        **_apt(asked["refresh"], private, run, root),
        "release": _release(root),
        "reboot": list(_reboot_reasons(root)),
        "boot": boot(root),
        "units": [
            {"name": name, "replaced": running.replaced.get(name, "")}
            for name in units_in("active", asked["units"], run)
        ],
        "busy": units_in("activating", asked["busy"], run),
    }


def boot(root: Path = Path("/")) -> str:
    """Another one after every boot, in a container too, which shares the machine's boot id."""
    since = (root / "proc/1/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    return f"{(root / 'proc/sys/kernel/random/boot_id').read_text(encoding='utf-8').strip()}/{since}"


# ---- apt


def _apt(refresh: bool, private: bool, run: Run, root: Path) -> dict[str, Any]:
    trouble = ""
    text = ""
    if any((root / "var/lib/dpkg/updates").glob("[0-9]*")):
        trouble = "dpkg was interrupted: run 'dpkg --configure -a' there"
    else:
        try:
            with _lists(refresh and private) as options:
                if refresh:
                    _fetch(options, run)
                text = run([*UPGRADE, *options], READ)
        except ProbeError as error:
            trouble = f"apt can't tell what is to be updated: {error}"
    found = parse_simulation(text)
    return {
        "trouble": trouble,
        "packages": [dataclasses.asdict(package) for package in found.packages],
        "unfinished": list(found.unfinished),
        "removed": list(found.removed),
        "kept_back": list(found.kept_back),
    }


@contextlib.contextmanager
def _lists(private: bool) -> Iterator[list[str]]:
    """Options by which apt keeps its lists where nobody else looks."""
    if not private:
        yield []
        return
    with tempfile.TemporaryDirectory(prefix="renfo-update-", dir="/var/tmp") as folder:
        # apt fetches as a user of its own.
        os.chmod(folder, 0o755)
        (Path(folder) / "lists/partial").mkdir(parents=True)
        (Path(folder) / "cache").mkdir()
        yield ["-o", f"Dir::State::Lists={folder}/lists", "-o", f"Dir::Cache={folder}/cache"]


def _fetch(options: Sequence[str], run: Run, pause: Callable[[float], None] = time.sleep) -> None:
    """Fetch the package lists; all of them, for old ones would look as if there were nothing to update."""
    end = time.monotonic() + FETCH
    while True:
        try:
            run(["apt-get", "--quiet", "update", "-o", "APT::Update::Error-Mode=any", *options], FETCH)
        except ProbeError as error:
            # Debian's own timer may be at it.
            if "Could not get lock" not in str(error) or time.monotonic() >= end:
                raise
            pause(2)
        else:
            return


# ---- what else there is to know


def _release(root: Path) -> int | None:
    """The number of Debian's release, None for one that has none."""
    for line in (root / "etc/os-release").read_text(encoding="utf-8").splitlines():
        name, _equals, value = line.partition("=")
        if name == "VERSION_ID" and value.strip('"').isdigit():
            return int(value.strip('"'))
    return None


def _reboot_reasons(root: Path) -> Iterator[str]:
    if (root / "run/reboot-required").exists():
        yield "/run/reboot-required is there"
    running = (root / "proc/sys/kernel/osrelease").read_text(encoding="utf-8").strip()
    installed = [path.name.removeprefix("vmlinuz-") for path in (root / "boot").glob("vmlinuz-*")]
    newer = newer_kernel(running, installed)
    if newer:
        yield f"kernel {newer} is installed, {running} runs"


def units_in(state: str, patterns: Sequence[str], run: Run) -> list[str]:
    """Names of the units in that *state* that match, in the order of the *patterns*."""
    if not patterns:
        return []
    # The name of a mount may hold a backslash, which has another meaning in a pattern.
    patterns = [pattern.replace("\\", "?") for pattern in patterns]
    listed = ["systemctl", "list-units", "--plain", "--no-legend", "--no-pager", f"--state={state}", "--", *patterns]
    names = [line.split()[0] for line in run(listed, READ).splitlines() if line.strip()]
    turns = {
        name: turn
        for turn, pattern in reversed(list(enumerate(patterns)))
        for name in names
        if fnmatchcase(name, pattern)
    }
    return sorted(turns, key=lambda name: (turns[name], name))


class Processes:
    """The processes of this host by the unit they belong to.

    ``replaced`` names a file that a unit runs although another one took its place; ``unread`` are units with a process
    that may not be looked at, as in some containers.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self.replaced: dict[str, str] = {}
        self.unread: set[str] = set()
        of_systemd = (root / "proc/1/cgroup").read_text(encoding="utf-8")
        for folder in (root / "proc").glob("[0-9]*"):
            # A process may end while it is looked at.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                unit = unit_of((folder / "cgroup").read_text(encoding="utf-8"), of_systemd)
                if not unit:
                    continue
                try:
                    path = replaced_file((folder / "maps").read_text(encoding="utf-8", errors="replace"))
                except PermissionError:
                    self.unread.add(unit)
                    continue
                if path:
                    self.replaced.setdefault(unit, path)


# ---- units


def stop(units: Sequence[str], vip: str, port: int, run: Run, pause: Callable[[float], None] = time.sleep) -> list[str]:
    """Take the host out of service: stop *units*, in order. Gives what was done.

    NGINX gives the address *vip* away before it stops. If the host held it, another one must answer there on *port*
    afterwards; else NGINX is started again, and UpdateError says so.
    """
    held = bool(vip) and _holds(vip, run)
    for name in units:
        run(["systemctl", "stop", "--", name], ACT)
        if name == FRONT and held and not _answers(vip, port, pause):
            run(["systemctl", "start", "--", name], ACT)
            raise UpdateError(
                f"no other load balancer answers at the virtual address {vip} within {TAKE_OVER:g} s, so this one "
                "serves again: let VRRP (IP protocol 112) pass between them, and see that NGINX runs there"
            )
    return [f"stop {name}" for name in units]


def _holds(vip: str, run: Run) -> bool:
    return f" {vip}/" in run(["ip", "-oneline", "address", "show"], READ)


def _answers(vip: str, port: int, pause: Callable[[float], None]) -> bool:
    end = time.monotonic() + TAKE_OVER
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection((vip, port), timeout=1):
            return True
        pause(0.1)
    return False


def bring_back(units: Sequence[str], restart: bool, run: Run, root: Path = Path("/")) -> dict[str, Any]:
    """Put the host back into service: start those of *units* that don't run, in order.

    With *restart*, what runs replaced files is restarted, other services of the host too, unless that would harm.
    Gives the ``actions``, and under ``left`` the services that go on with replaced files.
    """
    running = Processes(root)
    active = units_in("active", units, run)
    # Who may not be looked at is taken for one that does.
    stale = {*running.replaced, *running.unread} if restart else set()
    actions = [
        ("restart" if name in active else "start", name) for name in units if name not in active or name in stale
    ]
    actions += [
        ("restart", name) for name in sorted(stale & running.replaced.keys() - {*units}) if may_be_restarted(name)
    ]
    failed = []
    for verb, name in actions:
        # One that can't start must not keep the others from it.
        try:
            run(["systemctl", verb, "--", name], ACT)
        except ProbeError as error:
            failed.append(f"{name} ({error})")
    if failed:
        raise UpdateError(f"these don't start: {'; '.join(failed)}. Read 'journalctl -u' of each")
    left = [name for name in running.replaced if name.endswith(".service") and not may_be_restarted(name)]
    return {"actions": [f"{verb} {name}" for verb, name in actions], "left": sorted(left)}
