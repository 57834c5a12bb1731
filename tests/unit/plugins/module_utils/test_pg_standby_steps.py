# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import (
    Observation,
    PgError,
    State,
    Upstream,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_standby_steps import (
    Local,
    Replication,
    Source,
    StandbyAction,
    Wanted,
    standby_steps,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_text import (
    parse_conninfo,
    parse_settings,
)

UPSTREAM = Upstream("pg1", "10.0.0.1", 5432, "pg2")
REPLICATION = Replication(UPSTREAM, "replication", "pg2", passfile="/etc/it's", ssl_root_certificate="/ca.crt")
CLONE = Wanted(StandbyAction.CLONE, REPLICATION)
FOLLOW = Wanted(StandbyAction.FOLLOW, REPLICATION)
SOURCE = Source("7", timeline=2, version=17, slot_exists=True)
RIGHT = Local(REPLICATION.settings, overridden=False, enabled=True)
FRESH = Local("", overridden=False, enabled=False)

ABSENT = Observation(State.ABSENT, data_directory="/data")
STANDBY = Observation(
    State.STANDBY,
    data_directory="/data",
    system_identifier="7",
    timeline=2,
    standby_signal=True,
    streaming=True,
    upstream=UPSTREAM,
)
STOPPED = replace(STANDBY, state=State.STOPPED, streaming=False)


def test_the_settings_of_a_standby_hold_no_password() -> None:
    settings = parse_settings(REPLICATION.settings)
    assert settings["primary_slot_name"] == "pg2"
    assert parse_conninfo(settings["primary_conninfo"]) == {
        "host": "pg1",
        "hostaddr": "10.0.0.1",
        "port": "5432",
        "user": "replication",
        "sslmode": "verify-full",
        "sslrootcert": "/ca.crt",
        "passfile": "/etc/it's",
        "application_name": "pg2",
        "connect_timeout": "3",
        "keepalives_idle": "5",
        "keepalives_interval": "2",
        "keepalives_count": "3",
        "tcp_user_timeout": "9000",
    }


@pytest.mark.parametrize(
    ("observed", "wanted", "local", "source", "expected"),
    [
        pytest.param(ABSENT, CLONE, FRESH, SOURCE, "copy configure enable start wait", id="new"),
        pytest.param(
            replace(ABSENT, clone_in_progress=True),
            CLONE,
            RIGHT,
            SOURCE,
            "discard_left_over copy start wait",
            id="interrupted while copying",
        ),
        pytest.param(STOPPED, CLONE, FRESH, SOURCE, "configure enable start wait", id="not started"),
        pytest.param(STANDBY, CLONE, RIGHT, SOURCE, "", id="nothing to do after a clone"),
        pytest.param(STANDBY, FOLLOW, RIGHT, None, "", id="nothing to do, and nobody asked"),
        pytest.param(STOPPED, FOLLOW, RIGHT, SOURCE, "start wait", id="stopped"),
        pytest.param(
            replace(STANDBY, upstream=Upstream("pg3")),
            FOLLOW,
            replace(RIGHT, settings="else"),
            replace(SOURCE, slot_exists=False),
            "create_slot configure reload wait",
            id="another upstream",
        ),
        pytest.param(
            replace(STANDBY, upstream=Upstream("pg3")),
            FOLLOW,
            RIGHT,
            SOURCE,
            "reload wait",
            id="interrupted before the reload",
        ),
        pytest.param(
            replace(STANDBY, streaming=False),
            FOLLOW,
            RIGHT,
            SOURCE,
            "wait",
            id="just not streaming",
        ),
        pytest.param(
            STANDBY,
            FOLLOW,
            replace(RIGHT, overridden=True),
            SOURCE,
            "configure reload wait",
            id="overridden by ALTER SYSTEM",
        ),
        pytest.param(STANDBY, FOLLOW, replace(RIGHT, enabled=False), SOURCE, "enable wait", id="disabled"),
    ],
)
def test_steps(observed: Observation, wanted: Wanted, local: Local, source: Source | None, expected: str) -> None:
    steps = standby_steps(observed, wanted, local, source)

    assert " ".join(step.value for step in steps) == expected


REFUSED: list[Any] = [
    pytest.param(
        STOPPED,
        CLONE,
        replace(SOURCE, system_identifier="8"),
        r"/data has system identifier 7, expected 8 .*pg1:5432.*Nothing was changed. Move it away",
        id="data of another cluster",
    ),
    pytest.param(
        ABSENT,
        replace(CLONE, system_identifier="9"),
        SOURCE,
        "upstream pg1:5432 has system identifier 7, expected 9",
        id="upstream of another cluster",
    ),
    pytest.param(
        replace(STANDBY, system_identifier="8"),
        replace(FOLLOW, system_identifier="7"),
        None,
        "has system identifier 8, expected 7",
        id="another cluster, upstream not asked",
    ),
    pytest.param(ABSENT, FOLLOW, SOURCE, "holds no database.*use action=clone", id="no database"),
    pytest.param(
        replace(STANDBY, state=State.PRIMARY, standby_signal=False),
        FOLLOW,
        SOURCE,
        "running primary on timeline 2.*Run rejoin.yml",
        id="a running primary",
    ),
    pytest.param(
        replace(STOPPED, standby_signal=False),
        CLONE,
        SOURCE,
        "stopped primary.*may exist nowhere else",
        id="a stopped primary",
    ),
    pytest.param(
        STOPPED,
        FOLLOW,
        replace(SOURCE, timeline=1),
        "upstream pg1:5432 is on timeline 1, this standby is on the later timeline 2",
        id="an old primary as upstream",
    ),
]


@pytest.mark.parametrize(("observed", "wanted", "source", "message"), REFUSED)
def test_refused(observed: Observation, wanted: Wanted, source: Source | None, message: str) -> None:
    with pytest.raises(PgError, match=message):
        standby_steps(observed, wanted, FRESH, source)
