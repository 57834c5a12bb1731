# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API and the page."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def media(app: Flask) -> Path:
    return Path(app.extensions["renfo"].config.media_dir)


def stored(app: Flask) -> list[Path]:
    return [path for path in media(app).rglob("*") if path.is_file()]


def upload(app: Flask, data: bytes, name: str = "gainage.mp4", title: str = "Gainage", **kwargs: Any) -> TestResponse:
    form = {"title": title, "file": (io.BytesIO(data), name)}
    return app.test_client().post("/videos", data=form, **kwargs)


# --- health ---


def test_healthz_needs_neither_database_nor_store(make_app: Callable[..., Flask]) -> None:
    app = make_app("postgresql://nobody@127.0.0.1:1/none", APP_MEDIA_DIR="/nonexistent/media")
    assert app.test_client().get("/healthz").status_code == 200


def test_whoami(app: Flask) -> None:
    answer = app.test_client().get("/whoami")
    assert answer.json == {"replica": "app1-1", "host": "app1", "version": "test"}


def test_readyz_says_what_answered(app: Flask) -> None:
    answer = app.test_client().get("/readyz")
    assert answer.status_code == 200
    assert answer.json["ready"] is True
    assert answer.json["checks"]["database"]["detail"] == "pg1 (primary)"
    assert answer.json["checks"]["storage"]["ok"] is True
    assert stored(app) == []


def test_readyz_names_a_missing_store(app: Flask) -> None:
    media(app).rename(media(app).with_name("elsewhere"))
    answer = app.test_client().get("/readyz")
    assert answer.status_code == 503
    assert answer.json["checks"]["database"]["ok"] is True
    assert answer.json["checks"]["storage"]["ok"] is False
    assert "No such file" in answer.json["checks"]["storage"]["detail"]


def test_readyz_refuses_a_store_that_is_not_mounted(make_app: Callable[..., Flask], app: Flask) -> None:
    write = app.extensions["renfo"].config.write_url
    strict = make_app(write, APP_MEDIA_REQUIRE_MOUNT="1")
    answer = strict.test_client().get("/readyz")
    assert answer.status_code == 503
    assert "nothing is mounted" in answer.json["checks"]["storage"]["detail"]
    assert upload(strict, b"x").status_code == 503
    assert stored(strict) == []


def test_readyz_bounds_a_hung_store(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    checks = []
    services = app.extensions["renfo"]

    def hang(probe: str) -> str:
        checks.append(probe)
        release.wait(10)
        return "late"

    monkeypatch.setattr(services.store, "check", hang)
    monkeypatch.setattr(services.storage_check, "_bound", 0.3)
    for _ in range(2):
        answer = app.test_client().get("/readyz")
        assert answer.status_code == 503
        assert answer.json["checks"]["storage"]["detail"] == "no answer within 0.3 s"
    assert len(checks) == 1, "a check that hangs must not be started again"
    release.set()


def test_readyz_without_a_database_hides_the_password(make_app: Callable[..., Flask]) -> None:
    app = make_app("postgresql://app:hunter2@127.0.0.1:1/none?connect_timeout=2")
    answer = app.test_client().get("/readyz")
    assert answer.status_code == 503
    assert answer.json["checks"]["database"]["ok"] is False
    assert answer.json["checks"]["database"]["detail"]
    assert b"hunter2" not in answer.data


# --- sessions ---


@pytest.mark.parametrize("how", ["json", "data"])
def test_the_same_key_twice_is_one_row(app: Flask, how: str) -> None:
    client = app.test_client()
    key = str(uuid.uuid4())
    first = client.post("/sessions", **{how: {"key": key, "note": "squats"}})
    second = client.post("/sessions", **{how: {"key": key, "note": "again"}})
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json == second.json
    assert first.json["note"] == "squats"
    assert first.json["replica"] == "app1-1"
    listed = client.get("/sessions?consistent=1&limit=1000").json["sessions"]
    assert [row["id"] for row in listed if row["key"] == key] == [first.json["id"]]


def test_the_same_key_at_the_same_time_is_one_row(app: Flask) -> None:
    key = str(uuid.uuid4())
    answers: list[TestResponse] = []
    threads = [
        threading.Thread(target=lambda: answers.append(app.test_client().post("/sessions", json={"key": key})))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json["id"] for answer in answers}) == 1


def test_sessions_are_read_in_order_after_an_id(app: Flask) -> None:
    client = app.test_client()
    ids = [client.post("/sessions", json={"key": str(uuid.uuid4())}).json["id"] for _ in range(3)]
    answer = client.get(f"/sessions?after={ids[0]}&limit=2")
    assert [row["id"] for row in answer.json["sessions"]] == ids[1:]
    assert answer.json["server"]["name"] == "pg1"
    assert answer.headers["X-Database-Server"] == "pg1 (primary)"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "key_required"),
        ({"key": "  "}, "key_required"),
        ({"key": 7}, "key_invalid"),
        ({"key": "k" * 201}, "key_too_long"),
        ({"key": "a\0b"}, "key_invalid"),
        ({"key": "\ud800"}, "key_invalid"),
        ({"key": "k", "note": "n" * 2001}, "note_too_long"),
        (["key"], "not_an_object"),
    ],
)
def test_a_bad_session_is_refused(app: Flask, body: object, code: str) -> None:
    answer = app.test_client().post("/sessions", json=body)
    assert answer.status_code == 400
    assert answer.json["error"] == code
    assert answer.json["message"]


@pytest.mark.parametrize("query", ["after=-1", "after=x", "limit=0", "limit=1001", "after=" + "9" * 30])
def test_a_bad_range_is_refused(app: Flask, query: str) -> None:
    answer = app.test_client().get(f"/sessions?{query}")
    assert answer.status_code == 400
    assert "expected a whole number" in answer.json["message"]


def test_broken_json_is_refused_in_json(app: Flask) -> None:
    answer = app.test_client().post("/sessions", data="{", content_type="application/json")
    assert (answer.status_code, answer.json["error"]) == (400, "bad_request")


def test_a_file_where_none_is_expected_is_refused(app: Flask) -> None:
    form = {"key": "k", "file": (io.BytesIO(b"x"), "x.mp4")}
    assert app.test_client().post("/sessions", data=form).status_code == 400
    large = app.test_client().post("/sessions", data={"key": "k", "note": "n" * 100_000})
    assert large.status_code == 413
    assert stored(app) == []


# --- videos ---


def test_an_upload_is_on_disk_before_it_has_its_name(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    real_fsync, real_rename = os.fsync, os.rename

    def fsync(fd: int) -> None:
        calls.append("directory" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file")
        real_fsync(fd)

    def rename(source: Path, target: Path) -> None:
        calls.append("rename")
        real_rename(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    data = os.urandom(300_000)
    answer = upload(app, data, title="Gainage <niveau 1>")
    assert answer.status_code == 201
    assert calls == ["file", "rename", "directory"]
    assert answer.json["sha256"] == hashlib.sha256(data).hexdigest()
    assert answer.json["size"] == len(data)
    assert answer.json["title"] == "Gainage <niveau 1>"
    assert answer.json["url"] == f"/videos/{answer.json['id']}/file"
    (path,) = stored(app)
    assert path == media(app) / "videos" / answer.json["id"]
    assert path.read_bytes() == data
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    for directory in ("videos", ".incoming"):
        assert stat.S_IMODE((media(app) / directory).stat().st_mode) == 0o2770
    assert app.test_client().get(f"/videos/{answer.json['id']}").json == answer.json
    listed = app.test_client().get("/videos").json["videos"]
    assert listed[0] == answer.json


def test_the_web_server_sends_the_file(app: Flask) -> None:
    video = upload(app, b"moov").json
    for method in ("get", "head"):
        answer = getattr(app.test_client(), method)(video["url"])
        assert answer.status_code == 200
        assert answer.headers["X-Accel-Redirect"] == f"/_media/videos/{video['id']}"
        assert answer.headers["Content-Type"] == "video/mp4"
        assert answer.data == b""


@pytest.mark.parametrize(
    ("name", "kind", "how"),
    [
        ("a.webm", "video/webm", "inline"),
        ("a.mp3", "audio/mpeg", "inline"),
        ("a.svg", "application/octet-stream", "attachment"),
        ("a.html", "application/octet-stream", "attachment"),
        ('é "x".mp4', "video/mp4", "inline"),
    ],
)
def test_only_media_is_shown(app: Flask, name: str, kind: str, how: str) -> None:
    answer = app.test_client().get(upload(app, b"<script>", name=name).json["url"])
    assert answer.headers["Content-Type"] == kind
    assert answer.headers["Content-Disposition"].startswith(f"{how}; ")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_without_a_web_server_ranges_work_too(make_app: Callable[..., Flask], app: Flask) -> None:
    plain = make_app(app.extensions["renfo"].config.write_url, APP_ACCEL_PREFIX="")
    data = bytes(range(256)) * 40
    link = upload(plain, data).json["url"]
    whole = plain.test_client().get(link)
    assert (whole.status_code, whole.data) == (200, data)
    assert whole.headers["Content-Type"] == "video/mp4"
    part = plain.test_client().get(link, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.data) == (206, data[100:200])
    assert part.headers["Content-Range"] == f"bytes 100-199/{len(data)}"
    beyond = plain.test_client().get(link, headers={"Range": "bytes=99999-"})
    assert beyond.status_code == 416


@pytest.mark.parametrize("tail", ["", "/file"])
def test_an_unknown_video_is_not_found(app: Flask, tail: str) -> None:
    answer = app.test_client().get(f"/videos/{uuid.uuid4()}{tail}")
    assert (answer.status_code, answer.json["error"]) == (404, "no_such_video")
    assert app.test_client().get(f"/videos/1{tail}").status_code == 404


def test_an_upload_cut_half_way_leaves_nothing(app: Flask) -> None:
    boundary = b"----x"
    body = b"".join(
        [
            b"--" + boundary + b"\r\n",
            b'Content-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n',
            b"0123456789" * 50_000,
        ]
    )
    seen: list[int] = []

    class Cut(io.BytesIO):
        """A client that goes away half way."""

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            if not data:
                seen.append(len(stored(app)))
            return data

        def readinto(self, buffer: Any) -> int:
            data = self.read(len(buffer))
            buffer[: len(data)] = data
            return len(data)

    answer = app.test_client().post(
        "/videos",
        input_stream=Cut(body),
        content_type=f"multipart/form-data; boundary={boundary.decode()}",
        environ_overrides={"CONTENT_LENGTH": str(2 * len(body))},
    )
    assert answer.status_code == 400, answer.text
    assert seen == [1], "the file must be on its way in the store, not in /tmp"
    assert stored(app) == []


def test_bad_uploads_are_refused_and_leave_nothing(make_app: Callable[..., Flask], app: Flask) -> None:
    client = app.test_client()
    assert client.post("/videos", data={"title": "t"}).json["error"] == "file_required"
    assert upload(app, b"").json["error"] == "file_empty"
    assert upload(app, b"x", title="t" * 201).json["error"] == "title_too_long"
    two = {"file": (io.BytesIO(b"x"), "a.mp4"), "other": (io.BytesIO(b"y"), "b.mp4")}
    assert client.post("/videos", data=two).status_code == 400
    small = make_app(app.extensions["renfo"].config.write_url, APP_MAX_UPLOAD_BYTES="1000")
    assert upload(small, b"x" * 1000).status_code == 201
    assert upload(small, b"x" * 1001).status_code == 413
    assert upload(small, b"x" * 200_000).status_code == 413
    assert len(stored(app)) == 1


def test_no_row_no_file(make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app("postgresql://app@127.0.0.1:1/none")
    run = app.extensions["renfo"].write_pool.run
    monkeypatch.setattr(app.extensions["renfo"].write_pool, "run", lambda work, **kw: run(work, within=0.2))
    assert upload(app, b"x").status_code == 503
    assert stored(app) == []


# --- the page ---


def test_the_page_shows_what_is_there_escaped(app: Flask) -> None:
    client = app.test_client()
    attack = '"><script>alert(1)</script>'
    video = upload(app, b"x", title=attack).json
    client.post("/sessions", json={"key": str(uuid.uuid4()), "note": attack})
    answer = client.get("/", headers=BROWSER)
    assert answer.status_code == 200
    assert "<script>alert" not in answer.text
    assert answer.text.count("&lt;script&gt;alert(1)") >= 2
    assert video["url"] in answer.text
    assert "app1-1" in answer.text
    assert "pg1" in answer.text
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "http://" not in answer.text.replace("http://www.w3.org", "")
    assert "https://" not in answer.text


def test_the_forms_work_without_scripts(app: Flask) -> None:
    client = app.test_client()
    key = str(uuid.uuid4())
    note = f"pompes {key}"
    answer = client.post("/sessions", data={"key": key, "note": note}, headers=BROWSER)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/?fait=seance")
    shown = client.get("/", headers=BROWSER)
    assert note in shown.text
    answer = upload(app, b"x", headers=BROWSER)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/?fait=video")
    answer = client.post("/sessions", data={}, headers=BROWSER)
    assert answer.status_code == 400
    assert "Petit contretemps" in answer.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 201),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://behind.proxy:8443"}, 201),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://localhost"}, 201),
        ({"Origin": "https://elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_pages_of_other_sites_cannot_post(app: Flask, headers: dict[str, str], status: int) -> None:
    answer = app.test_client().post("/sessions", data={"key": str(uuid.uuid4())}, headers=headers)
    assert answer.status_code == status


def test_without_a_database_the_page_says_so(make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app("postgresql://app@127.0.0.1:1/none")
    run = app.extensions["renfo"].read_pool.run
    monkeypatch.setattr(app.extensions["renfo"].read_pool, "run", lambda work, **kw: run(work, within=0.2))
    answer = app.test_client().get("/", headers=BROWSER)
    assert answer.status_code == 503
    assert "momentanément inaccessibles" in answer.text
