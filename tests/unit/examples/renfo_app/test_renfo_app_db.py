# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to requests while servers restart, move, freeze and lose their standbys."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest
from flask import Flask
from renfo_app.config import Config, ConfigError
from renfo_app.db import Pool, Unavailable, _Search, redact
from renfo_servers import Server, Servers, url, wait_for
from werkzeug.test import TestResponse


def post(app: Flask, key: str | None = None) -> TestResponse:
    return app.test_client().post("/sessions", json={"key": key or str(uuid.uuid4())})


def in_background(app: Flask, key: str) -> tuple[threading.Thread, list[TestResponse]]:
    answers: list[TestResponse] = []
    thread = threading.Thread(target=lambda: answers.append(post(app, key)))
    thread.start()
    return thread, answers


def test_a_restarted_server_costs_no_request(make_app: Callable[..., Flask], servers: Servers) -> None:
    server = servers.primary()
    app = make_app(url(server))
    assert post(app).status_code == 201
    assert app.test_client().get("/sessions").status_code == 200
    server.stop()
    server.start()
    assert post(app).status_code == 201
    assert app.test_client().get("/sessions").status_code == 200
    server.stop()
    thread, answers = in_background(app, "while it is down")
    time.sleep(0.3)
    server.start()
    thread.join()
    assert answers[0].status_code == 201


def test_reads_go_to_the_standby_and_writes_follow_the_primary(
    make_app: Callable[..., Flask], servers: Servers
) -> None:
    one = servers.primary("pg1")
    two = servers.standby_of(one, "pg2")
    app = make_app(url(one, two), url(one, two, wants="prefer-standby"))
    client = app.test_client()
    assert post(app, "before").status_code == 201
    assert client.get("/sessions").json["server"] == {
        "name": "pg2",
        "address": "127.0.0.1",
        "standby": True,
    }
    consistent = client.get("/sessions?consistent=1").json
    assert (consistent["server"]["name"], consistent["server"]["standby"]) == ("pg1", False)
    wait_for(lambda: client.get("/sessions").json["sessions"])
    one.stop()
    two.promote()
    assert post(app, "after").status_code == 201
    keys = [row["key"] for row in client.get("/sessions?consistent=1").json["sessions"]]
    assert keys == ["before", "after"]


def test_reads_leave_a_server_that_is_no_standby_any_more(servers: Servers) -> None:
    one = servers.primary("pg1")
    two, three = servers.standby_of(one, "pg2"), servers.standby_of(one, "pg3")
    pool = Pool(url(two, three, wants="prefer-standby"), name="r", size=1, read_only=True, max_age_elsewhere=1.0)

    def where(cursor: Any) -> int:
        cursor.execute("SHOW port")
        return int(cursor.fetchone()[0])

    assert pool.run(where) == two.port
    two.promote()
    assert pool.run(where) == two.port  # which tells the pool
    wait_for(lambda: pool.run(where) == three.port, 5)
    pool.close()


def test_a_video_is_served_before_the_standby_knows_it(make_app: Callable[..., Flask], servers: Servers) -> None:
    one = servers.primary("pg1")
    two = servers.standby_of(one, "pg2")
    two.sql("SELECT pg_wal_replay_pause()")
    app = make_app(url(one, two), url(one, two, wants="prefer-standby"))
    video = {"id": str(uuid.uuid4()), "digest": "0" * 64}
    one.sql(
        "INSERT INTO videos (id, title, filename, content_type, size, sha256, replica)"
        " VALUES (%s, 't', 'a.mp4', 'video/mp4', 1, %s, 'app2-1')",
        *video.values(),
    )
    client = app.test_client()
    assert client.get("/videos").json["videos"] == []
    assert client.get(f"/videos/{video['id']}/file").status_code == 200
    # After their own write, people see it on the page, whatever the standby knows.
    note = "vu tout de suite"
    client.post("/sessions", data={"key": "k", "note": note}, headers={"Accept": "text/html"})
    assert note in client.get("/", headers={"Accept": "text/html"}).text
    assert note not in app.test_client().get("/", headers={"Accept": "text/html"}).text


def test_a_server_that_became_read_only_is_left(make_app: Callable[..., Flask], servers: Servers) -> None:
    """The connection is alive, and its server takes no writes: SQLSTATE 25006."""
    one, two = servers.primary("pg1"), servers.primary("pg2")
    app = make_app(url(one, two))
    assert post(app).status_code == 201
    reader = make_app(url(one, two))
    assert reader.test_client().get("/sessions?consistent=1").json["server"]["name"] == "pg1"
    one.sql("ALTER SYSTEM SET default_transaction_read_only = on")
    one.sql("SELECT pg_reload_conf()")
    wait_for(lambda: one.sql("SHOW default_transaction_read_only") == [("on",)])
    assert post(app, "moved").status_code == 201
    assert two.sql("SELECT key FROM sessions") == [("moved",)]
    assert reader.test_client().get("/sessions?consistent=1").json["server"]["name"] == "pg2"


def test_a_frozen_server_is_left(make_app: Callable[..., Flask], servers: Servers) -> None:
    """Its kernel acknowledges every packet: no TCP setting ever notices."""
    one = servers.primary("pg1")
    two = servers.standby_of(one, "pg2")
    app = make_app(url(one, two))
    assert post(app).status_code == 201
    thaw = one.freeze()
    try:
        two.promote()
        began = time.monotonic()
        assert post(app, "moved").status_code == 201
        assert time.monotonic() - began < 7
        assert two.sql("SELECT key FROM sessions WHERE key = 'moved'") == [("moved",)]
    finally:
        thaw()


def test_a_dead_host_does_not_hide_the_new_primary(servers: Servers) -> None:
    """libpq alone would spend two seconds on it, for every connection."""
    one = servers.primary("pg1")
    two, three = servers.standby_of(one, "pg2"), servers.standby_of(one, "pg3")
    pool = Pool(url(one, two, three), name="search", size=4)

    def port(cursor: psycopg2.extensions.cursor) -> int:
        cursor.execute("SELECT inet_server_port()")
        (found,) = cursor.fetchone() or (0,)
        return int(found)

    assert pool.run(port) == one.port
    thaw = one.freeze()
    try:
        with pytest.raises(Unavailable):
            pool.run(port, idempotent=True, within=3.0)
        two.promote()
        began = time.monotonic()
        assert pool.run(port, idempotent=True) == two.port
        assert time.monotonic() - began < 1.5
        # And every other connection, for as long as it takes to bring the host back.
        began = time.monotonic()
        fresh = pool._open(None)
        assert fresh.conn.info.port == two.port
        assert time.monotonic() - began < 1.5
        assert len(threading.enumerate()) < 10
    finally:
        thaw()
        pool.close()


def test_a_commit_that_no_standby_has_is_not_acknowledged(make_app: Callable[..., Flask], servers: Servers) -> None:
    """Cancelled, such a commit "succeeds" with a warning; the retry must wait for a standby."""
    server = servers.primary()
    app = make_app(url(server))
    assert post(app).status_code == 201
    server.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    server.sql("SELECT pg_reload_conf()")
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    wait_for(lambda: server.sql("SHOW synchronous_standby_names") == [("nobody",)])
    thread, answers = in_background(app, "alone")
    wait_for(lambda: server.sql(waiting))
    server.sql(f"SELECT pg_cancel_backend(pid) FROM ({waiting}) AS stuck")
    # The row is there already; a retry that only looked would be content.
    wait_for(lambda: server.sql("SELECT 1 FROM sessions WHERE key = 'alone'"))
    wait_for(lambda: server.sql(waiting))
    assert answers == []
    server.sql("ALTER SYSTEM RESET synchronous_standby_names")
    server.sql("SELECT pg_reload_conf()")
    thread.join()
    assert answers[0].status_code == 201


def test_commits_without_a_standby_end_in_503_and_leave_connections_for_readers(
    make_app: Callable[..., Flask], servers: Servers
) -> None:
    server = servers.primary()
    app = make_app(url(server))
    pool = app.extensions["renfo"].write_pool
    pool._attempt_timeout = 0.6
    server.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    server.sql("SELECT pg_reload_conf()")
    wait_for(lambda: server.sql("SHOW synchronous_standby_names") == [("nobody",)])
    real = pool.run
    pool.run = lambda work, **kwargs: real(work, **{**kwargs, "within": 2.0})
    running = [in_background(app, f"stuck {n}") for n in range(8)]
    time.sleep(1)
    began = time.monotonic()
    assert app.test_client().get("/sessions").status_code == 200
    assert time.monotonic() - began < 0.5
    for thread, _ in running:
        thread.join()
    assert {answers[0].status_code for _, answers in running} == {503}
    assert running[0][1][0].headers["Retry-After"] == "1"
    # Whatever was cut is ended by the next connection: at most the last attempts stay.
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'app1-1-w%'"
    assert server.sql(count)[0][0] <= 8
    server.sql("ALTER SYSTEM RESET synchronous_standby_names")
    server.sql("SELECT pg_reload_conf()")
    assert post(app, "stuck 0").status_code == 201


def test_work_that_must_not_happen_twice_is_not_repeated(shared: Server) -> None:
    pool = Pool(url(shared), name="once", size=1)
    done: list[int] = []

    def work(cursor: object) -> None:
        done.append(1)
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")  # type: ignore[attr-defined]

    with pytest.raises(Unavailable):
        pool.run(work)
    assert done == [1]
    with pytest.raises(Unavailable):
        pool.run(work, idempotent=True, within=0.5)
    assert len(done) > 2
    pool.close()


def test_an_error_of_the_work_passes_and_keeps_the_connection(shared: Server) -> None:
    pool = Pool(url(shared), name="errors", size=1)

    def backend(cursor: object) -> int:
        cursor.execute("SELECT pg_backend_pid()")  # type: ignore[attr-defined]
        return int(cursor.fetchone()[0])  # type: ignore[attr-defined]

    before = pool.run(backend)
    with pytest.raises(psycopg2.errors.DivisionByZero):
        pool.run(lambda cursor: cursor.execute("SELECT 1 / 0"))
    with pytest.raises(KeyError):
        pool.run(lambda cursor: {}["nothing"])
    assert pool.run(backend) == before
    pool.close()


def test_nobody_waits_for_a_connection_for_ever(shared: Server) -> None:
    pool = Pool(url(shared), name="slots", size=1, wait_timeout=0.2)
    busy, release = threading.Event(), threading.Event()

    def hold(cursor: object) -> None:
        busy.set()
        release.wait(5)

    thread = threading.Thread(target=lambda: pool.run(hold))
    thread.start()
    assert busy.wait(5)
    with pytest.raises(Unavailable, match="no free connection"):
        pool.run(lambda cursor: None)
    release.set()
    thread.join()
    pool.run(lambda cursor: None)
    pool.close()


def test_one_thread_looks_for_a_lost_server(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def nobody_there(*_args: object, **_options: object) -> None:
        asked.append(time.monotonic())
        time.sleep(0.02)
        raise psycopg2.OperationalError("connection refused")

    monkeypatch.setattr(psycopg2, "connect", nobody_there)
    pool = Pool("postgresql:///nowhere", name="crowd", size=30)

    def try_to_work() -> None:
        with pytest.raises(Unavailable):
            pool.run(lambda cursor: None, idempotent=True, within=1.0)

    crowd = [threading.Thread(target=try_to_work) for _ in range(30)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    pool.close()
    # The first look of each; from then on one after the other.
    assert len(asked) <= 30 + 12


class Slow:
    """A connection to one of three hosts, and how libpq describes it."""

    closed = 0

    def __init__(self) -> None:
        self.info = SimpleNamespace(dsn_parameters={"host": "a,b,c", "port": "5432"}, host="a", port=5432)
        self._ends = socket.socketpair()

    def fileno(self) -> int:
        return self._ends[0].fileno()


def test_a_slow_server_is_found_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer comes between two looks."""

    def slow(dsn: str) -> Slow:
        time.sleep(0.3)
        if "host=b" in dsn:
            return Slow()
        raise psycopg2.OperationalError("read-only")

    monkeypatch.setattr(psycopg2, "connect", slow)
    search = _Search("dbname=x", Slow())
    with pytest.raises(psycopg2.OperationalError, match="no server has answered yet"):
        search.connect("app", patience=0.1)
    time.sleep(0.4)
    assert isinstance(search.connect("app", patience=0.0), Slow)
    assert search.found == {"host": "b", "port": "5432"}
    assert not search.nowhere


def test_hosts_that_were_added_are_asked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(dsn: str) -> Slow:
        if "host=" in dsn:
            raise psycopg2.OperationalError("read-only")
        return Slow()

    monkeypatch.setattr(psycopg2, "connect", nobody)
    pool = Pool("dbname=x", name="added", size=1)
    first = pool._open(None)
    search = pool._search
    assert first.conn
    assert search
    with pytest.raises(psycopg2.OperationalError):
        pool._open(search)
    assert search.nowhere
    assert pool._search is None
    assert pool._open(pool._search).conn
    pool.close()


def test_passwords_stay_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "s3cret")
    text = "postgresql://app:one@pg1/db password=two password='three 3' s3cret four"
    cleaned = redact(text, "host=pg1 password=four")
    for secret in ("one@", "two", "three", "s3cret", "four"):
        assert secret not in cleaned
    with pytest.raises(ConfigError, match="APP_WRITE_URL is not a valid") as failure:
        Config.from_env({"APP_WRITE_URL": "host=pg1 s3cret", "APP_MEDIA_DIR": "/srv/media"})
    assert "s3cret" not in str(failure.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("APP_WRITE_URL", ""),
        ("APP_MEDIA_DIR", ""),
        ("APP_MAX_UPLOAD_BYTES", "2G"),
        ("APP_THREADS", "0"),
        ("APP_ACCEL_PREFIX", "media"),
    ],
)
def test_a_bad_setting_is_named(name: str, value: str) -> None:
    good = {"APP_WRITE_URL": "postgresql://pg1/db", "APP_MEDIA_DIR": "/srv/media"}
    with pytest.raises(ConfigError, match=name):
        Config.from_env({**good, name: value})
