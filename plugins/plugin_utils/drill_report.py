# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a drill: ``report.json``, ``junit.xml``, ``report.md`` with the table alone, and one page for people,
``index.html``, with a picture for each fault and nothing to load from elsewhere."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils import drill_alerts
from ansible_collections.renfo.redundancy.plugins.module_utils.drill_verdict import TITLES, gaps
from ansible_collections.renfo.redundancy.plugins.plugin_utils.report import (
    Figure,
    FuncFormatter,
    junitparser,
    machine,
    render,
)

COLOURS = {"ok": "#2a78b5", "failed": "#c0392b", "unknown": "#e08e0b"}
PRIMARIES = ("#2a78b5", "#5aa469", "#8e6bbf", "#c98b3b", "#b5566b", "#4f8a8b")

Result = Mapping[str, Any]


def report(
    results: Sequence[Result], about: Mapping[str, Any], afterwards: Sequence[str] = (), planned: int = 0
) -> dict[str, Any]:
    """The whole drill as one document.

    *about* is what was drilled (``inventory``, ``site``, ``seed``). *afterwards* are sentences on what is wrong with
    the whole, and *planned* is the number of rounds that there should be: a drill that broke off has not passed.
    """
    missing = max(0, planned - len(results))
    broken = [f"the drill broke off: {missing} of {planned} round(s) have no result"] if missing else []
    failures = [*broken, *afterwards]
    return {
        "passed": bool(results) and not failures and all(result["passed"] for result in results),
        "failures": failures,
        "about": {**machine(), **about},
        "totals": {
            "rounds": len(results),
            "failed_rounds": sum(not result["passed"] for result in results),
            "requests": sum(asked(tally) for result in results for tally in result["tallies"]),
            "acknowledged_writes": _acknowledged(results, "write"),
            "acknowledged_uploads": _acknowledged(results, "upload"),
            "lost_writes": sum(len(result["losses"]["writes"]) for result in results),
            "lost_uploads": sum(len(result["losses"]["uploads"]) for result in results),
            "two_primaries": sum(len(result["losses"]["two_primaries"]) for result in results),
        },
        "rounds": list(results),
    }


def asked(tally: Mapping[str, Any]) -> int:
    """Requests of one operation, whatever came of them."""
    return int(tally["ok"] + tally["failed"] + tally["unknown"])


def _acknowledged(results: Sequence[Result], operation: str) -> int:
    return sum(tally["ok"] for result in results for tally in result["tallies"] if tally["operation"] == operation)


def write(folder: Path, document: Mapping[str, Any], requests: Sequence[Mapping[str, Any]]) -> None:
    """Write the files into *folder*. *requests* are of the client, for the pictures."""
    (folder / "report.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    suite(document).write(str(folder / "junit.xml"), pretty=True)
    (folder / "report.md").write_text(markdown(document), encoding="utf-8")
    (folder / "index.html").write_text(page(document, requests), encoding="utf-8")


def suite(document: Mapping[str, Any]) -> Any:
    """The drill for a CI server: a case for each round."""
    found = junitparser.TestSuite(f"drill {document['about'].get('inventory', '')}".strip())
    for result in document["rounds"]:
        case = junitparser.TestCase(
            f"{result['number']:02} {result['fault']} on {', '.join(result['hosts'])}",
            classname=f"drill.{result['tier']}",
            time=result["ended"] - result["begun"],
        )
        if result["failures"]:
            case.result = [junitparser.Failure("; ".join(result["failures"]))]
        found.add_testcase(case)
    case = junitparser.TestCase("the drill as a whole", classname="drill")
    case.result = [junitparser.Failure(failure) for failure in document["failures"]]
    found.add_testcase(case)
    whole = junitparser.JUnitXml()
    whole.add_testsuite(found)
    return whole


def has_alerts(document: Mapping[str, Any]) -> bool:
    """Whether anybody wanted to know which alerts fired."""
    return any(result.get("alerts") for result in document["rounds"])


def markdown(document: Mapping[str, Any]) -> str:
    """The table of the rounds, with what it was measured on; then, if anybody asked, that of the alerts."""
    about, totals, told = document["about"], document["totals"], has_alerts(document)
    lines = [
        f"Measured {about['date']} on the inventory `{about['inventory']}`, from a machine with {about['cores']} cores "
        f"and {about['memory_gib']} GiB, kernel {about['kernel']}"
        + ("." if about["seed"] is None else f"; random faults, seed {about['seed']}."),
        "",
        f"{totals['requests']} requests; {totals['lost_writes']} of {totals['acknowledged_writes']} acknowledged "
        f"writes and {totals['lost_uploads']} of {totals['acknowledged_uploads']} acknowledged uploads lost; "
        f"{totals['two_primaries']} moments with two primaries.",
        "",
        *(f"**{failure}**\n" for failure in document["failures"]),
        "| fault | on | ok | failed | unknown | gap: reads | videos | writes | uploads | RTO | whole after "
        + ("| alerts fired after | cleared after " if told else "")
        + "| verdict |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:" + ("|--:|--:" if told else "") + "|---|",
    ]
    rows = [_row(result, told) for result in document["rounds"]]
    return "\n".join([*lines, *rows, *(_alerts(document["rounds"]) if told else ()), ""])


def _row(result: Result, told: bool) -> str:
    tallies = result["tallies"]
    cells = [
        f"`{result['fault']}`",
        ", ".join(result["hosts"]) if len(result["hosts"]) < 4 else "all hosts",
        *(str(sum(tally[outcome] for tally in tallies)) for outcome in ("ok", "failed", "unknown")),
        *(f"{gap:.1f} s" for gap in gaps(result).values()),
        f"{result['rto']:.1f} s" if result["rto"] else "none",
        "never" if result["whole"] is None else f"{result['whole']:.0f} s",
        *(drill_alerts.columns(result["alerts"]) if told else ()),
        "within budget" if result["passed"] else "**over**: " + "; ".join(result["failures"]),
    ]
    return _line(cells)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _alerts(rounds: Sequence[Result]) -> Iterator[str]:
    yield from ("", "| fault | alert | about | severity | expected | fired after | cleared after |")
    yield "|---|---|---|---|---|--:|--:|"
    for result in rounds:
        fault, alerts = f"`{result['fault']}`", result["alerts"]
        if sentence := drill_alerts.sentence(alerts):
            yield _line([fault, sentence, "", "", "", "", ""])
        for told in alerts["told"]:
            expected = "yes" if told["expected"] else "no"
            times = (seconds(told["after"]), seconds(told["over"]))
            yield _line([fault, told["name"], told["about"], told["severity"], expected, *times])


def seconds(value: float | None) -> str:
    """For a table; None is what never was."""
    return "never" if value is None else f"{value:.0f} s"


def page(document: Mapping[str, Any], requests: Sequence[Mapping[str, Any]]) -> str:
    """The page for people."""
    pictures = [base64.b64encode(picture(result, requests)).decode() for result in document["rounds"]]
    rounds = list(zip(document["rounds"], pictures, strict=True))
    return render(
        "drill_report.html.j2",
        document=document,
        rounds=rounds,
        titles=TITLES,
        gaps=gaps,
        told=has_alerts(document),
        columns=drill_alerts.columns,
        sentence=drill_alerts.sentence,
        seconds=seconds,
    )


def picture(result: Result, requests: Sequence[Mapping[str, Any]]) -> bytes:
    """A PNG of one round: every request of every operation, by when it was sent and how long it took."""
    begun, fault, ended = result["begun"], result["injected"], result["ended"]
    shown = [tally["operation"] for tally in result["tallies"]]
    figure = Figure(figsize=(10, 0.75 * len(shown) + 1.1), dpi=110, layout="constrained")
    axes = figure.subplots(len(shown) + 1, 1, sharex=True, squeeze=False, height_ratios=[3] * len(shown) + [1])[:, 0]
    for axis, operation in zip(axes, shown, strict=False):
        mine = [item for item in requests if item["operation"] == operation and begun <= item["sent"] < ended]
        for outcome, colour in COLOURS.items():
            these = [item for item in mine if item["outcome"] == outcome]
            axis.scatter(
                [item["sent"] - fault for item in these],
                [max(item["done"] - item["sent"], 0.001) * 1000 for item in these],
                s=5 if outcome == "ok" else 16,
                c=colour,
                marker="." if outcome == "ok" else "x",
                linewidths=0.8,
            )
        axis.set_yscale("log")
        axis.set_ylim(1, 40000)
        axis.set_yticks([10, 1000], ["10 ms", "1 s"])
        axis.yaxis.set_minor_formatter(FuncFormatter(lambda _value, _place: ""))
        axis.set_ylabel(TITLES[operation], rotation=0, ha="right", va="center", labelpad=34)
        axis.grid(axis="y", color="#eeeeee")
        axis.spines.right.set_visible(False)
        _mark(axis, result)
    _primaries(axes[-1], result)
    axes[-1].set_xlim(begun - fault, ended - fault)
    axes[-1].set_xlabel("seconds since the fault")
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


def _mark(axis: Any, result: Result) -> None:
    axis.axvspan(0, result["healed"] - result["injected"], color="#fbe9e6", linewidth=0, zorder=0)
    if result["whole"] is not None:
        axis.axvline(result["healed"] - result["injected"] + result["whole"], color="#5aa469", linewidth=1)


def _primaries(axis: Any, result: Result) -> None:
    """Who accepted writes, as the instances themselves saw it."""
    hosts = sorted({span["host"] for span in result["spans"]})
    for span in result["spans"]:
        left = span["first"] - result["injected"]
        colour = PRIMARIES[hosts.index(span["host"]) % len(PRIMARIES)]
        axis.barh(0, max(span["last"] - span["first"], 0.1), left=left, height=0.8, color=colour, alpha=0.85)
        axis.text(
            left + 0.1,
            0,
            f"{span['host']}, timeline {span['timeline']}",
            va="center",
            color="white",
            clip_on=True,
            fontsize=7,
        )
    axis.set_yticks([])
    axis.set_ylim(-0.5, 0.5)
    axis.set_ylabel("primary", rotation=0, ha="right", va="center", labelpad=34)
    axis.spines.right.set_visible(False)
