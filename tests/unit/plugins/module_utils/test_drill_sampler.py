# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sampler, with a server that answers late."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils import drill_sampler


class Server:
    """A connection, and its cursor, to a primary on timeline 3. The clock goes on by *asleep* seconds while it commits,
    as where the host is frozen."""

    def __init__(self, asleep: float, notices: tuple[str, ...] = ()) -> None:
        self.now, self.asleep, self.notices, self._said = 100.0, asleep, [], notices
        self._answer: Any = None

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def cursor(self) -> Server:
        return self

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def execute(self, query: str) -> None:
        self._answer = {drill_sampler.TIMELINE: 3}.get(query, False)

    def fetchone(self) -> tuple[Any]:
        return (self._answer,)

    def commit(self) -> None:
        self.now += self.asleep
        self.notices.extend(self._said)

    def rollback(self) -> None:
        pass


def sampled(monkeypatch: pytest.MonkeyPatch, tmp_path: Any, server: Server) -> list[dict[str, Any]]:
    """What is sampled in about a second."""
    monkeypatch.setattr(drill_sampler, "time", server)
    with (tmp_path / "samples").open("w+") as out:
        drill_sampler.sample(server, out, 101.0)
        out.seek(0)
        return [json.loads(line) for line in io.StringIO(out.read())]


def test_a_commit_counts_when_it_was_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    # The host was frozen before the answer was read: by then another instance is the primary.
    assert sampled(monkeypatch, tmp_path, Server(asleep=30)) == [{"at": 100.0, "timeline": 3}]


def test_a_commit_without_its_standby_counts_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    assert sampled(monkeypatch, tmp_path, Server(asleep=0, notices=("WARNING: canceling wait",))) == []
