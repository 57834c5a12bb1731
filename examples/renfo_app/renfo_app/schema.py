# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python3 -m renfo_app.schema`: make the tables that are missing, once per release, on one host.

It may run any number of times, and never drops or rewrites anything.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import psycopg2

from .config import Config, ConfigError
from .db import Pool, Unavailable, redact

_LOCK = 0x52454E46  # "RENF": one schema change at a time
_TABLES = ("sessions", "videos")


def apply(cursor: Any) -> list[str]:
    """Apply schema.sql; the names of the tables that it made."""
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    missing = [name for name in _TABLES if not _exists(cursor, name)]
    cursor.execute((Path(__file__).parent / "schema.sql").read_text(encoding="utf-8"))
    return missing


def _exists(cursor: Any, table: str) -> bool:
    cursor.execute("SELECT to_regclass(%s) IS NOT NULL", (table,))
    return bool(cursor.fetchone()[0])


def main() -> int:
    try:
        config = Config.from_env()
    except ConfigError as error:
        print(f"schema: {error}", file=sys.stderr)
        return 2
    pool = Pool(config.write_url, name=f"{config.replica}-schema", size=1, attempt_timeout=30)
    try:
        made = pool.run(apply, idempotent=True, within=30)
    except (Unavailable, psycopg2.Error) as error:
        print(f"schema: {redact(str(error), config.write_url).strip()}", file=sys.stderr)
        return 1
    finally:
        pool.close()
    print(f"schema: changed, made {', '.join(made)}" if made else "schema: unchanged")
    return 0


if __name__ == "__main__":
    sys.exit(main())
