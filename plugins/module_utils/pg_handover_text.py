# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What failover.yml, switchover.yml and rejoin.yml say, for a terminal of 80 to 100 columns. Pure.

Plans come as the plain data that the filters make of them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

WIDTH = 98
#: A note gets at least so much of it.
NARROWEST_NOTE = 24
NOTHING = "-"
NEXT = "Next: ansible-playbook renfo.redundancy.status shows every part of the stack."
#: Instead of a report, in check mode.
CHECKED = "Check mode: nothing was changed. Without --check, what stands above is done."

Plan = Mapping[str, Any]


def failover_text(plan: Plan) -> str:
    """What was found, what a failover would do, and why it is refused if it is."""
    return "\n".join(_failover(plan))


def switchover_text(plan: Plan) -> str:
    """What was found, what a switchover would do, and why it is refused if it is."""
    return "\n".join(_switchover(plan))


def rejoin_text(plan: Plan) -> str:
    """What is to be done with each member, from the plan of the filter ``cluster_plan``."""
    return "\n".join(_rejoin(plan))


def failover_report(plan: Plan, promotion: Mapping[str, Any] | None = None, check: bool = False) -> str:
    """What a failover did, from what ``pg_promote`` returned, and what is left to do."""
    return CHECKED if check else "\n".join((*_done(plan, promotion or {}), *_left(plan)))


def switchover_report(plan: Plan, promotion: Mapping[str, Any] | None = None, check: bool = False) -> str:
    """What a switchover did, from what the candidate's module returned, and what is left to do."""
    return failover_report(plan, promotion, check)


def rejoin_report(plan: Plan, results: Mapping[str, Mapping[str, Any]] | None = None, check: bool = False) -> str:
    """What became of each member, or would, from what ``pg_standby`` returned for it, and what is left to do."""
    return "\n".join((*_rejoined(plan, results or {}, check), CHECKED if check else NEXT))


def _failover(plan: Plan) -> Iterator[str]:
    yield {
        "act": f"Failover from {plan['old_primary']} to {plan['candidate']}",
        "finish": f"{plan['candidate']} is the primary: finish what an interrupted failover left",
        "nothing": f"Nothing to fail over: {plan['candidate']} is the primary, and nothing was left half way",
        "refuse": "Failover refused: nothing is changed",
    }[plan["outcome"]]
    yield ""
    yield from _table(plan["rows"])
    if plan["outcome"] in ("act", "refuse") and plan["candidate"]:
        loss = plan["loss"]
        yield ""
        yield from _facts(
            {
                "Candidate": f"{plan['candidate']}, {plan['candidate_reason']}",
                "Nothing lost": f"{_verdict(loss)}: {loss['reason']}",
                "Fencing": f"{_BY[plan['fence']['by']]}{plan['fence']['reason']}",
            }
        )
    yield from _ending(plan)


#: What the operator is told before the reason, by how the old primary is fenced.
_BY = {"host": "", "command": "by command, ", "word": "by your word, ", "none": ""}


def _verdict(loss: Mapping[str, Any]) -> str:
    if loss["proven"]:
        return "proven"
    bound = loss["upper_bound"]
    return f"not proven, {'an unknown amount' if bound is None else f'at most {bound} bytes of WAL'}"


def _switchover(plan: Plan) -> Iterator[str]:
    yield {
        "act": f"Switchover from {plan['old_primary']} to {plan['candidate']}",
        "finish": f"Switchover to {plan['candidate']}: finish what an interrupted one left",
        "nothing": f"Nothing to do: {plan['candidate']} is the primary, and all that answer follow it",
        "refuse": "Switchover refused: nothing is changed",
    }[plan["outcome"]]
    yield ""
    yield from _table(plan["rows"])
    if plan["outcome"] in ("act", "finish"):
        yield ""
        yield from _facts({"Candidate": f"{plan['candidate']}, {plan['candidate_reason']}"})
    yield from _ending(plan)


def _ending(plan: Plan) -> Iterator[str]:
    """What comes last: what is refused, else what is to be done; and what is good to know."""
    moves = [f"{name}: {_MOVES[item['action']]}{item['reason']}" for name, item in plan["members"].items()]
    yield from _section("Refused", plan["refusals"])
    if plan["outcome"] in ("act", "finish"):
        yield from _section("What is to be done", moves)
    yield from _section("Good to know", plan["notes"])


#: What the operator reads before the reason, by what happens to the member.
_MOVES = {
    "promote": "is promoted; ",
    "fence": "is stopped and fenced; ",
    "hand_over": "hands over; ",
    "take_over": "takes over; ",
    "rejoin": "comes back as a standby; ",
    "follow": "",
    "none": "",
    "hold": "left alone; ",
}


def _rejoin(plan: Plan) -> Iterator[str]:
    yield "Rejoin refused" if plan["refusals"] else f"Rejoin: {plan['primary']} is the primary"
    yield ""
    words = {"none": "is well", "hold": "left alone", "refuse": "refused"}
    first = max((len(name) for name in plan["members"]), default=0)
    for name, member in plan["members"].items():
        what = words.get(member["action"], member["action"])
        yield from _wrapped(f"{what}: {member['reason']}", f"  {name.ljust(first)}  ", " " * (first + 4))
    yield from _section("Refused", plan["refusals"])
    yield from _section("Good to know", plan["notes"])


def _rejoined(plan: Plan, results: Mapping[str, Mapping[str, Any]], check: bool) -> Iterator[str]:
    streams = "would stream" if check else "streams"
    for name, member in plan["members"].items():
        result = results.get(name) or {}
        lost = result.get("lost") or {}
        if member["action"] in ("hold", "refuse"):
            yield from _wrapped(f"! {name} was left alone: {member['reason']}", "", "  ")
        elif result.get("failed") or result.get("unreachable"):
            yield from _wrapped(f"! {name} did not come back: {result.get('msg', 'no answer')}", "", "  ")
        elif member["action"] != "none":
            how = f": {result['reason']}" if result.get("reason") else ""
            yield from _wrapped(f"{name} {streams} from {plan['primary']} again{how}", "", "  ")
        if lost.get("directory"):
            count = lost.get("transactions")
            number = "an unknown number of transactions" if count is None else f"{count} transaction(s)"
            yield from _wrapped(
                f"* {name} held {number} that {plan['primary']} doesn't have: they are saved on {name} in "
                f"{lost['directory']}. Look through them, then remove it.",
                "",
                "  ",
            )
    for note in plan["notes"]:
        yield from _wrapped(f"* {note}", "", "  ")


def _done(plan: Plan, promotion: Mapping[str, Any]) -> Iterator[str]:
    milliseconds = promotion.get("milliseconds")
    timeline = promotion.get("timeline_after") or plan["timeline"]
    took = f", promoted in {milliseconds} ms" if milliseconds is not None else ""
    yield f"{plan['candidate']} is the primary on timeline {timeline}{took}"
    write = promotion.get("synchronous_write") or {}
    if write.get("ok"):
        yield f"A standby acknowledged a write after {write.get('milliseconds')} ms"
    elif write:
        yield from _wrapped(
            "! No standby has acknowledged a write yet, so commits wait: see status.yml; bring a standby back with "
            "rejoin.yml",
            "",
            "  ",
        )


def _left(plan: Plan) -> Iterator[str]:
    if plan["next_steps"]:
        yield ""
        yield "What is left to do"
    for step in plan["next_steps"]:
        # Lines of YAML are to be copied as they are.
        yield from [f"    {step}"] if step.startswith(" ") else _wrapped(step, "  - ", "    ")
    yield ""
    yield NEXT


def _table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    header = ("MEMBER", "reachable", "role", "TL", "received", "replayed", "sync")
    keys = ("name", "reachable", "role", "timeline", "received", "replayed", "sync_state")
    cells = [[_cell(row[key]) for key in keys] for row in rows]
    widths = [max(len(line[column]) for line in (header, *cells)) for column in range(len(header))]

    def joined(line: Iterable[str]) -> str:
        return "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))

    yield f"  {joined(header)}  note"
    for line, row in zip(cells, rows, strict=True):
        begin = f"  {joined(line)}  "
        space = max(NARROWEST_NOTE, WIDTH - len(begin))
        note = textwrap.wrap(row["note"], space, break_on_hyphens=False) or [""]
        yield f"{begin}{note[0]}".rstrip()
        yield from (f"{' ' * len(begin)}{more}" for more in note[1:])


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return NOTHING if value is None else str(value)


def _facts(facts: Mapping[str, str]) -> Iterator[str]:
    first = max(map(len, facts)) + 2
    for name, value in facts.items():
        yield from _wrapped(value, f"{name}:".ljust(first), " " * first)


def _section(title: str, sentences: Sequence[str]) -> Iterator[str]:
    if sentences:
        yield ""
        yield title
    for sentence in sentences:
        yield from _wrapped(sentence, "  - ", "    ")


def _wrapped(text: str, first: str, following: str) -> list[str]:
    """``text`` in lines; a flag stays on one line with its value, to be copied."""
    glued = text.replace(" -e ", " -e\0")
    lines = textwrap.wrap(
        glued, WIDTH, initial_indent=first, subsequent_indent=following, break_on_hyphens=False, break_long_words=False
    )
    return [line.replace("\0", " ") for line in lines]
