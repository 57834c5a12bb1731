# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.update_observed import (
    Package,
    Simulation,
    may_be_restarted,
    newer_kernel,
    parse_simulation,
    replaced_file,
    unit_of,
)

SAID = """\
Reading package lists...
The following packages have been kept back:
  linux-image-amd64 nginx-common
  nginx
The following packages will be upgraded:
  lab-thing libgcrypt20
2 upgraded, 1 newly installed, 0 to remove and 3 not upgraded.
1 not fully installed or removed.
Inst libgcrypt20 [1.11.0-7] (1.11.0-7+deb13u1 Debian:13.8/stable, Debian-Security:13/stable-security [amd64]) []
Inst lab-thing [1] (2 localhost [all])
Inst new-thing (3:4~rc1 Debian:13.8/stable [amd64])
Conf libgcrypt20 (1.11.0-7+deb13u1 Debian:13.8/stable, Debian-Security:13/stable-security [amd64])
Conf lab-thing (2 localhost [all])
Conf new-thing (3:4~rc1 Debian:13.8/stable [amd64])
Conf half-done (7 localhost [all])
"""


def test_what_apt_says() -> None:
    assert parse_simulation(SAID) == Simulation(
        packages=(
            Package(
                "libgcrypt20", "1.11.0-7", "1.11.0-7+deb13u1", "Debian:13.8/stable, Debian-Security:13/stable-security"
            ),
            Package("lab-thing", "1", "2", "localhost"),
            Package("new-thing", "", "3:4~rc1", "Debian:13.8/stable"),
        ),
        unfinished=("half-done",),
        removed=(),
        kept_back=("linux-image-amd64", "nginx-common", "nginx"),
    )


def test_what_would_go() -> None:
    assert parse_simulation("Remv nginx [1.26.3-3]\n").removed == ("nginx",)


@pytest.mark.parametrize(
    ("running", "installed", "newer"),
    [
        ("6.12.48+deb13-amd64", ["6.12.48+deb13-amd64", "6.12.57+deb13-amd64"], "6.12.57+deb13-amd64"),
        ("6.12.57+deb13-amd64", ["6.12.48+deb13-amd64", "6.12.57+deb13-amd64"], ""),
        ("6.1.0-9-amd64", ["6.1.0-9-amd64", "6.1.0-41-amd64"], "6.1.0-41-amd64"),
        ("6.1.0-41-cloud-amd64", ["6.1.0-42-amd64", "6.1.0-41-cloud-amd64"], ""),
        ("6.12.48+deb13-amd64", [], ""),
        ("6.18.44-fc-v657", ["6.12.48+deb13-amd64"], ""),
        ("odd", ["6.12.48+deb13-amd64"], ""),
    ],
    ids=["newer", "newest runs", "numbers", "another flavour", "none", "not of Debian", "unreadable"],
)
def test_a_newer_kernel(running: str, installed: list[str], newer: str) -> None:
    assert newer_kernel(running, installed) == newer


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("55b9d60e9000-55b9d6134000 r-xp 00009000 00:131 1523906   /usr/sbin/sshd (deleted)", "/usr/sbin/sshd"),
        ("55b9d60e9000-55b9d6134000 r-xp 00009000 00:131 1523906   /usr/sbin/sshd", ""),
        ("55b9d6134000-55b9d6167000 r--p 00054000 00:131 1523906   /usr/sbin/sshd (deleted)", ""),
        ("7f0000000000-7f0000001000 rwxp 00000000 00:01 12   /memfd:jit (deleted)", ""),
        ("7f0000000000-7f0000001000 rw-s 00000000 00:01 12   /dev/zero (deleted)", ""),
        ("7f0000000000-7f0000001000 r-xp 00000000 00:01 12   /usr/lib/a b.so (deleted)", "/usr/lib/a b.so"),
        ("7f0000000000-7f0000001000 r-xp 00000000 00:00 0", ""),
    ],
)
def test_a_replaced_file(line: str, path: str) -> None:
    assert replaced_file(f"{line}\n") == path


@pytest.mark.parametrize(
    ("one", "path", "unit"),
    [
        ("0::/init.scope", "0::/system.slice/nginx.service", "nginx.service"),
        ("0::/init.scope", "0::/system.slice/system-app.slice/app@1.service", "app@1.service"),
        ("0::/init.scope", "0::/user.slice/user-0.slice/session-1.scope", ""),
        ("0::/init.scope", "0::/user.slice/user-0.slice/user@0.service/init.scope", "user@0.service"),
        ("0::/init.scope", "0::/system.slice/docker-0c53.scope/system.slice/nginx.service", ""),
        ("0::/docker/0c53/init.scope", "0::/docker/0c53/system.slice/nginx.service", "nginx.service"),
        ("0::/docker/0c53/init.scope", "0::/docker/0c53", ""),
        ("0::/docker/0c53/init.scope", "0::/docker/0c539/system.slice/nginx.service", ""),
        (
            "9:name=systemd:/docker/0c53/init.scope\n4:memory:/docker/0c53\n0::/",
            "9:name=systemd:/docker/0c53/system.slice/srv-media.mount\n4:memory:/docker/0c53\n0::/",
            "srv-media.mount",
        ),
        ("", "", ""),
    ],
)  # fmt: skip
def test_the_unit_of_a_process(one: str, path: str, unit: str) -> None:
    assert unit_of(path, one) == unit


@pytest.mark.parametrize("unit", ["ssh.service", "cron.service", "postgresql@17-main.service"])
def test_who_is_restarted_on_the_side(unit: str) -> None:
    assert may_be_restarted(unit)


@pytest.mark.parametrize(
    "unit", ["dbus.service", "user@0.service", "docker.service", "srv-media.mount", "networking.service"]
)
def test_who_is_not(unit: str) -> None:
    assert not may_be_restarted(unit)
