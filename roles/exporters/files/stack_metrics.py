# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""stack-metrics: what Prometheus can't learn of this host elsewhere, as a file of text for node-exporter.

Written by the role exporters. Every ten seconds the file is replaced in one step. Each question has a thread and a
patience of its own: a mount that hangs or a command that never ends costs its own answer, never the file.

Runs on the host without Ansible: Python 3.11 and nothing else. From top to bottom: what is known, what is decided from
it (pure), what touches the world, and the loop.
"""

from __future__ import annotations

import ipaddress
import json
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

CONFIG = Path("/etc/stack-metrics.json")
#: Seconds from one file to the next, and how long a round waits for answers.
ROUND = 10.0
PATIENCE = 5.0
#: Seconds between two questions that cost a process of some weight, and the most that such a process takes.
BACKUPS = 60.0
BACKUPS_PATIENCE = 50.0
CERTIFICATES = 600.0
#: Hours that the newest backup of the database may be old, as status.yml has it.
BACKUP_HOURS = 36
KINDS = ("full", "diff", "incr")
#: What a repository of pgBackRest says that is no trouble: ok, no stanza yet, no backup yet.
HARMLESS = (0, 1, 2)

# ---- What is known -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class Config:
    """What this host has; empty where it hasn't. *clusters* are called as Debian's tools do, such as 17-main."""

    textfile: Path
    clusters: Sequence[str]
    vip: str
    store: str
    brick: str
    backup: bool
    certificates: Sequence[str]
    release_link: str

    @classmethod
    def load(cls, path: Path) -> Config:
        """Read the JSON file. Raises OSError, ValueError, KeyError or TypeError for one that can't be used."""
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return cls(textfile=Path(data.pop("textfile")), **data)


@dataclass(frozen=True)
class Host:
    """Where things are on a host."""

    proc: Path = Path("/proc")
    postgresql: Path = Path("/var/lib/postgresql")
    gluster: Path = Path("/run/gluster/vols")
    media: Path = Path("/var/lib/media-backup/result.json")
    verify: Path = Path("/etc/backup-verify/config.json")


#: Runs a command for at most so many seconds; gives what it says, or raises OSError or SubprocessError.
Run = Callable[[Sequence[str], float], str]

# ---- What is decided ---------------------------------------------------------------------------------


def render(samples: Iterable[Sample]) -> str:
    """https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format"""
    lines: dict[str, list[str]] = {}
    for sample in samples:
        labels = ",".join(f'{name}="{escaped(value)}"' for name, value in sample.labels.items())
        of_name = lines.setdefault(sample.name, [f"# TYPE {sample.name} gauge"])
        of_name.append(
            f"{sample.name}{{{labels}}} {sample.value:.16g}" if labels else f"{sample.name} {sample.value:.16g}"
        )
    return "".join(f"{line}\n" for of_name in lines.values() for line in of_name)


def escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def holds(said: str, address: str) -> bool:
    """Whether *address* is on an interface, as ``ip -json address show`` tells."""
    return any(
        ipaddress.ip_address(found["local"]) == ipaddress.ip_address(address)
        for interface in json.loads(said)
        for found in interface.get("addr_info", ())
        if "local" in found
    )


def is_mount(mountinfo: str, directory: str) -> bool:
    """Whether something is mounted at *directory*. See proc_pid_mountinfo(5)."""
    wanted = directory.replace("\\", "\\134").replace(" ", "\\040")
    return any(line.split(" ")[4:5] == [wanted] for line in mountinfo.splitlines())


def pending(names: Iterable[str]) -> int:
    """Files that wait to be healed: links in the index of a brick, but for those that all others are links to."""
    return sum(not name.startswith("xattrop-") for name in names)


@dataclass(frozen=True)
class Kept:
    """How something that is kept is: when the last good one was made, if there is one, and whether all is well."""

    newest: float | None
    ok: bool

    def samples(self, what: str) -> Iterator[Sample]:
        if self.newest is not None:
            yield Sample("stack_backup_timestamp_seconds", {"what": what}, self.newest)
        yield Sample("stack_backup_ok", {"what": what}, self.ok)


def whole_backups(catalogue: Sequence[Mapping[str, Any]]) -> list[float]:
    """When the backups of the newest history ended, oldest first and without broken ones. See ``pgbackrest info``."""
    stanza: Mapping[str, Any] = catalogue[0] if catalogue else {}
    history = max((one["id"] for one in stanza.get("db", ())), default=0)
    return sorted(
        float(one["timestamp"]["stop"])
        for one in stanza.get("backup", ())
        if one["database"]["id"] == history and not one["error"]
    )


def troubled(catalogue: Sequence[Mapping[str, Any]]) -> bool:
    """Whether pgBackRest can't use a repository."""
    return any(one["status"]["code"] not in HARMLESS for stanza in catalogue for one in stanza.get("repo", ()))


def judge_database(catalogue: Sequence[Mapping[str, Any]], states: Mapping[str, str], now: float) -> Kept:
    """*states* are systemd's of the units that make backups."""
    ends = whole_backups(catalogue)
    fresh = now - ends[-1] <= BACKUP_HOURS * 3600 if ends else "activating" in states.values()
    return Kept(ends[-1] if ends else None, fresh and not troubled(catalogue) and "failed" not in states.values())


def judge_media(result: Mapping[str, Any] | None, state: str, now: float) -> Kept:
    """*result* is of the program media-backup, *state* systemd's of its unit."""
    good, last = (result.get("good"), result.get("last")) if result else (None, None)
    newest = float(good["began"]) if good else None
    fresh = state == "activating" if result is None or newest is None else now - newest <= result["max_age"]
    return Kept(newest, fresh and not (last and last["error"]))


def judge_verification(
    result: Mapping[str, Any] | None, last_good: float | None, first: float | None, max_age: float, now: float
) -> Kept:
    """*result* is of the program backup-verify; *last_good* when one went well before it; *first* when there was
    something to verify. One that didn't run is as bad as one that failed."""
    since = result["began"] if result else first
    fresh = since is None or now - since <= max_age
    newest = result["began"] if result and result["ok"] else last_good
    return Kept(newest, fresh and (result is None or bool(result["ok"])))


# ---- What touches the world --------------------------------------------------------------------------


def call(argv: Sequence[str], timeout: float) -> str:
    """Run a command; its output. Raises OSError, or SubprocessError if it fails or takes longer than *timeout*."""
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, "LC_ALL": "C"},
        timeout=timeout,
        check=False,
    )
    if done.returncode != 0:
        raise subprocess.SubprocessError(f"{argv[0]} failed: {' '.join((done.stderr or done.stdout).split())[:300]}")
    return done.stdout


def vip(address: str, run: Run) -> Iterator[Sample]:
    said = run(["ip", "-json", "address", "show"], PATIENCE)
    yield Sample("stack_vip_held", {"address": address}, holds(said, address))


def store(directory: str, host: Host) -> Iterator[Sample]:
    # Of the host, not of this process, whose mounts are copies.
    mounted = is_mount((host.proc / "1/mountinfo").read_text(encoding="utf-8", errors="replace"), directory)
    if mounted:
        # It may have lost its other end (which raises), or hang (which is what threads are for).
        os.statvfs(directory)
    yield Sample("stack_store_mounted", {"directory": directory}, mounted)


def brick_up(brick: str, host: Host) -> Iterator[Sample]:
    ending = f"-{brick.strip('/').replace('/', '-')}.pid"
    files = [path for path in host.gluster.glob("*/*.pid") if path.name.endswith(ending)]
    # A number may be anybody's by now.
    up = any(command_of(host, read(path)) == "glusterfsd" for path in files)
    yield Sample("stack_gluster_brick_up", {"brick": brick}, up)


def brick_pending(brick: str) -> Iterator[Sample]:
    names = os.listdir(f"{brick}/.glusterfs/indices/xattrop")
    yield Sample("stack_gluster_heal_pending", {"brick": brick}, pending(names))


def fenced(cluster: str, host: Host) -> Iterator[Sample]:
    """What the guard decided at the last start holds for as long as the instance would start as a primary."""
    data = host.postgresql.joinpath(*cluster.split("-", 1))
    held = (host.postgresql / f"{cluster}.held").exists() and not (data / "standby.signal").exists()
    found = (host.postgresql / f"{cluster}.fenced").exists() or (held and not server_runs(data, host))
    yield Sample("stack_pg_fenced", {"cluster": cluster}, found)


def server_runs(data: Path, host: Host) -> bool:
    pid = read(data / "postmaster.pid").split("\n")[0].strip()
    return pid.isdigit() and str(data) in read(host.proc / pid / "cmdline").split("\0")


def command_of(host: Host, pid: str) -> str:
    return read(host.proc / pid.strip() / "comm").strip() if pid.strip().isdigit() else ""


def release(link: str) -> Iterator[Sample]:
    try:
        yield Sample("stack_release_info", {"release": os.path.basename(os.readlink(link))}, 1)
    except FileNotFoundError:
        return


def read(path: Path) -> str:
    """Its text; empty if it isn't there (any more)."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def read_json(path: Path) -> dict[str, Any] | None:
    text = read(path)
    found: dict[str, Any] | None = json.loads(text) if text else None
    return found


def states_of(units: Sequence[str], run: Run) -> dict[str, str]:
    """systemd's state of each unit."""
    said = run(["systemctl", "show", "--property=ActiveState", "--value", "--", *units], PATIENCE)
    # One paragraph for each unit, in the order in which they were asked for.
    return dict(zip(units, (state.strip() for state in said.split("\n\n")), strict=False))


@dataclass
class Backups:
    """What is kept on this host."""

    host: Host
    run: Run
    #: When the first backup ended, as seen last.
    first: float | None = None

    def database(self) -> Iterator[Sample]:
        command = ["pgbackrest", "--stanza=main", "--log-level-file=off", "info", "--output=json"]
        catalogue = json.loads(self.run(command, BACKUPS_PATIENCE))
        self.first = next(iter(whole_backups(catalogue)), None)
        states = states_of([f"pg-backup@{kind}.service" for kind in KINDS], self.run)
        yield from judge_database(catalogue, states, time.time()).samples("database")

    def media(self) -> Iterator[Sample]:
        state = states_of(["media-backup.service"], self.run)["media-backup.service"]
        yield from judge_media(read_json(self.host.media), state, time.time()).samples("media")

    def verification(self) -> Iterator[Sample]:
        config = read_json(self.host.verify)
        if config is None:
            return
        directory = Path(config["directory"])
        # Written when all was well, and only then.
        tables = directory / "tables.json"
        last_good = tables.stat().st_mtime if tables.exists() else None
        kept = judge_verification(
            read_json(directory / "result.json"), last_good, self.first, config["result_max_age"], time.time()
        )
        yield from kept.samples("verification")


@dataclass
class Certificates:
    """When certificates end. A file is looked into again when it has changed, and now and then."""

    paths: Sequence[str]
    run: Run
    known: dict[str, tuple[tuple[int, int], float, float]] = field(default_factory=dict)

    def ask(self) -> Iterator[Sample]:
        troubles = []
        for path in self.paths:
            try:
                yield Sample("stack_certificate_not_after_timestamp_seconds", {"file": path}, self.end_of(path))
            except FileNotFoundError:
                # Not yet, or not any more; the service that needs it says so.
                continue
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                troubles.append(f"{path}: {error}")
        if troubles:
            raise Partly("; ".join(troubles))

    def end_of(self, path: str) -> float:
        found = os.stat(path)
        mark, now = (found.st_mtime_ns, found.st_ino), time.monotonic()
        before = self.known.get(path)
        if before is None or before[0] != mark or now - before[1] >= CERTIFICATES:
            said = self.run(["openssl", "x509", "-enddate", "-noout", "-in", path], PATIENCE)
            before = mark, now, float(ssl.cert_time_to_seconds(said.strip().partition("=")[2]))
            self.known[path] = before
        return before[2]


# ---- The loop ----------------------------------------------------------------------------------------


class Partly(Exception):
    """What was told stands; this is why there isn't more."""


class Probe:
    """A question that is asked again and again, in a thread of its own and never twice at a time."""

    def __init__(
        self,
        name: str,
        ask: Callable[[], Iterable[Sample]],
        silence: Sequence[Sample] = (),
        every: float = 0,
        patience: float = PATIENCE,
    ) -> None:
        self.name = name
        self._ask = ask
        self._silence = tuple(silence)
        self._every = every
        self._patience = patience
        self._thread: threading.Thread | None = None
        self._began = float("-inf")
        self._last: tuple[Sample, ...] = ()
        self._trouble = ""

    def begin(self) -> None:
        """Ask, if it is time and the last question was answered."""
        now = time.monotonic()
        if (self._thread is not None and self._thread.is_alive()) or now - self._began < self._every:
            return
        self._began = now
        # A daemon: one that hangs must not keep this program from ending.
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait(self, deadline: float) -> None:
        """Until it is answered; at most until *deadline*, of the monotonic clock."""
        if self._thread is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))

    def answer(self) -> tuple[Sample, ...]:
        """The last answer, or what stands for none when this one takes too long."""
        asked = self._thread is not None and self._thread.is_alive()
        if asked and time.monotonic() - self._began >= self._patience:
            self._say(f"no answer for {self._patience:g} s")
            return self._silence
        return self._last

    def _run(self) -> None:
        found: list[Sample] = []
        trouble = "it failed"
        try:
            for sample in self._ask():
                found.append(sample)
            trouble = ""
        except Partly as error:
            trouble = str(error)
        except (OSError, ValueError, LookupError, TypeError, subprocess.SubprocessError) as error:
            found, trouble = list(self._silence), str(error) or type(error).__name__
        finally:
            self._last = tuple(found)
            self._say(trouble)

    def _say(self, trouble: str) -> None:
        """Once for each change: a fault that lasts fills no journal."""
        if trouble != self._trouble:
            self._trouble = trouble
            print(f"{self.name}: {trouble or 'well again'}", file=sys.stderr, flush=True)


def probes(config: Config, host: Host, run: Run) -> list[Probe]:
    """What is asked of this host."""
    backups = Backups(host, run)
    found = [Probe("certificates", Certificates(config.certificates, run).ask)]
    found += [Probe(f"cluster {name}", partial(fenced, name, host)) for name in config.clusters]
    if config.vip:
        found.append(Probe("virtual address", partial(vip, config.vip, run)))
    if config.store:
        lost = Sample("stack_store_mounted", {"directory": config.store}, 0)
        found.append(Probe("store", partial(store, config.store, host), [lost]))
    if config.brick:
        down = Sample("stack_gluster_brick_up", {"brick": config.brick}, 0)
        found.append(Probe("brick", partial(brick_up, config.brick, host), [down]))
        found.append(Probe("heal", partial(brick_pending, config.brick)))
    if config.backup:
        for name, ask in (
            ("database", backups.database),
            ("media", backups.media),
            ("verification", backups.verification),
        ):
            unknown = Kept(None, ok=False).samples(name)
            found.append(Probe(f"backup of {name}", ask, list(unknown), BACKUPS, BACKUPS_PATIENCE + PATIENCE))
    if config.release_link:
        found.append(Probe("release", partial(release, config.release_link)))
    return found


def once(asked: Sequence[Probe], textfile: Path, patience: float = PATIENCE) -> None:
    """One round: ask, wait, write what was answered."""
    deadline = time.monotonic() + patience
    for probe in asked:
        probe.begin()
    for probe in asked:
        probe.wait(deadline)
    samples = [sample for probe in asked for sample in probe.answer()]
    write(textfile, render([*samples, Sample("stack_metrics_timestamp_seconds", {}, time.time())]))


def write(path: Path, text: str) -> None:
    """Replace it in one step: whoever reads gets the old one or the new one, whole."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def main() -> None:
    """For ever."""
    config = Config.load(CONFIG)
    asked = probes(config, Host(), call)
    while True:
        began = time.monotonic()
        try:
            once(asked, config.textfile)
        except OSError as error:
            # A full disk, say. The time in the file tells that it is old.
            print(f"{config.textfile} can't be written: {error}", file=sys.stderr, flush=True)
        time.sleep(max(1.0, ROUND - (time.monotonic() - began)))


if __name__ == "__main__":
    main()
