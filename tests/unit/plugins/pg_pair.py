# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real primary and standbys of it for tests, as the roles set them up, and a systemctl for each."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import Upstream
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_fence_io import processes_on
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_promote_io import Access
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_promote_steps import Peer
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_standby_io import Standby
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_standby_steps import (
    Replication,
    StandbyAction,
    Wanted,
)

ACCESS = Access(sslmode="disable")
HBA = "local all postgres trust\nhost replication,postgres replication 127.0.0.1/32 trust\n"
# What the collection grants to the replication role.
GRANTS = """
GRANT pg_monitor TO replication;
GRANT EXECUTE ON FUNCTION pg_stat_file(text, boolean) TO replication
"""


class Systemd:
    """Runs commands on one host, and is the systemctl of its server."""

    def __init__(self, host: Any) -> None:
        self.host = host
        self.verbs: list[str] = []
        # What happens when the server is to be started; a test may replace it.
        self.start: Callable[[], None] = host.start

    def __call__(self, argv: Sequence[str]) -> tuple[int, str, str]:
        if "systemctl" not in argv:
            result: tuple[int, str, str] = self.host.run(argv)
            return result
        verb = argv[list(argv).index("systemctl") + 1]
        self.verbs.append(verb)
        if verb == "restart":
            reaped(self.host)
            self.start()
        return 0, "", ""


def reaped(host: Any) -> None:
    """Wait until nobody could take what is left of a killed server for one that runs.

    systemd knows at once that its service died; not every first process of a machine does.
    """
    pid_file = host.instance.data_directory / "postmaster.pid"
    pid = pid_file.read_text().splitlines()[0] if pid_file.exists() else ""
    eventually(lambda: not pid or not Path(f"/proc/{pid}").exists() or "Z" not in state_of(pid), 30)
    eventually(lambda: not processes_on(host.instance.data_directory, "unit"), 30)


def state_of(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def peer_of(host: Any) -> Peer:
    """The other member as a module is told of it."""
    return Peer(host.instance.cluster, "127.0.0.1", host.instance.port)


def standby_of(host: Any, upstream: Any, systemd: Systemd | None = None) -> Standby:
    """``host`` as a standby of ``upstream``."""
    name = host.instance.cluster
    source = Upstream(upstream.instance.cluster, "127.0.0.1", upstream.instance.port, name)
    replication = Replication(source, "replication", name, sslmode="disable")
    return Standby(host.instance, Wanted(StandbyAction.FOLLOW, replication), "unit", systemd or host.run, timeout=20)


def make_pair(primary: Any, *standbys: Any) -> None:
    """Make ``standbys`` stream from the running ``primary``, each with a slot, and all with the same rules."""
    (primary.instance.config_directory / "pg_hba.conf").write_text(HBA)
    primary.sql("SELECT pg_reload_conf()")
    primary.sql(GRANTS)
    for standby in standbys:
        (standby.instance.config_directory / "pg_hba.conf").write_text(HBA)
        primary.sql(f"SELECT pg_create_physical_replication_slot('{standby.instance.cluster}', true)")
        where = f"host=127.0.0.1 port={primary.instance.port} user=replication"
        standby.pg("pg_basebackup", "-D", str(standby.instance.data_directory), "-c", "fast", "-N", "-d", where)
        (standby.instance.data_directory / "standby.signal").touch()
        made = standby_of(standby, primary)
        standby.instance.standby_conf.write_text(made.wanted.settings)
        standby.start()
    for standby in standbys:
        eventually(lambda s=standby: s.sql("SELECT status FROM pg_stat_wal_receiver") == "streaming")


def archives(lost: Any, successor: Any) -> Path:
    """A folder that ``successor`` archives to; ``lost`` can't archive at all, and is restarted for that."""
    folder: Path = lost.instance.data_directory.parent.parent / "archive"
    folder.mkdir()
    shutil.chown(folder, "postgres", "postgres")
    for host, command in ((lost, "false"), (successor, f"test ! -f {folder}/%f && cp %p {folder}/%f")):
        settings = host.instance.config_directory / "conf.d" / "archive.conf"
        settings.write_text(f"archive_mode = on\narchive_command = '{command}'\n")
    lost.stop()
    lost.start()
    return folder


def write_a_segment(primary: Any) -> str:
    """Write into a file of WAL and go on to the next; its name."""
    written = primary.sql("SELECT pg_walfile_name(pg_logical_emit_message(true, 'test', 'text'))")
    primary.sql("SELECT pg_switch_wal()")
    return str(written)


def counted_as_archived(host: Any) -> set[str]:
    """The files of WAL that ``host`` sees no need to archive."""
    statuses = host.instance.data_directory / "pg_wal" / "archive_status"
    return {path.stem for path in statuses.glob("*.done")}


def eventually(done: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until ``done``."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it didn't happen in time"
        time.sleep(0.02)


def is_primary(host: Any) -> bool:
    """Whether the running server accepts writes; asked by writing."""
    if host.sql("SELECT pg_is_in_recovery()") == "t":
        return False
    host.sql("INSERT INTO kept VALUES ('written')")
    return True
