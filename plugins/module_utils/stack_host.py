# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one host says about its part of the stack, PostgreSQL apart. Reads only, and always comes back.

Every question has a bound: a stalled network file system, a daemon that accepts and never answers
or a command that can't even be killed costs its bound once, for all of them are asked at the same time.
"""

from __future__ import annotations

import dataclasses
import datetime
import http.client
import ipaddress
import json
import os
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from xml.etree import ElementTree

from ansible_collections.renfo.redundancy.plugins.module_utils.gluster import parse_bricks
from ansible_collections.renfo.redundancy.plugins.module_utils.release_io import observe as observe_releases

K = TypeVar("K", bound=Hashable)

#: Runs a command for at most so many seconds; gives its output, or raises ``ProbeError``.
Run = Callable[[Sequence[str], float], str]

#: Seconds for a command that only reads what this host knows.
LOCAL_TIMEOUT = 5.0
EXCERPT = 500


class ProbeError(Exception):
    """Why a question has no answer."""


def run(argv: Sequence[str], timeout: float) -> str:
    """Standard output of *argv*; ProbeError when it fails or takes longer than *timeout* seconds.

    A child that hangs in the kernel is killed and left behind, not waited for.
    """
    try:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "LC_ALL": "C"},
            start_new_session=True,
        )
    except OSError as error:
        raise ProbeError(f"{argv[0]}: {error.strerror}") from error
    try:
        out, err = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        child.kill()
        raise ProbeError(f"{argv[0]} did not answer within {timeout:g} s") from None
    if child.returncode != 0:
        said = (err or out).strip()
        raise ProbeError(f"{argv[0]} failed: {said[:EXCERPT] or f'exit code {child.returncode}'}")
    return out


@dataclasses.dataclass(frozen=True)
class Question:
    """Something to ask, and what no answer in time is taken for."""

    ask: Callable[[], Any]
    silence: Any


def at_once(questions: Mapping[K, Question], seconds: float) -> dict[K, Any]:
    """The answers to all *questions*, asked at the same time and given at most so many *seconds*."""
    answers: dict[K, Any] = {}

    def ask(key: K, question: Question) -> None:
        answers[key] = question.ask()

    # Daemons: an unanswered question must not keep the interpreter from ending.
    threads = [threading.Thread(target=ask, args=item, daemon=True) for item in questions.items()]
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    given = dict(answers)
    return {key: given.get(key, question.silence) for key, question in questions.items()}


def observe(asked: Mapping[str, Any], run: Run = run) -> dict[str, Any]:
    """Everything that *asked*, the arguments of the module ``stack_host_info``, names."""
    now = datetime.datetime.now(datetime.UTC)
    mountinfo = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    volume, timeout, patience = asked["gluster_volume"], asked["timeout"], asked["gluster_timeout"]
    # Each question has its own bound; those of at_once are for one who answers a byte now and then.
    # The replicas go first: how long they take is shown, and the others keep the host busy.
    replicas = {
        item["name"]: Question(partial(ready, item["url"], timeout), _not_ready("no answer")) for item in asked["ready"]
    }
    answers = at_once(replicas, timeout + 1)
    files = {
        **{
            ("certificates", path): Question(partial(certificate, path, now, run), _no_certificate("no answer"))
            for path in asked["certificates"]
        },
        **{
            ("mounts", path): Question(partial(mount, path, mountinfo, timeout, run), _no_mount("no answer"))
            for path in asked["mounts"]
        },
    }
    whole = {
        ("units", ""): Question(
            partial(units, asked["units"], run), {name: _unit({}, "no answer", None) for name in asked["units"]}
        ),
        ("addresses", ""): Question(
            partial(addresses, asked["addresses"], run), dict.fromkeys(asked["addresses"], None)
        ),
        **(
            {("gluster", ""): Question(partial(gluster, volume, patience, run), _no_gluster("no answer"))}
            if volume
            else {}
        ),
    }
    found = at_once({**files, **whole}, 1 + max(LOCAL_TIMEOUT, timeout, patience if volume else 0))
    return {
        "ready": answers,
        "certificates": {path: found["certificates", path] for path in asked["certificates"]},
        "mounts": {path: found["mounts", path] for path in asked["mounts"]},
        "units": found["units", ""],
        "addresses": found["addresses", ""],
        "gluster": found.get(("gluster", "")),
        "releases": observe_releases(Path(asked["release_home"])) if asked["release_home"] else None,
    }


def units(names: Sequence[str], run: Run) -> dict[str, dict[str, Any]]:
    """State of systemd units. ``running_in`` is the directory that the main process runs in."""
    if not names:
        return {}
    properties = "LoadState,ActiveState,SubState,ActiveEnterTimestamp,MainPID"
    try:
        out = run(["systemctl", "show", "--timestamp=unix", f"--property={properties}", "--", *names], LOCAL_TIMEOUT)
    except ProbeError as error:
        return {name: _unit({}, str(error), None) for name in names}
    # One block of properties for each unit, in the order asked.
    blocks = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in out.split("\n\n")]
    blocks += [{}] * (len(names) - len(blocks))
    return {
        name: _unit(block, "", _working_directory(block.get("MainPID", "0"), run))
        for name, block in zip(names, blocks, strict=False)
    }


def _unit(shown: Mapping[str, str], error: str, running_in: str | None) -> dict[str, Any]:
    active, sub = shown.get("ActiveState", "unknown"), shown.get("SubState", "unknown")
    if shown.get("LoadState") == "not-found":
        active, error = "absent", "there is no such unit"
    stamp = shown.get("ActiveEnterTimestamp", "").lstrip("@")
    return {
        # Debian's postgresql@.service ignores a failed start and stays "active (exited)".
        "running": active in ("active", "reloading") and sub != "exited",
        "active": active,
        "sub": sub,
        "since": _iso(int(stamp)) if stamp.isdigit() and int(stamp) else None,
        "running_in": running_in,
        "error": error,
    }


def _working_directory(pid: str, run: Run) -> str | None:
    # A symbolic link is followed once, when the process starts: this is the release that runs.
    link = f"/proc/{pid}/cwd"
    try:
        return os.readlink(link) if pid.isdigit() and int(pid) else None
    except FileNotFoundError:
        return None
    except OSError:
        # In a container root may lack the right to look at others, but they may look at themselves.
        try:
            owner = os.stat(f"/proc/{pid}")
            account = [f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups"]
            return run(["setpriv", *account, "readlink", link], LOCAL_TIMEOUT).strip()
        except (OSError, ProbeError):
            return None


def ready(url: str, timeout: float) -> dict[str, Any]:
    """Ask *url* for at most about *timeout* seconds: ``ok`` is a 2xx answer."""
    # No proxy: the question is whether this very process answers.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    began = time.monotonic()
    status: int | None = None
    try:
        with opener.open(url, timeout=timeout) as answer:
            status, body = answer.status, answer.read(EXCERPT)
    except urllib.error.HTTPError as problem:
        status, body = problem.code, _rest(problem)
    except (OSError, ValueError, http.client.HTTPException) as problem:
        # urllib wraps what really happened.
        return _not_ready(str(getattr(problem, "reason", problem)) or type(problem).__name__)
    return {
        "ok": 200 <= status < 300,
        "status": status,
        "ms": round((time.monotonic() - began) * 1000),
        "body": body.decode("utf-8", "replace"),
        "error": "",
    }


def _not_ready(error: str) -> dict[str, Any]:
    return {"ok": False, "status": None, "ms": None, "body": "", "error": error}


def _rest(problem: urllib.error.HTTPError) -> bytes:
    try:
        return problem.read(EXCERPT)
    except OSError:
        return b""


def addresses(wanted: Sequence[str], run: Run) -> dict[str, bool | None]:
    """Which of *wanted* are on an interface of this host; None where that can't be told."""
    if not wanted:
        return {}
    try:
        lines = run(["ip", "-json", "address", "show"], LOCAL_TIMEOUT)
        found = {
            ipaddress.ip_address(entry["local"])
            for interface in json.loads(lines)
            for entry in interface.get("addr_info", ())
            if "local" in entry
        }
        return {address: ipaddress.ip_address(address) in found for address in wanted}
    except (ProbeError, ValueError):
        return dict.fromkeys(wanted, None)


def certificate(path: str, now: datetime.datetime, run: Run) -> dict[str, Any]:
    """The last day of the certificate in the file *path*, and whole days until then."""
    try:
        said = run(["openssl", "x509", "-enddate", "-noout", "-in", path], LOCAL_TIMEOUT).strip()
    except ProbeError as error:
        return _no_certificate(str(error) if os.path.exists(path) else "there is no such file")
    try:
        ends = ssl.cert_time_to_seconds(said.partition("=")[2])
    except ValueError:
        return _no_certificate(f"openssl said {said!r}, expected a date")
    return {"not_after": _iso(ends), "days": int((ends - now.timestamp()) // 86400), "error": ""}


def _no_certificate(error: str) -> dict[str, Any]:
    return {"not_after": None, "days": None, "error": error}


def mount(path: str, mountinfo: str, timeout: float, run: Run) -> dict[str, Any]:
    """Whether *path* is a mount point, and whether what is mounted there answers.

    *mountinfo* is the text of ``/proc/self/mountinfo``: asking the directory itself could hang.
    """
    types = [
        rest.split(" ")[0]
        for fields, _dash, rest in (line.partition(" - ") for line in mountinfo.splitlines())
        if fields.split(" ")[4:5] == [path.replace(" ", "\\040")]
    ]
    if not types:
        return _no_mount("nothing is mounted there")
    # The last one is mounted over the others.
    mounted = {"mounted": True, "type": types[-1]}
    try:
        said = run(["stat", "--file-system", "--format=%S %b %a", path], timeout)
        size, total, free = (int(word) for word in said.split())
    except ProbeError as error:
        return {**_no_mount(str(error)), **mounted}
    return {**mounted, "answers": True, "total_bytes": size * total, "free_bytes": size * free, "error": ""}


def _no_mount(error: str) -> dict[str, Any]:
    return {
        "mounted": False,
        "type": None,
        "answers": False,
        "total_bytes": None,
        "free_bytes": None,
        "error": error,
    }


def gluster(volume: str, timeout: float, run: Run, pause: Callable[[float], None] = time.sleep) -> dict[str, Any]:
    """Bricks of *volume* as this server sees them, within about *timeout* seconds."""
    deadline = time.monotonic() + timeout
    heal: str | None = None
    try:
        status = _ask_gluster(("volume", "status", volume, "--xml"), deadline, run, pause)
        try:
            heal = _ask_gluster(("volume", "heal", volume, "info", "summary", "--xml"), deadline, run, pause)
            error = ""
        except ProbeError as problem:
            error = str(problem)
        bricks = parse_bricks(status, heal or "")
    except (ProbeError, ElementTree.ParseError) as problem:
        return _no_gluster(str(problem))
    return {
        "answered": True,
        "bricks": [{"name": brick.name, "online": brick.online, "to_heal": brick.to_heal} for brick in bricks],
        "error": error,
    }


def _no_gluster(error: str) -> dict[str, Any]:
    return {"answered": False, "bricks": [], "error": error}


def _ask_gluster(words: Sequence[str], deadline: float, run: Run, pause: Callable[[float], None]) -> str:
    """The servers share one lock for such questions; whoever finds it taken asks again."""
    waited = 0.1
    while True:
        left = deadline - time.monotonic()
        try:
            out = run(["gluster", "--mode=script", *words], max(left, 0.1))
            # With --xml a failure can end with exit code 0.
            if (ElementTree.fromstring(out).findtext("opRet") or "0") == "0":
                return out
            problem = ProbeError(ElementTree.fromstring(out).findtext("opErrstr") or "gluster failed")
        except ProbeError as error:
            problem = error
        busy = any(word in str(problem) for word in ("Another transaction", "Locking failed"))
        if not busy or left < waited:
            raise problem
        # Hosts that collided once would collide again if they waited equally long.
        pause(waited * (0.5 + os.urandom(1)[0] / 255))
        waited = min(waited * 2, 1.0)


def _iso(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
