# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Prometheus asks of PostgreSQL, asked of a real primary and its standby by a role that may only read figures."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extras
import pytest
import yaml
from ports import free_port
from project import ROOT
from renfo_servers import Server, Servers, unprivileged, wait_for

QUERIES: dict[str, Any] = yaml.safe_load((ROOT / "roles/exporters/files/queries.yml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Server, Server]]:
    """A primary that can't archive, and its standby."""
    folder = Path(tempfile.mkdtemp(prefix="queries-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    if owner := unprivileged():
        os.chown(folder, owner["user"], owner["group"])
    template = Server("template", folder / "template", free_port())
    template.init()
    with (template.data / "postgresql.conf").open("a") as settings:
        settings.write("archive_mode = on\narchive_command = 'false'\nsynchronous_standby_names = 'pg2'\n")
        settings.write("synchronous_commit = local\n")
    servers = Servers(folder, template.data)
    primary = servers.primary()
    primary.sql("CREATE ROLE prometheus LOGIN")
    primary.sql("GRANT pg_monitor TO prometheus")
    primary.sql("SELECT pg_create_physical_replication_slot('gone', true)")
    standby = servers.standby_of(primary)
    yield primary, standby
    servers.end()
    shutil.rmtree(folder)


def ask(server: Server, name: str) -> list[dict[str, Any]]:
    conn = psycopg2.connect(host="127.0.0.1", port=server.port, user="prometheus", dbname="postgres")
    try:
        with conn.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
            cursor.execute(QUERIES[name]["query"])
            return [dict(row) for row in cursor.fetchall()]
    finally:
        conn.close()


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_gives_the_columns_that_are_declared(pair: tuple[Server, Server], name: str) -> None:
    declared = [column for metric in QUERIES[name]["metrics"] for column in metric]
    for server in pair:
        for row in ask(server, name):
            assert list(row) == declared
            assert None not in row.values()


def test_a_primary(pair: tuple[Server, Server]) -> None:
    primary, _standby = pair
    primary.sql("SELECT pg_switch_wal()")
    wait_for(lambda: ask(primary, "stack_pg_archiver") == [{"failing": 1}], 30)
    wait_for(lambda: [row["streaming"] for row in ask(primary, "stack_pg_standby")] == [1])
    assert ask(primary, "stack_pg") == [{"in_recovery": 0, "timeline": 1}]
    assert ask(primary, "stack_pg_synchronous") == [{"wanted": 1}]
    assert [(row["standby"], row["synchronous"]) for row in ask(primary, "stack_pg_standby")] == [("pg2", 1)]
    assert [(row["slot"], row["active"], row["lost"]) for row in ask(primary, "stack_pg_slot")] == [("gone", 0, 0)]
    assert ask(primary, "stack_pg_slot")[0]["retained_bytes"] > 0
    assert ask(primary, "stack_pg_wal")[0]["waiting"] > 0
    assert ask(primary, "stack_pg_archived") == []


def test_a_standby_says_nothing_of_what_a_primary_knows(pair: tuple[Server, Server]) -> None:
    _primary, standby = pair
    assert {name: ask(standby, name) for name in QUERIES} == {
        **{name: [] for name in QUERIES},
        "stack_pg": [{"in_recovery": 1, "timeline": 1}],
    }
