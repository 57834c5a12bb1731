# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The calls of the API and the one page. README.md has the table."""

from __future__ import annotations

import logging
import mimetypes
import secrets
import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import PurePath
from typing import IO, Any, cast
from urllib.parse import quote, urlsplit

import psycopg2
from flask import (
    Blueprint,
    Request,
    Response,
    current_app,
    jsonify,
    make_response,
    redirect,
    render_template,
    request,
    send_file,
)
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from . import queries
from .config import Config
from .db import Pool, Unavailable, redact
from .queries import Server, Session, Video
from .readiness import BoundedCheck
from .storage import Incoming, Store, TooLarge

log = logging.getLogger(__name__)
site = Blueprint("site", __name__)

_FORM_LIMIT = 64 * 1024  # bytes, for a request without a file
_MULTIPART_MARGIN = 64 * 1024  # bytes around the file
_PAGE_VIDEOS = 24
_PAGE_SESSIONS = 8

# Known by name, so that every host says the same, whatever its mime.types.
_TYPES = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
    ".ogv": "video/ogg",
    ".mp3": "audio/mpeg",
    ".m4a": "audio/mp4",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".wav": "audio/wav",
}

_MONTHS = (
    "janv.",
    "févr.",
    "mars",
    "avr.",
    "mai",
    "juin",
    "juil.",
    "août",
    "sept.",
    "oct.",
    "nov.",
    "déc.",
)
_DAYS = ("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche")


@dataclass
class Services:
    """What the views work with; one per application, made by create_app."""

    config: Config
    store: Store
    write_pool: Pool
    read_pool: Pool
    database_check: BoundedCheck = field(init=False)
    storage_check: BoundedCheck = field(init=False)

    def __post_init__(self) -> None:
        # libpq gives up on a dead host after two seconds (connect_timeout) and goes on to the next: with one
        # standby down, or two, this replica is as ready as ever.
        self.database_check = BoundedCheck(
            lambda: str(self.read_pool.run(queries.server, idempotent=True, within=6.0)), bound=6.5
        )
        self.storage_check = BoundedCheck(lambda: self.store.check(self.config.replica))

    def close(self) -> None:
        self.write_pool.close()
        self.read_pool.close()


class Problem(Exception):
    """A request that can't be done: `code` for programs, `message` for their authors."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class UploadRequest(Request):
    """Writes an uploaded file straight to the store, hashing it, instead of to /tmp first."""

    incoming: list[Incoming]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.incoming = []

    @property  # type: ignore[misc]  # nobody sets it
    def max_content_length(self) -> int | None:  # type: ignore[override]
        if not self._takes_file:
            return _FORM_LIMIT
        return services().config.max_upload_bytes + _MULTIPART_MARGIN

    @property
    def _takes_file(self) -> bool:
        return self.endpoint == "site.create_video"

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        if not self._takes_file or self.incoming:
            raise Problem(400, "unexpected_file", "expected one file, in the field 'file'")
        incoming = services().store.open_incoming()
        self.incoming.append(incoming)
        return cast("IO[bytes]", incoming)


def services() -> Services:
    return cast(Services, current_app.extensions["renfo"])


# --- health ---------------------------------------------------------------------------------


@site.get("/healthz")
def healthz() -> Response:
    return jsonify(ok=True)


@site.get("/readyz")
def readyz() -> Response:
    waiting = {
        "database": services().database_check.start(),
        "storage": services().storage_check.start(),
    }
    checks = {name: result() for name, result in waiting.items()}
    ready = all(check.ok for check in checks.values())
    body = jsonify(ready=ready, checks={name: check.as_json() for name, check in checks.items()})
    body.status_code = 200 if ready else 503
    return body


@site.get("/whoami")
def whoami() -> Response:
    config = services().config
    return jsonify(replica=config.replica, host=config.host, version=config.version)


# --- training sessions ----------------------------------------------------------------------


@site.post("/sessions")
def create_session() -> Response:
    fields = request.get_json() if request.is_json else request.form
    if not isinstance(fields, dict):
        raise Problem(400, "not_an_object", 'expected a JSON object: {"key": "...", "note": "..."}')
    key = _text(fields.get("key"), "key", 200, required=True)
    note = _text(fields.get("note", ""), "note", 2000)
    replica = services().config.replica
    session = services().write_pool.run(lambda cursor: queries.add_session(cursor, key, note, replica), idempotent=True)
    if _wants_page():
        return _back_to_page("seance")
    body = jsonify(session.as_json())
    body.status_code = 201
    return body


@site.get("/sessions")
def list_sessions() -> Response:
    after = _number("after", 0, least=0)
    limit = _number("limit", 100, least=1, most=1000)
    consistent = request.args.get("consistent", "0") == "1"

    def work(cursor: Any) -> tuple[Server, list[Session]]:
        server = queries.server(cursor, must_be_primary=consistent)
        return server, queries.sessions_after(cursor, after, limit)

    pool = services().write_pool if consistent else services().read_pool
    server, sessions = pool.run(work, idempotent=True)
    return _answered_by(server, sessions=[session.as_json() for session in sessions])


# --- videos ---------------------------------------------------------------------------------


@site.post("/videos")
def create_video() -> Response:
    received = cast(UploadRequest, request).incoming
    try:
        upload = request.files.get("file")
        title = request.form.get("title", "")
    except TooLarge:
        raise RequestEntityTooLarge from None
    if upload is None or not upload.filename or not received:
        raise Problem(400, "file_required", "expected a multipart form with a file in 'file'")
    incoming = received[0]
    if incoming.size == 0:
        raise Problem(400, "file_empty", f"the file {upload.filename!r} is empty")
    filename = PurePath(upload.filename.replace("\\", "/")).name[:200]
    video = Video(
        id=str(uuid.uuid4()),
        title=_text(title.strip() or PurePath(filename).stem, "title", 200, required=True),
        filename=_text(filename, "filename", 200, required=True),
        content_type=_content_type(filename, upload.mimetype),
        size=incoming.size,
        sha256=incoming.sha256,
        created_at=datetime.now(UTC),
        replica=services().config.replica,
    )
    # The file first, the row after: a row never points to bytes that are not there.
    services().store.keep(incoming, video.id)
    try:
        stored = services().write_pool.run(lambda cursor: queries.add_video(cursor, video), idempotent=True)
    except (Unavailable, psycopg2.Error) as error:
        if isinstance(error, Unavailable) and error.outcome_unknown:
            log.error("video %s: commit unknown, its file is kept: %s", video.id, error)
        else:
            services().store.path(video.id).unlink(missing_ok=True)
        raise
    if _wants_page():
        return _back_to_page("video")
    body = jsonify(stored.as_json())
    body.status_code = 201
    body.headers["Location"] = f"/videos/{video.id}"
    return body


@site.get("/videos")
def list_videos() -> Response:
    limit = _number("limit", 100, least=1, most=1000)
    server, videos = services().read_pool.run(
        lambda cursor: (queries.server(cursor), queries.last_videos(cursor, limit)),
        idempotent=True,
    )
    return _answered_by(server, videos=[video.as_json() for video in videos])


@site.get("/videos/<uuid:video_id>")
def show_video(video_id: uuid.UUID) -> Response:
    return jsonify(_find_video(str(video_id)).as_json())


@site.get("/videos/<uuid:video_id>/file")
def video_file(video_id: uuid.UUID) -> Response:
    video = _find_video(str(video_id))
    inline = _is_media(video.content_type)
    content_type = video.content_type if inline else "application/octet-stream"
    prefix = services().config.accel_prefix
    if prefix:
        response = Response(status=200, mimetype=content_type)
        response.headers["X-Accel-Redirect"] = f"{prefix}videos/{video.id}"
    else:
        path = services().store.path(video.id)
        response = send_file(path, mimetype=content_type, conditional=True, etag=video.sha256)
    response.headers["Content-Disposition"] = (
        f"{'inline' if inline else 'attachment'}; filename*=UTF-8''{quote(video.filename, safe='')}"
    )
    response.headers["Cache-Control"] = "private, max-age=86400, immutable"
    return response


def _find_video(video_id: str) -> Video:
    """From a standby; from the primary if the row isn't there yet (just uploaded)."""

    def work(cursor: Any) -> Video | None:
        return queries.video(cursor, video_id)

    found = services().read_pool.run(work, idempotent=True)
    if found is None:
        found = services().write_pool.run(work, idempotent=True)
    if found is None:
        raise Problem(404, "no_such_video", f"no video has the id {video_id}")
    return found


# --- the page -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Overview:
    server: Server
    videos: list[Video]
    sessions: list[Session]
    week: list[tuple[date, int]]


def _overview(cursor: Any) -> _Overview:
    return _Overview(
        server=queries.server(cursor),
        videos=queries.last_videos(cursor, _PAGE_VIDEOS),
        sessions=queries.last_sessions(cursor, _PAGE_SESSIONS),
        week=queries.week(cursor),
    )


@site.get("/")
def page() -> Response:
    overview: _Overview | None = None
    # For ten seconds after their own write, people read from the primary: a standby may not
    # have it yet. If no primary answers, what a standby has is better than nothing.
    if "fresh" in request.cookies:
        try:
            overview = services().write_pool.run(_overview, idempotent=True, within=1.5)
        except (Unavailable, psycopg2.Error):
            log.warning("no primary for a fresh page; a standby answers")
    try:
        overview = overview or services().read_pool.run(_overview, idempotent=True, within=5)
    except (Unavailable, psycopg2.Error) as error:
        log.error("the page has no database: %s", _reason(error))
    response = make_response(
        render_template(
            "index.html",
            overview=overview,
            config=services().config,
            session_key=secrets.token_urlsafe(16),
            done=request.args.get("fait", ""),
        )
    )
    response.status_code = 200 if overview else 503
    return response


@site.app_template_filter("quand")
def french_time(moment: datetime) -> str:
    utc = moment.astimezone(UTC)
    return f"{utc.day} {_MONTHS[utc.month - 1]} {utc.year}, {utc:%H:%M} UTC"


@site.app_template_filter("jour")
def french_day(day: date) -> str:
    return _DAYS[day.weekday()]


@site.app_template_filter("taille")
def french_size(size: int) -> str:
    if size < 1000_000:
        return f"{max(1, round(size / 1000))} ko"
    if size < 1000_000_000:
        return f"{size / 1000_000:.1f} Mo".replace(".", ",")
    return f"{size / 1000_000_000:.2f} Go".replace(".", ",")


@site.app_template_filter("genre")
def media_kind(video: Video) -> str:
    return video.content_type.split("/")[0] if _is_media(video.content_type) else "fichier"


# --- every request --------------------------------------------------------------------------


@site.before_app_request
def refuse_foreign_pages() -> None:
    """A page of another site must not post in the name of the person who reads it."""
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return
    fetch_site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    if fetch_site is not None:
        foreign = fetch_site not in ("same-origin", "none")
    else:
        foreign = origin is not None and urlsplit(origin).netloc != request.host
    if foreign:
        raise Problem(403, "foreign_page", "the request comes from a page of another site")


@site.after_app_request
def add_headers(response: Response) -> Response:
    headers = response.headers
    headers["X-Replica"] = services().config.replica
    headers["X-Content-Type-Options"] = "nosniff"
    headers["X-Frame-Options"] = "DENY"
    headers["Referrer-Policy"] = "same-origin"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers["Content-Security-Policy"] = (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    if "Cache-Control" not in headers:
        headers["Cache-Control"] = "no-store"
    return response


@site.teardown_app_request
def discard_uploads(error: BaseException | None) -> None:
    for incoming in getattr(request, "incoming", ()):
        incoming.discard()


@site.app_errorhandler(Problem)
def on_problem(problem: Problem) -> Response:
    return _failure(problem.status, problem.code, problem.message)


@site.app_errorhandler(Unavailable)
@site.app_errorhandler(psycopg2.Error)
def on_database_error(error: Exception) -> Response:
    log.error("%s %s: %s", request.method, request.path, _reason(error))
    message = "the database can't do this now; the same request may be sent again"
    response = _failure(503, "database_unavailable", message)
    response.headers["Retry-After"] = "1"
    return response


@site.app_errorhandler(OSError)
def on_storage_error(error: OSError) -> Response:
    log.error("%s %s: %s", request.method, request.path, error)
    return _failure(503, "storage_unavailable", "the media store can't do this now")


@site.app_errorhandler(HTTPException)
def on_http_error(error: HTTPException) -> Response:
    return _failure(
        error.code or 500,
        error.name.lower().replace(" ", "_"),
        error.description or error.name,
    )


# --- helpers --------------------------------------------------------------------------------


def _text(value: object, name: str, most: int, *, required: bool = False) -> str:
    """`value` as text that PostgreSQL can hold, or a Problem that says what was expected."""
    if not isinstance(value, str):
        if value is None and required:
            raise Problem(400, f"{name}_required", f"'{name}' is missing")
        raise Problem(400, f"{name}_invalid", f"'{name}' must be text")
    if required and not value.strip():
        raise Problem(400, f"{name}_required", f"'{name}' is empty")
    if len(value) > most:
        message = f"'{name}' has {len(value)} characters; at most {most} are accepted"
        raise Problem(400, f"{name}_too_long", message)
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise Problem(400, f"{name}_invalid", f"'{name}' holds a character that is no text")
    return value


def _number(name: str, default: int, *, least: int, most: int = 2**63 - 1) -> int:
    text = request.args.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and least <= int(text) <= most):
        message = f"'{name}' is {text!r}; expected a whole number from {least} to {most}"
        raise Problem(400, f"{name}_invalid", message)
    return int(text)


def _content_type(filename: str, declared: str) -> str:
    suffix = PurePath(filename).suffix.lower()
    guessed = _TYPES.get(suffix) or mimetypes.guess_type(filename, strict=True)[0]
    if guessed is None and declared.isascii() and _is_media(declared):
        guessed = declared[:100]
    return guessed or "application/octet-stream"


def _is_media(content_type: str) -> bool:
    """Whether a browser may show it: nothing that can carry a script."""
    kind, _, subtype = content_type.partition("/")
    return kind in ("video", "audio", "image") and not subtype.startswith("svg")


def _answered_by(server: Server, **content: Any) -> Response:
    body = jsonify(
        **content,
        server={"name": server.name, "address": server.address, "standby": server.standby},
    )
    body.headers["X-Database-Server"] = str(server)
    return body


def _wants_page() -> bool:
    best = request.accept_mimetypes.best_match(["application/json", "text/html"])
    return best == "text/html"


def _back_to_page(done: str) -> Response:
    response = make_response(redirect(f"/?fait={done}", 303))
    response.set_cookie("fresh", "1", max_age=10, httponly=True, samesite="Lax", secure=request.is_secure)
    return response


def _failure(status: int, code: str, message: str) -> Response:
    if _wants_page():
        response = make_response(render_template("error.html", status=status, code=code, config=services().config))
    else:
        response = jsonify(error=code, message=message)
    response.status_code = status
    return response


def _reason(error: Exception) -> str:
    return redact(str(error), services().config.write_url).strip()
