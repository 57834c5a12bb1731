"""How long backups and restores take, each beside a plain copy of the same bytes; and what archiving WAL costs.

Part of ``make bench``; alone on any lab: ``LAB_NAME=demo .venv/bin/python -m tests.bench_backup``. It fills a database of
pgbench's (BENCH_SCALE) and removes it. Its backups stay until newer ones take their place, so a lab that is to keep what it
had backed up is no place for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.support.cluster import Cluster, wait
from tests.support.lab import ROOT, Lab

ROUNDS = int(os.environ.get("ROUNDS", "3"))
SCALE = int(os.environ.get("BENCH_SCALE", "135"))
DISASTER = Path(os.environ.get("DISASTER", str(ROOT / "disaster-report")))
DATABASE = "bench"
#: Not on the disk of the database, which is small in a lab: copies and restored files go where there is room.
SCRATCH = "/var/tmp/bench-backup"
#: Bytes that one step of pgbench's scale takes, with its index.
STEP = 15_000_000
#: Bytes of WAL that lie beside the data at most: max_wal_size, wal_keep_size, and pg_backup_queue_max of the lab.
WAL = 1_900_000_000
#: A restore may take so many times as long as a plain copy.
AIM = 1.3
CLIENTS, SECONDS = 8, 20
DROP = Path("/proc/sys/vm/drop_caches")


class Bench:
    """The lab's primary and one of its standbys, and what is measured on them."""

    def __init__(self, lab: Lab, cluster: Cluster) -> None:
        self.lab = lab
        self.cluster = cluster
        self.primary = cluster.primary()
        self.standby = cluster.standbys()[0]
        self.version = cluster.version()
        self.data = f"/var/lib/postgresql/{self.version}/main"
        self.drops, self.why_not = _may_drop()

    # --- preparing, and leaving nothing behind

    def scale(self) -> int:
        """What there is room for. Ends the benchmark if there is none."""
        free = {host: self._free(host, "/var/lib/postgresql") for host in self.cluster.hosts}
        least = min(free, key=lambda host: free[host])
        scale = min(SCALE, (free[least] - WAL) // STEP)
        if scale < 1:
            sys.exit(f"{least} has {free[least] / 1e6:.0f} MB free for its database, expected {(WAL + STEP) / 1e6:.0f}")
        # Hosts of a lab share the machine's disk: three databases, two copies, and three full backups.
        needed = 8 * scale * STEP + WAL
        if (there := self._free(self.primary, "/var/tmp")) < needed:
            sys.exit(
                f"{self.primary} has {there / 1e6:.0f} MB free in /var/tmp, expected {needed / 1e6:.0f}: lower BENCH_SCALE"
            )
        if scale < SCALE:
            print(f"scale {scale} instead of {SCALE}: {least} has {free[least] / 1e6:.0f} MB free for data and WAL")
        return int(scale)

    def _free(self, host: str, path: str) -> int:
        return int(self.lab.run(host, f"df --output=avail --block-size=1 {path} | tail -1"))

    def fill(self, scale: int) -> None:
        """Make the database, and have it on every member's disk."""
        # An earlier run may have been killed.
        self.clean()
        self.lab.run(self.primary, f"runuser -u postgres -- createdb {DATABASE}")
        self.lab.run(self.primary, f"runuser -u postgres -- pgbench --initialize --quiet --scale={scale} {DATABASE}")
        lsn = self.lab.sql(self.primary, "SELECT pg_current_wal_lsn()")
        replayed = f"SELECT pg_last_wal_replay_lsn() >= '{lsn}'"
        wait(
            lambda: all(self.lab.sql(host, replayed) == "t" for host in self.cluster.standbys()),
            300,
            lambda: f"the standbys don't have all of it: {replayed}",
        )
        self.settle()
        for host in (self.primary, self.standby):
            self.lab.run(host, f"rm -rf {SCRATCH} && install -d -o postgres -g postgres {SCRATCH}")

    def settle(self) -> None:
        """Nothing that was written before is written while something is measured."""
        for host in self.cluster.hosts:
            self.lab.sql(host, "CHECKPOINT")

    def clean(self) -> None:
        """Remove all of it."""
        with contextlib.suppress(AssertionError):
            self._restore("absent")
        for host in (self.primary, self.standby):
            self.lab.run(host, f"rm -rf {SCRATCH}")
        self.lab.run(self.primary, f"runuser -u postgres -- dropdb --if-exists --force {DATABASE}")

    def _timed(self, host: str, command: str) -> float:
        """Seconds that *command* takes on a host."""
        self._drop_caches()
        began = time.monotonic()
        self.lab.run(host, command)
        return time.monotonic() - began

    def _drop_caches(self) -> None:
        os.sync()
        if self.drops:
            DROP.write_text("3\n")

    def size_of(self, host: str, path: str) -> int:
        """Bytes of all files below *path*."""
        return int(self.lab.run(host, f"du --bytes --summarize {path} | cut -f1"))

    # --- what is measured

    def newest(self) -> dict[str, Any]:
        """The newest backup, as pgBackRest has it."""
        said = self.lab.run("ops1", "runuser -u postgres -- pgbackrest info --output=json")
        found: dict[str, Any] = json.loads(said)[0]["backup"][-1]
        return found

    def backup(self) -> float:
        """Seconds of a full backup, with its WAL."""
        return self._timed("ops1", "systemctl start pg-backup@full.service")

    def basebackup(self) -> float:
        """Seconds of pg_basebackup, over the connection by which this standby streams."""
        target = f"{SCRATCH}/basebackup"
        conninfo = self.lab.sql(self.standby, "SHOW primary_conninfo", database="postgres")
        self.lab.run(self.standby, f"rm -rf {target}")
        command = f"pg_basebackup --pgdata={target} --wal-method=none --checkpoint=fast --no-password"
        return self._timed(self.standby, f"cd / && runuser -u postgres -- {command} --dbname={shlex.quote(conninfo)}")

    def copy(self) -> float:
        """Seconds of a plain copy of what a restore brings: the data directory without its WAL; down to the disk."""
        target = f"{SCRATCH}/copy"
        self.lab.run(self.primary, f"rm -rf {target} && mkdir {target}")
        what = f"find {self.data} -mindepth 1 -maxdepth 1 ! -name pg_wal ! -name postmaster.pid"
        return self._timed(self.primary, f"{what} -exec cp -a -t {target} {{}} + && sync -f {target}")

    def restore(self, again: bool) -> dict[str, float]:
        """Seconds of each step of a restore of the newest backup, onto nothing or *again* over what is there."""
        if not again:
            self._restore("absent")
        self._drop_caches()
        newest = self.newest()
        return self._restore(
            "beside",
            options=[f"--set={newest['label']}", "--type=immediate", "--target-action=pause"],
            size=newest["info"]["size"],
        )

    def _restore(self, state: str, **options: Any) -> dict[str, float]:
        # Named as if an instance lay there that was stopped: what is restored goes beside it, into the scratch folder.
        where = {"version": int(self.version), "data_directory": f"{SCRATCH}/main"}
        said = self.lab.module(self.primary, "backup_restore", {"state": state, **where, **options})
        # The checkout's ansible.cfg asks for results in YAML.
        return dict(yaml.safe_load(said.partition("=>")[2]).get("seconds", {}))

    def rate(self) -> float:
        """Transactions a second of pgbench's own kind (TPC-B)."""
        self.settle()
        size = f"--client={CLIENTS} --jobs=2 --time={SECONDS}"
        said = self.lab.run(self.primary, f"runuser -u postgres -- pgbench --no-vacuum {size} {DATABASE}")
        found = re.search(r"^tps = ([0-9.]+)", said, re.MULTILINE)
        assert found, said
        return float(found[1])

    @contextlib.contextmanager
    def archiving_nothing(self) -> Iterator[None]:
        """WAL is said to be archived and is not, as long as this lasts."""
        path = f"/etc/postgresql/{self.version}/main/postgresql.conf"
        usual = self.lab.sql(self.primary, "SHOW archive_command")
        # The last line wins. Nothing includes conf.d as a whole, so a file there would not be read.
        self.lab.run(self.primary, f"cp -p {path} {path}.bench && echo \"archive_command = '/bin/true'\" >> {path}")
        try:
            self._reload("/bin/true")
            yield
        finally:
            self.lab.run(self.primary, f"mv {path}.bench {path}")
            self._reload(usual)

    def _reload(self, expected: str) -> None:
        self.lab.sql(self.primary, "SELECT pg_reload_conf()")
        found = "SHOW archive_command"
        wait(
            lambda: self.lab.sql(self.primary, found) == expected,
            20,
            lambda: f"archive_command is {self.lab.sql(self.primary, found)}, expected {expected}",
        )


def _may_drop() -> tuple[bool, str]:
    """Whether the machine's caches can be dropped; if not, why."""
    try:
        DROP.write_text("3\n")
    except OSError as error:
        return False, error.strerror or str(error)
    return True, ""


def repeat(what: Callable[[], float]) -> list[float]:
    return [what() for _ in range(ROUNDS)]


def show(title: str, seconds: Sequence[float], size: int, plain: float = 0.0, note: str = "") -> None:
    """A line of the table. *size* is in bytes, *plain* the seconds of a plain copy."""
    median = statistics.median(seconds)
    values = ", ".join(f"{value:.2f}" for value in seconds)
    ratio = f"{median / plain:7.2f} x copy" if plain else " " * 14
    print(f"{median:8.2f} s  {size / 1e6 / median:6.0f} MB/s{ratio}  {title}  ({values}){note}", flush=True)


def files(bench: Bench) -> None:
    """Backups, copies and restores."""
    backups = repeat(bench.backup)
    size = int(bench.newest()["info"]["size"])
    stored = int(bench.newest()["info"]["repository"]["size"])
    bases = repeat(bench.basebackup)
    base_size = bench.size_of(bench.standby, f"{SCRATCH}/basebackup")
    copies = repeat(bench.copy)
    copy_size = bench.size_of(bench.primary, f"{SCRATCH}/copy")
    # Room for what is restored.
    bench.lab.run(bench.primary, f"rm -rf {SCRATCH}/copy")
    bench.lab.run(bench.standby, f"rm -rf {SCRATCH}/basebackup")
    restores = [bench.restore(again=False) for _ in range(ROUNDS)]
    again = [bench.restore(again=True) for _ in range(ROUNDS)]

    plain = statistics.median(copies)
    shown = f"; {size / 1e6:.0f} MB are {stored / 1e6:.0f} MB in the repository"
    show("floor: cp -a without pg_wal, and sync -f, on the primary", copies, copy_size)
    show("pg_basebackup over the network, to a standby's host", bases, base_size, plain)
    show("full backup: from a standby, compressed, encrypted", backups, size, plain, shown)
    aim = f"; aim {AIM} x copy"
    show("restore beside: files", [one["fetch"] for one in restores], size, plain, aim)
    show("restore beside: files, and to where it can be read", [_whole(one) for one in restores], size, plain)
    show("the same over what is there (--delta): files", [one["fetch"] for one in again], size, plain)
    ratio = statistics.median(bases) / statistics.median(backups)
    print(f"{ratio:8.2f}    pg_basebackup's time by that of a full backup")


def _whole(seconds: dict[str, float]) -> float:
    return seconds["fetch"] + seconds["recover"]


def archiving(bench: Bench) -> None:
    """Transactions with WAL archived and without, in turn: a machine that is slow for a minute is slow for both."""
    usual, without = [], []
    for _ in range(ROUNDS):
        usual.append(bench.rate())
        with bench.archiving_nothing():
            without.append(bench.rate())
    ratio = statistics.median(usual) / statistics.median(without)
    print(f"\nwhat archiving costs: pgbench TPC-B, {CLIENTS} clients, {SECONDS} s, median of {ROUNDS} in turn")
    for title, rates in (("archive_command as it is", usual), ("archive_command = '/bin/true'", without)):
        values = ", ".join(f"{rate:.0f}" for rate in rates)
        print(f"{statistics.median(rates):8.0f} transactions/s  {title}  ({values})")
    print(f"{ratio:8.2f} of the rate without", flush=True)


def disaster() -> None:
    """The stages of the last rehearsal, if there was one."""
    path = DISASTER / "report.json"
    if not path.exists():
        print(f"\ndisaster: not rehearsed (no {path}). Run: make drill FAULT=disaster")
        return
    told = json.loads(path.read_text())
    print(f"\ndisaster, rehearsed {told['about']['date']}: {'passed' if told['passed'] else 'FAILED'}")
    for stage in told["stages"]:
        print(f"{stage['seconds']:8.1f} s  {stage['title']}")
    for title, name in (
        ("RTO", "rto_seconds"),
        ("RPO database", "rpo_seconds_database"),
        ("RPO media", "rpo_seconds_media"),
    ):
        if told[name] is not None:
            print(f"{told[name]:8.1f} s  {title}")


def main() -> None:
    """Measure and print medians."""
    lab = Lab.from_environment()
    cluster = Cluster(lab)
    cluster.wait_whole()
    bench = Bench(lab, cluster)
    dropped = "caches dropped before each" if bench.drops else f"caches not dropped ({bench.why_not})"
    print(f"\nbackups, median of {ROUNDS}, {dropped}, load average {os.getloadavg()[0]:.1f}")
    try:
        bench.fill(bench.scale())
        files(bench)
        archiving(bench)
    finally:
        bench.clean()
        # What was said to be archived and was not is a gap: times after it are restored from this one on.
        lab.run("ops1", "systemctl start pg-backup@diff.service")
    disaster()


if __name__ == "__main__":
    main()
