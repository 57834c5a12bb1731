# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host's own words mean for an update: apt's simulation, its kernels, files that were replaced. Pure."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable

#: ``Inst nginx [1.26.3-3] (1.26.3-3+deb13u1 Debian:13.2/stable [amd64])``; a new package has no first bracket.
INSTALLS = re.compile(r"Inst (\S+) (?:\[([^\]]*)\] )?\((\S+) (.*?) ?\[[^\]]*\]\)")
KERNEL = re.compile(r"(\d[\w.+~]*(?:-\d[\w.+~]*)*)-([a-z].*)")
#: Where programs and libraries lie. What else is mapped and gone is no program: shared memory, temporary files.
PROGRAMS = ("/usr/", "/lib", "/bin/", "/sbin/", "/opt/")
#: Whose restart breaks more than it mends, as needrestart has it: sessions, the network, what systemd depends on.
NEVER_RESTARTED = re.compile(
    r"(dbus|dbus-broker|systemd-logind|systemd-networkd|systemd-resolved|NetworkManager|networking|wpa_supplicant"
    r"|docker|containerd|libvirtd|getty@.*|serial-getty@.*|user@.*|(gdm|sddm|lightdm)\d?)\.service"
)


@dataclasses.dataclass(frozen=True)
class Package:
    """A package that an upgrade brings. ``installed`` is empty for a new one, ``origin`` is as apt names it."""

    name: str
    installed: str
    candidate: str
    origin: str


@dataclasses.dataclass(frozen=True)
class Simulation:
    """What ``apt-get --simulate upgrade`` says. ``unfinished`` are packages that dpkg has still to configure."""

    packages: tuple[Package, ...]
    unfinished: tuple[str, ...]
    removed: tuple[str, ...]
    kept_back: tuple[str, ...]


def parse_simulation(text: str) -> Simulation:
    """Read the output of ``LC_ALL=C apt-get --simulate upgrade``."""
    packages: list[Package] = []
    configured: list[str] = []
    removed: list[str] = []
    kept_back: list[str] = []
    keeps = False
    for line in text.splitlines():
        keeps = line.startswith("  ") if keeps else line.startswith("The following packages have been kept back")
        if keeps and line.startswith("  "):
            kept_back += line.split()
        elif found := INSTALLS.match(line):
            packages.append(Package(found[1], found[2] or "", found[3], found[4]))
        elif line.startswith("Conf "):
            configured.append(line.split()[1])
        elif line.startswith("Remv "):
            removed.append(line.split()[1])
    names = {package.name for package in packages}
    return Simulation(
        tuple(packages), tuple(name for name in configured if name not in names), tuple(removed), tuple(kept_back)
    )


def newer_kernel(running: str, installed: Iterable[str]) -> str:
    """The newest of the *installed* kernels, if it is newer than the *running* one and of its flavour; else empty.

    Both are releases as ``uname -r`` names them (``6.12.57+deb13-amd64``).
    """
    ours = KERNEL.fullmatch(running)
    if ours is None:
        return ""
    found = [(kernel, match) for kernel in installed if (match := KERNEL.fullmatch(kernel)) and match[2] == ours[2]]
    kernel, version = max(((kernel, _numbers(match[1])) for kernel, match in found), key=_second, default=("", []))
    return kernel if version > _numbers(ours[1]) else ""


def _second(pair: tuple[str, list[int]]) -> list[int]:
    return pair[1]


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def replaced_file(maps: str) -> str:
    """A program or library that a process runs although another one took its place; empty if there is none.

    *maps* is of ``/proc/PID/maps``. What is mapped to be executed counts alone.
    """
    for line in maps.splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and "x" in fields[1] and fields[5].endswith(" (deleted)"):
            path = fields[5].removesuffix(" (deleted)")
            if path.startswith(PROGRAMS):
                return path
    return ""


def unit_of(cgroup: str, of_systemd: str) -> str:
    """The unit that a process belongs to, empty if it is none of systemd's. A scope is no unit that restarts.

    *cgroup* is of ``/proc/PID/cgroup``, *of_systemd* of process 1: in a container the paths begin with its own.
    """
    root = _path(of_systemd).removesuffix("/init.scope")
    path = _path(cgroup)
    if not path.startswith(f"{root}/"):
        return ""
    for part in path.removeprefix(root).split("/"):
        if part.endswith((".service", ".mount")):
            return part
        if part.endswith(".scope"):
            return ""
    return ""


def _path(cgroup: str) -> str:
    """systemd's own hierarchy: the first version's named one, or the only one of the second."""
    lines = [line.split(":", 2) for line in cgroup.splitlines() if line.count(":") >= 2]
    named = [path for _number, controllers, path in lines if controllers == "name=systemd"]
    return next(iter(named or [path for number, _controllers, path in lines if number == "0"]), "")


def may_be_restarted(unit: str) -> bool:
    """Whether a service that runs replaced files may be restarted on the side."""
    return unit.endswith(".service") and NEVER_RESTARTED.fullmatch(unit) is None
