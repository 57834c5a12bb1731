"""Releases under load: there and back, one that breaks on the second host, and what is refused."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import wait
from tests.support.lab import ROOT, Lab, Play
from tests.support.rounds import rounds_only
from tests.support.writer import Writer

#: Never ready on app2, and well everywhere else.
BROKEN = """
import os

if os.environ["APP_HOST"] == "app2":

    def app(environ, start_response):
        start_response("503 Service Unavailable", [])
        return [b"never"]
"""


def pack(folder: Path, version: str, wsgi: str = "") -> None:
    """An archive of the reference application of that version."""
    copy = folder / version
    shutil.copytree(ROOT / "examples/renfo_app", copy, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    (copy / "VERSION").write_text(f"{version}\n")
    with (copy / "renfo_app/wsgi.py").open("a", encoding="utf-8") as module:
        module.write(wsgi)

    def readable(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.mode = 0o755 if member.isdir() else 0o644
        return member

    with tarfile.open(folder / f"shop-{version}.tar.gz", "w:gz") as archive:
        archive.add(copy, arcname=".", filter=readable)


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("builds")
    pack(folder, "2.0")
    pack(folder, "2.1", BROKEN)
    return folder


def versions(lab: Lab) -> dict[str, str]:
    """What each host runs, as the application says."""
    return {host: lab.replica(host, "/whoami").json()["version"] for host in lab.app_hosts}


@pytest.fixture(scope="module", autouse=True)
def home(lab: Lab) -> Iterator[str]:
    """The release that the inventory declares; it runs again afterwards."""
    found = set(versions(lab).values())
    assert len(found) == 1, found
    declared = found.pop()
    yield declared
    if set(versions(lab).values()) != {declared}:
        play = lab.play("deploy.yml")
        assert play.rc == 0, play.output
    lab.wait_healthy()


def named(builds: Path, version: str, **further: Any) -> dict[str, Any]:
    return {
        "app_replicas_version": version,
        "app_replicas_archive": f"{builds}/shop-{{{{ app_replicas_version }}}}.tar.gz",
        **further,
    }


def deploy(lab: Lab, builds: Path, version: str, **further: Any) -> tuple[Play, Writer]:
    """A deployment while the site is used."""
    with Writer(lab) as writer:
        writer.wait_acknowledged()
        play = lab.play("deploy.yml", extra=named(builds, version, **further))
        writer.wait_acknowledged()
    return play, writer


def failed(writer: Writer) -> list[Any]:
    """Every request that somebody would have noticed."""
    return [answer for answer in writer.writes if not answer.acknowledged] + writer.failed_reads()


def test_what_is_refused_changes_nothing(lab: Lab, builds: Path, home: str) -> None:
    play = lab.play("deploy.yml", extra=named(builds, "7.7"))
    assert play.rc != 0
    assert "shop-7.7.tar.gz': there is no such file on this controller" in play.said(), play.output
    first, *others = lab.app_hosts
    for host in others:
        lab.run(host, "systemctl stop app@1")
    try:
        play = lab.play("deploy.yml", extra=named(builds, "2.0"))
        assert play.rc != 0
        assert f"While {first} is drained nobody would serve" in play.said(), play.output
        assert f"-e deploy_drain={first}" in play.said()
        assert play.changed() == {}
    finally:
        for host in others:
            lab.run(host, "systemctl start app@1")
    wait(lambda: set(versions(lab).values()) == {home}, 30, lambda: "the copies don't come back")


def test_check_mode_says_it_and_changes_nothing(lab: Lab, builds: Path, home: str) -> None:
    before = lab.run(lab.app_hosts[0], "ls /srv/app/releases")
    play = lab.play("deploy.yml", "--check", extra=named(builds, "2.0"))
    assert play.rc == 0, play.output
    assert "3. drained, switched, ready again" in play.output
    assert play.changed() == {}
    assert set(versions(lab).values()) == {home}
    assert lab.run(lab.app_hosts[0], "ls /srv/app/releases") == before


def test_a_release_and_back(lab: Lab, builds: Path, home: str) -> None:
    first = lab.app_hosts[0]
    # Older than everything that is there.
    lab.run(first, "mkdir -p /srv/app/releases/old && touch -d 2020-01-01 /srv/app/releases/old/.complete")
    play, writer = deploy(lab, builds, "2.0", app_replicas_keep=2)
    assert play.rc == 0, play.output
    assert failed(writer) == []
    assert writer.lost() == set()
    found = versions(lab)
    assert len(set(found.values())) == 1
    assert found[first].startswith("2.0-")
    assert "app_replicas_version: '2.0'" in play.said()
    assert set(lab.run(first, "ls /srv/app/releases").split()) == {home, found[first]}
    assert "gate" not in lab.run(first, "nft list tables")

    play, writer = deploy(lab, builds, "previous")
    assert play.rc == 0, play.output
    assert failed(writer) == []
    assert set(versions(lab).values()) == {home}


def test_a_release_that_breaks_on_the_second_host(lab: Lab, builds: Path, home: str) -> None:
    play, writer = deploy(lab, builds, "2.1", app_replicas_ready_timeout=15)
    assert play.rc != 0
    assert "did not get ready within 15 s" in play.said(), play.output
    assert "Every host runs the release of before" in play.said()
    assert failed(writer) == []
    assert writer.lost() == set()
    assert set(versions(lab).values()) == {home}


@rounds_only
def test_two_at_a_time_of_which_one_breaks(lab: Lab, builds: Path, home: str) -> None:
    play, writer = deploy(lab, builds, "2.1", app_replicas_ready_timeout=15, app_replicas_batch=2)
    assert play.rc != 0
    assert failed(writer) == []
    assert set(versions(lab).values()) == {home}


@rounds_only
@pytest.mark.parametrize(
    "step",
    [
        "Make it the current release",
        "Every copy runs this release",
        "Wait until the load balancers",
        "Keep the release",
    ],
)
def test_the_controller_dies(lab: Lab, builds: Path, home: str, step: str) -> None:
    with Writer(lab) as writer:
        writer.wait_acknowledged()
        play = lab.start("deploy.yml", extra=named(builds, "2.0"))
        play.wait_for_task(step)
        play.kill()
        again = lab.play("deploy.yml", extra=named(builds, "2.0"))
        assert again.rc == 0, again.output
        assert {version.partition("-")[0] for version in versions(lab).values()} == {"2.0"}
        assert lab.play("deploy.yml", extra=named(builds, "previous")).rc == 0
    assert failed(writer) == []
    assert set(versions(lab).values()) == {home}


@rounds_only
def test_site_keeps_what_was_deployed(lab: Lab, builds: Path) -> None:
    assert lab.play("deploy.yml", extra=named(builds, "2.0")).rc == 0
    play = lab.play("site.yml")
    assert play.rc == 0, play.output
    assert play.changed() == {}
    assert "Edit the inventory: app_replicas_version: '2.0'" in play.said(), play.output
    assert {version.partition("-")[0] for version in versions(lab).values()} == {"2.0"}
    lab.wait_healthy()
