"""An inventory that cannot work is refused before any host is asked: found, expected, what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.lab import Lab

Groups = dict[str, Any]


def primary_is_also_pg2(groups: Groups) -> None:
    groups["pg_primary"]["hosts"]["pg2"] = None
    del groups["pg_replica"]["hosts"]["pg2"]
    groups["pg_primary"]["hosts"]["pg2"] = {"lab_octet": 32}


def no_primary(groups: Groups) -> None:
    groups["pg_primary"]["hosts"] = {}


def pg1_in_both_groups(groups: Groups) -> None:
    groups["pg_replica"]["hosts"]["pg1"] = None


def no_application(groups: Groups) -> None:
    # The addresses move to where the hosts are still named.
    groups["shared_storage"]["hosts"] = groups["app_replicas"]["hosts"]
    groups["app_replicas"]["hosts"] = {}
    groups["lab"]["children"]["shared_storage"] = None


def two_bricks(groups: Groups) -> None:
    del groups["shared_storage"]["hosts"]["app3"]


def one_standby(groups: Groups) -> None:
    del groups["pg_replica"]["hosts"]["pg3"]


CASES = {
    "two primaries": (primary_is_also_pg2, {}, "found pg1, pg2, expected exactly one host"),
    "no primary": (no_primary, {}, "found none, expected exactly one host"),
    "a host in both PostgreSQL groups": (
        pg1_in_both_groups,
        {},
        "pg1: declared in pg_primary and in pg_replica. Keep it in one",
    ),
    "no app replica": (no_application, {}, "group app_replicas: found no host, expected at least one"),
    "a replica count below 1": (
        None,
        {"app_replicas_count": 0},
        "app_replicas_count is 0, expected a whole number of at least 1",
    ),
    "two bricks and no arbiter": (two_bricks, {}, "would split their brain. Add a third host"),
    "a port used twice": (
        None,
        {"nginx_lb_http_port": 443},
        "port 443 is used by NGINX (nginx_lb_http_port) and by NGINX (nginx_lb_https_port)",
    ),
    "an undefined variable": (
        None,
        {"site_vip": "{{ nobody_set_this }}"},
        "site_vip cannot be resolved: 'nobody_set_this' is undefined",
    ),
    "a mistyped name": (
        None,
        {"nginx_lb_htps_port": 444},
        "nginx_lb_htps_port is not a variable of this collection. Did you mean nginx_lb_https_port?",
    ),
    "a mistyped value": (
        None,
        {"pg_port": "postgres"},
        "argument 'pg_port' is of type str and we were unable to convert to int",
    ),
    "a cluster of two that didn't choose": (one_standby, {}, "a cluster of two members must choose"),
    "an archive without the entry point": (
        None,
        {"app_replicas_entry_point": "shop.wsgi:app"},
        "the archive has no shop/wsgi.py or shop/wsgi/__init__.py, which app_replicas_entry_point 'shop.wsgi:app' needs",
    ),
    "no archive": (
        None,
        {"app_replicas_archive": "/nowhere.tar.gz"},
        "there is no such file on this controller. Build the release first",
    ),
}


@pytest.mark.parametrize(("change", "extra", "message"), CASES.values(), ids=CASES.keys())
def test_bad_inventory(lab: Lab, change: Callable[[Groups], None] | None, extra: dict[str, Any], message: str) -> None:
    play = lab.play("site.yml", change=change, extra=extra)
    assert play.rc != 0
    assert message in play.said(), play.output
    assert "Nothing was changed" in play.said()
    assert play.changed() == {}
    assert "Look at the host" not in play.output, "a host was asked although the inventory is wrong"


def test_a_certificate_that_does_not_match_its_key(lab: Lab) -> None:
    tls = lab.directory.parents[2] / f"inventories/lab/.secrets/{lab.name}/tls"
    extra = {"nginx_lb_tls_certificate_file": str(tls / "pg1.crt"), "nginx_lb_tls_key_file": str(tls / "site.key")}
    play = lab.play("site.yml", extra=extra)
    assert play.rc != 0
    assert "the certificate does not match the key" in play.said()
    assert play.changed() == {}


def test_a_release_that_was_never_tested(lab: Lab) -> None:
    lab.run(
        "ops1",
        "cp -a --remove-destination $(readlink -f /etc/os-release) /etc/os-release.true && cp /etc/os-release.true /etc/os-release.new",
    )
    try:
        lab.run(
            "ops1",
            "sed -i 's/trixie/forky/g; s/bookworm/forky/g' /etc/os-release.new && mv -T /etc/os-release.new /etc/os-release",
        )
        play = lab.play("site.yml")
    finally:
        lab.run("ops1", "mv -T /etc/os-release.true /etc/os-release")
    assert play.rc != 0
    assert "ops1: runs Debian forky, expected Debian bookworm or Debian trixie" in play.said(), play.output
    assert play.changed() == {}
