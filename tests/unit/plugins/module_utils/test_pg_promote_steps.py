# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import Lsn, PgError, TimelineSwitch
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_promote_steps import (
    Peer,
    PeerAnswer,
    Standing,
    refuse_behind,
    refuse_beside,
    refuse_promotion,
    to_archive_again,
    uncertainties,
)

STANDBY = Standing(True, 3, "42", Lsn.parse("0/3000060"), 16 << 20)
PRIMARY = replace(STANDBY, in_recovery=False)
RIVAL = PeerAnswer(False, 3, Lsn.parse("0/4000000"), "42", reachable=True)


@pytest.mark.parametrize(
    ("standing", "timeline", "fence", "found"),
    [
        (STANDBY, None, None, None),
        (STANDBY, 4, None, None),
        (STANDBY, 7, None, None),
        (STANDBY, 3, None, r"on timeline 3 already, expected that its promotion leads to timeline 3"),
        (STANDBY, 2, None, r"on timeline 3 already.*another promotion came first"),
        (replace(STANDBY, replay_paused=True), 4, None, r"replay is paused.*pg_wal_replay_resume"),
        (PRIMARY, None, None, None),
        (PRIMARY, 3, None, None),
        (PRIMARY, 4, None, r"a primary already, on timeline 3, expected timeline 4"),
        (STANDBY, 4, "pg2 was promoted", r"is fenced \(pg2 was promoted\)"),
        (PRIMARY, 3, "", r"is fenced \(no reason given\)"),
    ],
)
def test_what_this_host_says(standing: Standing, timeline: int | None, fence: str | None, found: str | None) -> None:
    if found is None:
        refuse_promotion(standing, timeline, fence)
        return
    with pytest.raises(PgError, match=found) as raised:
        refuse_promotion(standing, timeline, fence)
    assert "Nothing was changed. Run" in str(raised.value)


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        (RIVAL, True),
        (replace(RIVAL, in_recovery=True), False),
        (replace(RIVAL, system_identifier="7"), False),
        (PeerAnswer(error="refused"), False),
        (PeerAnswer(error="starting up", reachable=True), False),
    ],
)
def test_what_a_peer_says(answer: PeerAnswer, refused: bool) -> None:
    answers = {"pg3": PeerAnswer(True, 3, None, "42", reachable=True), "pg1": answer}
    if not refused:
        refuse_beside(STANDBY, answers)
        return
    with pytest.raises(PgError, match=r"pg1 is still reachable and writable.*timeline 3 at 0/4000000") as raised:
        refuse_beside(STANDBY, answers)
    assert raised.value.details == {"peer": "pg1", "timeline": 3, "lsn": "0/4000000"}


@pytest.mark.parametrize(
    ("answer", "ahead"),
    [
        ({"lsn": Lsn(STANDBY.lsn + 1)}, True),
        ({"lsn": STANDBY.lsn}, False),
        ({"lsn": Lsn(STANDBY.lsn - 1)}, False),
        ({"lsn": Lsn(0), "timeline": STANDBY.timeline + 1}, True),
        ({"lsn": Lsn(STANDBY.lsn + 1), "timeline": STANDBY.timeline - 1}, False),
        ({"lsn": Lsn(STANDBY.lsn + 1), "system_identifier": "7"}, False),
        ({"lsn": None}, False),
        ({"lsn": Lsn(STANDBY.lsn + 1), "in_recovery": None}, False),
    ],
    ids=["ahead", "equal", "behind", "later timeline", "earlier timeline", "another cluster", "says nothing", "silent"],
)
def test_a_standby_that_holds_more(answer: dict[str, Any], ahead: bool) -> None:
    said = replace(PeerAnswer(True, None, None, STANDBY.system_identifier, reachable=True), **answer)
    if not ahead:
        refuse_behind(STANDBY, {"pg3": said})
        return
    with pytest.raises(PgError, match=r"pg3, a standby too, holds more.*Run failover.yml again"):
        refuse_behind(STANDBY, {"pg3": said})


def test_who_is_there_and_says_nothing_is_worth_a_warning() -> None:
    answers = {
        "pg1": PeerAnswer(reachable=True, error="starting up"),
        "pg2": PeerAnswer(error="refused"),
        "pg3": RIVAL,
    }
    (warning,) = uncertainties(answers)
    assert warning == "pg1 is reachable, but didn't say whether it is a primary: starting up"


def test_a_peer_is_read_from_what_the_topology_gives() -> None:
    given = {"name": "pg1", "address": "192.0.2.21", "port": 5433, "slot": "pg1", "role": "primary"}
    assert Peer.from_dict(given) == Peer("pg1", "192.0.2.21", 5433)
    assert Peer.from_dict({"name": "pg1"}) == Peer("pg1", None, 5432)


@pytest.mark.parametrize("given", [{}, {"address": "192.0.2.21"}, {"name": "pg1", "port": "x"}])
def test_a_peer_without_a_name_or_with_a_wrong_port(given: dict[str, Any]) -> None:
    with pytest.raises(PgError, match="expected a name, an address and a port"):
        Peer.from_dict(given)


ON_THE_WAY = [
    "000000030000000000000007.done",
    "000000030000000000000008.done",
    "00000003.history.done",
    "00000002.history.done",
    "000000020000000000000004.done",
    "000000010000000000000002.done",
]


def test_what_was_received_is_archived_again() -> None:
    ancestry = [TimelineSwitch(1, Lsn.parse("0/3000060")), TimelineSwitch(2, Lsn.parse("0/5000000"))]
    others = [
        # Written after the branch, by whoever stayed behind.
        "000000010000000000000003.done",
        "000000020000000000000005.done",
        # Of no ancestor.
        "000000040000000000000009.done",
        "00000004.history.done",
        # Not archived yet anyway, or no whole file of WAL.
        "000000030000000000000006.ready",
        "000000030000000000000006.partial.done",
        "000000030000000000000002.00000028.backup.done",
    ]
    assert list(to_archive_again([*ON_THE_WAY, *others], 3, ancestry, 16 << 20)) == ON_THE_WAY
