# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An update in words: what is going to happen, where it stopped, what was done. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Data = Mapping[str, Any]

AGAIN = "then run update.yml again: it begins with what is not done"


def update_text(plan: Data) -> str:
    """What is going to happen, for a terminal."""
    return "\n".join(_lines(plan))


def _lines(plan: Data) -> Iterator[str]:
    if plan["refusals"]:
        yield "Nothing was updated."
        return
    if not plan["steps"]:
        yield "There is nothing to update, and no reboot is due."
    else:
        yield f"To update, one by one, each as soon as the stack is whole again (update_reboot={plan['reboot']}):"
    for step in plan["steps"]:
        yield f"  {step['number']:2}  {step_text(step)}"
        yield from (f"        {package}" for package in step["packages"])
    if plan["back_to"]:
        yield f"  Then {plan['back_to']} becomes the primary again."
    if plan["idle"] and plan["steps"]:
        yield f"  left alone, nothing to do: {', '.join(plan['idle'])}"
    if plan["left_out"]:
        yield f"  left out, by update_hosts: {', '.join(plan['left_out'])}"
    yield from (f"  note: {note}" for note in plan["notes"])


def step_text(step: Data) -> str:
    """One step on one line."""
    first = f"; hands over to {step['hand_over_to']} first" if step["hand_over_to"] else ""
    reboot = f"; reboot ({step['reboot']})" if step["reboot"] else ""
    return f"{step['host']} ({', '.join(step['tiers'])}): {'; '.join(step['why'])}{first}{reboot}"


def done_text(step: Data, done: Data) -> str:
    """What became of a step."""
    reboot = ", rebooted" if done["rebooted"] else ""
    return f"{step['host']} is updated{reboot}, and the stack is whole again after {done['seconds']:.0f} s."


def stopped_text(plan: Data, host: str, why: str) -> str:
    """Where it stopped, and what to do."""
    hosts = [step["host"] for step in plan["steps"]]
    turn = hosts.index(host)
    before, after = hosts[:turn], hosts[turn + 1 :]
    return (
        f"The update stopped at {host} ({turn + 1} of {len(hosts)}): {' '.join(why.split()).rstrip('.')}. "
        f"Updated before it: {_list(before)}. Not begun: {_list(after)}. "
        f"Mend {host} (status.yml says what is missing, site.yml brings up what is stopped), {AGAIN}."
    )


def report_text(plan: Data, done: Mapping[str, Data]) -> str:
    """What was done, as a table, and who is the primary now. *done* is by host."""
    return "\n".join(_report(plan, done))


def _report(plan: Data, done: Mapping[str, Data]) -> Iterator[str]:
    results = [(step, done[step["host"]]) for step in plan["steps"]]
    rows = [
        (step["host"], str(len(step["packages"])), "yes" if end["rebooted"] else "no", f"{end['seconds']:.0f}")
        for step, end in results
    ]
    if rows:
        yield from _table([("host", "packages", "rebooted", "seconds until whole"), *rows])
    for step, end in results:
        if end["left"]:
            yield (
                f"note: on {step['host']} {', '.join(end['left'])} still {'runs' if len(end['left']) == 1 else 'run'} "
                "files that were replaced; only a reboot takes the new ones (update_reboot=always, or by hand)"
            )
    before = plan["primary"]
    now = plan["back_to"] or next((end["primary"] for _step, end in reversed(results)), before)
    if now == before:
        yield from [f"The primary is {now}, as before."] if now else []
    else:
        yield f"The primary is {now} now, it was {before}; site.yml follows it."
        yield f"To go back: switchover.yml -e switchover_to={before}"


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) or "nobody"
