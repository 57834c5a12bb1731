"""Updates that are pending because a test wants them: packages in a folder of the host, the only source that apt has."""

from __future__ import annotations

import concurrent.futures
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from tests.support.lab import Lab

#: A package whose setting up fails while this file is there.
BROKEN = "/srv/lab-broken"
#: Other updates that Debian may have today are none of a test's business. The lists of its sources stay.
SOURCES = 'Dir::Etc::sourcelist "/srv/lab-repo/sources.list"; Dir::Etc::sourceparts "-"; APT::Get::List-Cleanup "0";'
#: Runs on the host: `lab-thing` is there in version 1 and offered in version 2; any other package that is there, with
#: a higher version and else the same.
OFFER = r"""
import hashlib, pathlib, re, shutil, subprocess, sys

REPO = pathlib.Path("/srv/lab-repo")
TREE = REPO / "tree"


def say(*argv, cwd="/"):
    return subprocess.run(argv, check=True, cwd=cwd, capture_output=True, text=True).stdout


def build(name):
    path = REPO / name
    # Quickly: it is never sent anywhere.
    say("dpkg-deb", "-Znone", "-b", str(TREE), str(path))
    shutil.rmtree(TREE)
    return path


def thing(version):
    (TREE / "DEBIAN").mkdir(parents=True)
    (TREE / "DEBIAN/control").write_text(
        f"Package: lab-thing\nVersion: {version}\nArchitecture: all\n"
        "Maintainer: the lab <lab@renfo.example>\nDescription: something to update\n"
    )
    (TREE / "DEBIAN/postinst").write_text("#!/bin/sh\n[ ! -e BROKEN ]\n")
    (TREE / "DEBIAN/postinst").chmod(0o755)
    return build(f"lab-thing_{version}.deb")


def again(package):
    # By its version in the archive: what is installed may be from here.
    archived = say("apt-cache", "madison", package).split("|")[1].strip()
    say("apt-get", "-q", "download", f"{package}={archived}", cwd=REPO)
    (fetched,) = REPO.glob(f"{package}_*.deb")
    say("dpkg-deb", "-R", str(fetched), str(TREE))
    fetched.unlink()
    installed = say("dpkg-query", "-W", "-f", "${Version}", package)
    control = TREE / "DEBIAN/control"
    control.write_text(re.sub(r"(?m)^Version: .*$", f"Version: {installed}+lab1", control.read_text()))
    build(f"{package}_lab.deb")


shutil.rmtree(REPO, ignore_errors=True)
REPO.mkdir(parents=True)
for name in sys.argv[1:]:
    if name == "lab-thing":
        say("dpkg", "-i", str(thing(1)))
        thing(2)
    else:
        again(name)
with open(REPO / "Packages", "w") as index:
    for path in sorted(REPO.glob("*.deb")):
        data = path.read_bytes()
        index.write(say("dpkg-deb", "-f", str(path)))
        index.write(f"Filename: ./{path.name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n\n")
(REPO / "sources.list").write_text("deb [trusted=yes] file:/srv/lab-repo ./\n")
""".replace("BROKEN", BROKEN)


@contextlib.contextmanager
def pending(lab: Lab, packages: Mapping[str, Sequence[str]]) -> Iterator[None]:
    """These *packages* are pending, by host, and nothing else on any host; afterwards apt is as it was."""

    def offer(host: str) -> None:
        lab.run(host, f"cat > /root/offer.py <<'EOF'\n{OFFER}\nEOF")
        lab.run(host, f"python3 /root/offer.py {' '.join(packages.get(host, ()))}")
        lab.run(host, f"echo '{SOURCES}' > /etc/apt/apt.conf.d/99lab-test")

    def forget(host: str) -> None:
        lab.run(
            host,
            f"rm -rf /etc/apt/apt.conf.d/99lab-test /srv/lab-repo /root/offer.py {BROKEN} /run/reboot-required"
            " /var/lib/apt/lists/_srv_lab-repo_*; if dpkg -s lab-thing >/dev/null 2>&1; then dpkg --purge lab-thing; fi",
        )

    try:
        on_all(lab, offer)
        yield
    finally:
        on_all(lab, forget)


def on_all(lab: Lab, act: Callable[[str], object]) -> None:
    """The same on every host, at once."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(act, lab.addresses))


def version(lab: Lab, host: str, package: str = "lab-thing") -> str:
    """The version of a package that is set up to its end."""
    return lab.run(host, f"dpkg-query -W -f '${{Version}} ${{Status}}' {package}").removesuffix(" install ok installed")


def boots(lab: Lab) -> dict[str, str]:
    """Another value after every boot, by host; a container shares the machine's own."""
    return {host: lab.run(host, "cut -d' ' -f22 /proc/1/stat") for host in lab.addresses}
