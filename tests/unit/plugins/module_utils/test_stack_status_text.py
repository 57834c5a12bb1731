# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.backup_results import Backups
from ansible_collections.renfo.redundancy.plugins.module_utils.stack_status import (
    Brick,
    Certificate,
    Host,
    Instance,
    LoadBalancer,
    Mount,
    Replica,
    Status,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.stack_status_text import render

GIB = 1024**3
LEFT = Certificate("/etc/nginx/tls/site.crt", "2027-11-23T03:10:00Z", 365)


def instance(host: str, **changes: object) -> Instance:
    values: dict[str, object] = {
        "host": host,
        "reachable": True,
        "declared": "replica",
        "role": "standby",
        "timeline": 12,
        "lsn": "12/3456789A",
        "upstream": "pg1",
        "streaming": True,
        "lag_bytes": 16 * 1024**2,
        "lag_seconds": 12.34,
        "sync_state": "quorum",
        "tls": True,
        "slot": "unreserved",
        "fenced": False,
        "fenced_reason": None,
        "since": None,
        "certificate": LEFT,
    }
    return Instance(**{**values, **changes})  # type: ignore[arg-type]


def status(degraded: tuple[str, ...] = (), notes: tuple[str, ...] = (), single_points: tuple[str, ...] = ()) -> Status:
    own = {"upstream": None, "lag_bytes": None, "lag_seconds": None, "sync_state": None, "tls": None, "slot": None}
    return Status(
        address="https://192.0.2.100/",
        site_name="renfo.example",
        vip="192.0.2.100",
        vip_holders=("lb1",),
        primary="pg1",
        synchronous="any_1",
        hosts=(Host("lb1", "192.0.2.11", True), Host("ops1", "192.0.2.19", False, ("it is down",))),
        load_balancers=(LoadBalancer("lb1", True, "running", "running", True, LEFT),),
        replicas=(
            Replica("app1-1", "app1", True, True, 200, 7, "5af8eb9d3544", "2026-11-23T03:10:00Z"),
            Replica("app2-1", "app2", True, False, 503, 9, None, None, ("app2-1 isn't ready",)),
            Replica("app3-1", "app3", False, False, None, None, None, None),
        ),
        instances=(
            instance("pg1", role="primary", **own),
            instance("pg2"),
            instance("pg3", tls=False, problems=("no TLS",)),
            instance("pg4", reachable=False, role="unknown"),
            instance("pg5", role="stopped", fenced=True, problems=("fenced",)),
            instance("pg6", fenced=True, problems=("fenced",)),
        ),
        bricks=(Brick("app1", True, True, 0), Brick("app2", True, False, 3, ("offline",))),
        mounts=(
            Mount("app1", True, "/srv/media", True, True, 60 * GIB, 40 * GIB),
            Mount("lb1", True, "/srv/media", False, False, None, None, ("missing",)),
        ),
        backups=(
            Backups("bak1", True, "database", "full", 1795397400.0, 61.7, GIB, 3, "2026-11-24 01:30:00 UTC"),
            Backups("bak2", True, "media", "running", count=0),
            Backups("bak3", False, "verified"),
        ),
        degraded=degraded,
        single_points=single_points,
        notes=notes,
    )


def line(text: str, start: str) -> str:
    return " ".join(next(line for line in text.splitlines() if line[2:].startswith(start)).split())


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        pytest.param("bak1", "✓ bak1 database full 2026-11-23 01:30 62 s 1.0 GiB 3 2026-11-24 01:30", id="backups"),
        pytest.param("bak2", "✓ bak2 media running - - - 0 -", id="the first backup"),
        pytest.param("bak3", "! bak3 verified unreachable - - - - -", id="backup host unreachable"),
        pytest.param("lb1 ", "✓ lb1 running running holds it 365 d", id="load balancer"),
        pytest.param("app1-1", "✓ app1-1 yes 7 ms 5af8eb9d3544 2026-11-23 03:10", id="replica ready"),
        pytest.param("app2-1", "! app2-1 no (503) 9 ms - -", id="replica not ready"),
        pytest.param("app3-1", "! app3-1 unreachable - - -", id="replica on a host that is down"),
        pytest.param("pg1", "✓ pg1 primary 12 12/3456789A - any 1 - - 365 d", id="primary"),
        pytest.param(
            "pg2",
            "✓ pg2 standby of pg1 12 12/3456789A 16.0 MiB, 12.3 s yes yes unreserved 365 d",
            id="standby",
        ),
        pytest.param(
            "pg3", "! pg3 standby of pg1 12 12/3456789A 16.0 MiB, 12.3 s yes NO unreserved 365 d", id="without TLS"
        ),
        pytest.param("pg5", "! pg5 fenced 12 12/3456789A 16.0 MiB, 12.3 s yes yes unreserved 365 d", id="fenced"),
        pytest.param(
            "pg6",
            "! pg6 standby of pg1 12 12/3456789A 16.0 MiB, 12.3 s yes yes unreserved 365 d",
            id="a standby that could not be promoted",
        ),
        pytest.param("app1 ", "✓ app1 online 0 files /srv/media 40.0 GiB of 60.0 GiB (66 %)", id="store"),
        pytest.param("app2 ", "! app2 OFFLINE 3 files - -", id="brick offline"),
        pytest.param("ops1", "! ops1 unreachable 192.0.2.19", id="host without a part in the stack"),
    ],
)
def test_each_part_has_its_line(start: str, expected: str) -> None:
    assert line(render(status()), start) == expected


def test_a_load_balancer_that_also_lacks_its_store_has_a_line_in_both_tables() -> None:
    lines = [line for line in render(status()).splitlines() if line[2:].startswith("lb1 ")]

    assert [line[0] for line in lines] == ["✓", "!"]


def test_the_verdict_comes_first_and_what_to_do_last() -> None:
    text = render(status(("pg2 doesn't stream: run site.yml",), ("the inventory is old",))).splitlines()

    assert text[0] == "! DEGRADED: 1 thing to see to, listed below"
    assert text[1] == "  https://192.0.2.100/ (renfo.example), virtual address held by lb1"
    assert text[-5:] == [
        "What to do",
        "  - pg2 doesn't stream: run site.yml",
        "",
        "Good to know",
        "  - the inventory is old",
    ]


def test_a_healthy_stack_says_so() -> None:
    assert render(status()).splitlines()[0] == "✓ Healthy: any one host may be lost"


def test_it_claims_no_more_than_was_declared() -> None:
    text = render(status(single_points=("lb1 is the only load balancer",))).splitlines()

    assert text[0] == "✓ Healthy: all that was declared is there"
    assert text[-1] == "  - lb1 is the only load balancer"


def test_it_fits_a_terminal_of_a_hundred_columns() -> None:
    long = "a sentence that goes on " * 20

    assert max(map(len, render(status((long,))).splitlines())) <= 100


def test_colour_is_asked_for() -> None:
    assert "\033" not in render(status())
    assert render(status(), colour=True).startswith("\033[32m✓")
