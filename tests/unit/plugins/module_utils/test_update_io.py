# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils import update_io
from ansible_collections.renfo.redundancy.plugins.module_utils.stack_host import ProbeError
from ansible_collections.renfo.redundancy.plugins.module_utils.update_io import (
    UpdateError,
    boot,
    bring_back,
    observe,
    stop,
    units_in,
)

ASKED = {"refresh": True, "units": ["nginx.service", "app@*.service"], "busy": ["pg-backup@*.service"]}
LISTED = "app@2.service loaded active running x\napp@1.service loaded active running x\nnginx.service loaded active running x\n"
STALE = "7f00-7f01 r-xp 00000000 00:01 12   /usr/sbin/{} (deleted)\n"


class Host:
    """Answers commands, and remembers them."""

    def __init__(self, **answers: str) -> None:
        self.asked: list[list[str]] = []
        self._answers = {"upgrade": "Inst lab-thing [1] (2 localhost [all])\n", "--state=active": LISTED, **answers}

    def __call__(self, argv: Sequence[str], timeout: float) -> str:
        self.asked.append(list(argv))
        for word, answer in self._answers.items():
            if word in argv:
                if answer.startswith("!"):
                    raise ProbeError(answer[1:])
                return answer
        return ""

    def did(self, *verbs: str) -> list[str]:
        return [f"{argv[1]} {argv[-1]}" for argv in self.asked if argv[0] == "systemctl" and argv[1] in verbs]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    files = {
        "etc/os-release": 'NAME="Debian GNU/Linux"\nVERSION_ID="13"\n',
        "proc/1/cgroup": "0::/init.scope\n",
        "proc/1/maps": "",
        "proc/1/stat": f"1 (a )b) S {' '.join(str(n) for n in range(4, 30))}\n",
        "proc/sys/kernel/random/boot_id": "c268\n",
        "proc/sys/kernel/osrelease": "6.12.48+deb13-amd64\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def process(root: Path, pid: int, unit: str, maps: str = "") -> Path:
    folder = root / f"proc/{pid}"
    folder.mkdir(parents=True)
    (folder / "cgroup").write_text(f"0::/system.slice/{unit}\n")
    (folder / "maps").write_text(maps)
    return folder


def test_what_a_host_says(root: Path) -> None:
    process(root, 7, "nginx.service", STALE.format("nginx"))
    (root / "run").mkdir()
    (root / "run/reboot-required").touch()
    (root / "boot").mkdir()
    (root / "boot/vmlinuz-6.12.57+deb13-amd64").touch()
    host = Host(**{"--state=activating": "pg-backup@full.service loaded activating start x\n"})
    assert observe(ASKED, False, host, root) == {
        "trouble": "",
        "packages": [{"name": "lab-thing", "installed": "1", "candidate": "2", "origin": "localhost"}],
        "unfinished": [],
        "removed": [],
        "kept_back": [],
        "release": 13,
        "reboot": ["/run/reboot-required is there", "kernel 6.12.57+deb13-amd64 is installed, 6.12.48+deb13-amd64 runs"],
        "boot": "c268/22",
        "units": [
            {"name": "nginx.service", "replaced": "/usr/sbin/nginx"},
            {"name": "app@1.service", "replaced": ""},
            {"name": "app@2.service", "replaced": ""},
        ],
        "busy": ["pg-backup@full.service"],
    }  # fmt: skip
    assert not any("Dir::" in word for argv in host.asked for word in argv)


def test_in_check_mode_the_lists_lie_elsewhere(root: Path) -> None:
    host = Host()
    observe(ASKED, True, host, root)
    for argv in (argv for argv in host.asked if argv[0] == "apt-get"):
        (lists,) = (word.partition("=")[2] for word in argv if word.startswith("Dir::State::Lists="))
        assert not Path(lists).exists()


def test_old_lists_are_not_taken_for_new_ones(root: Path) -> None:
    found = observe(ASKED, False, Host(update="!E: Failed to fetch http://x"), root)
    assert found["trouble"].startswith("apt can't tell what is to be updated: E: Failed to fetch")
    assert found["packages"] == []


def test_an_interrupted_dpkg_is_told(root: Path) -> None:
    (root / "var/lib/dpkg/updates").mkdir(parents=True)
    (root / "var/lib/dpkg/updates/0001").touch()
    assert "dpkg --configure -a" in observe(ASKED, False, Host(), root)["trouble"]


def test_no_boot_is_like_another(root: Path) -> None:
    before = boot(root)
    (root / "proc/1/stat").write_text(f"1 (systemd) S {' '.join(str(n) for n in range(5, 31))}\n")
    assert boot(root) != before


def test_a_mount_with_a_dash_in_its_name() -> None:
    name = r"srv-my\x2dmedia.mount"
    assert units_in("active", [name], Host(**{"--state=active": f"{name} loaded active mounted x\n"})) == [name]


# ---- out of service, and back


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_the_address_is_given_away_first(listener: int) -> None:
    host = Host(address="2: eth0 inet 127.0.0.1/24 scope global\n")
    stop(["nginx.service", "nginx-media.service"], "127.0.0.1", listener, host)
    assert host.did("stop", "start") == ["stop nginx.service", "stop nginx-media.service"]


def test_an_address_that_nobody_takes_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update_io, "TAKE_OVER", 0.2)
    host = Host(address="2: eth0 inet 127.0.0.1/24 scope global\n")
    with pytest.raises(UpdateError, match="no other load balancer answers at the virtual address"):
        stop(["nginx.service", "nginx-media.service"], "127.0.0.1", 1, host)
    assert host.did("stop", "start") == ["stop nginx.service", "start nginx.service"]


def test_who_doesn_t_hold_the_address_waits_for_nobody() -> None:
    host = Host(address="2: eth0 inet 127.0.0.2/24 scope global\n")
    assert stop(["nginx.service"], "127.0.0.1", 1, host) == ["stop nginx.service"]


def test_what_runs_replaced_files_is_restarted(root: Path) -> None:
    process(root, 7, "app@1.service", STALE.format("python3"))
    process(root, 8, "ssh.service", STALE.format("sshd"))
    process(root, 9, "dbus.service", STALE.format("dbus-daemon"))
    host = Host()
    found = bring_back(["glusterd.service", "app@1.service", "app@2.service"], True, host, root)
    assert found["actions"] == ["start glusterd.service", "restart app@1.service", "restart ssh.service"]
    assert host.did("start", "restart") == found["actions"]
    assert found["left"] == ["dbus.service"]


def test_who_is_only_to_be_started_is_not_restarted(root: Path) -> None:
    """It may be the primary, which didn't hand over."""
    process(root, 7, "app@1.service", STALE.format("postgres"))
    process(root, 8, "ssh.service", STALE.format("sshd"))
    assert bring_back(["app@1.service", "b.service"], False, Host(), root)["actions"] == ["start b.service"]


def test_who_may_not_be_looked_at_is_restarted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = process(root, 7, "app@1.service") / "maps"
    read = Path.read_text

    def refused(path: Path, *arguments: str, **options: str) -> str:
        if path == hidden:
            raise PermissionError
        return read(path, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", refused)
    assert bring_back(["app@1.service", "app@2.service"], True, Host(), root)["actions"] == ["restart app@1.service"]
    # Before an update that is no reason for one.
    assert not any(unit["replaced"] for unit in observe(ASKED, False, Host(), root)["units"])


def test_one_that_does_not_start_keeps_nobody_from_it(root: Path) -> None:
    host = Host(**{"b.service": "!systemctl failed: no"})
    with pytest.raises(UpdateError, match=r"these don't start: b.service \(systemctl failed: no\)"):
        bring_back(["a.service", "b.service", "c.service"], True, host, root)
    assert host.did("start") == ["start a.service", "start b.service", "start c.service"]
