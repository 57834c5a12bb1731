"""Does the instance on this host accept writes? Runs on the host itself, faults or no faults.

Prints one JSON line for every commit that the instance acknowledged: when (wall clock, in seconds) and on
which timeline. Standard library and psycopg2 only.
"""

import json
import sys
import time

import psycopg2

WRITE = "SELECT pg_logical_emit_message(true, 'sampler', 'x')"
TIMELINE = "SELECT ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int"


def main(path: str) -> None:
    with open(path, "a", encoding="utf-8") as out:
        while True:
            try:
                connection = psycopg2.connect("host=/var/run/postgresql user=postgres dbname=postgres")
                sample(connection, out)
            except psycopg2.Error:
                time.sleep(0.1)


def sample(connection, out) -> None:
    with connection.cursor() as cursor:
        while True:
            cursor.execute("SELECT pg_is_in_recovery()")
            if not cursor.fetchone()[0]:
                connection.notices.clear()
                cursor.execute(WRITE)
                connection.commit()
                # A commit that ends with a warning didn't reach the standby it waited for.
                if not connection.notices:
                    at = time.time()
                    cursor.execute(TIMELINE)
                    print(json.dumps({"at": at, "timeline": cursor.fetchone()[0]}), file=out, flush=True)
            connection.rollback()
            time.sleep(0.1)


if __name__ == "__main__":
    main(sys.argv[1])
