# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_io import running_postmaster
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_session import (
    Session,
    SessionError,
    local_session,
    remote_session,
)
from pg_pair import eventually

if TYPE_CHECKING:
    from .conftest import Host


@pytest.fixture
def session(pg1: Host) -> Iterator[Session]:
    postmaster = running_postmaster(pg1.instance.data_directory)
    assert postmaster
    with local_session(pg1.instance, postmaster, 5) as session:
        yield session


def test_several_statements_give_the_rows_of_the_last(session: Session) -> None:
    assert session.ask("SELECT 1; SELECT word, 2 FROM kept", 5) == [("before", 2)]
    assert session.ask("CREATE TABLE more ()", 5) == []
    assert session.row("SELECT 1, NULL", 5) == (1, None)
    assert session.value("SELECT 'x'", 5) == "x"


def test_an_error_tells_its_sqlstate_and_leaves_the_connection_usable(session: Session) -> None:
    with pytest.raises(SessionError, match=r'relation "nowhere" does not exist') as raised:
        session.ask("SELECT FROM nowhere", 5)
    assert raised.value.sqlstate == "42P01"
    assert session.value("SELECT 1", 5) == 1


def test_an_answer_that_does_not_come_ends_the_connection(session: Session, pg1: Host) -> None:
    began = time.monotonic()
    with pytest.raises(SessionError, match=r"no answer within 0\.2 s"):
        session.ask("SELECT pg_sleep(30)", 0.2)
    assert time.monotonic() - began < 1
    with pytest.raises(SessionError):
        session.ask("SELECT 1", 5)


def test_a_statement_in_the_background(session: Session) -> None:
    session.send("SELECT pg_sleep(0.2), 7")
    assert not session.ready()
    eventually(session.ready)
    assert session.rows()[0][1] == 7


def test_locks_end_with_the_connection(session: Session, pg1: Host) -> None:
    session.ask("SELECT pg_advisory_lock(1, 2)", 5)
    assert pg1.sql("SELECT pg_try_advisory_lock(1, 2)") == "f"
    session.close()
    eventually(lambda: pg1.sql("SELECT pg_try_advisory_lock(1, 2)") == "t")


def test_a_server_that_died(session: Session, pg1: Host) -> None:
    pg1.kill()
    with pytest.raises(SessionError):
        session.ask("SELECT 1", 5)


def test_a_frozen_server_costs_no_more_than_the_bound(pg1: Host) -> None:
    postmaster = running_postmaster(pg1.instance.data_directory)
    assert postmaster
    os.kill(postmaster.pid, signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(SessionError, match=r"no answer within 0\.3 s"):
        local_session(pg1.instance, postmaster, 0.3)
    assert time.monotonic() - began < 1


def test_nobody_there() -> None:
    with pytest.raises(SessionError, match=r"localhost:1: .*refused"):
        remote_session({"host": "localhost", "hostaddr": "127.0.0.1", "port": "1", "user": "replication"}, "test", 1)
