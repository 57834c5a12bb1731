# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a load test compares a host's own services with, on the same host: a bare NGINX, a bare PostgreSQL.

Both end by themselves after ``LIFETIME``, should nobody remove them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ansible_collections.renfo.redundancy.plugins.module_utils.firewall import GUESTS, TABLE
from ansible_collections.renfo.redundancy.plugins.module_utils.load_plan import DATABASE, FOLDER, STOCK_PORT

Run = Callable[[Sequence[str]], tuple[int, str, str]]

NGINX = "renfo-load-nginx.service"
POSTGRESQL = "renfo-load-postgresql.service"
#: Seconds.
LIFETIME = 7200


class StageError(Exception):
    """A command didn't do what it should have."""


class Stage:
    """The load test's part of a host. *run* executes a command; *root* is where the file system begins."""

    def __init__(self, run: Run, root: Path = Path("/")) -> None:
        self._run = run
        self._folder = root / FOLDER.lstrip("/")

    def serve(self, config: str, video: str) -> None:
        """Start an NGINX with *config* (text), and give it a copy of the file *video* on this host's disk."""
        disk = self._folder / "disk"
        disk.mkdir(mode=0o755, parents=True)
        shutil.copyfile(video, disk / "video")
        path = self._folder / "nginx.conf"
        path.write_text(config, encoding="utf-8")
        self._service(NGINX, ["nginx", "-c", str(path), "-g", "daemon off;"])

    def admit(self, client: str, port: int) -> None:
        """Let *client* (an address) in at *port*, should a firewall of the site's keep it out, for ``LIFETIME``."""
        if self._guarded():
            guests = GUESTS[6 if ":" in client else 4]
            element = f"{{ {client} . {port} timeout {LIFETIME}s }}"
            self._do("nft", f"add element inet {TABLE} {guests} {element}")

    def databases(self, port: int, scale: int) -> None:
        """Make an instance with the settings that Debian ships, and fill a database of pgbench's in it and in the one
        at *port*."""
        version = self._version(port)
        self._do("pg_createcluster", f"--port={STOCK_PORT}", "--start-conf=manual", version, DATABASE)
        # Not by Debian's units: they have the guard, and this one is nobody's primary.
        self._service(
            POSTGRESQL,
            [
                f"/usr/lib/postgresql/{version}/bin/postgres",
                "-D",
                f"/var/lib/postgresql/{version}/{DATABASE}",
                "-c",
                f"config_file=/etc/postgresql/{version}/{DATABASE}/postgresql.conf",
            ],
            # PostgreSQL says when it is ready, and takes SIGINT for a fast shutdown.
            "--property=Type=notify",
            "--property=User=postgres",
            "--property=KillSignal=SIGINT",
        )
        for each in (STOCK_PORT, port):
            self._do(*_client("createdb", each), DATABASE)
            self._do(*_client("pgbench", each), "--initialize", "--quiet", f"--scale={scale}", DATABASE)

    def remove(self, port: int) -> bool:
        """Remove all of it, in the instance at *port* too if there is one that is a primary. Whether there was any."""
        found = False
        for unit in (NGINX, POSTGRESQL):
            if self._run(("systemctl", "is-active", "--quiet", unit))[0] == 0:
                self._do("systemctl", "stop", unit)
                found = True
        for version, name, at in self._clusters():
            if name == DATABASE:
                self._do("pg_dropcluster", "--stop", version, name)
                found = True
            elif at == port and self._writable(port) and self._there(port):
                self._do(*_client("dropdb", port), "--force", DATABASE)
                found = True
        if self._folder.exists():
            shutil.rmtree(self._folder)
            found = True
        if self._guarded():
            for guests in GUESTS.values():
                if "elements" in self._do("nft", f"list set inet {TABLE} {guests}"):
                    self._do("nft", f"flush set inet {TABLE} {guests}")
                    found = True
        return found

    def _guarded(self) -> bool:
        script = f"command -v nft >/dev/null && nft list table inet {TABLE} >/dev/null 2>&1"
        return self._run(("sh", "-c", script))[0] == 0

    def _writable(self, port: int) -> bool:
        return self._ask(port, "SELECT pg_is_in_recovery()") == "f"

    def _there(self, port: int) -> bool:
        return self._ask(port, f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'") == "1"

    def _ask(self, port: int, query: str) -> str:
        return self._do(*_client("psql", port), "-XAtq", "--dbname=postgres", f"--command={query}").strip()

    def _version(self, port: int) -> str:
        for version, _name, found in self._clusters():
            if found == port:
                return version
        raise StageError(f"found no instance of PostgreSQL at port {port}")

    def _clusters(self) -> Iterator[tuple[str, str, int]]:
        """Version, name and port of each instance. None where PostgreSQL isn't installed."""
        if self._run(("sh", "-c", "command -v pg_lsclusters"))[0] == 0:
            for line in self._do("pg_lsclusters", "--no-header").splitlines():
                version, name, port = line.split()[:3]
                yield version, name, int(port)

    def _service(self, unit: str, command: Sequence[str], *options: str) -> None:
        """Start *command* as a unit that leaves nothing when it ends."""
        lifetime = f"--property=RuntimeMaxSec={LIFETIME}"
        self._do("systemd-run", "--quiet", "--collect", f"--unit={unit}", lifetime, *options, *command)

    def _do(self, *command: str) -> str:
        code, out, errors = self._run(command)
        if code != 0:
            raise StageError(f"{' '.join(command)} ended with {code}: {(errors or out).strip()[-500:]}")
        return out


def _client(program: str, port: int) -> tuple[str, ...]:
    """A client of PostgreSQL's, as its administrator."""
    return ("runuser", "-u", "postgres", "--", program, "--host=/var/run/postgresql", f"--port={port}")
