# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures of the load tools. What they print is from real runs."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.load_figures import (
    Figures,
    NoFigures,
    median,
    parse,
    together,
)

WRK = """Running 2s test @ https://10.209.10.100/
  2 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    40.00ms   10.00ms 100.00ms   70.00%
Requests/sec:    200.00
Transfer/sec:      1.00MB
{"duration_us": 2000000, "requests": 400, "bytes": 2000000, "errors": {"connect": 0, "read": 1, "write": 0, "status": 10, "timeout": 2}, "latency_us": {"mean": 40000.0, "p50": 39000, "p90": 60000, "p99": 99000}}
"""
PGBENCH = """pgbench (17.6 (Debian 17.6-0+deb13u1))
transaction type: <builtin: TPC-B (sort of)>
scaling factor: 10
query mode: prepared
number of clients: 8
number of threads: 2
maximum number of tries: 1
duration: 10 s
number of transactions actually processed: 9083
number of failed transactions: 3 (0.033%)
latency average = 8.793 ms
initial connection time = 38.391 ms
tps = 909.763117 (without initial connection time)
"""


def test_wrk() -> None:
    # A refusal is fast, and no answer: 10 of the 400 count as errors alone.
    assert parse(WRK) == Figures(195.0, 1e6, {"mean": 40.0, "p50": 39.0, "p90": 60.0, "p99": 99.0}, 13)


def test_pgbench() -> None:
    assert parse(PGBENCH) == Figures(909.763117, None, {"mean": 8.793}, 3)


@pytest.mark.parametrize("output", ["", "unable to connect to 10.0.0.1:80 Connection refused", "tps = nan"])
def test_no_figures_are_none(output: str) -> None:
    with pytest.raises(NoFigures):
        parse(output)


def run(rate: float, throughput: float | None = None, p50: float = 1.0, errors: int = 0) -> dict[str, Any]:
    return {"rate": rate, "throughput": throughput, "latency": {"p50": p50}, "errors": errors}


def test_hosts_add_up_and_the_slower_one_counts() -> None:
    assert together([run(100, 10, 2.0, 1), run(50, 5, 3.0)]) == run(150, 15, 3.0, 1)
    assert together([run(100), run(50)])["throughput"] is None


def test_the_middle_round_counts() -> None:
    found = median([run(100, 1, 5.0), run(300, 3, 1.0, 2), run(110, 2, 4.0)])
    assert found == {"rate": 110, "spread": 3.0, "throughput": 2, "latency": {"p50": 4.0}, "errors": 2, "rounds": 3}


def test_nothing_at_all_has_no_spread() -> None:
    assert median([run(0.0), run(0.0, errors=5)])["spread"] is None
    assert median([run(9.0)])["spread"] is None
