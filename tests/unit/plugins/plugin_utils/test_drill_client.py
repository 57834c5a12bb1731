# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.plugin_utils import drill_client
from ansible_collections.renfo.redundancy.plugins.plugin_utils.drill_client import Prober, connect, content, evidence

from .conftest import Site

RATES = {"page": 20, "write": 50, "read_primary": 20, "read_standby": 20, "upload": 10, "video": 20}


def config_of(url: str, folder: Path, **change: Any) -> dict[str, Any]:
    config = {
        "url": url,
        "server_name": "",
        "ca": "",
        "rates": RATES,
        "timeout": 1.0,
        "upload_bytes": 50_000,
        "paths": {"page": "/", "sessions": "/sessions", "videos": "/videos"},
        "out": str(folder / "requests.jsonl"),
        "stop": str(folder / "stop"),
        "parent": os.getpid(),
    }
    return {**config, **change}


def once(config: dict[str, Any], *operations: str) -> list[dict[str, Any]]:
    async def go() -> list[dict[str, Any]]:
        async with connect(config) as session:
            prober = Prober(config, session)
            return [await prober.once(operation) for operation in operations]

    return asyncio.run(go())


def test_every_operation_of_a_site_that_works(site: tuple[Site, str], tmp_path: Path) -> None:
    found = once(config_of(site[1], tmp_path), "upload", "page", "write", "read_primary", "read_standby", "video")
    assert [(item["outcome"], item["detail"]) for item in found] == [("ok", "")] * 6
    assert site[0].videos[found[0]["id"]] == content(found[0]["key"], 50_000)
    assert found[0]["sha256"] == hashlib.sha256(content(found[0]["key"], 50_000)).hexdigest()
    assert site[0].sessions == [{"id": found[2]["id"], "key": found[2]["key"]}]
    assert all(item["sent"] <= item["done"] for item in found)


@pytest.mark.parametrize(
    ("trouble", "read", "write"),
    [
        ({"status": 503}, ("failed", "status 503"), ("failed", "status 503")),
        ({"status": 502}, ("failed", "status 502"), ("unknown", "status 502")),
        ({"hang_up": True}, ("failed", "Server disconnected"), ("unknown", "Server disconnected")),
        ({"stall": 1.5}, ("failed", "no answer in time"), ("unknown", "no answer in time")),
    ],
)
def test_a_write_that_may_have_happened_is_unknown(
    site: tuple[Site, str], tmp_path: Path, trouble: dict[str, Any], read: tuple[str, str], write: tuple[str, str]
) -> None:
    for name, value in trouble.items():
        setattr(site[0], name, value)
    found = once(config_of(site[1], tmp_path), "page", "write", "upload")
    assert [(item["outcome"], item["detail"]) for item in found] == [read, write, write]


def test_a_write_that_was_never_sent_has_failed(tmp_path: Path) -> None:
    found = once(config_of("http://127.0.0.1:1", tmp_path), "write")
    assert (found[0]["outcome"], found[0]["detail"]) == (
        "failed",
        "no connection: Connect call failed ('127.0.0.1', 1)",
    )


def test_wrong_bytes_are_noticed(site: tuple[Site, str], tmp_path: Path) -> None:
    async def go() -> dict[str, Any]:
        config = config_of(site[1], tmp_path)
        async with connect(config) as session:
            prober = Prober(config, session)
            video = (await prober.once("upload"))["id"]
            site[0].videos[video] = bytes(50_000)
            return await prober.once("video")

    found = asyncio.run(go())
    assert (found["outcome"], found["detail"]) == ("failed", "wrong bytes")


def test_a_video_that_an_earlier_client_uploaded(site: tuple[Site, str], tmp_path: Path) -> None:
    site[0].videos["there"] = content("a key", 50_000)

    async def go() -> list[dict[str, Any]]:
        config = config_of(site[1], tmp_path)
        found = []
        async with connect(config) as session:
            for video in ("there", "not there"):
                prober = Prober(config, session)
                prober.know(video, "a key")
                found.append(await prober.once("video"))
        return found

    found = asyncio.run(go())
    assert [(item["outcome"], item["detail"]) for item in found] == [("ok", ""), ("failed", "status 404")]


def test_a_site_that_took_other_bytes_is_noticed(site: tuple[Site, str], tmp_path: Path) -> None:
    site[0].lies = True
    (found,) = once(config_of(site[1], tmp_path), "upload")
    assert (found["outcome"], found["detail"]) == ("unknown", "wrong bytes")


# --- as a process of its own


def start(config: dict[str, Any], folder: Path) -> subprocess.Popen[str]:
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return subprocess.Popen(
        [sys.executable, drill_client.__file__, "probe", str(path)], stderr=subprocess.PIPE, text=True
    )


def wait_for(path: Path) -> None:
    end = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.05)


def requests_in(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "requests.jsonl").read_text().splitlines()]


def test_a_stall_costs_as_many_requests_as_it_lasts(site: tuple[Site, str], tmp_path: Path) -> None:
    process = start(config_of(site[1], tmp_path, rates={"write": 50}, timeout=5.0), tmp_path)
    wait_for(tmp_path / "requests.jsonl.ready")
    time.sleep(0.3)
    site[0].stall = 1.0
    stalled = time.time()
    time.sleep(1.0)
    site[0].stall = 0.0
    time.sleep(0.3)
    (tmp_path / "stop").touch()
    assert process.wait(20) == 0
    slow = [item for item in requests_in(tmp_path) if item["sent"] > stalled and item["done"] - item["sent"] > 0.9]
    # A client that waits for each answer would have sent one.
    assert len(slow) > 20
    assert all(item["outcome"] == "ok" for item in slow)
    # Somebody who reads along knows until when everything was answered.
    assert any(item["pending"] is not None and item["pending"] < item["sent"] for item in requests_in(tmp_path))


def test_it_ends_with_the_run_that_started_it(site: tuple[Site, str], tmp_path: Path) -> None:
    run = subprocess.Popen(["sleep", "60"])
    process = start(config_of(site[1], tmp_path, parent=run.pid), tmp_path)
    wait_for(tmp_path / "requests.jsonl.ready")
    run.kill()
    run.wait()
    assert process.wait(20) == 0


def test_a_site_that_does_not_work_is_not_drilled(site: tuple[Site, str], tmp_path: Path) -> None:
    site[0].status = 500
    process = start(config_of(site[1], tmp_path), tmp_path)
    assert process.wait(20) == 1
    assert process.stderr is not None
    assert process.stderr.read() == "upload doesn't work although nothing was broken yet: status 500\n"


# --- evidence


def ask(url: str, folder: Path, **wanted: Any) -> dict[str, Any]:
    return asyncio.run(evidence(config_of(url, folder), {"after": 0, "keys": [], "videos": [], **wanted}))


def test_what_is_there_is_found_page_by_page(site: tuple[Site, str], tmp_path: Path) -> None:
    for number in range(2500):
        site[0].add(f"k{number}")
    site[0].add("k7")
    found = ask(site[1], tmp_path, keys=[f"k{number}" for number in range(5, 2500)])
    assert len(found["sessions"]) == 2495
    assert {key: count for key, count in found["sessions"].items() if count != 1} == {"k7": 2}


def test_what_was_acknowledged_and_forgotten_is_not_there(site: tuple[Site, str], tmp_path: Path) -> None:
    site[0].forgetful = True
    written = once(config_of(site[1], tmp_path), "write")[0]
    assert written["outcome"] == "ok"
    assert ask(site[1], tmp_path, keys=[written["key"]])["sessions"] == {}


def test_videos_are_read_back(site: tuple[Site, str], tmp_path: Path) -> None:
    site[0].videos["v1"] = b"film"
    found = ask(site[1], tmp_path, videos=["v1", "v2"])["downloads"]
    assert found["v1"] == hashlib.sha256(b"film").hexdigest()
    assert "404, " in found["v2"]
