# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read and write the small languages of PostgreSQL: connection strings, settings, WAL file names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import (
    Lsn,
    TimelineSwitch,
    Upstream,
)


def timeline_of_position(names: Iterable[str], position: Lsn, segment_size: int) -> int:
    """The latest timeline among the WAL files that hold the byte before ``position``; 0: none.

    File names are timeline and segment in hexadecimal
    (https://www.postgresql.org/docs/current/wal-internals.html).
    """
    per_log = 0x100000000 // segment_size
    segment = max(0, position - 1) // segment_size
    suffix = f"{segment // per_log:08X}{segment % per_log:08X}"
    found = (re.fullmatch(rf"([0-9A-F]{{8}}){suffix}(?:\.partial)?", name) for name in names)
    return max((int(match[1], 16) for match in found if match), default=0)


def parse_history(text: str) -> Iterable[TimelineSwitch]:
    """The lines of a timeline history file: ancestor, position of the switch, reason."""
    for line in text.splitlines():
        parts = line.split("#", 1)[0].split()
        if len(parts) >= 2 and parts[0].isdigit():
            yield TimelineSwitch(int(parts[0]), Lsn.parse(parts[1]))


def upstream_from(conninfo: str, slot: str | None) -> Upstream | None:
    """The upstream named by ``primary_conninfo`` and ``primary_slot_name``; None if none is."""
    values = parse_conninfo(conninfo)
    if not values.get("host") and not values.get("hostaddr"):
        return None
    port = values.get("port", "")
    return Upstream(values.get("host"), values.get("hostaddr"), int(port) if port.isdigit() else 5432, slot)


def parse_conninfo(conninfo: str) -> dict[str, str]:
    """The keywords of a libpq connection string.

    https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-KEYWORD-VALUE
    """
    found = re.findall(r"(\w+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S*))", conninfo)
    return {key: re.sub(r"\\(.)", r"\1", quoted) or bare for key, quoted, bare in found}


def format_conninfo(settings: Mapping[str, str]) -> str:
    """A libpq connection string; values are quoted where they must be."""
    return " ".join(f"{key}={_quoted(value)}" for key, value in settings.items())


def _quoted(value: str) -> str:
    if re.fullmatch(r"[\w./:@-]+", value):
        return value
    return "'" + re.sub(r"(['\\])", r"\\\1", value) + "'"


def parse_settings(text: str) -> dict[str, str]:
    """``name = 'value'`` lines of a PostgreSQL configuration file, the last one of a name wins."""
    found = re.findall(r"^\s*(\w+)\s*=?\s*'((?:[^']|'')*)'", text, re.MULTILINE)
    return {name: value.replace("''", "'") for name, value in found}


def without_settings(text: str, names: str) -> str | None:
    """``text`` without the lines that set what the pattern ``names`` matches; None if none does."""
    lines = text.splitlines()
    kept = [line for line in lines if not re.match(rf"\s*({names})\b", line, re.IGNORECASE)]
    return None if kept == lines else "".join(f"{line}\n" for line in kept)
