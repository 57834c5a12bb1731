"""Certificates, the CA and passwords are renewed while a client writes and reads, and it notices nothing."""

from __future__ import annotations

from pathlib import Path

from tests.support.cluster import Cluster
from tests.support.lab import INVENTORY, Lab
from tests.support.writer import Writer

#: Where the controller is killed, one run after the other: members know the new password of replication and the primary
#: doesn't; the first copies of the application use the second login; some certificates are of the new CA.
INTERRUPTED_AT = ["Service | The guard watches", "Run | Every copy runs", "Certificates | Sign them"]


def secrets(lab: Lab) -> Path:
    return INVENTORY / ".secrets" / lab.name


def secret(lab: Lab, name: str) -> str:
    return (secrets(lab) / name).read_text().strip()


def served(lab: Lab) -> dict[str, str]:
    """Serial number and issuer of the certificate that each service shows, asked on its own host."""
    ports = {host: ["443"] for host in lab.lb_hosts} | {
        host: ["5432 -starttls postgres", "8432"] for host in lab.pg_hosts
    }
    return {
        f"{host}:{port}": lab.run(
            host,
            f"openssl s_client -connect {lab.addresses[host]}:{port} </dev/null 2>/dev/null"
            " | openssl x509 -noout -serial -nameopt RFC2253 -issuer",
        )
        for host, asked in (ports | {"ops1": ["8432"]}).items()
        for port in asked
    }


def all_new(before: dict[str, str], after: dict[str, str]) -> None:
    assert set(before) == set(after)
    old = {serial.splitlines()[0] for serial in before.values()}
    assert [name for name, serial in after.items() if serial.splitlines()[0] in old] == []


def client_noticed_nothing(writer: Writer) -> None:
    assert writer.failed_writes() == []
    assert writer.failed_reads() == []
    # Every write was sent on time; none waited for longer than a copy takes to be tried around.
    print(f"longest gap in acknowledged writes: {writer.longest_gap():.2f} s")
    assert writer.longest_gap() < 5
    assert writer.lost() == set()


def refused(lab: Lab, host: str, user: str, database: str, password: str) -> bool:
    """Whether the primary refuses what was this user's password."""
    url = f"host={lab.addresses[Cluster(lab).primary()]} dbname={database} user={user} sslmode=require"
    result = lab.host(host).run(f"PGPASSWORD={password} python3 -c \"import psycopg2; psycopg2.connect('{url}')\"")
    return result.rc != 0 and "password authentication failed" in result.stderr


def works_afterwards(lab: Lab, cluster: Cluster) -> None:
    """Standbys come back with what they know now, and backups and their WAL arrive."""
    lab.sql(cluster.primary(), "SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
    cluster.wait_whole(30)
    lab.run("ops1", "runuser -u postgres -- pgbackrest --stanza=main check")
    assert lab.sql(cluster.primary(), "SELECT count(*) FROM pg_roles WHERE rolname LIKE '%\\_rotation'") == "0"
    assert not [path.name for path in secrets(lab).iterdir() if path.name.startswith("rotation")]


def test_certificates_and_passwords(lab: Lab, cluster: Cluster) -> None:
    lab.wait_healthy()
    before = served(lab)
    database, replication = secret(lab, "site_database_password"), secret(lab, "pg_replication_password")
    passphrase = secret(lab, "site_backup_passphrase")
    with Writer(lab, interval=0.2, keep_alive=False) as writer:
        play = lab.play("rotate.yml", extra={"rotate": "certificates,passwords"})
        assert play.rc == 0, play.output
    client_noticed_nothing(writer)

    after = served(lab)
    all_new(before, after)
    # The same CA.
    assert {one.splitlines()[1] for one in before.values()} == {one.splitlines()[1] for one in after.values()}
    assert secret(lab, "site_backup_passphrase") == passphrase
    assert secret(lab, "site_database_password") != database
    assert refused(lab, "app1", "renfo", "renfo", database)
    assert refused(lab, "pg2", "replication", "postgres", replication)
    works_afterwards(lab, cluster)
    for word in (secret(lab, "site_database_password"), secret(lab, "pg_replication_password"), database, replication):
        assert word not in play.output
    assert "is out of date. Copy it again now." in play.said()


def test_what_would_be_done_and_what_is_refused(lab: Lab, cluster: Cluster) -> None:
    before = sorted((path, path.read_bytes()) for path in secrets(lab).rglob("*") if path.is_file())
    play = lab.play("rotate.yml", extra={"rotate": "keys"})
    assert play.rc != 0
    assert "rotate is keys, expected certificates, ca, passwords or all." in play.said()
    standby = cluster.standbys()[0]
    lab.run(standby, f"systemctl stop {cluster.unit()}")
    try:
        play = lab.play("rotate.yml", extra={"rotate": "all"})
    finally:
        lab.run(standby, f"systemctl start {cluster.unit()}")
    cluster.wait_whole()
    assert play.rc != 0
    assert "Nothing was rotated. The stack is degraded" in play.said(), play.output
    lab.wait_healthy()
    play = lab.play("rotate.yml", "--check", extra={"rotate": "all"})
    assert play.rc == 0, play.output
    assert "all certificates, with new keys, by the new CA" in play.said()
    assert play.changed() == {}
    assert sorted((path, path.read_bytes()) for path in secrets(lab).rglob("*") if path.is_file()) == before


def test_all_of_it_with_a_controller_that_dies(lab: Lab, cluster: Cluster) -> None:
    """Killed in every stage, and site.yml run in between; the last run finishes it."""
    lab.wait_healthy()
    before = served(lab)
    old_ca = (secrets(lab) / "tls/ca.crt").read_text()
    old = secret(lab, "site_database_password")
    with Writer(lab, interval=0.2, keep_alive=False) as writer:
        for step in INTERRUPTED_AT:
            play = lab.start("rotate.yml", extra={"rotate": "all"})
            play.wait_for_task(step)
            play.kill()
        site = lab.play("site.yml")
        assert site.rc == 0, site.output
        assert "a rotation of certificates,ca,passwords is under way (stage renew)" in site.said(), site.output
        # Nobody gives what it is about: it is known.
        last = lab.play("rotate.yml")
        assert last.rc == 0, last.output
    client_noticed_nothing(writer)

    after = served(lab)
    all_new(before, after)
    issuers = {one.splitlines()[1] for one in after.values()}
    assert len(issuers) == 1
    assert issuers.isdisjoint({one.splitlines()[1] for one in before.values()})
    # The old CA is trusted nowhere.
    middle = old_ca.splitlines()[1]
    trust = {
        "/etc/app/ca.crt": lab.app_hosts,
        "/etc/postgresql/*/main/tls/ca.crt": lab.pg_hosts,
        "/etc/pgbackrest/tls/ca.crt": [*lab.pg_hosts, "ops1"],
    }
    for file, host in ((file, host) for file, hosts in trust.items() for host in hosts):
        there = lab.run(host, f"cat {file}")
        assert "BEGIN CERTIFICATE" in there, host
        assert middle not in there, host
    assert refused(lab, "app1", "renfo", "renfo", old)
    works_afterwards(lab, cluster)
    again = lab.play("site.yml")
    assert again.rc == 0, again.output
    assert again.changed() == {}
