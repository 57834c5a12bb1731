# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the load tools print, as figures, and the figures of several rounds as one. Pure."""

from __future__ import annotations

import dataclasses
import json
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Data = Mapping[str, Any]


class NoFigures(Exception):
    """A tool didn't print what it should have."""


@dataclasses.dataclass(frozen=True)
class Figures:
    """What one run of a tool measured.

    ``rate`` is answers (wrk) or transactions (pgbench) a second, ``throughput`` bytes a second; ``latency`` is
    milliseconds by what it is (``mean``, ``p50``, ``p90``, ``p99``); ``errors`` is what was not answered, or not with a
    success.
    """

    rate: float
    throughput: float | None
    latency: Mapping[str, float]
    errors: int


def parse(output: str) -> Figures:
    """The figures in what ``wrk`` printed, with the script ``wrk.lua``, or ``pgbench``."""
    if found := re.search(r"^\{.*\}$", output, re.MULTILINE):
        return _wrk(json.loads(found[0]))
    if "tps = " in output:
        return _pgbench(output)
    raise NoFigures(f"found no figures, expected those of wrk or pgbench, in: {output.strip()[-500:]}")


def _wrk(said: Data) -> Figures:
    seconds = said["duration_us"] / 1e6
    errors = sum(said["errors"].values())
    # Who was refused was answered fast: only what was asked for counts.
    good = max(0, said["requests"] - said["errors"]["status"])
    latency = {name: said["latency_us"][name] / 1e3 for name in ("mean", "p50", "p90", "p99")}
    return Figures(good / seconds, said["bytes"] / seconds, latency, errors)


def _pgbench(output: str) -> Figures:
    """Source: https://www.postgresql.org/docs/current/pgbench.html"""
    rate = re.search(r"^tps = ([0-9.]+)", output, re.MULTILINE)
    mean = re.search(r"^latency average = ([0-9.]+) ms", output, re.MULTILINE)
    failed = re.search(r"^number of failed transactions: ([0-9]+)", output, re.MULTILINE)
    if not rate or not mean:
        raise NoFigures(f"found no rate or no latency in what pgbench printed: {output.strip()[-500:]}")
    return Figures(float(rate[1]), None, {"mean": float(mean[1])}, int(failed[1]) if failed else 0)


def together(runs: Iterable[Data]) -> dict[str, Any]:
    """The same measure on several hosts at one time: their rates add up, the worst latency counts."""
    found = list(runs)
    return {
        "rate": sum(run["rate"] for run in found),
        "throughput": None if found[0]["throughput"] is None else sum(run["throughput"] for run in found),
        "latency": {name: max(run["latency"][name] for run in found) for name in found[0]["latency"]},
        "errors": sum(run["errors"] for run in found),
    }


def median(rounds: Sequence[Data]) -> dict[str, Any]:
    """The middle of the rounds, each figure by itself, with the ``spread`` of the rate (highest by lowest); the errors
    of all of them."""
    rates = [run["rate"] for run in rounds]
    throughputs = [run["throughput"] for run in rounds if run["throughput"] is not None]
    return {
        "rate": statistics.median(rates),
        "spread": max(rates) / min(rates) if len(rates) > 1 and min(rates) else None,
        "throughput": statistics.median(throughputs) if throughputs else None,
        "latency": {name: statistics.median(run["latency"][name] for run in rounds) for name in rounds[0]["latency"]},
        "errors": sum(run["errors"] for run in rounds),
        "rounds": len(rounds),
    }
