# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a load test: ``report.json``, ``report.md``, and one page for people, ``index.html``, with a picture of
each comparison and nothing to load from elsewhere."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.load_figures import median, together
from ansible_collections.renfo.redundancy.plugins.module_utils.load_plan import CHARTS
from ansible_collections.renfo.redundancy.plugins.plugin_utils.drill_journal import forget, lines
from ansible_collections.renfo.redundancy.plugins.plugin_utils.report import Figure, machine, render

Data = Mapping[str, Any]

#: Where what was measured is noted in the folder.
JOURNAL = "measures.jsonl"
OWN = (JOURNAL, "events.jsonl", "logs", "report.json", "report.md", "index.html")
QUANTILES = ("p50", "p90", "p99")
COLOURS = ("#8fa3b5", "#2a78b5", "#5aa469")


def begin(folder: Path) -> None:
    """Forget the load test before. Nothing else in *folder* is touched."""
    forget(folder, OWN)
    folder.mkdir(parents=True, exist_ok=True)


def measured(folder: Path) -> list[dict[str, Any]]:
    """What ``load_measure`` noted in *folder*."""
    return [line for line in lines(folder / JOURNAL) if line["event"] == "measured"]


def report(found: Sequence[Data], about: Data) -> dict[str, Any]:
    """The load test as one document: for each chart its measures, each with its ``ratio`` to the first.

    *found* are the lines of ``load_measure``; *about* says what was measured, and what the load test was told.
    """
    by_name: dict[str, list[Data]] = {}
    for line in found:
        by_name.setdefault(line["measure"]["name"], []).append(line)
    charts = []
    for name, chart in CHARTS.items():
        rows = [_row(name, lines_of) for lines_of in by_name.values() if name in lines_of[0]["measure"]["charts"]]
        if rows:
            first = rows[0]["value"]
            rows = [{**row, "ratio": row["value"] / first if first else None} for row in rows]
            charts.append({"name": name, **dataclasses.asdict(chart), "rows": rows})
    return {"about": {**machine(), **about}, "charts": charts}


def _row(chart: str, found: Sequence[Data]) -> dict[str, Any]:
    rounds: dict[int, list[Data]] = {}
    for line in found:
        rounds.setdefault(line["round"], []).append(line["figures"])
    figures = median([together(runs) for runs in rounds.values()])
    value = figures["throughput"] / 1e6 if CHARTS[chart].unit == "MB/s" else figures["rate"]
    measure = found[0]["measure"]
    return {"title": measure["charts"][chart], "hosts": measure["hosts"], "value": value, **figures}


def write(folder: Path, document: Data) -> None:
    """Write the files into *folder*."""
    (folder / "report.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    (folder / "report.md").write_text(markdown(document), encoding="utf-8")
    (folder / "index.html").write_text(page(document), encoding="utf-8")


def cells(row: Data) -> Iterator[str]:
    """A row of a table: rate, its ratio to the first, how far the rounds were apart, latencies, errors."""
    yield f"{row['value']:,.0f}" if row["value"] >= 100 else f"{row['value']:.1f}"
    yield "" if row["ratio"] is None else f"{row['ratio']:.2f}"
    yield "" if row["spread"] is None else f"{row['spread']:.2f}"
    yield " / ".join(f"{row['latency'][name]:.1f}" for name in _latencies(row))
    yield str(row["errors"])


def _latencies(row: Data) -> Sequence[str]:
    return QUANTILES if "p50" in row["latency"] else ("mean",)


def latency_title(rows: Iterable[Data]) -> str:
    """What the latencies of a chart are."""
    names = {name: f"{name[1:]} %" for name in QUANTILES} | {"mean": "mean"}
    return "latency in ms: " + " / ".join(names[name] for name in _latencies(next(iter(rows))))


def told(about: Data) -> str:
    """How it was measured, in a sentence."""
    wanted = about["wanted"]
    return (
        f"{wanted['rounds']} round(s) of {wanted['seconds']} s for each figure, load from {about['generator']}: "
        f"{wanted['connections']} connections (wrk), {wanted['clients']} clients (pgbench, scale {wanted['scale']}), "
        f"video of {wanted['video_bytes'] / 1e6:.1f} MB, uploads of {wanted['upload_bytes'] / 1e6:.1f} MB."
    )


def text(document: Data) -> str:
    """The figures for a terminal."""
    found = []
    for chart in document["charts"]:
        found += ["", f"{chart['title']} ({chart['unit']}, ratio; {latency_title(chart['rows'])}; errors)"]
        for row in chart["rows"]:
            value, ratio, _spread, latency, errors = cells(row)
            found.append(f"  {row['title']:26}{value:>9}{ratio:>7}   {latency:>22}{errors:>7}")
    return "\n".join(found[1:])


def markdown(document: Data) -> str:
    """The tables, with what it was measured on."""
    about = document["about"]
    found = [
        f"Measured {about['date']} on the inventory `{about['inventory']}`, from a machine with {about['cores']} cores "
        f"and {about['memory_gib']} GiB, kernel {about['kernel']}. {told(about)}",
        "",
    ]
    for chart in document["charts"]:
        head = f"| {chart['title']} | {chart['unit']} | ratio | spread | {latency_title(chart['rows'])} | errors |"
        rows = ("| " + " | ".join([row["title"], *cells(row)]) + " |" for row in chart["rows"])
        found += [head, "|---|--:|--:|--:|--:|--:|", *rows, ""]
    return "\n".join(found)


def page(document: Data) -> str:
    """The page for people."""
    charts = [(chart, base64.b64encode(picture(chart)).decode()) for chart in document["charts"]]
    return render(
        "load_report.html.j2",
        about=document["about"],
        told=told(document["about"]),
        charts=charts,
        cells=cells,
        latency_title=latency_title,
    )


def picture(chart: Data) -> bytes:
    """A PNG of one chart: rates on the left, latencies on the right."""
    rows = chart["rows"]
    figure = Figure(figsize=(10, 0.42 * len(rows) + 0.9), dpi=110, layout="constrained")
    rates, latencies = figure.subplots(1, 2, width_ratios=[3, 2], sharey=True)
    places = range(len(rows))
    bars = rates.barh(places, [row["value"] for row in rows], color=COLOURS[1], height=0.6)
    rates.bar_label(bars, [next(cells(row)) for row in rows], padding=3)
    rates.set_yticks(places, [row["title"] for row in rows])
    rates.set_xlabel(chart["unit"])
    rates.margins(x=0.12)
    names = _latencies(rows[0])
    for turn, name in enumerate(names):
        height = 0.6 / len(names)
        # From the top down, as the bars of the rows are.
        offsets = [place + (turn - (len(names) - 1) / 2) * height for place in places]
        label = "mean" if name == "mean" else f"{name[1:]} %"
        values = [row["latency"][name] for row in rows]
        latencies.barh(offsets, values, height=height * 0.9, color=COLOURS[turn], label=label)
    latencies.set_xlabel("latency, ms")
    latencies.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1.05))
    for axis in (rates, latencies):
        axis.spines.right.set_visible(False)
        axis.grid(axis="x", color="#eeeeee")
        axis.set_axisbelow(True)
    rates.invert_yaxis()
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()
