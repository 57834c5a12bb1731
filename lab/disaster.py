# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loses every host of a lab but the one that keeps the backups, and rebuilds the site from them: by the commands that
docs/disaster-recovery.md gives to an operator, while a client outside knows what it was promised.

``LAB_NAME=demo .venv/bin/python lab/disaster.py``, or ``make drill FAULT=disaster``. The controller survives, with the
inventory, its secrets and the release of the application: without those nobody could read the backups.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import dataclasses
import json
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

# As Ansible finds it: the checkout, linked there by lab/setup.sh.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / ".cache/collections"))

from ansible_collections.renfo.redundancy.plugins.plugin_utils import drill_client, report
from ansible_collections.renfo.redundancy.plugins.plugin_utils.drill_disaster import (
    Accounts,
    Moments,
    Stage,
    accounts,
    document,
    figures,
    loss_rows,
    markdown,
    picture,
    stage_rows,
)
from ansible_collections.renfo.redundancy.plugins.plugin_utils.drill_journal import forget
from ansible_collections.renfo.redundancy.plugins.plugin_utils.drill_session import OWN, Session, SessionError

ROOT = Path(__file__).resolve().parents[1]
INVENTORY = ROOT / "inventories/lab"
#: What must work, one after the other, before the site counts as back.
NEEDED = ("page", "read_primary", "write", "video")
#: Where the role media_backup notes its last good snapshot.
SNAPSHOTS = "/var/lib/media-backup/result.json"
#: Seconds that a playbook may take, that the stack has to be whole again, and the site to work once it is.
PLAYBOOK = 1800
WHOLE = 600
VISIT = 60


class Broken(Exception):
    """The rehearsal can't go on; the message says why."""


@dataclasses.dataclass(frozen=True)
class Lab:
    """The lab *name*: its hosts, who of them keeps the backups, and how its site is used."""

    name: str
    hosts: tuple[str, ...]
    kept: str
    site: str
    client: dict[str, Any]

    @classmethod
    def read(cls, name: str) -> Lab:
        """From its inventory. Broken if there is none of that name."""
        catalogue = _yaml(INVENTORY / "group_vars/all/lab.yml")["lab_catalogue"]
        if name not in catalogue:
            raise Broken(f"LAB_NAME is {name!r}, expected one of {', '.join(catalogue)}: which lab is to be destroyed?")
        groups = _yaml(INVENTORY / "hosts.yml")["all"]["children"]
        hosts = dict.fromkeys(host for group in groups.values() for host in group.get("hosts") or {})
        site = _yaml(INVENTORY / "group_vars/all/site.yml")
        client = {
            "url": f"https://{catalogue[name]['subnet']}.100",
            "server_name": site["site_name"],
            "ca": str(INVENTORY / ".secrets" / name / "tls/ca.crt"),
            "rates": site["drill_rates"],
            "timeout": 15,
            "upload_bytes": 102400,
            "paths": {"page": "/", "sessions": "/sessions", "videos": "/videos"},
        }
        return cls(name, tuple(hosts), next(iter(groups["backup"]["hosts"])), site["site_name"], client)

    @property
    def doomed(self) -> tuple[str, ...]:
        """Who is destroyed."""
        return tuple(host for host in self.hosts if host != self.kept)

    def destroy(self) -> None:
        """Remove the hosts and their disks, all at once."""
        containers = [f"{self.name}-{host}" for host in self.doomed]
        done = subprocess.run(
            ["docker", "rm", "--force", "--volumes", *containers], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise Broken(f"not every host could be destroyed: {done.stderr.strip()}")

    def snapshot(self) -> float:
        """When the newest snapshot of the media began. Broken if there is none."""
        command = ["docker", "exec", f"{self.name}-{self.kept}", "cat", SNAPSHOTS]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        good = json.loads(done.stdout)["good"] if done.returncode == 0 else None
        if not good:
            raise Broken(
                f"{self.kept} has no snapshot of the media, expected one in {SNAPSHOTS}. {done.stderr.strip()}"
            )
        return float(good["began"])


class Visitor(threading.Thread):
    """Tries the site until all that is needed works: ``back`` is when each did for the first time, and ``all``."""

    def __init__(self, client: dict[str, Any], out: Path, video: tuple[str, str]) -> None:
        super().__init__(daemon=True)
        self.back: dict[str, float] = {}
        self._config = {**client, "timeout": 5, "out": str(out)}
        self._video = video
        self._over = threading.Event()

    def run(self) -> None:
        asyncio.run(self._visit())

    def stop(self) -> None:
        """Give up."""
        self._over.set()
        self.join()

    async def _visit(self) -> None:
        async with drill_client.connect(self._config) as session:
            prober = drill_client.Prober(self._config, session)
            prober.know(*self._video)
            while not self._over.is_set() and not await self._all_works(prober):
                await asyncio.sleep(0.5)

    async def _all_works(self, prober: drill_client.Prober) -> bool:
        for operation in NEEDED:
            record = await prober.once(operation)
            prober.note(record)
            if record["outcome"] != "ok":
                return False
            self.back.setdefault(operation, record["done"])
        self.back["all"] = record["done"]
        return True


class Rehearsal:
    """One disaster and what comes after it. Whatever ends it early, what is known by then can be reported."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.folder = folder
        self.session = Session(str(folder))
        self.stages: list[Stage] = []
        self.moments: Moments | None = None
        self.found: Accounts | None = None
        self.back: dict[str, float] = {}
        self._began = time.monotonic()
        self._backup = 0.0

    def say(self, sentence: str) -> None:
        """Progress."""
        print(f"{time.monotonic() - self._began:7.1f} s  {sentence}", flush=True)

    def run(self, before: float, after: float) -> None:
        """All of it. Broken or SessionError if it can't come to its end."""
        self.say(f"Look whether the lab {self.lab.name} is whole")
        self.wait_whole("status.yml finds the lab degraded before anything was destroyed")
        try:
            self.use(before, after)
        finally:
            # The client ends first: nothing is acknowledged after this, so nobody is promised what the disaster takes.
            # With it running on there would be requests under way of which nobody knows whether they count.
            self.session.stop()
        moments = self.destroy()
        video = next(item for item in self.session.requests() if item["operation"] == "upload")
        visitor = Visitor(self.lab.client, self.folder / "probe/visits.jsonl", (video["id"], video["key"]))
        self.back = visitor.back
        visitor.start()
        try:
            self.rebuild()
            visitor.join(VISIT)
        finally:
            visitor.stop()
        self.say("Ask the site for everything that it acknowledged")
        self.found = accounts(self.session.requests(), self.session.held(), moments)

    def use(self, before: float, after: float) -> None:
        """Use the site, back it up, use it on."""
        self.session.start(self.lab.client, os.getpid())
        self.say(f"A client uses the site from outside; {before:.0f} s without a backup")
        time.sleep(before)
        self._backup = time.time()
        self.play("playbooks/backup.yml")
        if (age := self._backup - self.lab.snapshot()) > 0:
            raise Broken(f"backup.yml made no snapshot of the media: the newest one is {age:.0f} s older than that")
        self.say(f"{after:.0f} s that only archived WAL can bring back")
        time.sleep(after)

    def destroy(self) -> Moments:
        """Destroy every host but one."""
        moment = time.time()
        self.say(f"Destroy {', '.join(self.lab.doomed)}; {self.lab.kept} stays")
        self.lab.destroy()
        self.stages.append(Stage("destroy the hosts", moment, time.time() - moment))
        # Asked only now: the timer may have made a newer snapshot since backup.yml.
        self.moments = Moments(self._backup, self.lab.snapshot(), moment)
        return self.moments

    def rebuild(self) -> None:
        """What docs/disaster-recovery.md says."""
        self.stage("build empty hosts", "lab/up.yml")
        self.stage("site.yml: all but the data", "playbooks/site.yml", points_to="restore.yml")
        wanted = ("-e", "restore_to=latest", "-e", f"restore_overwrite={self.lab.site}")
        self.stage("restore.yml: database, standbys, media", "playbooks/restore.yml", *wanted)
        self.stage("site.yml: the application", "playbooks/site.yml")
        began = time.time()
        self.say("Wait until status.yml finds nothing degraded")
        self.wait_whole(f"status.yml still finds the stack degraded {WHOLE} s after it was rebuilt")
        self.stages.append(Stage("status.yml: whole again", began, time.time() - began))

    def stage(self, title: str, playbook: str, *arguments: str, points_to: str = "") -> None:
        """A playbook, as a stage of the rebuilding."""
        began = time.time()
        try:
            self.play(playbook, *arguments, points_to=points_to)
        finally:
            self.stages.append(Stage(title, began, time.time() - began))

    def play(self, playbook: str, *arguments: str, points_to: str = "") -> None:
        """Run a playbook as the operator would. Broken if it fails; one that *points_to* another playbook has to fail,
        and name that."""
        self.say(shlex.join(["ansible-playbook", "-i", "inventories/lab", playbook, *arguments]))
        code, log = self._play(playbook, *arguments)
        if not points_to and code != 0:
            raise Broken(f"{playbook} ended with {code}, expected 0: see {log}")
        if points_to and code == 0:
            raise Broken(f"{playbook} ended with 0 on empty hosts, expected an error that names {points_to}: see {log}")
        if points_to and points_to not in log.read_text():
            raise Broken(f"{playbook} doesn't name {points_to}, which is what comes next: see {log}")

    def wait_whole(self, otherwise: str) -> None:
        """Until nothing is degraded. Broken, with the sentence *otherwise*, if that doesn't come."""
        deadline = time.monotonic() + WHOLE
        while True:
            code, log = self._play("playbooks/status.yml")
            if code == 0:
                return
            if time.monotonic() > deadline:
                raise Broken(f"{otherwise}: see {log}")
            log.unlink()
            time.sleep(2)

    def _play(self, playbook: str, *arguments: str) -> tuple[int, Path]:
        """Exit code, and the file with all that it printed."""
        logs = self.folder / "logs"
        # What a playbook prints is for whoever ran it.
        logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        log = logs / f"{len(list(logs.iterdir())) + 1:03}-{Path(playbook).stem}.log"
        command = [str(ROOT / ".venv/bin/ansible-playbook"), "-i", str(INVENTORY), str(ROOT / playbook)]
        environment = {
            **os.environ,
            "LAB_NAME": self.lab.name,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            # molecule sets it, and it wins over the line above.
            "ANSIBLE_FORCE_COLOR": "0",
        }
        with open(log, "wb") as out:
            try:
                done = subprocess.run(
                    [*command, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    timeout=PLAYBOOK,
                    cwd=ROOT,
                    env=environment,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise Broken(f"{playbook} did not end within {PLAYBOOK} s: see {log}") from None
        return done.returncode, log

    def write(self, broken: Sequence[str]) -> dict[str, Any]:
        """Write the report. *broken* says what kept the rehearsal from its end."""
        about = {"lab": self.lab.name, "kept": self.lab.kept, "inventory": INVENTORY.name}
        told = document(about, self.stages, self.moments, self.found, self.back, broken)
        image = picture(told)
        page = report.render(
            "disaster.html.j2",
            Path(__file__).parent,
            told=told,
            losses=loss_rows(told),
            stages=stage_rows(told),
            picture=base64.b64encode(image).decode(),
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "report.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
        (self.folder / "report.md").write_text(markdown(told), encoding="utf-8")
        (self.folder / "stages.png").write_bytes(image)
        (self.folder / "index.html").write_text(page, encoding="utf-8")
        return told


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def main(arguments: Sequence[str]) -> int:
    """Exit code: 0 only if everything held."""
    parser = argparse.ArgumentParser(
        description="Destroy a lab but for its backup host, and rebuild it from the backups."
    )
    parser.add_argument("--report", default="disaster-report", help="folder of the report")
    parser.add_argument("--before", type=float, default=20, help="seconds of use before the backup")
    parser.add_argument(
        "--after", type=float, default=90, help="seconds of use after it, more than archive_timeout's 60"
    )
    given = parser.parse_args(arguments)
    if report.MISSING:
        sys.exit(report.how_to_install())
    try:
        lab = Lab.read(os.environ.get("LAB_NAME", ""))
    except Broken as error:
        sys.exit(str(error))
    folder = Path(given.report).absolute()
    forget(folder, (*OWN, "stages.png"))
    rehearsal = Rehearsal(lab, folder)
    broken = []
    try:
        rehearsal.run(given.before, given.after)
    except (Broken, SessionError) as error:
        broken.append(str(error))
    told = rehearsal.write(broken)
    print("", *figures(told), f"Report: {folder / 'index.html'}", sep="\n")
    return 0 if told["passed"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
