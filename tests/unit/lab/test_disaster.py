# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rehearsal of a disaster, with a small site in place of a lab and playbooks that do nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from plugin_utils.conftest import Site

from lab.disaster import ROOT, Broken, Lab, Rehearsal, Visitor


def client(url: str) -> dict[str, Any]:
    return {
        "url": url,
        "server_name": "",
        "ca": "",
        "rates": {"page": 20, "write": 50, "upload": 10},
        "timeout": 2.0,
        "upload_bytes": 20_000,
        "paths": {"page": "/", "sessions": "/sessions", "videos": "/videos"},
    }


class Small(Lab):
    """A lab that is one small site."""

    site_itself: Site
    lost = 0
    snapshot_at: float | None = None

    def destroy(self) -> None:
        self.site_itself.status = 503
        del self.site_itself.sessions[len(self.site_itself.sessions) - self.lost :]

    def snapshot(self) -> float:
        return time.time() if self.snapshot_at is None else self.snapshot_at


class Quick(Rehearsal):
    """Its playbooks say what they are told to, by name: exit code and output, one run after the other."""

    lab: Small

    def __init__(self, lab: Small, folder: Path, **said: list[tuple[int, str]]) -> None:
        super().__init__(lab, folder)
        self.played: list[str] = []
        self._said = {"site": [(2, "run restore.yml next"), (0, "")], **said}

    def _play(self, playbook: str, *arguments: str) -> tuple[int, Path]:
        self.played.append(" ".join([playbook, *arguments]))
        name = Path(playbook).stem
        code, output = self._said[name].pop(0) if self._said.get(name) else (0, "")
        if "application" not in name and self.played.count("playbooks/site.yml") == 2:
            self.lab.site_itself.status = 0
        logs = self.folder / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        log = logs / f"{len(self.played):03}-{name}.log"
        log.write_text(output)
        return code, log


@pytest.fixture
def small(site: tuple[Site, str]) -> Small:
    kind = type("Mine", (Small,), {"site_itself": site[0]})
    return kind("small", ("ops1", "app1", "pg1"), "ops1", "renfo.example", client(site[1]))


def rehearse(rehearsal: Rehearsal) -> dict[str, Any]:
    rehearsal.run(0.5, 0.5)
    return rehearsal.write([])


def test_a_rehearsal_from_its_start_to_its_end(small: Small, tmp_path: Path) -> None:
    rehearsal = Quick(small, tmp_path)
    told = rehearse(rehearsal)
    assert told["failures"] == []
    assert rehearsal.played == [
        "playbooks/status.yml",
        "playbooks/backup.yml",
        "lab/up.yml",
        "playbooks/site.yml",
        "playbooks/restore.yml -e restore_to=latest -e restore_overwrite=renfo.example",
        "playbooks/site.yml",
        "playbooks/status.yml",
    ]
    assert told["accounts"]["writes"]["acknowledged"] > 10
    assert (told["rpo_seconds_database"], told["rpo_seconds_media"]) == (0, 0)
    assert set(told["back"]) == {"page", "read_primary", "write", "video", "all"}
    assert 0 < told["back"]["page"] <= told["rto_seconds"]
    titles = [stage["title"] for stage in told["stages"]]
    assert titles[0] == "destroy the hosts"
    assert titles[-1] == "status.yml: whole again"
    assert json.loads((tmp_path / "report.json").read_text())["passed"]
    assert (tmp_path / "report.md").read_text().startswith("Measured ")
    assert (tmp_path / "stages.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "index.html").read_text()
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)


def test_what_the_archive_did_not_have_is_told(small: Small, tmp_path: Path) -> None:
    type(small).lost = 5
    told = rehearse(Quick(small, tmp_path))
    assert told["failures"] == []
    assert told["accounts"]["writes"]["lost"] == 5
    assert 0 < told["rpo_seconds_database"] < 5


def test_a_loss_that_reaches_before_the_backup_fails_it(small: Small, tmp_path: Path) -> None:
    type(small).lost = 10_000
    told = rehearse(Quick(small, tmp_path))
    assert "acknowledged write(s) lost that are older than" in told["failures"][0]
    assert told["failures"][0] in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (
            {"site": [(0, "restore.yml")]},
            "site.yml ended with 0 on empty hosts, expected an error that names restore.yml",
        ),
        ({"site": [(2, "pg1 can't be reached")]}, "site.yml doesn't name restore.yml, which is what comes next"),
        ({"restore": [(2, "")]}, "restore.yml ended with 2, expected 0: see "),
        ({"backup": [(2, "")]}, "backup.yml ended with 2, expected 0: see "),
    ],
)
def test_a_playbook_that_ends_otherwise_ends_the_rehearsal(
    small: Small, tmp_path: Path, said: dict[str, Any], sentence: str
) -> None:
    rehearsal = Quick(small, tmp_path, **said)
    with pytest.raises(Broken, match=re.escape(sentence)) as raised:
        rehearsal.run(0.1, 0.1)
    told = rehearsal.write([str(raised.value)])
    assert not told["passed"]
    assert sentence in (tmp_path / "report.md").read_text()
    # Nobody uses the site any more.
    before = len(rehearsal.session.requests())
    time.sleep(0.3)
    assert len(rehearsal.session.requests()) == before


def test_nothing_is_destroyed_without_a_snapshot(small: Small, tmp_path: Path) -> None:
    type(small).snapshot_at = time.time() - 100
    with pytest.raises(Broken, match=r"made no snapshot of the media: the newest one is 1.. s older"):
        Quick(small, tmp_path).run(0.1, 0.1)
    assert small.site_itself.status == 0


def test_a_site_that_never_comes_back_is_given_up(site: tuple[Site, str], tmp_path: Path) -> None:
    site[0].status = 503
    visitor = Visitor(client(site[1]), tmp_path / "visits.jsonl", ("video", "key"))
    visitor.start()
    time.sleep(0.3)
    visitor.stop()
    assert visitor.back == {}


def test_the_lab_as_its_inventory_has_it() -> None:
    lab = Lab.read("test")
    assert lab.kept == "ops1"
    assert lab.doomed == ("lb1", "lb2", "app1", "app2", "app3", "pg1", "pg2", "pg3")
    assert lab.client["url"] == "https://10.209.20.100"
    assert lab.client["rates"]["write"] > 0
    with pytest.raises(Broken, match="LAB_NAME is '', expected one of demo, test, bench"):
        Lab.read("")


def test_a_disaster_among_other_faults_is_refused() -> None:
    done = subprocess.run(
        [ROOT / "lab/drill.sh"],
        env={**os.environ, "FAULT": "app_kill,disaster"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "FAULT is app_kill,disaster. The disaster leaves nothing for another fault to break: give it alone, "
        "FAULT=disaster.\n"
    )
