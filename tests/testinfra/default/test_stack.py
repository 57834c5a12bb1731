"""The converged stack, asked from outside: what a user, a browser and an operator would see."""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.support.lab import Lab, same


def eventually(ask: Callable[[], Any], seconds: float = 10) -> Any:
    """The first true answer of *ask* within *seconds*; the last one otherwise."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return answer


#: Connects to an address, waits until it takes no other connection, and only then asks.
PATIENT = """
import pathlib, socket, sys, time
address = (sys.argv[1], int(sys.argv[2]))
connection = socket.create_connection(address, timeout=10)
pathlib.Path("/run/patient").touch()
deadline = time.monotonic() + 10
while time.monotonic() < deadline:
    try:
        socket.create_connection(address, timeout=1).close()
    except ConnectionRefusedError:
        break
    time.sleep(0.1)
else:
    sys.exit("it takes new connections")
connection.sendall(b"GET /healthz HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
print(connection.makefile("rb").readline().decode())
"""


def test_three_distinct_replicas_answer_through_the_virtual_address(lab: Lab) -> None:
    replicas = {lab.request("GET", "/whoami").json()["replica"] for _ in range(30)}
    assert replicas == {f"{host}-1" for host in lab.app_hosts}


def test_the_page_is_served_on_the_published_port(lab: Lab) -> None:
    page = requests.get(f"https://127.0.0.1:{lab.https_port}/", verify=False, timeout=10)
    assert page.status_code == 200
    assert "Renfo Pas à Pas" in page.text


def test_plain_http_is_sent_to_https_where_browsers_find_it(lab: Lab) -> None:
    answer = requests.get(f"http://127.0.0.1:{lab.http_port}/sessions?after=3", allow_redirects=False, timeout=10)
    assert answer.status_code == 308
    assert answer.headers["Location"] == f"https://127.0.0.1:{lab.https_port}/sessions?after=3"


def test_the_certificate_is_good_for_the_site_under_the_ca(lab: Lab) -> None:
    ca = lab.directory.parents[2] / f"inventories/lab/.secrets/{lab.name}/tls/ca.crt"
    assert requests.get(f"https://{lab.vip}/healthz", verify=str(ca), timeout=10).status_code == 200


def test_one_load_balancer_holds_the_virtual_address(lab: Lab) -> None:
    holders = [name for name in lab.lb_hosts if lab.vip in lab.run(name, "ip -o address show")]
    assert len(holders) == 1


def test_a_row_written_is_read_from_both_standbys(lab: Lab) -> None:
    written = lab.write_session("read me everywhere")
    for standby in lab.groups["pg_replica"]:
        query = f"SELECT note FROM sessions WHERE id = {written['id']}"
        assert eventually(lambda name=standby, query=query: lab.sql(name, query)) == "read me everywhere"
        assert lab.sql(standby, "SELECT pg_is_in_recovery()") == "t"


def test_the_same_key_twice_is_one_row(lab: Lab) -> None:
    first = lab.request("POST", "/sessions", json={"key": "the-same", "note": "a"}).json()
    second = lab.request("POST", "/sessions", json={"key": "the-same", "note": "a"}).json()
    assert first["id"] == second["id"]
    assert lab.sql("pg1", "SELECT count(*) FROM sessions WHERE key = 'the-same'") == "1"


def test_reads_are_spread_over_the_standbys(lab: Lab) -> None:
    servers = {lab.request("GET", "/sessions").json()["server"]["name"] for _ in range(30)}
    assert servers == set(lab.groups["pg_replica"])
    assert lab.request("GET", "/sessions?consistent=1").json()["server"]["name"] == "pg1"


def test_that_a_video_is_out_of_reach_is_not_remembered(lab: Lab) -> None:
    """Its file may be kept for a day; that the store didn't give it must not be."""
    files = {"file": ("gone.mp4", b"gone", "video/mp4")}
    path = f"/videos/{lab.request('POST', '/videos', files=files, data={'title': 'Gone'}).json()['id']}/file"
    there = lab.request("GET", path)
    assert (there.status_code, there.headers["Cache-Control"]) == (200, "private, max-age=86400, immutable")
    host = lab.app_hosts[0]
    stored = lab.replica(host, path).headers["X-Accel-Redirect"].removeprefix("/_media/")
    lab.run(host, f"mv /srv/media/{stored} /srv/media/{stored}.away")
    try:
        # What a mount knows of a name it believes for a second.
        deadline = time.monotonic() + 10
        while (gone := lab.request("GET", path)).status_code == 200 and time.monotonic() < deadline:
            time.sleep(0.2)
    finally:
        lab.run(host, f"mv /srv/media/{stored}.away /srv/media/{stored}")
    assert gone.status_code == 404
    assert "no-store" in gone.headers["Cache-Control"]


def test_a_video_uploaded_through_one_replica_is_the_same_through_all(lab: Lab) -> None:
    content = os.urandom(5_000_000)
    answer = lab.request(
        "POST", "/videos", files={"file": ("squats.mp4", content, "video/mp4")}, data={"title": "Squats"}
    )
    assert answer.status_code == 201, answer.text
    video = answer.json()
    wanted = hashlib.sha256(content).hexdigest()
    assert video["sha256"] == wanted

    for balancer in lab.lb_hosts:
        read = lab.request("GET", f"/videos/{video['id']}/file", at=balancer)
        assert hashlib.sha256(read.content).hexdigest() == wanted, f"through {balancer}"
        # Every answer of the application names its replica; this one came from NGINX and the store.
        assert "X-Replica" not in read.headers
    part = lab.request("GET", f"/videos/{video['id']}/file", headers={"Range": "bytes=1000000-1000999"})
    assert (part.status_code, part.content) == (206, content[1_000_000:1_001_000])

    for host in lab.app_hosts:
        answer = lab.replica(host, f"/videos/{video['id']}/file")
        path = "/srv/media/" + answer.headers["X-Accel-Redirect"].removeprefix("/_media/")
        assert lab.run(host, f"sha256sum {path}").split()[0] == wanted, f"through {host}"
        brick = path.replace("/srv/media", "/srv/gluster/media/brick")
        assert lab.run(host, f"sha256sum {brick}").split()[0] == wanted, f"on the brick of {host}"


def test_the_store_has_one_owner_and_mode_on_every_host(lab: Lab) -> None:
    seen = [lab.run(host, "stat -c '%u:%g %a %U:%G' /srv/media") for host in [*lab.app_hosts, *lab.lb_hosts]]
    assert same(seen), seen
    assert seen[0] == "2990:2990 2770 media:media"


def test_nobody_can_write_below_a_store_that_is_not_mounted(lab: Lab) -> None:
    # The folder below the mount is root's: seen through a bind mount of the root file system.
    below = lab.run(
        "lb1",
        "mkdir -p /run/below && mount --bind / /run/below && stat -c '%U %a' /run/below/srv/media; umount /run/below",
    )
    assert below == "root 755"


def test_every_connection_to_postgresql_is_tls(lab: Lab) -> None:
    lab.write_session()
    plain = (
        "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE client_addr IS NOT NULL AND NOT ssl"
    )
    for name in lab.pg_hosts:
        assert lab.sql(name, plain) == "0", name
    standbys = "SELECT application_name FROM pg_stat_ssl JOIN pg_stat_replication USING (pid) WHERE ssl AND version >= 'TLSv1.2'"
    assert set(lab.sql("pg1", standbys).splitlines()) == set(lab.groups["pg_replica"])
    app = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'renfo' AND ssl"
    assert int(lab.sql("pg1", app)) > 0


@pytest.mark.parametrize("sslmode", ["disable", "allow"])
def test_postgresql_refuses_plain_text(lab: Lab, sslmode: str) -> None:
    url = f"host={lab.addresses['pg1']} dbname=renfo user=renfo sslmode={sslmode}"
    command = (
        f'sh -c \'. /etc/app/1.env; export PGPASSWORD; python3 -c "import psycopg2; psycopg2.connect(\\"{url}\\")"\''
    )
    result = lab.host("app1").run(command)
    if sslmode == "disable":
        assert result.rc != 0
        assert "no encryption" in result.stderr
    else:
        # libpq may begin in plain text, but only TLS gets in.
        assert result.rc == 0, result.stderr


def test_a_host_without_a_line_of_its_own_is_refused(lab: Lab) -> None:
    # The firewall lets a member in, whom pg_hba.conf knows by another name only.
    probe = (
        "import socket, ssl, struct; "
        f"s = socket.create_connection(('{lab.addresses['pg1']}', 5432)); "
        "s.sendall(struct.pack('!ii', 8, 80877103)); s.recv(1); "
        "t = ssl._create_unverified_context().wrap_socket(s); "
        "b = b'user\\0renfo\\0database\\0renfo\\0\\0'; "
        "t.sendall(struct.pack('!ii', len(b) + 8, 196608) + b); print(t.recv(400))"
    )
    assert "no pg_hba.conf entry" in lab.run("pg2", f'python3 -c "{probe}"')


def test_a_commit_waits_for_a_standby(lab: Lab) -> None:
    assert lab.sql("pg1", "SHOW synchronous_standby_names") == 'ANY 1 ("pg2", "pg3")'
    states = lab.sql("pg1", "SELECT DISTINCT state || ' ' || sync_state FROM pg_stat_replication")
    assert states == "streaming quorum"


def test_a_standby_would_be_synchronous_from_its_first_commit(lab: Lab) -> None:
    assert lab.sql("pg2", "SHOW synchronous_standby_names") == 'ANY 1 ("pg1", "pg3")'


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("data_checksums", "on"),
        ("password_encryption", "scram-sha-256"),
        ("max_slot_wal_keep_size", "8GB"),
        ("shared_buffers", "128MB"),
        ("ssl_min_protocol_version", "TLSv1.2"),
    ],
)
def test_the_settings_are_in_force(lab: Lab, setting: str, value: str) -> None:
    assert {lab.sql(name, f"SHOW {setting}") for name in lab.pg_hosts} == {value}


def test_each_standby_has_its_slot(lab: Lab) -> None:
    slots = lab.sql("pg1", "SELECT slot_name FROM pg_replication_slots WHERE active AND wal_status = 'reserved'")
    assert set(slots.splitlines()) == {"pg2", "pg3"}


def test_debian_does_not_restart_postgresql_by_itself(lab: Lab) -> None:
    dump = lab.run("pg1", "apt-config dump Unattended-Upgrade::Package-Blacklist")
    assert "postgresql-[0-9]+$" in dump


def test_the_application_is_nobody_special(lab: Lab) -> None:
    shown = lab.run("app1", "systemctl show app@1 --property=User,NoNewPrivileges,ProtectSystem").splitlines()
    assert sorted(shown) == ["NoNewPrivileges=yes", "ProtectSystem=full", "User=app"]
    assert lab.run("app1", "stat -c '%U %a' /etc/app/1.env") == "root 600"


def test_a_copy_that_stops_answers_whom_it_has_and_refuses_the_next(lab: Lab) -> None:
    balancer = lab.lb_hosts[0]
    lab.run(balancer, "rm -f /run/patient")
    ask = f"python3 - {lab.addresses['app1']} 8000 <<'EOF'\n{PATIENT}\nEOF"
    with concurrent.futures.ThreadPoolExecutor() as pool:
        asked = pool.submit(lab.run, balancer, ask)
        assert eventually(lambda: asked.done() or lab.host(balancer).file("/run/patient").exists)
        lab.run("app1", "systemctl stop --no-block app@1")
        try:
            # Connected before, and asks only now: it would be hung up on if the server had been told to stop.
            assert asked.result(timeout=30).startswith("HTTP/1.1 200")
        finally:
            lab.run("app1", "systemctl start app@1")

    def ready() -> bool:
        try:
            return lab.replica("app1", "/readyz").ok
        except ConnectionError:
            return False

    assert eventually(ready)
    assert "app_1" not in lab.run("app1", "nft list tables")


def test_no_secret_is_in_a_process_list_or_journal(lab: Lab) -> None:
    secrets = lab.directory.parents[2] / f"inventories/lab/.secrets/{lab.name}"
    words = [path.read_text().strip() for path in secrets.iterdir() if path.is_file()]
    assert len(words) >= 2
    for host in lab.addresses:
        everything = lab.run(
            host,
            "ps -eo args; journalctl --no-pager -o cat; cat /var/log/postgresql/*.log /var/log/nginx/*.log 2>/dev/null || true",
        )
        for word in words:
            assert word not in everything, host


def test_what_is_kept_on_the_controller_is_private(lab: Lab) -> None:
    secrets = lab.directory.parents[2] / f"inventories/lab/.secrets/{lab.name}"
    for path in [*secrets.rglob("*.key"), *(path for path in secrets.iterdir() if path.is_file())]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_status_of_nginx_is_for_loopback_only(lab: Lab) -> None:
    assert "Active connections" in lab.run("lb1", "curl -sf http://127.0.0.1:8081/nginx_status")
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://{lab.addresses['lb1']}:8081/nginx_status", timeout=3)


def test_the_status_is_healthy_and_machine_readable(lab: Lab) -> None:
    play = lab.play("status.yml", extra={"status_format": "json"})
    assert play.rc == 0, play.output
    assert '"healthy": true' in play.output
