"""Backups go on whatever happens to the members, and the database comes back from them as it was."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.cluster import Cluster, wait
from tests.support.lab import INVENTORY, Lab
from tests.support.rounds import rounds_only

SITE = "renfo.example"


def archived(lab: Lab) -> str:
    """The last file of WAL in the repository, its timeline first."""
    return lab.catalogue()["archive"][-1]["max"]


def now(lab: Lab, host: str) -> datetime:
    """The time on a host, with microseconds."""
    return datetime.fromtimestamp(float(lab.run(host, "date +%s.%N")), UTC)


def old_directories(lab: Lab, host: str) -> list[str]:
    return lab.run(host, "ls -d /var/lib/postgresql/*/main.* 2>/dev/null; true").split()


@pytest.fixture(scope="module", autouse=True)
def backed_up(lab: Lab) -> Iterator[None]:
    """There is a backup: site.yml began one."""
    wait(lambda: bool(lab.catalogue()["backup"]), 120, lambda: str(lab.catalogue()))
    yield
    for host in lab.pg_hosts:
        for path in old_directories(lab, host):
            lab.run(host, f"rm -r {path}")


@pytest.fixture
def host_off(lab: Lab, cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    host = request.param
    cluster.power_off(host)
    yield host
    cluster.power_on(host)
    cluster.wait_up(host)


def test_the_first_backup_came_from_a_standby(lab: Lab, cluster: Cluster) -> None:
    status = lab.play("status.yml")
    assert status.rc == 0, status.output
    ended = datetime.fromtimestamp(lab.catalogue()["backup"][-1]["timestamp"]["stop"], UTC)
    assert f"{ended:%Y-%m-%d %H:%M}" in status.output
    # Without a change since the backup before, the next one copies no table.
    lab.write_session("for the next backup")
    # pgBackRest names the host that each file came from only in the detail of its log.
    lab.run("ops1", "runuser -u postgres -- pgbackrest --stanza=main --type=incr --log-level-file=detail backup")
    sources = lab.run(
        "ops1", "grep -oP 'backup file \\K[0-9.]+(?=:.*/base/)' /var/log/pgbackrest/main-backup.log | sort -u"
    )
    assert set(sources.split()) <= {lab.addresses[host] for host in cluster.standbys()}
    assert sources


def test_nothing_of_the_repository_can_be_read_without_the_passphrase(lab: Lab) -> None:
    # A header of OpenSSL in every file: none is a plain one.
    heads = lab.run(
        "ops1",
        "find /var/lib/pgbackrest -type f -size +0 -exec sh -c 'head -c 8 \"$1\"; echo' - {} \\; | sort | uniq -c",
    )
    assert [line.split()[1] for line in heads.splitlines()] == ["Salted__"]


def test_the_passphrase_is_the_one_that_is_kept_elsewhere(lab: Lab) -> None:
    secret = (INVENTORY / ".secrets" / lab.name / "site_backup_passphrase").read_text().strip()
    files = ("/etc/media-backup/passphrase", "/etc/pgbackrest/conf.d/secrets.conf")
    before = [lab.run("ops1", f"cat {file}") for file in files]
    assert before[0] == secret
    assert f"repo1-cipher-pass={secret}" in before[1].splitlines()
    # A controller that lost its secrets makes up others: these may be the last copies.
    play = lab.play("site.yml", "--limit", "ops1", extra={"site_backup_passphrase": "another"})
    assert play.rc != 0
    assert "Theirs stands in /etc/pgbackrest/conf.d/secrets.conf" in play.said(), play.output
    assert secret not in play.output
    assert [lab.run("ops1", f"cat {file}") for file in files] == before


def test_a_dropped_table_comes_back_as_of_one_second_before(lab: Lab, cluster: Cluster) -> None:
    primary = cluster.primary()
    lab.sql(primary, "CREATE TABLE keepsake AS SELECT generate_series(1, 1000) AS number")
    kept = [lab.write_session(f"before the drop {number}") for number in range(20)]
    videos = [upload(lab, f"before the drop {number}") for number in range(3)]
    lab.run("ops1", "systemctl start media-backup")
    time.sleep(2)
    dropped = now(lab, primary)
    lab.sql(primary, "DROP TABLE keepsake")
    late = lab.write_session("after the drop")
    orphan = upload(lab, "after the drop")
    # Whoever dropped the table was busy in the store too.
    lab.run("app1", f"rm /srv/media/videos/{videos[0]['id']}; echo spoilt > /srv/media/videos/{videos[1]['id']}")
    timeline = int(archived(lab)[:8], 16)

    wish = {"restore_to": (dropped - timedelta(seconds=1)).isoformat(), "restore_overwrite": SITE}
    play = lab.play("restore.yml", extra=wish)
    assert play.rc == 0, play.output
    assert cluster.primary() == primary
    assert lab.sql(primary, "SELECT count(*) FROM keepsake") == "1000"
    rows = {row["id"]: row["note"] for row in sessions(lab, kept[0]["id"] - 1)}
    assert [rows.get(row["id"]) for row in kept] == [f"before the drop {number}" for number in range(20)]
    assert "after the drop" not in rows.values(), late
    # The media are those of that time, and what gave way to them is kept.
    for video in videos:
        answer = lab.request("GET", f"/videos/{video['id']}/file")
        assert hashlib.sha256(answer.content).hexdigest() == video["sha256"]
    assert "2 files" in play.said()
    assert lab.run("ops1", f"cat /srv/media/.before-*/videos/{videos[1]['id']}") == "spoilt"
    # A file that came later stays, and is named with its checksum, as nobody's.
    # Scenarios before may have left others.
    assert "Without a row (path, checksum): " in play.said(), play.output
    found = json.loads(lab.run("ops1", "cat /var/lib/media-backup/comparison.json"))
    named = {one["path"]: one["sha256"] for one in found["unknown"]}
    assert named[f"videos/{orphan['id']}"] == orphan["sha256"], found
    lab.run("ops1", f"rm -r /srv/media/.before-* /srv/media/videos/{orphan['id']}")
    # The standbys are the new primary's, and read what it writes.
    cluster.wait_whole()
    written = lab.write_session("after the restore")
    wait(
        lambda: all(
            lab.sql(host, f"SELECT count(*) FROM sessions WHERE id = {written['id']}") == "1"
            for host in cluster.standbys()
        ),
        20,
        lambda: "the standbys don't have it",
    )
    # What was given up is kept, and what comes now is archived where it belongs.
    old = [path for path in old_directories(lab, primary) if ".before-" in path]
    assert len(old) == 1
    assert old[0] in play.said()
    lab.sql(primary, "SELECT pg_switch_wal()")
    wait(lambda: int(archived(lab)[:8], 16) == timeline + 1, 60, lambda: archived(lab))
    wait(
        lambda: lab.catalogue()["backup"][-1]["archive"]["stop"].startswith(f"{timeline + 1:08X}"),
        60,
        lambda: str(lab.catalogue()["backup"][-1]),
    )
    lab.sql(primary, "DROP TABLE keepsake")


def upload(lab: Lab, title: str) -> dict[str, Any]:
    answer = lab.request("POST", "/videos", files={"file": (f"{title}.mp4", os.urandom(50_000))}, data={"title": title})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_the_latest_has_everything(lab: Lab, cluster: Cluster) -> None:
    """Everybody is stopped first; what was acknowledged a moment before is in the archive by then."""
    primary = cluster.primary()
    written = lab.write_session("the very last")
    play = lab.play("restore.yml", extra={"restore_to": "latest", "restore_overwrite": SITE})
    assert play.rc == 0, play.output
    assert cluster.primary() == primary
    assert [row["note"] for row in sessions(lab, written["id"] - 1)] == ["the very last"]
    cluster.wait_whole()


def sessions(lab: Lab, after: int) -> list[dict[str, Any]]:
    answer = lab.request("GET", f"/sessions?consistent=1&after={after}")
    assert answer.status_code == 200, answer.text
    return list(answer.json()["sessions"])


def test_a_second_instance_to_look_into(lab: Lab, cluster: Cluster) -> None:
    standby = cluster.standbys()[0]
    label = lab.catalogue()["backup"][0]["label"]
    wish = {"restore_label": label, "restore_place": "beside", "restore_host": standby}
    play = lab.play("restore.yml", extra=wish)
    assert play.rc == 0, play.output
    psql = "runuser -u postgres -- psql -XAtq -h /run/pg-restored -p 5433 renfo"
    lab.run(standby, f"{psql} -c 'CREATE TABLE scratch ()'")
    assert lab.run(standby, f"{psql} -c 'SHOW archive_mode'") == "off"
    assert cluster.ask(standby, "SELECT pg_is_in_recovery()") == "t"
    play = lab.play("restore.yml", extra={"restore_place": "absent", "restore_host": standby})
    assert play.rc == 0, play.output
    assert old_directories(lab, standby) == []
    assert "pg-restored" not in lab.run(standby, "systemctl list-units --plain --no-legend 'pg-*'")


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        # The unit tests have the others.
        ({"restore_to": "2999-01-01T00:00:00Z"}, "is in the future"),
        ({"restore_to": "2020-01-01T00:00:00Z"}, "was before it"),
        ({"restore_label": "20200101-000000F"}, "there is no backup '20200101-000000F', there are "),
        ({"restore_to": "latest", "restore_overwrite": "another.example"}, f"expected '{SITE}'"),
    ],
    ids=lambda value: ",".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_what_cannot_be_had_is_refused(lab: Lab, cluster: Cluster, wish: dict[str, str], said: str) -> None:
    before = untouched(lab, cluster)
    play = lab.play("restore.yml", extra={"restore_overwrite": SITE, **wish})
    assert play.rc != 0
    assert said in play.said(), play.output
    assert "Nothing was changed" in play.said(), play.output
    assert untouched(lab, cluster) == before


def untouched(lab: Lab, cluster: Cluster) -> dict[str, str]:
    """What a refusal leaves as it is."""
    return {
        host: lab.run(host, f"systemctl show {cluster.unit()} -p InvocationID; ls -di /var/lib/postgresql/*/main*")
        for host in lab.pg_hosts
    }


def test_a_disk_with_too_little_room(lab: Lab, cluster: Cluster) -> None:
    primary = cluster.primary()
    before = untouched(lab, cluster)
    lab.run(
        primary,
        "fallocate -l $(( $(stat -f -c '%a * %S' /var/lib/postgresql) - 300000000 )) /var/lib/postgresql/filler",
    )
    try:
        play = lab.play("restore.yml", extra={"restore_to": "latest", "restore_place": "beside"})
    finally:
        lab.run(primary, "rm /var/lib/postgresql/filler")
    assert play.rc != 0
    assert "bytes free, expected" in play.said(), play.output
    assert untouched(lab, cluster) == before


def test_a_wrong_passphrase(lab: Lab, cluster: Cluster) -> None:
    before = untouched(lab, cluster)
    secrets, passphrase = "/etc/pgbackrest/conf.d/secrets.conf", "/etc/media-backup/passphrase"
    try:
        lab.run("ops1", f"cp -p {passphrase} /root/passphrase && echo wrong > {passphrase}")
        media = lab.play("restore.yml", extra={"restore_to": "latest", "restore_overwrite": SITE})
        lab.run(
            "ops1",
            f"mv /root/passphrase {passphrase} && cp -p {secrets} /root/secrets"
            f" && sed -i 's/^repo1-cipher-pass=.*/repo1-cipher-pass=wrong/' {secrets}",
        )
        play = lab.play("restore.yml", extra={"restore_to": "latest", "restore_overwrite": SITE})
        status = lab.play("status.yml")
    finally:
        lab.run("ops1", f"mv /root/secrets {secrets}; test ! -e /root/passphrase || mv /root/passphrase {passphrase}")
    for refused, word in ((media, "wrong password"), (play, "cipher")):
        assert refused.rc != 0
        assert word in refused.said(), refused.output
    assert untouched(lab, cluster) == before
    assert status.rc != 0
    assert "ops1" in status.said()


def verification(lab: Lab) -> dict[str, Any]:
    return dict(json.loads(lab.run("ops1", "cat /var/lib/backup-verify/result.json")))


def test_corrupted_backups_are_found_before_they_are_needed(lab: Lab) -> None:
    """A byte of the backup that the newest builds on, and most of all media: of them a sample and a part are read a day."""
    bundle = lab.run("ops1", "ls -S $(ls -d /var/lib/pgbackrest/backup/main/2*F | tail -1)/bundle/* | head -1")
    media = "/var/lib/media-backup/repository"
    spoil = 'dd if=/dev/zero of="$1" bs=4096 count=$(($(stat -c %s "$1") / 4096 - 8)) conv=notrunc status=none'
    seek = f"seek=$(($(stat -c %s {bundle}) / 2))"
    lab.run("ops1", f"cp -p {bundle} /root/bundle && cp -a {media} /root/media")
    try:
        lab.run("ops1", f"printf X | dd of={bundle} bs=1 {seek} conv=notrunc status=none")
        # Large ones: those that hold names alone are needed for the next snapshot.
        lab.run("ops1", f"find {media}/data -type f -size +40k -exec sh -c '{spoil}' - {{}} \\;")
        play = lab.play("backup.yml", extra={"backup_verify": True, "backup_kind": "incr"})
        status = lab.play("status.yml")
    finally:
        lab.run("ops1", f"mv /root/bundle {bundle} && rm -r {media} && mv /root/media {media}")
    assert play.rc != 0
    result = verification(lab)
    assert not result["ok"]
    found = " ".join(result["problems"])
    assert "fetch of the newest backup failed" in found, result
    assert "repository failed" in found, result
    assert "files of the newest snapshot are not what they should be" in found, result
    assert status.rc != 0
    assert "the last restore that was to verify the backups" in status.said()
    assert "FAILED" in status.output


def test_a_verified_restore(lab: Lab) -> None:
    play = lab.play("backup.yml", extra={"backup_verify": True})
    assert play.rc == 0, play.output
    result = verification(lab)
    assert result["ok"], result
    assert result["databases"]["renfo"]["rows"] >= 20
    assert result["backup"] == lab.catalogue()["backup"][-1]["label"]
    # It replays WAL to its end: the newest commit in it is no older than the backup.
    assert result["newest"] >= lab.catalogue()["backup"][-1]["timestamp"]["stop"] - 60
    assert result["checksums"] is True
    assert result["media"]["sampled"] >= 3
    assert result["media"]["wrong"] == []
    assert lab.run("ops1", "ls /var/lib/backup-verify") == "lock\nresult.json\ntables.json"
    assert "restored and checked" in play.said()
    # Whole again, and the status with it.
    status = lab.play("status.yml")
    assert status.rc == 0, status.output


def test_the_repository_of_another_cluster(lab: Lab) -> None:
    before = lab.run("ops1", "find /var/lib/pgbackrest -type f | sort | md5sum")
    with pytest.raises(AssertionError, match="holds backups of the cluster"):
        lab.module("ops1", "backup_stanza", {"system_identifier": "1234567890"})
    assert lab.run("ops1", "find /var/lib/pgbackrest -type f | sort | md5sum") == before


def test_backups_go_on_after_a_switchover(lab: Lab, cluster: Cluster) -> None:
    target = cluster.standbys()[0]
    play = lab.play("switchover.yml", extra={"switchover_to": target})
    assert play.rc == 0, play.output
    timeline = int(lab.sql(target, "SELECT ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int"))
    count = len(lab.catalogue()["backup"])
    play = lab.play("backup.yml")
    assert play.rc == 0, play.output
    backups = lab.catalogue()["backup"]
    assert len(backups) == count + 1
    assert backups[-1]["label"] in play.output
    assert backups[-1]["archive"]["stop"].startswith(f"{timeline:08X}")
    cluster.back_home()


@rounds_only
@pytest.mark.parametrize("host_off", ["pg2"], indirect=True)
def test_without_the_standby_that_they_came_from_backups_go_on_and_can_be_looked_into(lab: Lab, host_off: str) -> None:
    count = len(lab.catalogue()["backup"])
    play = lab.play("backup.yml")
    assert play.rc == 0, play.output
    assert len(lab.catalogue()["backup"]) == count + 1
    beside = lab.play("restore.yml", "--check", extra={"restore_to": "latest", "restore_place": "beside"})
    assert beside.rc == 0, beside.output
    # Who is away may be a primary by now.
    replaced = lab.play("restore.yml", "--check", extra={"restore_to": "latest"})
    assert replaced.rc != 0
    assert f"{host_off} can't be reached, and may be a primary" in replaced.said(), replaced.output


def test_wal_waits_while_the_backup_host_is_away(lab: Lab, cluster: Cluster) -> None:
    primary = cluster.primary()
    cluster.power_off("ops1")
    try:
        for _ in range(3):
            fill(lab, primary)
        assert wal_waiting(lab, primary) >= 2
        assert lab.write_session("while the backup host is away")["id"]
    finally:
        cluster.power_on("ops1")
        cluster.wait_up("ops1")
    last = lab.sql(primary, "SELECT pg_walfile_name(pg_current_wal_lsn() - 1::numeric)")
    lab.sql(primary, "SELECT pg_switch_wal()")
    # Also what it was asked for in vain: PostgreSQL asks again after a minute.
    wait(lambda: archived(lab) >= last, 150, lambda: f"{archived(lab)}, expected {last}")
    wait(lambda: wal_waiting(lab, primary) == 0, 60, lambda: str(wal_waiting(lab, primary)))
    # No gap in what came: each file follows the one before.
    verified = lab.run("ops1", "runuser -u postgres -- pgbackrest --stanza=main verify --verbose --output=text")
    assert "status: ok" in verified, verified


def fill(lab: Lab, primary: str) -> None:
    """One file of WAL, full or not."""
    lab.sql(primary, "SELECT pg_logical_emit_message(true, 'test', 'something to write')")
    lab.sql(primary, "SELECT pg_switch_wal()")


def wal_waiting(lab: Lab, primary: str) -> int:
    return int(lab.run(primary, "ls /var/lib/postgresql/*/main/pg_wal/archive_status | grep -c ready; true"))


@rounds_only
def test_wal_that_waits_is_bounded(lab: Lab, cluster: Cluster) -> None:
    primary = cluster.primary()
    config = "/etc/pgbackrest/pgbackrest.conf"
    lab.run(primary, f"sed -i.before 's/^archive-push-queue-max=.*/archive-push-queue-max=32MiB/' {config}")
    cluster.power_off("ops1")
    try:
        for _ in range(8):
            fill(lab, primary)
        wait(lambda: wal_waiting(lab, primary) <= 3, 150, lambda: str(wal_waiting(lab, primary)))
    finally:
        cluster.power_on("ops1")
        cluster.wait_up("ops1")
        lab.run(primary, f"mv {config}.before {config}")
    # What was dropped leaves a gap; the next backup is behind it.
    play = lab.play("backup.yml", extra={"backup_kind": "full"})
    assert play.rc == 0, play.output
    status = lab.play("status.yml")
    assert status.rc == 0, status.output
