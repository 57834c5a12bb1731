# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import (
    Lsn,
    TimelineSwitch,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_fork import (
    LONGEST_SCAN,
    Commits,
    History,
    Relation,
    Span,
    beyond,
    common_point,
    describe,
    end_of_record,
    last_record,
    names_sql,
    rows_sql,
    segment_name,
    segment_number,
    segments_of,
    with_names,
)
from hypothesis import given
from hypothesis import strategies as st

MB16 = 16 << 20


def at(text: str) -> Lsn:
    return Lsn.parse(text)


def history(timeline: int, *switches: tuple[int, str], end: str | None = None) -> History:
    known = tuple(TimelineSwitch(number, at(lsn)) for number, lsn in switches)
    return History(timeline, known, at(end) if end else None)


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        pytest.param(history(1, end="0/300"), history(1, end="0/500"), (1, "0/300"), id="behind on the same timeline"),
        pytest.param(history(1, end="0/500"), history(1, end="0/300"), (1, "0/300"), id="ahead on the same timeline"),
        pytest.param(history(1, end="0/300"), history(2, (1, "0/400"), end="0/500"), (1, "0/300"), id="ancestor"),
        pytest.param(history(1, end="0/450"), history(2, (1, "0/400"), end="0/500"), (1, "0/400"), id="went on"),
        pytest.param(
            history(3, (1, "0/400"), (2, "0/500"), end="0/600"),
            history(2, (1, "0/400"), end="0/700"),
            (2, "0/500"),
            id="a later timeline here",
        ),
        pytest.param(
            history(2, (1, "0/300"), end="0/600"),
            history(2, (1, "0/400"), end="0/700"),
            (1, "0/300"),
            id="two timelines of one number",
        ),
        pytest.param(
            history(2, (1, "0/300"), end="0/600"),
            history(3, (1, "0/400"), end="0/700"),
            (1, "0/300"),
            id="siblings",
        ),
        pytest.param(history(1), history(2, (1, "0/400"), end="0/500"), (1, "0/400"), id="the end isn't known"),
        pytest.param(history(7, end="0/5"), history(1, end="0/9"), None, id="nothing in common"),
    ],
)
def test_common_point(mine: History, theirs: History, expected: tuple[int, str] | None) -> None:
    assert common_point(mine, theirs) == (TimelineSwitch(expected[0], at(expected[1])) if expected else None)


STEPS = st.lists(st.integers(1, 1000), max_size=3)


def grown(steps: list[int], last: int) -> History:
    """A history whose timelines are as long as ``steps`` say, and the present one ``last``."""
    ends = [sum(steps[: count + 1]) for count in range(len(steps))]
    switches = tuple(TimelineSwitch(number, Lsn(end)) for number, end in enumerate(ends, start=1))
    return History(len(steps) + 1, switches, Lsn(sum(steps) + last))


@st.composite
def histories(draw: st.DrawFn) -> tuple[History, History]:
    """Two histories that share a beginning."""
    shared = draw(STEPS)
    mine, theirs = (grown(shared + draw(STEPS), draw(st.integers(1, 1000))) for _side in range(2))
    return mine, theirs


@given(histories())
def test_both_have_the_common_point_and_neither_loses_what_lies_before(pair: tuple[History, History]) -> None:
    mine, theirs = pair
    common = common_point(mine, theirs)

    assert common == common_point(theirs, mine)
    assert common is not None
    for side in pair:
        assert side.end is not None
        assert common.switch_lsn <= side.end
        (span,) = [span for span in side.spans if span.timeline == common.timeline]
        assert span.begin <= common.switch_lsn <= span.end
        # What comes after it, and nothing else, is beyond.
        assert sum(part.end - part.begin for part in beyond(side, common)) == side.end - common.switch_lsn


def test_what_is_beyond_a_fork() -> None:
    mine = history(3, (1, "0/400"), (2, "0/500"), end="0/600")

    assert beyond(mine, TimelineSwitch(1, at("0/300"))) == (
        Span(1, at("0/300"), at("0/400")),
        Span(2, at("0/400"), at("0/500")),
        Span(3, at("0/500"), at("0/600")),
    )
    assert beyond(mine, TimelineSwitch(3, at("0/600"))) == ()


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        ("0/3000028", "0/3000100", ["000000020000000000000003"]),
        ("0/3000000", "0/4000000", ["000000020000000000000003"]),
        ("0/3FFFFFF", "0/4000001", ["000000020000000000000003", "000000020000000000000004"]),
        ("0/FF000000", "1/10", ["0000000200000000000000FF", "000000020000000100000000"]),
    ],
)
def test_segments_of(begin: str, end: str, expected: list[str]) -> None:
    assert list(segments_of(Span(2, at(begin), at(end)), MB16)) == expected


@given(st.integers(1, 0xFFFFFFFF), st.integers(0, 1 << 40), st.sampled_from([1 << 20, MB16, 1 << 30]))
def test_segment_names_can_be_read(timeline: int, number: int, size: int) -> None:
    number %= (1 << 32) * (0x100000000 // size)
    assert segment_number(segment_name(timeline, number, size), size) == number


@pytest.mark.parametrize(
    ("begin", "length", "expected"),
    [
        pytest.param("0/3000028", 114, "0/30000A0", id="aligned to 8"),
        pytest.param("0/3001FE8", 24, "0/3002000", id="to the end of the page"),
        pytest.param("0/3001FE8", 25, "0/3002020", id="a byte on the next page, after its header"),
        pytest.param("0/3FFFFE8", 25, "0/4000030", id="a byte in the next segment, after its longer header"),
        pytest.param("0/3000028", 20000, "0/3004E78", id="over two pages"),
    ],
)
def test_end_of_record(begin: str, length: int, expected: str) -> None:
    assert str(end_of_record(at(begin), length, MB16)) == expected


WALDUMP = """\
first record is after 0/3000000, at 0/3000028, skipping over 40 bytes
rmgr: Heap        len (rec/tot):     61/    61, tx:        725, lsn: 0/01782718, prev 0/01782228, desc: INSERT+INIT off 1 flags 0x00, blkref #0: rel 1663/5/16386 blk 0
rmgr: Btree       len (rec/tot):     64/    64, tx:        725, lsn: 0/01782758, prev 0/01782718, desc: INSERT_LEAF off 1, blkref #0: rel 1663/5/16390 blk 1
rmgr: Heap        len (rec/tot):     61/    61, tx:        999, lsn: 0/01782798, prev 0/01782758, desc: INSERT off 2 flags 0x00, blkref #0: rel 1663/5/16386 blk 9
rmgr: Transaction len (rec/tot):     34/    34, tx:        999, lsn: 0/017827D8, prev 0/01782798, desc: ABORT 2026-11-23 06:24:50.161554 UTC
rmgr: Transaction len (rec/tot):     34/    34, tx:        725, lsn: 0/01782878, prev 0/01782838, desc: COMMIT 2026-11-23 06:24:51.161554 UTC
rmgr: Heap        len (rec/tot):     63/    63, tx:        726, lsn: 0/017828A0, prev 0/01782878, desc: INSERT off 3 flags 0x00, blkref #0: rel 1663/5/16386 blk 1
rmgr: Heap        len (rec/tot):     63/    63, tx:        727, lsn: 0/01782920, prev 0/017828E0, desc: HOT_UPDATE off 1 xmax 727 flags 0x20 ; new off 5 xmax 0, blkref #0: rel 1663/5/16386 blk 2
rmgr: Heap        len (rec/tot):     54/    54, tx:        727, lsn: 0/01782A40, prev 0/01782A18, desc: DELETE off 2 flags 0x00 KEYS_UPDATED , blkref #0: rel 1663/5/16386 blk 3
rmgr: Transaction len (rec/tot):     46/    46, tx:        726, lsn: 0/017829A0, prev 0/01782960, desc: COMMIT 2026-11-23 06:24:51.161819 UTC; subxacts: 727; inval msgs: catcache 55
rmgr: Heap2       len (rec/tot):    120/   120, tx:        731, lsn: 0/01788648, prev 0/017884D8, desc: MULTI_INSERT+INIT 5 tuples flags 0x02, blkref #0: rel 1663/6/16394 blk 0
rmgr: Heap2       len (rec/tot):    120/   120, tx:        731, lsn: 0/01788648, prev 0/017884D8, desc: MULTI_INSERT ntuples: 2, flags: 0x02, offsets: [6, 7], blkref #0: rel 1663/6/16394 blk 0
rmgr: Heap2       len (rec/tot):     56/    56, tx:          0, lsn: 0/0177D290, prev 0/0177B260, desc: PRUNE latestRemovedXid 0 nredirected 0 ndead 1, blkref #0: rel 1663/5/1249 blk 17
rmgr: Transaction len (rec/tot):    242/   242, tx:        731, lsn: 0/017AFF18, prev 0/017AFED8, desc: PREPARE gid g: 2026-11-23 06:25:24.783281 UTC
rmgr: Transaction len (rec/tot):     42/    42, tx:          0, lsn: 0/017B0028, prev 0/017AFF18, desc: COMMIT_PREPARED 731: 2026-11-23 06:25:24.784811 UTC
rmgr: Heap        len (rec/tot):     54/  8214, tx:        732, lsn: 0/01788888, prev 0/01788860, desc: INSERT off 20 flags 0x01, blkref #0: rel 1663/5/2619 blk 0 FPW
rmgr: Heap        len (rec/tot):    188/   188, tx:        732, lsn: 0/01790970, prev 0/01790930, desc: INPLACE off 8, blkref #0: rel 1663/5/1259 blk 0
rmgr: Transaction len (rec/tot):    178/   178, tx:        732, lsn: 0/01790AF0, prev 0/01790A30, desc: COMMIT 2026-11-23 06:24:51.179559 UTC; inval msgs: catcache 63
rmgr: Transaction len (rec/tot):     34/    34, tx:        733, lsn: 0/01790BF0, prev 0/01790AF0, desc: COMMIT 2026-11-23 06:24:52.000000 UTC
"""


def test_committed_transactions() -> None:
    found = list(Commits().read(WALDUMP.splitlines()))

    assert [describe(transaction) for transaction in found] == [
        "725  2026-11-23 06:24:51.161554 UTC  1663/5/16386: 1 inserted\n",
        "726 (with 727)  2026-11-23 06:24:51.161819 UTC  1663/5/16386: 1 inserted, 1 updated, 1 deleted\n",
        "731  2026-11-23 06:25:24.784811 UTC  1663/6/16394: 7 inserted\n",
        "733  2026-11-23 06:24:52.000000 UTC  no row seen\n",
    ]
    assert [{relation: changes.pages for relation, changes in item.changes.items()} for item in found] == [
        {Relation(1663, 5, 16386): {0}},
        {Relation(1663, 5, 16386): {1, 2}},
        {Relation(1663, 6, 16394): {0}},
        {},
    ]


def test_a_transaction_that_began_before() -> None:
    commits = Commits()
    lines = WALDUMP.splitlines()
    assert list(commits.read(lines[:2])) == []

    (found,) = commits.read(lines[5:6])

    assert describe(found).endswith("1663/5/16386: 1 inserted\n")


def test_names_where_they_are_known() -> None:
    line = "7  2026-11-23 06:24:51 UTC  1663/5/1: 2 inserted; 1663/5/2: 1 deleted\n"
    assert with_names(line, {"1663/5/1": "db.public.a"}) == (
        "7  2026-11-23 06:24:51 UTC  db.public.a: 2 inserted; file 1663/5/2: 1 deleted\n"
    )


def test_the_last_record() -> None:
    assert last_record(WALDUMP.splitlines()) == (at("0/1790BF0"), 34)
    assert last_record(["pg_waldump: nothing"]) is None


def test_sql_is_one_line_and_quotes() -> None:
    pages = {Relation(1663, 5, 1): {2, 1}, Relation(1663, 5, 2): set(range(LONGEST_SCAN + 1))}
    for sql in (rows_sql("it's", pages, [7, 8], "/o'dd"), names_sql(pages, "/o'dd")):
        assert "\n" not in sql
        assert "/o''dd" in sql
    told = rows_sql("it's", pages, [7, 8], "/o'dd")
    assert "'{7,8}'" in told
    assert "''{1,2}''::bigint[]" in told
    assert "(1663, 2, '')" in told
