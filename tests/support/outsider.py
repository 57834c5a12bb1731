"""A machine on the lab's network that is in no group of the inventory: what the rest of the world can do, it can do."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator

from tests.support.lab import Lab


class Outsider:
    """A container beside the lab's hosts, with Python and an address that nobody knows."""

    def __init__(self, name: str) -> None:
        self._name = name

    def python(self, script: str, *arguments: str, timeout: float = 600) -> str:
        """What a Python script prints there; the test fails if it fails. Its arguments may be long."""
        done = subprocess.run(
            ["docker", "exec", "-i", self._name, "python3", "-"],
            input=f"import sys\nsys.argv[1:] = {list(arguments)!r}\n{script}",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@contextlib.contextmanager
def outsider(lab: Lab) -> Iterator[Outsider]:
    """One for as long as it is needed."""
    name = f"{lab.name}-outsider"
    subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=False)
    image = lab.docker("inspect", "--format", "{{.Config.Image}}", lab.container("lb1")).strip()
    lab.docker(
        "run", "--detach", "--name", name, f"--network=renfo-{lab.name}", image, "sleep", "1800"
    )  # it ends by itself, should nobody remove it
    try:
        yield Outsider(name)
    finally:
        lab.docker("rm", "--force", name)
