# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where two histories part, and what lies beyond that point. Pure: WAL is read as pg_waldump prints it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import (
    Lsn,
    TimelineSwitch,
)

ENDLESS = Lsn(1 << 63)
PAGE = 8192  # bytes; Debian's PostgreSQL is built with this size of a page, of a table and of WAL alike
SHORT_HEADER, LONG_HEADER = 24, 40  # bytes at the start of a WAL page, and of the first one of a segment
LONGEST_SCAN = 10_000  # pages of one table that are looked up one by one; beyond, the table is read whole
ROWS_OF_A_PAGE = 291  # at most
# pg_statistic and pg_statistic_ext_data with their TOAST tables: what autovacuum's ANALYZE writes.
STATISTICS = frozenset({2619, 2840, 3429, 3430})

_RECORD = re.compile(r"rmgr: (\w+) +len \(rec/tot\): +\d+/ *(\d+), tx: +(\d+), lsn: (\w+/\w+), prev \S+, desc: (.*)")
_COMMIT = re.compile(r"COMMIT(?:_PREPARED (\d+):)? ([^;]+)(.*)")
_SUBTRANSACTIONS = re.compile(r"; subxacts:((?: \d+)+)")
_RELATION = re.compile(r"blkref #0: rel (\d+)/(\d+)/(\d+) blk (\d+)")
_MULTI_INSERT = re.compile(r"MULTI_INSERT\S* (?:ntuples: )?(\d+)")


@dataclass(frozen=True)
class History:
    """The timelines of one instance, and how far it got on the last; ``end``: None where that isn't known."""

    timeline: int
    switches: tuple[TimelineSwitch, ...] = ()
    end: Lsn | None = None

    @property
    def spans(self) -> tuple[Span, ...]:
        """The timelines in order, each with where it begins and ends."""
        ancestors = [switch for switch in self.switches if switch.timeline < self.timeline]
        ends = [switch.switch_lsn for switch in ancestors]
        names = [*(switch.timeline for switch in ancestors), self.timeline]
        return tuple(map(Span, names, [Lsn(0), *ends], [*ends, self.end or ENDLESS]))


@dataclass(frozen=True)
class Span:
    """The part of a history that lies on one timeline."""

    timeline: int
    begin: Lsn
    end: Lsn


@dataclass(frozen=True)
class Relation:
    """What WAL calls a table: tablespace, database and file node."""

    tablespace: int
    database: int
    node: int

    def __str__(self) -> str:
        return f"{self.tablespace}/{self.database}/{self.node}"


@dataclass
class Changes:
    """What one transaction did to one table, and the pages that hold the rows it wrote."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    pages: set[int] = field(default_factory=set)

    def add(self, other: Changes) -> None:
        self.inserted += other.inserted
        self.updated += other.updated
        self.deleted += other.deleted
        self.pages |= other.pages

    def __str__(self) -> str:
        counts = (("inserted", self.inserted), ("updated", self.updated), ("deleted", self.deleted))
        return ", ".join(f"{count} {what}" for what, count in counts if count)


@dataclass(frozen=True)
class Transaction:
    """One transaction that was committed beyond the fork; ``ids`` begin with its own, subtransactions follow."""

    ids: tuple[int, ...]
    committed: str
    changes: Mapping[Relation, Changes]


def common_point(mine: History, theirs: History) -> TimelineSwitch | None:
    """The last position that both histories have, and its timeline; None if they have none.

    As pg_rewind finds it: timelines are the same as long as number and beginning are.
    """
    found = None
    for here, there in zip(mine.spans, theirs.spans, strict=False):
        if (here.timeline, here.begin) != (there.timeline, there.begin):
            break
        found = TimelineSwitch(here.timeline, min(here.end, there.end))
    return found


def beyond(mine: History, fork: TimelineSwitch) -> tuple[Span, ...]:
    """The parts of ``mine`` that come after ``fork``."""
    return tuple(
        Span(span.timeline, max(span.begin, fork.switch_lsn), span.end)
        for span in mine.spans
        if span.timeline >= fork.timeline and span.end > fork.switch_lsn
    )


def segment_name(timeline: int, number: int, size: int) -> str:
    """The WAL file of segment ``number`` (https://www.postgresql.org/docs/current/wal-internals.html)."""
    per_log = 0x100000000 // size
    return f"{timeline:08X}{number // per_log:08X}{number % per_log:08X}"


def segment_number(name: str, size: int) -> int:
    """The number of the segment that a WAL file holds."""
    return int(name[8:16], 16) * (0x100000000 // size) + int(name[16:24], 16)


def segments_of(span: Span, size: int) -> tuple[str, ...]:
    """The WAL files that hold ``span``."""
    numbers = range(span.begin // size, -(-span.end // size))
    return tuple(segment_name(span.timeline, number, size) for number in numbers)


def end_of_record(begin: Lsn, length: int, segment_size: int) -> Lsn:
    """Where a record ends that begins at ``begin``: page headers lie in between, records are aligned to 8 bytes."""
    position = int(begin)
    while True:
        room = PAGE - position % PAGE
        if length <= room:
            return Lsn((position + length + 7) // 8 * 8)
        length -= room
        position += room
        position += SHORT_HEADER if position % segment_size else LONG_HEADER


def last_record(lines: Iterable[str]) -> tuple[Lsn, int] | None:
    """Position and length of the last record that pg_waldump printed."""
    last = None
    for line in lines:
        if line.startswith("rmgr: "):
            last = line
    match = _RECORD.match(last) if last else None
    return (Lsn.parse(match[4]), int(match[2])) if match else None


class Commits:
    """Collects what transactions did, from pg_waldump's lines; it remembers those that are not at their end yet."""

    def __init__(self) -> None:
        self._open: dict[int, dict[Relation, Changes]] = {}

    def read(self, lines: Iterable[str]) -> Iterator[Transaction]:
        """The transactions as they were committed; those that only hold statistics are nobody's."""
        for line in lines:
            match = _RECORD.match(line)
            if match is None:
                continue
            manager, xid, said = match[1], int(match[3]), match[5]
            if manager in ("Heap", "Heap2"):
                self._change(xid, said)
            elif manager == "Transaction":
                yield from self._end(xid, said)

    def _change(self, xid: int, said: str) -> None:
        relation = _RELATION.search(said)
        if relation is None or not xid:
            return
        tablespace, database, node, page = map(int, relation.groups())
        changes = Changes()
        many = _MULTI_INSERT.match(said)
        if many:
            changes.inserted = int(many[1])
        elif said.startswith("INSERT"):
            changes.inserted = 1
        elif said.startswith(("UPDATE", "HOT_UPDATE")):
            changes.updated = 1
        elif said.startswith("DELETE"):
            changes.deleted = 1
        else:
            return
        if not changes.deleted:
            changes.pages.add(page)
        known = self._open.setdefault(xid, {})
        known.setdefault(Relation(tablespace, database, node), Changes()).add(changes)

    def _end(self, xid: int, said: str) -> Iterator[Transaction]:
        subtransactions = _SUBTRANSACTIONS.search(said)
        children = [int(child) for child in subtransactions[1].split()] if subtransactions else []
        commit = _COMMIT.match(said)
        if commit is None:
            if said.startswith("ABORT"):
                for gone in (xid, *children):
                    self._open.pop(gone, None)
            return
        ids = (int(commit[1] or xid), *children)
        changes: dict[Relation, Changes] = {}
        for part in ids:
            for relation, more in self._open.pop(part, {}).items():
                changes.setdefault(relation, Changes()).add(more)
        statistics = bool(changes) and {relation.node for relation in changes} <= STATISTICS
        if not statistics:
            yield Transaction(ids, commit[2].strip(), changes)


def describe(transaction: Transaction) -> str:
    """One line for the operator; tables are called what WAL calls them, until their names are known."""
    did = [f"{relation}: {changes}" for relation, changes in transaction.changes.items()]
    children = f" (with {', '.join(map(str, transaction.ids[1:]))})" if transaction.ids[1:] else ""
    return f"{transaction.ids[0]}{children}  {transaction.committed}  {'; '.join(did) or 'no row seen'}\n"


def with_names(line: str, names: Mapping[str, str]) -> str:
    """A line of ``describe`` with the tables' names, where they are known."""
    return re.sub(r"\d+/\d+/\d+(?=: )", lambda found: names.get(found[0], f"file {found[0]}"), line)


def databases_sql(file: str) -> str:
    """Write number and name of every database to ``file``, as CSV."""
    return f"COPY (SELECT oid, datname FROM pg_database) TO {_quoted(file)} (FORMAT csv)"


def names_sql(relations: Collection[Relation], file: str) -> str:
    """Write what the tables of this database are called to ``file``, as CSV: tablespace, node, schema, name."""
    values = ", ".join(f"({item.tablespace}, {item.node})" for item in relations)
    return (
        f"COPY (SELECT f.spc, f.node, n.nspname, c.relname FROM (VALUES {values}) AS f(spc, node) "
        "JOIN pg_class c ON c.oid = pg_filenode_relation(f.spc::oid, f.node::oid) "
        f"JOIN pg_namespace n ON n.oid = c.relnamespace) TO {_quoted(file)} (FORMAT csv)"
    )


def rows_sql(database: str, pages: Mapping[Relation, Collection[int]], ids: Iterable[int], directory: str) -> str:
    """Write the rows that ``ids`` wrote to one CSV file a table, in ``directory``.

    Rows are looked up by page: reading a large table whole would take long. A table that can't be
    written is warned of, the others go on. One line, for a line is a command in single-user mode.
    """
    tables = ", ".join(
        f"({relation.tablespace}, {relation.node}, {_quoted(_on_pages(found))})" for relation, found in pages.items()
    )
    xids = _quoted("{" + ",".join(map(str, ids)) + "}")
    stem = _quoted(f"{directory}/{re.sub(r'[^A-Za-z0-9_-]', '_', database)}.")
    return (
        f"DO $save$ DECLARE r record; plain text; xids text := {xids}; BEGIN "
        "FOR r IN SELECT f.pages, c.oid, n.nspname, c.relname "
        f"FROM (VALUES {tables}) AS f(spc, node, pages) "
        "JOIN pg_class c ON c.oid = pg_filenode_relation(f.spc::oid, f.node::oid) "
        "JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relkind IN ('r', 'm') AND left(n.nspname, 3) <> 'pg_' AND n.nspname <> 'information_schema' "
        "LOOP BEGIN "
        "plain := regexp_replace(r.nspname || '.' || r.relname, '[^A-Za-z0-9_.-]', '_', 'g'); "
        "IF plain <> r.nspname || '.' || r.relname THEN plain := plain || '.' || r.oid; END IF; "
        "EXECUTE 'COPY (SELECT xmin, * FROM ONLY ' || quote_ident(r.nspname) || '.' || quote_ident(r.relname) "
        "|| ' WHERE ' || r.pages || 'xmin::text = ANY (' || quote_literal(xids) || '::text[])) TO ' "
        f"|| quote_literal({stem} || plain || '.csv') || ' (FORMAT csv, HEADER)'; "
        "EXCEPTION WHEN OTHERS THEN "
        "RAISE WARNING 'pg_standby: %.%: % (%)', r.nspname, r.relname, SQLERRM, SQLSTATE; "
        "END; END LOOP; END $save$"
    )


def _on_pages(pages: Collection[int]) -> str:
    """A condition that lets the server go straight to ``pages``, where they are few enough."""
    if len(pages) > LONGEST_SCAN:
        return ""
    numbers = ",".join(map(str, sorted(pages)))
    return (
        "ctid = ANY (ARRAY(SELECT ('(' || page || ',' || item || ')')::tid "
        f"FROM unnest('{{{numbers}}}'::bigint[]) page, generate_series(1, {ROWS_OF_A_PAGE}) item)) AND "
    )


def readme(host: str, spans: Sequence[Span], transactions: int, upstream: str, cluster: str) -> str:
    """What the operator finds in the directory of a saved fork."""
    where = ", ".join(f"timeline {span.timeline} from {span.begin} to {span.end}" for span in spans)
    return (
        f"{host} held {transactions} committed transactions that the primary {upstream} doesn't have: {where}.\n"
        f"They are no longer in the database of cluster {cluster}. Nothing removes this directory; delete it when it "
        "has been dealt with.\n"
        "transactions.txt: one line a transaction: id, time of the commit, rows it inserted, updated and deleted.\n"
        "rows/: the rows these transactions wrote, as they were at the end, one CSV file a table "
        "(database.schema.table.csv); xmin is the id of the transaction.\n"
        "wal/ and records.txt: the write-ahead log from the fork on, as it is and as pg_waldump prints it.\n"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
