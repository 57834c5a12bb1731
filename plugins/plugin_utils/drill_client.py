# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Uses the site from outside and writes down what it got. Runs by itself, with aiohttp and nothing of the collection.

``drill_client.py probe CONFIG`` uses the site all the while. Open loop: a request is sent when it is due, whether or
not the ones before were answered, so a stall costs as many requests as it lasts (no coordinated omission;
https://www.scylladb.com/2021/04/22/on-coordinated-omission/). Each comes on a connection of its own, as a new
visitor's would.

``drill_client.py evidence CONFIG WANTED FOUND`` asks the site what became of what it acknowledged. WANTED holds
``after`` (the id of a session: rows up to it are left out), ``keys`` of sessions and ``videos`` (ids); FOUND gets
``sessions`` (the number of rows by key) and ``downloads`` (the SHA-256 by id, or what kept it from being read).

CONFIG: ``url``, ``server_name`` and ``ca`` (a file, or empty for the system's) say where; ``rates`` how often each
operation is due, in requests per second; ``timeout`` (seconds); ``upload_bytes``; ``paths`` of ``page``, ``sessions``
and ``videos``; ``out``, the file to append to; ``stop``, a file that ends it; ``parent``, the process whose end ends
it.

A line of ``out`` is one request: ``operation``, ``sent`` and ``done`` (seconds since the epoch), ``outcome`` (``ok``,
``failed``, or ``unknown``: a write that may have happened), ``detail``, ``pending`` (when the oldest request was sent
that has no line yet), and for a write ``key`` and ``id``, for an upload also ``sha256``.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import ssl
import sys
import time
import uuid
from collections.abc import Callable, Coroutine
from typing import Any

try:
    import aiohttp
except ImportError:  # said in main(): the collection's other parts are loaded without it
    aiohttp = None  # type: ignore[assignment,unused-ignore]

RANGE_BYTES = 16384


class Refused(Exception):
    """An answer, but not the one that was asked for."""

    def __init__(self, detail: str, happened: bool) -> None:
        super().__init__(detail)
        self.happened = happened  # it may have been done all the same


class Prober:
    """Sends what is due and writes down what came of it."""

    def __init__(self, config: dict[str, Any], session: Any) -> None:
        self._config = config
        self._session = session
        self._url = config["url"].rstrip("/")
        self._paths = config["paths"]
        self._videos: list[tuple[str, str]] = []
        self._out = open(config["out"], "a", encoding="utf-8", buffering=1)  # noqa: SIM115  open as long as it runs
        self._running: dict[asyncio.Task[None], float] = {}
        self.operations: dict[str, Callable[[dict[str, Any]], Coroutine[Any, Any, None]]] = {
            "page": self._page,
            "write": self._write,
            "read_primary": self._read_primary,
            "read_standby": self._read_standby,
            "upload": self._upload,
            "video": self._video,
        }

    def know(self, video: str, key: str) -> None:
        """A video that is there, by its id and the key of its upload."""
        self._videos.append((video, key))

    async def once(self, operation: str) -> dict[str, Any]:
        """Do *operation*, and say what came of it; never raises for the site."""
        record: dict[str, Any] = {"operation": operation, "sent": time.time(), "outcome": "ok", "detail": ""}
        writes = operation in ("write", "upload")
        try:
            async with asyncio.timeout(self._config["timeout"]):
                await self.operations[operation](record)
        except TimeoutError:
            record |= {"outcome": "unknown" if writes else "failed", "detail": "no answer in time"}
        except Refused as error:
            record |= {"outcome": "unknown" if writes and error.happened else "failed", "detail": str(error)}
        except aiohttp.ClientConnectorError as error:
            # It was never sent.
            record |= {"outcome": "failed", "detail": f"no connection: {error.os_error.strerror or error.os_error}"}
        except Exception as error:  # noqa: BLE001  whatever it is, the site didn't answer as it should
            record |= {"outcome": "unknown" if writes else "failed", "detail": str(error) or type(error).__name__}
        record["done"] = time.time()
        return record

    async def run(self) -> None:
        """Until it is told to stop."""
        loops = [asyncio.create_task(self._beat(name, rate)) for name, rate in self._config["rates"].items() if rate]
        while not os.path.exists(self._config["stop"]) and _alive(self._config["parent"]):
            await asyncio.sleep(0.2)
        for loop in loops:
            loop.cancel()
        if self._running:
            await asyncio.wait(self._running)

    async def _beat(self, operation: str, rate: float) -> None:
        # Spread, or all the operations would be sent at the same moment of each second.
        due = time.monotonic() + random.random() / rate
        while True:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            task = asyncio.create_task(self._send(operation))
            self._running[task] = time.time()
            task.add_done_callback(lambda done: self._running.pop(done, None))
            due += 1 / rate

    async def _send(self, operation: str) -> None:
        record = await self.once(operation)
        me = asyncio.current_task()
        self.note(record | {"pending": min((at for task, at in self._running.items() if task is not me), default=None)})

    def note(self, record: dict[str, Any]) -> None:
        """Write one line."""
        self._out.write(json.dumps(record) + "\n")

    async def _request(self, method: str, path: str, expected: int, **options: Any) -> Any:
        name = self._config["server_name"] or None
        async with self._session.request(method, self._url + path, server_hostname=name, **options) as answer:
            body = await answer.read()
        if answer.status != expected:
            # A gateway that gave up waiting doesn't know what came of it; the application does.
            raise Refused(f"status {answer.status}", answer.status in (500, 502, 504))
        return body

    # --- operations

    async def _page(self, record: dict[str, Any]) -> None:
        await self._request("GET", self._paths["page"], 200)

    async def _write(self, record: dict[str, Any]) -> None:
        record["key"] = key = str(uuid.uuid4())
        body = await self._request("POST", self._paths["sessions"], 201, json={"key": key, "note": "drill"})
        record["id"] = json.loads(body)["id"]

    async def _read_primary(self, record: dict[str, Any]) -> None:
        await self._request("GET", self._paths["sessions"] + "?consistent=1&limit=10", 200)

    async def _read_standby(self, record: dict[str, Any]) -> None:
        await self._request("GET", self._paths["sessions"] + "?limit=10", 200)

    async def _upload(self, record: dict[str, Any]) -> None:
        record["key"] = key = str(uuid.uuid4())
        data = content(key, self._config["upload_bytes"])
        record["sha256"] = hashlib.sha256(data).hexdigest()
        form = aiohttp.FormData({"title": f"drill {key}"})
        form.add_field("file", data, filename="drill.mp4", content_type="video/mp4")
        answer = json.loads(await self._request("POST", self._paths["videos"], 201, data=form))
        record["id"] = answer["id"]
        if answer["sha256"] != record["sha256"]:
            raise Refused("wrong bytes", True)
        self.know(answer["id"], key)

    async def _video(self, record: dict[str, Any]) -> None:
        video, key = random.choice(self._videos)
        size = self._config["upload_bytes"]
        start = random.randrange(max(1, size - RANGE_BYTES))
        end = min(start + RANGE_BYTES, size)
        path = f"{self._paths['videos']}/{video}/file"
        got = await self._request("GET", path, 206, headers={"Range": f"bytes={start}-{end - 1}"})
        if got != content(key, size)[start:end]:
            raise Refused("wrong bytes", False)


def content(key: str, size: int) -> bytes:
    """The bytes of the upload of that key: as good as random, and the same each time."""
    return random.Random(key).randbytes(size)


def _alive(process: int) -> bool:
    return os.path.exists(f"/proc/{process}")


def connect(config: dict[str, Any]) -> Any:
    """A session with the site; every request gets a connection of its own."""
    context = ssl.create_default_context(cafile=config["ca"] or None)
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True, ssl=context))


async def probe(config: dict[str, Any]) -> str:
    """Run until told to stop; what keeps it from beginning, or nothing."""
    async with connect(config) as session:
        prober = Prober(config, session)
        operations = [name for name, rate in config["rates"].items() if rate]
        # A video first, or there were none to look at.
        for operation in sorted(operations, key=lambda name: name != "upload"):
            record = await prober.once(operation)
            prober.note(record | {"pending": None})
            if record["outcome"] != "ok":
                return f"{operation} doesn't work although nothing was broken yet: {record['detail']}"
        with open(config["out"] + ".ready", "w", encoding="utf-8"):
            pass
        await prober.run()
    return ""


async def evidence(config: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """What the site has of what it acknowledged. Raises if it doesn't say which sessions it has."""
    base, name = config["url"].rstrip("/"), config["server_name"] or None
    limit = asyncio.Semaphore(8)
    keys = set(wanted["keys"])
    found: dict[str, int] = {}

    async with connect(config) as session:

        async def get(path: str) -> bytes:
            async with limit, session.get(base + path, server_hostname=name, raise_for_status=True) as answer:
                return bytes(await answer.read())

        async def download(video: str) -> str:
            try:
                return hashlib.sha256(await get(f"{config['paths']['videos']}/{video}/file")).hexdigest()
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                return str(error) or type(error).__name__

        after = wanted["after"]
        # Page by page, each from the primary: what one page leaves out the next one has.
        while keys:
            path = f"{config['paths']['sessions']}?consistent=1&limit=1000&after={after}"
            rows = json.loads(await get(path))["sessions"]
            if not rows:
                break
            for row in rows:
                if row["key"] in keys:
                    found[row["key"]] = found.get(row["key"], 0) + 1
            after = max(row["id"] for row in rows)
        digests = await asyncio.gather(*(download(video) for video in wanted["videos"]))
    return {"sessions": found, "downloads": dict(zip(wanted["videos"], digests, strict=True))}


def main(arguments: list[str]) -> int:
    """Exit code 0 if it did what it was told."""
    if aiohttp is None:
        print("aiohttp is missing. Run: pip install -r requirements-drill.txt", file=sys.stderr)
        return 1
    command, config_path, *files = arguments
    config = _load(config_path)
    if command == "probe":
        problem = asyncio.run(probe(config))
        if problem:
            print(problem, file=sys.stderr)
        return 1 if problem else 0
    found = asyncio.run(evidence(config, _load(files[0])))
    with open(files[1], "w", encoding="utf-8") as file:
        json.dump(found, file)
    return 0


def _load(path: str) -> dict[str, Any]:
    with open(path, encoding="utf-8") as file:
        loaded: dict[str, Any] = json.load(file)
    return loaded


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
