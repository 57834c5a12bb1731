# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import (
    Lsn,
    TimelineSwitch,
    Upstream,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_text import (
    format_conninfo,
    parse_conninfo,
    parse_history,
    parse_settings,
    timeline_of_position,
    upstream_from,
    without_settings,
)

SEGMENT = 16 * 1024 * 1024


class TestReading:
    def test_a_conninfo_survives_quoting(self) -> None:
        values = {"host": "pg1", "passfile": "/a b/it's\\x", "hostaddr": "fd00::1", "empty": ""}

        assert parse_conninfo(format_conninfo(values)) == values

    @pytest.mark.parametrize(
        ("conninfo", "upstream"),
        [
            ("host=pg1 hostaddr=10.0.0.1 port=5433", Upstream("pg1", "10.0.0.1", 5433, "s")),
            ("user=x host = 'pg1'", Upstream("pg1", None, 5432, "s")),
            ("user=x", None),
            ("", None),
        ],
    )
    def test_the_upstream_of_a_conninfo(self, conninfo: str, upstream: Upstream | None) -> None:
        assert upstream_from(conninfo, "s") == upstream

    def test_settings_the_last_one_wins_and_quotes_are_doubled(self) -> None:
        text = "# a = 'no'\na = 'one'\n  b='it''s' # why\na = 'two'\n"

        assert parse_settings(text) == {"a": "two", "b": "it's"}

    def test_a_history_file(self) -> None:
        text = "1\t0/3000060\tno recovery target specified\n# x\n\n2\t1/A\tbefore 2026\n"

        assert list(parse_history(text)) == [
            TimelineSwitch(1, Lsn(0x3000060)),
            TimelineSwitch(2, Lsn.parse("1/A")),
        ]

    @pytest.mark.parametrize(
        ("position", "timeline"),
        [
            ("0/3000060", 2),
            ("0/3000000", 1),  # its last byte is in the segment before
            ("0/4000060", 0),
            ("2/1", 3),
        ],
    )
    def test_the_timeline_of_a_position(self, position: str, timeline: int) -> None:
        names = [
            "000000010000000000000002",
            "000000010000000000000003",
            "000000020000000000000003.partial",
            "000000030000000200000000",
            "00000003.history",
            "archive_status",
        ]

        assert timeline_of_position(names, Lsn.parse(position), SEGMENT) == timeline

    @pytest.mark.parametrize(
        ("text", "left"),
        [
            ("a = 1\n A= 2\nb = 3\n", "b = 3\n"),
            ("ab = 1\n# a = 2", None),
            ("a_x = 1\na_y = 1\n", ""),
        ],
        ids=["any case", "nothing to take away", "a pattern"],
    )
    def test_taking_settings_away(self, text: str, left: str | None) -> None:
        assert without_settings(text, r"a|a_\w+") == left
