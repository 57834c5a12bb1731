# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import re
import shutil
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import (
    Lsn,
    PgError,
    TimelineSwitch,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_fork import end_of_record
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_fork_io import (
    ForkOnDisk,
    lines_of,
    read_own,
    wal_before,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_io import observe

if TYPE_CHECKING:
    from .conftest import Host

SIZE = 16 << 20


def own_end(host: Host) -> Lsn:
    end = read_own(host.instance, observe(host.instance, host.run), host.run).history.end
    assert end is not None
    return end


def dump(host: Host, begin: str) -> list[tuple[Lsn, int]]:
    pg_wal = f"{host.instance.data_directory}/pg_wal"
    _rc, out, _err = host.run([host.instance.binary("pg_waldump"), "-p", pg_wal, "-t", "1", "-s", begin])
    found = re.findall(r"len \(rec/tot\): +\d+/ *(\d+), .* lsn: (\S+), prev", out)
    return [(Lsn.parse(lsn), int(length)) for length, lsn in found]


def test_the_end_of_every_record_is_where_the_next_begins(pg1: Host) -> None:
    begin = pg1.sql("SELECT pg_current_wal_lsn()")
    # Short ones and ones that go over pages and segments.
    pg1.sql("SELECT pg_logical_emit_message(false, '', repeat('x', n * 37 % 30000)) FROM generate_series(1, 3000) n")
    pg1.sql("SELECT pg_logical_emit_message(false, '', repeat('x', 40000000))")
    pg1.sql("INSERT INTO kept VALUES ('after')")
    records = dump(pg1, begin)

    assert len(records) > 3000
    for (here, length), (following, _length) in pairwise(records):
        end = end_of_record(here, length, SIZE)
        header = 0 if end % 8192 else 24 if end % SIZE else 40
        assert following == end + header, (str(here), length)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_the_end_of_wal_of_a_stopped_server(pg1: Host, mode: str) -> None:
    pg1.sql("INSERT INTO kept VALUES ('after')")
    before = Lsn.parse(pg1.sql("SELECT pg_current_wal_lsn()"))
    pg1.stop(mode)

    end = own_end(pg1)

    assert end == before if mode == "immediate" else before < end <= before + 256
    (*_, (last, length)) = dump(pg1, str(Lsn(before - before % SIZE)))
    assert end == end_of_record(last, length, SIZE)


def test_the_end_of_wal_at_the_end_of_a_segment(pg1: Host) -> None:
    pg1.sql("INSERT INTO kept VALUES ('after')")
    pg1.sql("SELECT pg_switch_wal()")
    segment = pg1.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")
    pg1.stop("immediate")
    end = own_end(pg1)
    number = int(segment[16:], 16)
    # Nobody writes any more, so what was made ready for the future may go.
    for path in (pg1.instance.data_directory / "pg_wal").glob("0000000100*"):
        if int(path.name[16:], 16) > number or (int(path.name[16:], 16) == number and end % SIZE == 0):
            path.unlink()

    assert own_end(pg1) == end


def test_the_end_of_wal_is_not_known_without_wal(pg1: Host) -> None:
    pg1.stop("immediate")
    for path in (pg1.instance.data_directory / "pg_wal").glob("0000000100*"):
        path.unlink()

    own = read_own(pg1.instance, observe(pg1.instance, pg1.run), pg1.run)

    assert (own.history.timeline, own.history.end) == (1, None)
    assert wal_before(pg1.instance, own, TimelineSwitch(1, Lsn(2 * SIZE))) is None


def test_a_running_server_is_asked(pg1: Host) -> None:
    before = Lsn.parse(pg1.sql("SELECT pg_current_wal_lsn()"))
    assert before <= own_end(pg1) <= Lsn.parse(pg1.sql("SELECT pg_current_wal_lsn()"))


def test_the_last_bytes_before_a_point(pg1: Host) -> None:
    pg1.sql("CHECKPOINT")
    point = Lsn.parse(pg1.sql("SELECT pg_current_wal_lsn()"))
    pg1.stop()
    own = read_own(pg1.instance, observe(pg1.instance, pg1.run), pg1.run)

    found = wal_before(pg1.instance, own, TimelineSwitch(1, point))

    assert found is not None
    number, offset, data = found
    assert number * SIZE + offset + len(data) == point
    with open(pg1.instance.data_directory / "pg_wal" / f"00000001{number:016X}", "rb") as file:
        file.seek(offset)
        assert file.read(len(data)) == data
    # A segment's first byte has nothing before it in the same file.
    before = wal_before(pg1.instance, own, TimelineSwitch(1, Lsn(number * SIZE + 40)))
    assert before is not None
    assert before[1:] == (0, before[2][:40])


def test_a_transaction_that_began_before_the_fork_is_counted_with_its_rows(pg1: Host) -> None:
    pg1.sql("CREATE TABLE other (word text)")
    where = f"host={pg1.instance.socket_directory} port={pg1.instance.port} user=postgres dbname=postgres"
    pg1.pg(
        *("psql", "-XAtqw", "-d", where),
        *("-c", "BEGIN", "-c", "INSERT INTO other VALUES ('early')"),
        *("-c", "SELECT pg_switch_wal()", "-c", "SELECT set_config('my.fork', pg_current_wal_lsn()::text, false)"),
        *("-c", "COMMIT", "-c", "INSERT INTO kept SELECT current_setting('my.fork')"),
    )
    fork = Lsn.parse(pg1.sql("SELECT word FROM kept WHERE word LIKE '%/%'"))
    pg1.stop("immediate")
    own = read_own(pg1.instance, observe(pg1.instance, pg1.run), pg1.run)
    on_disk = ForkOnDisk(pg1.instance, pg1.run, own, TimelineSwitch(1, fork), "pg1", "pg2")

    saved, warnings = on_disk.save()

    assert (saved.lost.transactions, warnings) == (2, [])
    assert on_disk.count() == 2
    rows = pg1.instance.state_directory / (saved.lost.directory or "") / "rows"
    assert "early" in (rows / "postgres.public.other.csv").read_text()


def test_a_program_that_fails(pg1: Host) -> None:
    with pytest.raises(PgError, match="write-ahead log can't be read: no"):
        list(lines_of(["sh", "-c", "echo one; echo no >&2; exit 1"]))


def test_segments_that_are_still_empty_do_not_hide_the_rest(pg1: Host) -> None:
    """A server makes its next segment ahead; pg_waldump may take the first it finds for all of them."""
    pg1.sql("INSERT INTO kept VALUES ('last')")
    end = Lsn.parse(pg1.sql("SELECT pg_current_wal_insert_lsn()"))
    pg1.stop("immediate")
    pg_wal = pg1.instance.data_directory / "pg_wal"
    for number in range(100, 140):
        ahead = pg_wal / f"{1:08X}{0:08X}{number:08X}"
        ahead.touch(mode=0o600)
        os.truncate(ahead, SIZE)
        shutil.chown(ahead, "postgres")

    assert own_end(pg1) >= end
