# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does the instance on this host accept writes? ``drill_sampler.py FILE UNTIL [PORT]`` runs on the host itself, through
faults and reboots, and depends on nothing of the collection.

Appends one JSON line to FILE for every commit that the instance acknowledged: when it was asked for (``at``, seconds
since the epoch) and on which ``timeline``. Ends at UNTIL (seconds since the epoch).
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any, TextIO

try:
    import psycopg2
except ImportError:  # on a controller that only sends this file
    psycopg2 = None  # type: ignore[assignment,unused-ignore]

INTERVAL = 0.1
WRITE = "SELECT pg_logical_emit_message(true, 'sampler', 'x')"
TIMELINE = "SELECT ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int"


def main(path: str, until: float, port: str = "5432") -> None:
    """Sample until *until*, whatever becomes of the server."""
    with open(path, "a", encoding="utf-8") as out:
        while time.time() < until:
            try:
                connection = psycopg2.connect(f"host=/var/run/postgresql port={port} user=postgres dbname=postgres")
                sample(connection, out, until)
            except psycopg2.Error:
                time.sleep(INTERVAL)


def sample(connection: Any, out: TextIO, until: float) -> None:
    """Write again and again on one connection, until it fails."""
    with connection.cursor() as cursor:
        while time.time() < until:
            cursor.execute("SELECT pg_is_in_recovery()")
            if not cursor.fetchone()[0]:
                connection.notices.clear()
                cursor.execute(WRITE)
                # Not when it was answered: one that the host was frozen in ends long after, and was before.
                at = time.time()
                connection.commit()
                # A commit that ends with a warning didn't reach the standby it waited for.
                if not connection.notices:
                    cursor.execute(TIMELINE)
                    out.write(json.dumps({"at": at, "timeline": cursor.fetchone()[0]}) + "\n")
                    out.flush()
                    # The last ones before the power is cut are those that tell of two primaries.
                    os.fsync(out.fileno())
            connection.rollback()
            time.sleep(INTERVAL)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), *sys.argv[3:4])
