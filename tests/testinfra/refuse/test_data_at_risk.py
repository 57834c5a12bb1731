"""Data on disk that contradicts the inventory stops the run before anything is changed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.lab import Lab

VERSIONS = {"trixie": 17, "bookworm": 15}


@pytest.fixture(scope="module")
def unit(lab: Lab) -> str:
    release = lab.run("pg3", "sed -n 's/^VERSION_CODENAME=//p' /etc/os-release")
    return f"postgresql@{VERSIONS[release]}-main"


@pytest.fixture(scope="module")
def second_primary(lab: Lab, unit: str) -> Iterator[str]:
    """pg3, promoted behind everybody's back; afterwards a fresh standby again."""
    # The guard would stop pg1 at once, for pg3 is on a later timeline.
    lab.run("pg1", "systemctl stop 'pg-guard@*'")
    lab.sql("pg3", "SELECT pg_promote()", database="postgres")
    # A commit of its own, waiting for nobody: history that no other member holds.
    lab.sql("pg3", "SET synchronous_commit = local; CREATE TABLE fork (n int)", database="postgres")
    # Earlier handovers may have used some timelines up.
    yield "timeline " + lab.sql("pg3", "SELECT ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int")
    version = unit.removeprefix("postgresql@").removesuffix("-main")
    lab.run("pg3", f"systemctl stop {unit}; rm -rf /var/lib/postgresql/{version}/main")
    play = lab.play("site.yml")
    assert play.rc == 0, play.output
    assert lab.sql("pg3", "SELECT pg_is_in_recovery()") == "t"
    assert lab.run("pg1", "systemctl is-active 'pg-guard@*'") == "active"


def test_two_primaries_stop_everything(lab: Lab, second_primary: str) -> None:
    play = lab.play("site.yml")
    assert play.rc != 0
    assert play.changed() == {}
    assert "pg1" in play.said()
    assert "pg3" in play.said()
    assert "primar" in play.said(), play.output
    assert second_primary in play.said(), play.output


def test_history_that_nobody_else_holds_is_not_overwritten(lab: Lab, unit: str, second_primary: str) -> None:
    lab.run("pg3", f"systemctl stop {unit}")
    play = lab.play("site.yml")
    assert play.rc != 0
    assert play.changed() == {}
    assert "pg3" in play.said(), play.output
    assert second_primary in play.said(), play.output
    assert lab.run("pg3", "ls /var/lib/postgresql/*/main/PG_VERSION")
