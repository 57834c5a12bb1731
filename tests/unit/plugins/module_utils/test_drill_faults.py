# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.drill_faults import CATALOGUE, TIERS, Fault, steps
from project import ROOT, load

RULES: list[dict[str, Any]] = [
    rule for group in load(ROOT / "roles/monitoring/files/rules.yml")["groups"] for rule in group["rules"]
]
FILLED: dict[str, Any] = {"app": "app", "volume": "media", "bricks": "/srv/gluster/media"}


def filled(name: str) -> dict[str, Any]:
    means = dict(CATALOGUE[name].means)
    for key, value in means.items():
        means[key] = value.format(**FILLED) if isinstance(value, str) else value
    return means | ({"peers": ["10.0.0.1"] if means["between"] else []} if means["kind"] == "cut" else {})


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_fault_can_be_undone_by_the_host_alone(name: str) -> None:
    fault = CATALOGUE[name]
    assert fault.tier in TIERS
    if fault.means["kind"] in ("power", "none"):
        return
    found = steps(filled(name))
    assert found.inject
    assert found.check
    assert found.undo
    # The undo is run by /bin/sh.
    assert subprocess.run(["sh", "-n", "-c", found.undo], check=False).returncode == 0
    assert "{" not in found.undo


@pytest.mark.parametrize("fault", CATALOGUE.values(), ids=list(CATALOGUE))
def test_what_a_fault_must_fire_is_a_rule(fault: Fault) -> None:
    assert bool(fault.alerts) is not bool(fault.untold), "one or the other"
    for alert in fault.alerts:
        rules = [rule for rule in RULES if rule["alert"] == alert.name]
        assert rules
        if alert.label in ("", "tier"):
            # An alert of the whole site says of nobody in particular that it is about them.
            assert any(rule["labels"].get("tier", "") == alert.who for rule in rules)
            assert all("$labels.instance" not in str(rule["annotations"]) for rule in rules)
        else:
            assert all(f"$labels.{alert.label}" in str(rule["annotations"]) for rule in rules)
            assert alert.who == "{host}"


@pytest.mark.parametrize("fault", CATALOGUE.values(), ids=list(CATALOGUE))
def test_a_fault_is_over_for_those_who_watch_as_soon_as_it_is_told_of(fault: Fault) -> None:
    """A drill waits for two minutes at most; rules are looked at every five seconds, at what is fifteen old at most."""
    for alert in fault.alerts:
        assert {rule["for"] for rule in RULES if rule["alert"] == alert.name} == {"30s"}
    critical = {rule["alert"] for rule in RULES if rule["labels"]["severity"] == "critical"}
    assert set(fault.may) <= critical
    # Whoever is served all the while wakes nobody. Two holders of an address and a full disk do, and should.
    assert {alert.name for alert in fault.alerts} & critical <= {"TwoVipHolders", "DiskFull"}


@pytest.mark.parametrize(
    ("means", "inject", "undo"),
    [
        (
            {"kind": "kill", "unit": "app@*.service", "whom": "all"},
            ("systemctl", "kill", "--kill-whom=all", "--signal=KILL", "app@*.service"),
            "systemctl list-units --all --plain --no-legend 'app@*.service' | cut -d' ' -f1 | xargs --no-run-if-empty systemctl start",
        ),
        (
            {"kind": "freeze", "unit": "nginx.service"},
            ("systemctl", "kill", "--kill-whom=all", "--signal=STOP", "nginx.service"),
            "systemctl kill --kill-whom=all --signal=CONT nginx.service 2>/dev/null || true",
        ),
        (
            {"kind": "brick", "signal": "KILL", "volume": "media"},
            ("pkill", "-KILL", "-f", "glusterfsd .*--volfile-id media[.]"),
            "gluster --mode=script volume start media force >/dev/null",
        ),
    ],
)
def test_what_a_host_runs(means: dict[str, Any], inject: tuple[str, ...], undo: str) -> None:
    found = steps(means)
    assert found.inject == inject
    assert found.undo == undo


def rules(direction: str, peers: list[str]) -> str:
    return steps({"kind": "cut", "direction": direction, "peers": peers}).inject[-1]


@pytest.mark.parametrize(
    ("direction", "hooks"), [("both", {"ingress", "egress"}), ("out", {"egress"}), ("in", {"ingress"})]
)
def test_a_cut_host_hears_nothing_or_is_not_heard(direction: str, hooks: set[str], tmp_path: Path) -> None:
    """With an `nft` that says what it is told."""
    (tmp_path / "nft").write_text('#!/bin/sh\necho "$*"\n')
    (tmp_path / "nft").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        ["/bin/sh", "-c", rules(direction, [])], capture_output=True, text=True, check=True, env={"PATH": path}
    )
    assert {word for word in ("ingress", "egress") if f"hook {word} devices" in done.stdout} == hooks
    others = {path.name for path in Path("/sys/class/net").iterdir() if path.is_dir()} - {"lo"}
    named = done.stdout.split("devices = { ")[1].split(" }")[0]
    assert set(named.split(", ")) == others


def test_a_cut_between_two_tiers_leaves_the_rest_alone() -> None:
    cut = rules("both", ["10.0.0.1", "fd00::1"])
    assert "ip saddr 10.0.0.1 drop; ip6 saddr fd00::1 drop;" in cut
    assert "ip daddr 10.0.0.1 drop; ip6 daddr fd00::1 drop;" in cut
    assert "; drop;" not in cut.replace("10.0.0.1 drop;", "").replace("fd00::1 drop;", "")


def test_who_is_not_there_is_not_broken() -> None:
    """`systemctl kill` with a pattern that matches nothing is content."""
    check = steps({"kind": "freeze", "unit": "nothing@*.service"}).check
    assert subprocess.run(check, check=False, capture_output=True).returncode != 0
    assert steps({"kind": "cut", "direction": "in", "peers": []}).check[-1].count("nft --check") == 1


def test_a_disk_is_filled_to_the_last_block_and_emptied_again(tmp_path: Path) -> None:
    """With a `df` that tells of five free bytes, and then of none."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "df").write_text("#!/bin/sh\nprintf 'Avail\\n%s\\n' 5\n")
    (tools / "dd").write_text(
        "#!/bin/sh\nfor word; do case $word in of=*) echo rest >${word#of=};; esac; done; exit 1\n"
    )
    for tool in tools.iterdir():
        tool.chmod(0o755)
    disk = tmp_path / "a disk"
    disk.mkdir()
    found = steps({"kind": "fill", "path": str(disk)})
    path = f"{tools}:{os.environ['PATH']}"
    assert subprocess.run(found.inject, env={"PATH": path}, check=False).returncode == 0
    assert sorted(file.name for file in disk.iterdir()) == ["renfo-drill-filler", "renfo-drill-filler.rest"]
    assert subprocess.run(["sh", "-c", found.undo], check=False).returncode == 0
    assert not list(disk.iterdir())
    (tools / "df").write_text("#!/bin/sh\nprintf 'Avail\\n%s\\n' 2000000\n")
    assert subprocess.run(found.inject, env={"PATH": path}, check=False).returncode != 0, "it is not full"
    subprocess.run(["sh", "-c", found.undo], check=True)
    (tools / "df").write_text("#!/bin/sh\nprintf 'Avail\\n%s\\n' 60000000000\n")
    refused = subprocess.run(found.check, env={"PATH": path}, capture_output=True, text=True, check=False)
    assert refused.stderr == "more than 50000000000 bytes are free: not filled\n"
    assert not list(disk.iterdir()), "a disk that others may share"


def test_a_slow_disk_is_slow_for_one_unit() -> None:
    found = steps({"kind": "slow", "path": "/data", "unit": "glusterd.service", "bytes": 30})
    limit = (
        "systemctl set-property --runtime "
        "\"$(systemctl list-units --all --plain --no-legend glusterd.service | cut -d' ' -f1 | head -n1)\" IOWriteBandwidthMax="
    )
    assert found.inject[2] == limit + '"$(findmnt --noheadings --output SOURCE --target /data) 30"'
    assert found.undo == limit


def test_an_unknown_means_is_an_error() -> None:
    with pytest.raises(ValueError, match="no means of that kind: prayer"):
        steps({"kind": "prayer"})
