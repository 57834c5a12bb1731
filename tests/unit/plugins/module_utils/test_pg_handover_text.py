# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import Intent, plan
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_handover import Consent, failover, switchover
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_handover_text import (
    failover_report,
    failover_text,
    rejoin_report,
    rejoin_text,
    switchover_report,
    switchover_text,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_model import Observation
from pg_members import ADDRESSES, THREE, primary, standby, stopped_primary, stopped_standby

LONG = "ssh: connect to host 192.0.2.31 port 22: Connection timed out " * 2
ERRORS = dict.fromkeys(ADDRESSES, LONG.strip())
PG2, PG3 = standby(), standby(me="pg3", lsn=880)
CRASHED = stopped_primary(clean_shutdown=False)


def failed(*observed: Observation | None, **asked: Any) -> dict[str, Any]:
    return failover(dict(zip(ADDRESSES, observed, strict=True)), THREE, errors=ERRORS, **asked).to_dict()


def handed(*observed: Observation | None, to: str | None = None) -> dict[str, Any]:
    return switchover(dict(zip(ADDRESSES, observed, strict=True)), THREE, to, ERRORS).to_dict()


def rejoined(*observed: Observation | None, intent: Intent = Intent.REJOIN) -> dict[str, Any]:
    found = plan(dict(zip(ADDRESSES, observed, strict=True)), THREE, intent).to_dict()
    return {**found, "refusals": found["problems"]}


def test_a_failover_on_one_screen() -> None:
    assert failover_text(failed(CRASHED, PG2, PG3)) == (
        """\
Failover from pg1 to pg2

  MEMBER  reachable  role             TL  received  replayed  sync   note
  pg1     yes        stopped primary  1   >=0/3E8   -         -      old primary, not stopped in
                                                                     order
  pg2     yes        standby          1   0/3E8     0/3E8     any_1  candidate, follows pg1
  pg3     yes        standby          1   0/370     0/370     any_1  follows pg1

Candidate:    pg2, it holds the most: timeline 1 at 0/3E8, 120 bytes ahead of pg3
Nothing lost: proven: a commit is acknowledged once one of pg2, pg3 has it on disk; enough of them
              were asked, and pg2 holds the most
Fencing:      pg1 answers: PostgreSQL is stopped there, and will be kept from starting as a
              primary

What is to be done
  - pg1: is stopped and fenced; the old primary
  - pg2: is promoted; the standby that holds the most
  - pg3: is to follow pg2"""
    )


@pytest.mark.parametrize(
    ("decided", "headline"),
    [
        (failed(None, PG2, PG3), "Failover refused: nothing is changed"),
        (failed(None, None, None), "Failover refused: nothing is changed"),
        (
            failed(stopped_primary(1, 90), primary(2), None),
            "pg2 is the primary: finish what an interrupted failover left",
        ),
        (failed(None, primary(2), None), "Nothing to fail over: pg2 is the primary, and nothing was left half way"),
    ],
    ids=["refused", "nobody", "finish", "nothing"],
)
def test_the_outcome_comes_first(decided: dict[str, Any], headline: str) -> None:
    assert failover_text(decided).splitlines()[0] == headline


@pytest.mark.parametrize(
    ("decided", "headline"),
    [
        (handed(primary(), PG2, PG3), "Switchover from pg1 to pg2"),
        (handed(primary(), PG2, PG3, to="pg9"), "Switchover refused: nothing is changed"),
        (handed(stopped_primary(lsn=800), PG2, PG3), "Switchover to pg2: finish what an interrupted one left"),
        (handed(primary(), PG2, PG3, to="pg1"), "Nothing to do: pg1 is the primary, and all that answer follow it"),
    ],
    ids=["act", "refused", "finish", "nothing"],
)
def test_a_switchover_says_what_it_is_about(decided: dict[str, Any], headline: str) -> None:
    assert switchover_text(decided).splitlines()[0] == headline


@pytest.mark.parametrize(
    ("decided", "words"),
    [
        (failed(None, PG2, None, consent=Consent("pg1")), "not proven, an unknown amount: a commit"),
        (failed(stopped_primary(lsn=1100), PG2, None), "not proven, at most 100 bytes of WAL: a commit"),
        (failed(None, PG2, PG3, consent=Consent("pg1")), "Fencing:      by your word, you said"),
        (failed(None, PG2, PG3, fence_commands=["pg1"]), "Fencing:      by command, its pg_fence_command"),
        (failed(None, PG2, PG3), "Fencing:      not shown: pg1 can't be asked"),
    ],
    ids=["unknown loss", "bounded loss", "word", "command", "not fenced"],
)
def test_loss_and_fencing(decided: dict[str, Any], words: str) -> None:
    assert words in failover_text(decided)


def test_what_is_refused_and_good_to_know_comes_last() -> None:
    text = failover_text(failed(None, PG2, None)).splitlines()

    assert text.index("Refused") < text.index("Good to know")
    assert "What is to be done" not in text


def test_a_flag_can_be_copied_from_one_line() -> None:
    lines = failover_text(failed(None, PG2, None)).splitlines()

    assert any(line.strip().endswith("-e failover_fenced=pg1") for line in lines)
    assert any(line.strip().endswith("-e failover_accept_loss_of=pg1") for line in lines)


@pytest.mark.parametrize(
    "text",
    [
        failover_text(failed(None, PG2, None)),
        failover_text(failed(None, None, None)),
        failover_text(failed(None, PG2, stopped_standby(me="pg3", lsn=1001))),
        switchover_text(handed(None, PG2, PG3)),
        rejoin_text(rejoined(stopped_primary(2), primary(2), None)),
        failover_report(failed(CRASHED, PG2, PG3), {"synchronous_write": {"ok": False}}),
        rejoin_report(rejoined(stopped_primary(1, 90), primary(2), None), {"pg1": {"failed": True, "msg": LONG}}),
    ],
)
def test_it_fits_a_terminal(text: str) -> None:
    assert max(map(len, text.splitlines())) <= 100


class TestReport:
    def test_what_was_done_and_what_is_left(self) -> None:
        said = {"milliseconds": 187, "timeline_after": 2, "synchronous_write": {"ok": True, "milliseconds": 412}}
        report = failover_report(failed(CRASHED, PG2, PG3), said).splitlines()

        assert report[0] == "pg2 is the primary on timeline 2, promoted in 187 ms"
        assert report[1] == "A standby acknowledged a write after 412 ms"
        assert "        pg_primary:" in report
        assert "          hosts:" in report
        assert "            pg2:" in report
        assert "  - To bring back pg1: rejoin.yml" in report

    def test_check_mode_claims_nothing(self) -> None:
        decided = failed(CRASHED, PG2, PG3)

        said = "Check mode: nothing was changed. Without --check, what stands above is done."
        assert failover_report(decided, {}, check=True) == said
        assert switchover_report(decided, {}, check=True) == said
        results = {"pg1": {"reason": "rewound"}}
        report = rejoin_report(
            rejoined(stopped_primary(1, 90), primary(2), standby("pg2", "pg3", 2)), results, check=True
        )
        assert report.splitlines()[0] == "pg1 would stream from pg2 again: rewound"
        assert report.splitlines()[-1] == said

    def test_nobody_acknowledges_yet(self) -> None:
        report = failover_report(failed(CRASHED, PG2, PG3), {"synchronous_write": {"ok": False, "milliseconds": 10000}})

        assert "! No standby has acknowledged a write yet" in report

    @pytest.mark.parametrize("promotion", [None, {}, {"changed": False, "skipped": True, "skip_reason": "..."}])
    def test_nobody_was_promoted(self, promotion: dict[str, Any] | None) -> None:
        report = failover_report(failed(None, primary(2), standby("pg2", "pg3", 2)), promotion)

        assert report.splitlines()[0] == "pg2 is the primary on timeline 2"
        assert "acknowledged" not in report

    def test_a_switchover(self) -> None:
        report = switchover_report(
            handed(standby("pg2", "pg1", 2), primary(2), standby("pg2", "pg3", 2)), {"milliseconds": 200}
        )

        assert report.splitlines() == [
            "pg1 is the primary on timeline 3, promoted in 200 ms",
            "",
            "Next: ansible-playbook renfo.redundancy.status shows every part of the stack.",
        ]


class TestRejoin:
    def test_what_is_to_be_done(self) -> None:
        text = rejoin_text(rejoined(stopped_primary(1, 150), primary(2), None)).splitlines()

        assert text[0] == "Rejoin: pg2 is the primary"
        assert text[2] == "  pg1  rejoin: it is a stopped old primary, pg2 is the primary now"
        assert text[3] == "  pg2  is well: the live primary"
        assert text[4].startswith("  pg3  left alone: pg3 can't be reached")

    def test_refused(self) -> None:
        text = rejoin_text(rejoined(stopped_primary(), PG2, PG3)).splitlines()

        assert text[0] == "Rejoin refused"
        assert "Refused" in text

    def test_what_became_of_each(self) -> None:
        lost = {"transactions": 3, "directory": "/var/lib/postgresql/lost-pg1-1"}
        results = {
            "pg1": {"reason": "rewound", "lost": lost},
            "pg3": {"failed": True, "msg": "no disk"},
        }
        decided = rejoined(stopped_primary(1, 150), primary(2), standby("pg1", "pg3", 1, 101, streaming=False))
        report = rejoin_report(decided, results)

        assert "pg1 streams from pg2 again: rewound" in report
        assert "* pg1 held 3 transaction(s) that pg2 doesn't have: they are saved on pg1 in" in report
        assert "/var/lib/postgresql/lost-pg1-1" in report
        assert "! pg3 did not come back: no disk" in report
        assert "* pg2 is the primary, the inventory says pg1" in report

    def test_who_was_left_alone_and_what_is_not_known(self) -> None:
        results = {"pg1": {"lost": {"transactions": None, "directory": "/x"}}, "pg3": {"unreachable": True}}
        report = rejoin_report(rejoined(stopped_primary(1, 90), primary(2), None), results)

        assert "an unknown number of transactions" in report
        assert "! pg3 was left alone: pg3 can't be reached" in report
