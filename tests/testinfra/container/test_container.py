"""The application in containers: there from native under load, a release and back, the store, and native again."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import wait
from tests.support.lab import ROOT, Lab, Play, same
from tests.support.writer import Writer

#: A host of the lab is a container itself, whose file system can't be the upper half of another overlay.
STORAGE = """
[storage]
driver = "overlay"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
[storage.options.overlay]
mount_program = "/usr/bin/fuse-overlayfs"
"""
SECRET = "sed -n 's/^PGPASSWORD=\"\\(.*\\)\"$/\\1/p' /etc/app/1.env"


@pytest.fixture(scope="module")
def images(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """Archives of two images of the reference application, made by the engine that runs the lab."""
    release = lab.docker(
        "inspect", "--format", '{{index .Config.Labels "renfo.release"}}', lab.container("app1")
    ).strip()
    known = lab.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    bases = [f"debian:{release}-slim", f"renfo-lab/base-{release}:latest", f"renfo-lab/{release}:current"]
    base = next(name for name in bases if name in known)
    folder = tmp_path_factory.mktemp("images")
    again = folder / "again"
    again.mkdir()
    (again / "Dockerfile").write_text("FROM renfo-lab/shop:1\nENV SHOP_BUILD=2\n")
    application = str(ROOT / "examples/renfo_app")

    def build(*arguments: str) -> None:
        subprocess.run(["docker", "build", "--quiet", *arguments], check=True, timeout=600)

    try:
        build("--build-arg", f"BASE={base}", "--tag", "renfo-lab/shop:1", application)
        build("--tag", "renfo-lab/shop:2", str(again))
        for number in (1, 2):
            lab.docker("save", "--output", str(folder / f"shop-{number}.tar"), f"renfo-lab/shop:{number}")
        yield [folder / "shop-1.tar", folder / "shop-2.tar"]
    finally:
        for number in (2, 1):
            if f"renfo-lab/shop:{number}" in lab.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split():
                lab.docker("rmi", f"renfo-lab/shop:{number}")


def given(archive: Path, **further: Any) -> dict[str, Any]:
    """What an inventory would say; the image has a command of its own."""
    return {
        "app_replicas_runtime": "container",
        "app_replicas_archive": str(archive),
        "app_replicas_command": "",
        **further,
    }


def versions(lab: Lab) -> list[str]:
    return [lab.replica(host, "/whoami").json()["version"] for host in lab.app_hosts]


def in_containers(lab: Lab) -> list[bool]:
    return [lab.host(host).run("pgrep --exact conmon").rc == 0 for host in lab.app_hosts]


def under_load(lab: Lab, playbook: str, **extra: Any) -> Play:
    """A playbook while the site is used: nobody notices."""
    with Writer(lab) as writer:
        writer.wait_acknowledged()
        play = lab.play(playbook, extra=extra)
        writer.wait_acknowledged()
    assert play.rc == 0, play.output
    assert [answer for answer in writer.writes if not answer.acknowledged] + writer.failed_reads() == []
    assert writer.lost() == set()
    return play


@pytest.fixture(scope="module", autouse=True)
def home(lab: Lab) -> Iterator[str]:
    """The release that the inventory declares, natively; it runs again afterwards."""
    found = versions(lab)
    assert same(found), found
    for host in lab.app_hosts:
        lab.run(host, "apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q fuse-overlayfs")
        lab.feed(host, "mkdir -p /etc/containers && cat > /etc/containers/storage.conf", STORAGE)
    yield found[0]
    if set(versions(lab)) != {found[0]} or any(in_containers(lab)):
        play = lab.play("site.yml")
        assert play.rc == 0, play.output
    lab.wait_healthy()


def test_from_native_to_containers(lab: Lab, images: list[Path], home: str) -> None:
    under_load(lab, "site.yml", **given(images[0]))
    found = versions(lab)
    assert same(found), found
    assert found[0] != home
    assert all(in_containers(lab))
    again = lab.play("site.yml", extra=given(images[0]))
    assert again.rc == 0, again.output
    assert again.changed() == {}
    lab.wait_healthy()


def test_the_site_is_the_same(lab: Lab) -> None:
    assert lab.request("GET", "/").status_code == 200
    lab.write_session("by a container")
    content = os.urandom(3_000_000)
    answer = lab.request(
        "POST", "/videos", files={"file": ("squats.mp4", content, "video/mp4")}, data={"title": "Squats"}
    )
    assert answer.status_code == 201, answer.text
    for balancer in lab.lb_hosts:
        read = lab.request("GET", f"/videos/{answer.json()['id']}/file", at=balancer)
        assert hashlib.sha256(read.content).hexdigest() == answer.json()["sha256"], f"through {balancer}"
        # It came from NGINX and the store.
        assert "X-Replica" not in read.headers
    part = lab.request("GET", f"/videos/{answer.json()['id']}/file", headers={"Range": "bytes=1000-1999"})
    assert (part.status_code, part.content) == (206, content[1000:2000])


def test_what_a_container_may_do(lab: Lab) -> None:
    host = lab.app_hosts[0]
    status = lab.run(host, "cat /proc/$(pgrep --oldest gunicorn)/status")
    fields = {name: value.split() for name, _colon, value in (line.partition(":") for line in status.splitlines())}
    assert fields["Uid"][0] == lab.run(host, "id -u app")
    assert (fields["CapEff"], fields["CapBnd"], fields["NoNewPrivs"]) == (["0" * 16], ["0" * 16], ["1"])
    assert set(lab.run(host, "id -G app").split()) == set(fields["Groups"])
    secret = lab.run(host, SECRET)
    assert secret
    assert secret not in lab.run(host, "ps axww -o args")
    # Root may not look into another's namespace in the lab; its own user may.
    account = "setpriv --reuid=app --regid=app --clear-groups"
    mounts = lab.run(host, f"{account} cat /proc/$(pgrep --oldest gunicorn)/mountinfo").splitlines()
    options = {line.split()[4]: line.split()[5].split(",")[0] for line in mounts}
    assert [options[path] for path in ("/", "/etc/app", "/srv", "/srv/media")] == ["ro", "ro", "ro", "rw"]


def test_a_store_that_is_mounted_again_reaches_the_container(lab: Lab) -> None:
    host = lab.app_hosts[0]
    invocation = lab.run(host, "systemctl show --property=InvocationID app@1")
    lab.run(host, "umount --lazy /srv/media")
    # The keeper of the store mounts it.
    wait(lambda: lab.host(host).run("mountpoint /srv/media").rc == 0, 60, lambda: "the store is not mounted")
    wait(lambda: lab.replica(host, "/readyz").ok, 30, lambda: lab.replica(host, "/readyz").text)
    assert lab.run(host, "systemctl show --property=InvocationID app@1") == invocation
    lab.wait_healthy()


def test_a_copy_that_dies_comes_back(lab: Lab) -> None:
    host = lab.app_hosts[0]
    lab.run(host, "kill -KILL $(systemctl show --property=MainPID --value app@1)")
    wait(lambda: lab.replica(host, "/readyz").ok, 30, lambda: lab.host(host).run("systemctl status app@1").stdout)
    assert lab.run(host, "podman ps --all --quiet").count("\n") == 0
    lab.wait_healthy()


def test_a_release_and_back(lab: Lab, images: list[Path]) -> None:
    first = versions(lab)
    under_load(lab, "deploy.yml", **given(images[1], app_replicas_keep=1))
    second = versions(lab)
    assert same(second), second
    assert second[0] != first[0]
    # What is kept: this one, and the one before.
    tags = lab.run(lab.app_hosts[0], "podman image ls --noheading --format '{{.Tag}}' localhost/app").split()
    assert set(tags) == {first[0], second[0]}

    under_load(lab, "deploy.yml", **given(images[1], app_replicas_version="previous"))
    assert versions(lab) == first


def test_back_to_native(lab: Lab, home: str) -> None:
    under_load(lab, "site.yml")
    assert versions(lab) == [home] * len(lab.app_hosts)
    assert not any(in_containers(lab))
    lab.wait_healthy()
