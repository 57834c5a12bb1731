# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a load test brings to a host, on a host whose commands are played."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.load_stage_io import (
    NGINX,
    POSTGRESQL,
    Stage,
    StageError,
)


class Host:
    """Commands that were run; *clusters* are the lines of pg_lsclusters, None without PostgreSQL."""

    def __init__(
        self,
        clusters: str | None = "17 main 5432 online postgres /d /l\n",
        active: Sequence[str] = (),
        recovering: bool = False,
        there: bool = False,
    ) -> None:
        self.ran: list[str] = []
        self._clusters, self._active, self._recovering, self._there = clusters, active, recovering, there

    def __call__(self, command: Sequence[str]) -> tuple[int, str, str]:
        text = " ".join(command)
        self.ran.append(text)
        if "nft list table" in text:
            return (0 if isinstance(self, Guarded) else 1), "", ""
        if text.startswith("sh -c command -v"):
            return (1 if self._clusters is None else 0), "", ""
        if command[0] == "pg_lsclusters":
            return 0, self._clusters or "", ""
        if "is-active" in command:
            return (0 if command[-1] in self._active else 3), "", ""
        if "pg_is_in_recovery" in text:
            return 0, "t\n" if self._recovering else "f\n", ""
        if "pg_database" in text:
            return 0, "1\n" if self._there else "", ""
        if command[0] == "pg_createcluster" and "renfo_load" in (self._clusters or ""):
            return 1, "", "Error: cluster configuration already exists"
        return 0, "", ""

    def did(self, word: str) -> list[str]:
        return [command for command in self.ran if word in command]


def test_a_host_without_anything_of_it_is_left_alone(tmp_path: Path) -> None:
    for host in (Host(clusters=None), Host(), Host(recovering=True)):
        assert Stage(host, tmp_path).remove(5432) is False
        assert not [word for word in ("stop", "drop") if host.did(word)]


def test_all_of_it_is_removed(tmp_path: Path) -> None:
    others = "15 old 5433 down postgres /d /l\n17 main 5432 online postgres /d /l\n"
    clusters = f"{others}17 renfo_load 5999 online postgres /d /l\n"
    host = Host(clusters, active=[NGINX, POSTGRESQL], there=True)
    (tmp_path / "var/lib/renfo-load/disk").mkdir(parents=True)
    assert Stage(host, tmp_path).remove(5432) is True
    assert host.did("systemctl stop") == [f"systemctl stop {NGINX}", f"systemctl stop {POSTGRESQL}"]
    assert host.did("pg_dropcluster") == ["pg_dropcluster --stop 17 renfo_load"]
    (drop,) = host.did("dropdb")
    assert drop.endswith("--port=5432 --force renfo_load")
    assert not (tmp_path / "var/lib/renfo-load").exists()


class Guarded(Host):
    """A host with the site's firewall; *guests* are in its sets."""

    def __init__(self, guests: bool = False) -> None:
        super().__init__()
        self._guests = guests

    def __call__(self, command: Sequence[str]) -> tuple[int, str, str]:
        if "list set" in " ".join(command):
            self.ran.append(" ".join(command))
            return 0, "elements = { 10.0.0.41 . 8089 }" if self._guests else "flags timeout", ""
        return super().__call__(command)


def test_whoever_asks_is_let_in_for_a_while(tmp_path: Path) -> None:
    host = Guarded()
    Stage(host, tmp_path).admit("10.0.0.41", 8089)
    Stage(host, tmp_path).admit("fd00::41", 8089)
    assert host.did("add element") == [
        f"nft add element inet site_firewall {guests} {{ {address} . 8089 timeout 7200s }}"
        for guests, address in (("guests4", "10.0.0.41"), ("guests6", "fd00::41"))
    ]


def test_whoever_was_let_in_is_so_no_longer(tmp_path: Path) -> None:
    host = Guarded(guests=True)
    assert Stage(host, tmp_path).remove(5432) is True
    assert len(host.did("flush set")) == 2
    host = Guarded()
    assert Stage(host, tmp_path).remove(5432) is False
    assert not host.did("flush set")


def test_a_host_without_a_firewall(tmp_path: Path) -> None:
    host = Host(clusters=None)
    Stage(host, tmp_path).admit("10.0.0.41", 8089)
    assert not host.did("add element")


def test_an_instance_that_is_not_the_sites_is_not_asked(tmp_path: Path) -> None:
    host = Host("15 old 5433 online postgres /d /l\n", there=True)
    Stage(host, tmp_path).remove(5432)
    assert not host.did("psql")


def test_a_standby_is_not_written_to(tmp_path: Path) -> None:
    host = Host(recovering=True, there=True)
    Stage(host, tmp_path).remove(5432)
    assert not host.did("dropdb")


def test_the_stock_instance_is_of_the_same_version_and_nobody_elses(tmp_path: Path) -> None:
    host = Host("15 old 5433 down postgres /d /l\n17 main 5432 online postgres /d /l\n")
    Stage(host, tmp_path).databases(5432, 10)
    assert host.did("pg_createcluster") == ["pg_createcluster --port=5999 --start-conf=manual 17 renfo_load"]
    (server,) = host.did("systemd-run")
    assert "/usr/lib/postgresql/17/bin/postgres -D /var/lib/postgresql/17/renfo_load" in server
    assert "--property=RuntimeMaxSec=7200" in server
    assert [command.split("--port=")[1] for command in host.did("--initialize")] == [
        "5999 --initialize --quiet --scale=10 renfo_load",
        "5432 --initialize --quiet --scale=10 renfo_load",
    ]


def test_what_fails_is_said(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"pg_createcluster .* ended with 1: Error: cluster configuration already"):
        Stage(Host("17 main 5432 x\n17 renfo_load 5999 x\n"), tmp_path).databases(5432, 1)
    with pytest.raises(StageError, match="no instance of PostgreSQL at port 5433"):
        Stage(Host(), tmp_path).databases(5433, 1)


def test_the_bare_nginx_has_the_file_on_a_disk(tmp_path: Path) -> None:
    video = tmp_path / "video"
    video.write_bytes(b"moving")
    host = Host()
    Stage(host, tmp_path).serve("http {}", str(video))
    folder = tmp_path / "var/lib/renfo-load"
    assert (folder / "disk/video").read_bytes() == b"moving"
    assert (folder / "nginx.conf").read_text() == "http {}"
    (server,) = host.did("systemd-run")
    assert server.endswith(f"nginx -c {folder}/nginx.conf -g daemon off;")
