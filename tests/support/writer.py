"""A client that writes through the load balancer all the while, and counts afterwards what it was told.

Open loop: a request is sent every ``interval`` seconds whether or not the ones before were answered,
so a stall costs as many requests as it lasts (no coordinated omission).
"""

from __future__ import annotations

import concurrent.futures
import itertools
import threading
import time
import uuid
from dataclasses import dataclass, field

import requests

from tests.support.client import trusting
from tests.support.lab import Lab


@dataclass(frozen=True)
class Answer:
    """One request: when it was sent and answered (monotonic seconds), and what came back."""

    key: str
    sent: float
    answered: float
    status: int | None

    @property
    def acknowledged(self) -> bool:
        return self.status in (200, 201)


@dataclass
class Writer:
    """Logs sessions at a fixed rate until it is stopped; reads at the same rate, unless it is told not to."""

    lab: Lab
    interval: float = 0.1
    timeout: float = 30.0
    reading: bool = True
    #: Whether connections are used again. One that a load balancer closes at that moment is a failure of the client's.
    keep_alive: bool = True
    writes: list[Answer] = field(default_factory=list)
    reads: list[Answer] = field(default_factory=list)

    def __enter__(self) -> Writer:
        self._since = self.lab.write_session("where the count begins")["id"]
        self._stop = threading.Event()
        self._pool = concurrent.futures.ThreadPoolExecutor(max_workers=200)
        self._local = threading.local()
        self._beat = threading.Thread(target=self._run, daemon=True)
        self._beat.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._beat.join()
        self._pool.shutdown(wait=True)

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            self._pool.submit(self._write)
            if self.reading:
                self._pool.submit(self._read)
            due += self.interval
            self._stop.wait(max(0.0, due - time.monotonic()))

    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            self._local.session = trusting()
            if not self.keep_alive:
                self._local.session.headers["Connection"] = "close"
        return self._local.session  # type: ignore[no-any-return]

    def _send(self, method: str, path: str, key: str, **options: object) -> Answer:
        sent = time.monotonic()
        try:
            answer = self._session().request(method, f"https://{self.lab.vip}{path}", timeout=self.timeout, **options)
            status: int | None = answer.status_code
        except requests.RequestException:
            status = None
        return Answer(key, sent, time.monotonic(), status)

    def _write(self) -> None:
        key = str(uuid.uuid4())
        self.writes.append(self._send("POST", "/sessions", key, json={"key": key, "note": key}))

    def _read(self) -> None:
        self.reads.append(self._send("GET", "/sessions?after=2000000000", ""))

    # --- what it was told, and what is there

    @property
    def acknowledged(self) -> list[str]:
        return [answer.key for answer in self.writes if answer.acknowledged]

    def wait_acknowledged(self, seconds: float = 30.0) -> float:
        """Wait for a write that is sent from now on and acknowledged; when it was, in monotonic seconds."""
        begun = time.monotonic()
        while time.monotonic() < begun + seconds:
            for answer in list(self.writes):
                if answer.sent >= begun and answer.acknowledged:
                    return answer.answered
            time.sleep(0.02)
        last = [(round(answer.answered - answer.sent, 1), answer.status) for answer in self.writes[-5:]]
        raise AssertionError(f"no write was acknowledged within {seconds} s; the last answers (s, status): {last}")

    def longest_gap(self) -> float:
        """The longest time in seconds in which no write was acknowledged."""
        times = sorted(answer.answered for answer in self.writes if answer.acknowledged)
        return max((later - sooner for sooner, later in itertools.pairwise(times)), default=0.0)

    def failed_writes(self) -> list[Answer]:
        return [answer for answer in self.writes if not answer.acknowledged]

    def failed_reads(self) -> list[Answer]:
        return [answer for answer in self.reads if answer.status != 200]

    def lost(self) -> set[str]:
        """Acknowledged writes that the primary doesn't hold; the test fails if one is there twice."""
        there: list[str] = []
        after = self._since
        while rows := self.lab.request("GET", f"/sessions?consistent=1&after={after}").json()["sessions"]:
            there += [row["key"] for row in rows]
            after = max(row["id"] for row in rows)
        twice = {key for key in there if there.count(key) > 1} if len(there) != len(set(there)) else set()
        assert not twice, f"written more than once: {sorted(twice)}"
        return set(self.acknowledged) - set(there)
