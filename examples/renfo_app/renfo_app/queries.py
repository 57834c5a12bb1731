# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the application asks its database, statement by statement."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from .db import NotPrimary

# Idempotent by key: the second time nothing changes, yet a row version is written. That matters:
# an existing row may stem from an attempt whose COMMIT never reached a synchronous standby, and a
# transaction that writes nothing doesn't wait for one.
_INSERT_SESSION = """
    INSERT INTO sessions (key, note, replica) VALUES (%s, %s, %s)
    ON CONFLICT (key) DO UPDATE SET key = excluded.key
    RETURNING id, key, note, created_at, replica"""

_INSERT_VIDEO = """
    INSERT INTO videos (id, title, filename, content_type, size, sha256, replica)
    VALUES (%s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (id) DO UPDATE SET id = excluded.id
    RETURNING id::text, title, filename, content_type, size, sha256, created_at, replica"""

_SESSIONS = "SELECT id, key, note, created_at, replica FROM sessions"
_VIDEOS = "SELECT id::text, title, filename, content_type, size, sha256, created_at, replica FROM videos"

# The days of the week so far, as the site's public lives them.
_WEEK = """
    SELECT day::date, count(sessions.id)
    FROM generate_series(date_trunc('day', now() AT TIME ZONE 'Europe/Paris') - interval '6 days',
                         date_trunc('day', now() AT TIME ZONE 'Europe/Paris'), '1 day') AS day
    LEFT JOIN sessions ON date_trunc('day', created_at AT TIME ZONE 'Europe/Paris') = day
                      AND created_at > now() - interval '8 days'
    GROUP BY day ORDER BY day"""


@dataclass(frozen=True)
class Server:
    """The PostgreSQL server that answered."""

    name: str
    address: str | None
    standby: bool

    def __str__(self) -> str:
        return f"{self.name} ({'standby' if self.standby else 'primary'})"


@dataclass(frozen=True)
class Session:
    id: int
    key: str
    note: str
    created_at: datetime
    replica: str

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "created_at": self.created_at.isoformat()}


@dataclass(frozen=True)
class Video:
    id: str
    title: str
    filename: str
    content_type: str
    size: int
    sha256: str
    created_at: datetime
    replica: str

    def as_json(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "created_at": self.created_at.isoformat(),
            "url": f"/videos/{self.id}/file",
        }


def server(cursor: Any, *, must_be_primary: bool = False) -> Server:
    """Who answers. With `must_be_primary`, NotPrimary unless it takes writes."""
    cursor.execute(
        "SELECT current_setting('cluster_name'), host(inet_server_addr()), pg_is_in_recovery(),"
        " current_setting('transaction_read_only') = 'on'"
    )
    name, address, standby, read_only = cursor.fetchone()
    if must_be_primary and (standby or read_only):
        raise NotPrimary(f"{name or address} does not take writes")
    return Server(name or address or "local", address, standby)


def add_session(cursor: Any, key: str, note: str, replica: str) -> Session:
    cursor.execute(_INSERT_SESSION, (key, note, replica))
    return Session(*cursor.fetchone())


def sessions_after(cursor: Any, after: int, limit: int) -> list[Session]:
    cursor.execute(f"{_SESSIONS} WHERE id > %s ORDER BY id LIMIT %s", (after, limit))
    return [Session(*row) for row in cursor.fetchall()]


def last_sessions(cursor: Any, limit: int) -> list[Session]:
    cursor.execute(f"{_SESSIONS} ORDER BY id DESC LIMIT %s", (limit,))
    return [Session(*row) for row in cursor.fetchall()]


def week(cursor: Any) -> list[tuple[date, int]]:
    """The last seven days, today last, with the number of sessions of each."""
    cursor.execute(_WEEK)
    return [(day, count) for day, count in cursor.fetchall()]


def add_video(cursor: Any, video: Video) -> Video:
    cursor.execute(
        _INSERT_VIDEO,
        (
            video.id,
            video.title,
            video.filename,
            video.content_type,
            video.size,
            video.sha256,
            video.replica,
        ),
    )
    return Video(*cursor.fetchone())


def last_videos(cursor: Any, limit: int) -> list[Video]:
    cursor.execute(f"{_VIDEOS} ORDER BY created_at DESC, id LIMIT %s", (limit,))
    return [Video(*row) for row in cursor.fetchall()]


def video(cursor: Any, video_id: str) -> Video | None:
    cursor.execute(f"{_VIDEOS} WHERE id = %s::uuid", (video_id,))
    row = cursor.fetchone()
    return Video(*row) if row else None
