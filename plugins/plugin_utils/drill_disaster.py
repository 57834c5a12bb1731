# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What it cost to lose everything but the backup host: what was acknowledged and did not come back, and how long the
rebuilding took. Who destroys and rebuilds is ``lab/disaster.py``.

All moments are seconds since the epoch, all durations seconds.
"""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.drill_verdict import Evidence
from ansible_collections.renfo.redundancy.plugins.plugin_utils.report import Figure, machine

Data = Mapping[str, Any]

#: What may be lost of the database: PostgreSQL's archive_timeout, which is what is aimed at; and at most as long again,
#: in which a file of WAL is carried away on a machine that does ten things at once.
AIM = 60.0
MOST = 120.0
#: How long a file may have been there before a host that walks through the store sees it.
SEEN = 1.0
COLOURS = {"bar": "#2a78b5", "back": "#5aa469"}
NAMED = 3


@dataclasses.dataclass(frozen=True)
class Moments:
    """When ``backup.yml`` was begun, when the newest snapshot of the media began, and when all was destroyed."""

    backup: float
    snapshot: float
    destroyed: float


@dataclasses.dataclass(frozen=True)
class Stage:
    """A step of the rebuilding."""

    title: str
    began: float
    seconds: float


@dataclasses.dataclass(frozen=True)
class Account:
    """What became of the acknowledged requests of one kind.

    ``rpo`` is from the answer to the oldest lost one until the destruction, 0 if none was lost. ``early`` are lost ones
    that must be there, ``wrong`` those that are there otherwise than they were acknowledged.
    """

    acknowledged: int
    lost: int
    rpo: float
    early: tuple[str, ...]
    wrong: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Accounts:
    """Of both kinds."""

    writes: Account
    uploads: Account

    def failures(self) -> Iterator[str]:
        """What must never be, and what was worse than it may be, a sentence each."""
        writes, uploads = self.writes, self.uploads
        if not writes.acknowledged or not uploads.acknowledged:
            yield f"{writes.acknowledged} write(s), {uploads.acknowledged} upload(s) acknowledged, expected both"
        if writes.early:
            yield (
                f"{len(writes.early)} acknowledged write(s) lost that are older than one that came back, or than the "
                f"backup. That was not the archive's delay: {_some(writes.early)}"
            )
        if writes.wrong:
            yield f"{len(writes.wrong)} write(s) there more than once: {_some(writes.wrong)}"
        if writes.rpo > MOST:
            yield f"acknowledged writes of the last {writes.rpo:.1f} s lost, expected of {MOST:.0f} s at most"
        if uploads.early:
            yield (
                f"{len(uploads.early)} acknowledged upload(s) lost that are older than the snapshot, and than a write "
                f"that came back: {_some(uploads.early)}"
            )
        if uploads.wrong:
            yield f"{len(uploads.wrong)} upload(s) served with other bytes than were sent: {_some(uploads.wrong)}"


def accounts(requests: Sequence[Data], evidence: Evidence, moments: Moments) -> Accounts:
    """Compare what the site acknowledged in *requests*, as the drill's client noted them, with what came back."""
    done = [item for item in requests if item["outcome"] == "ok"]
    writes = [item for item in done if item["operation"] == "write"]
    uploads = [item for item in done if item["operation"] == "upload"]
    kept = [item for item in writes if evidence.sessions.get(item["key"])]
    # Transactions come back in the order of their commits. One was committed before it was answered, and after it was
    # sent: who was answered before another one was even sent can't be lost without it.
    archived = max([moments.backup, *(item["sent"] for item in kept)])
    # A video is a row and a file: both were there before this.
    copied = min(archived, moments.snapshot - SEEN)
    gone = [item for item in uploads if evidence.downloads.get(item["id"]) != item["sha256"]]
    other = [item["id"] for item in gone if _is_digest(evidence.downloads.get(item["id"], ""))]
    lost = [item for item in writes if not evidence.sessions.get(item["key"])]
    return Accounts(
        Account(
            len(writes),
            len(lost),
            _rpo(lost, moments),
            tuple(item["key"] for item in lost if item["done"] < archived),
            tuple(key for key, count in evidence.sessions.items() if count > 1),
        ),
        Account(
            len(uploads),
            len(gone),
            _rpo(gone, moments),
            tuple(item["id"] for item in gone if item["done"] < copied),
            tuple(other),
        ),
    )


def _rpo(lost: Sequence[Data], moments: Moments) -> float:
    """Seconds that the oldest of *lost* had been acknowledged for."""
    return max((moments.destroyed - float(item["done"]) for item in lost), default=0.0)


def _is_digest(said: str) -> bool:
    """Whether it is a checksum, and not what kept a video from being read."""
    return re.fullmatch(r"[0-9a-f]{64}", said) is not None


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (" ..." if len(names) > NAMED else "")


def document(
    about: Data,
    stages: Sequence[Stage],
    moments: Moments | None = None,
    found: Accounts | None = None,
    back: Mapping[str, float] | None = None,
    broken: Sequence[str] = (),
) -> dict[str, Any]:
    """The whole rehearsal as plain data.

    *about* is what was rehearsed (``lab``, ``kept``: the host that was not destroyed). *back* is when each operation of
    the site worked again for the first time, and ``all`` of them in a row. *broken* are sentences on what kept the
    rehearsal from its end: *moments*, *found* and *back* may only be missing with one.
    """
    failures = list(broken)
    if found is not None:
        failures += found.failures()
    if not broken and "all" not in (back or {}):
        failures.append("page, consistent read, write and video never all worked again")
    since = moments.destroyed if moments else 0.0
    return {
        "passed": not failures,
        "failures": failures,
        "about": {**machine(), **about},
        "stages": [dataclasses.asdict(stage) | {"since": stage.began - since} for stage in stages],
        "moments": dataclasses.asdict(moments) if moments else None,
        "snapshot_age_seconds": moments.destroyed - moments.snapshot if moments else None,
        "accounts": dataclasses.asdict(found) if found else None,
        "back": {name: at - since for name, at in (back or {}).items()},
        "rto_seconds": back["all"] - since if back and "all" in back else None,
        "rpo_seconds_database": found.writes.rpo if found else None,
        "rpo_seconds_media": found.uploads.rpo if found else None,
        "rpo_seconds_database_aim": AIM,
        "rpo_seconds_database_most": MOST,
    }


def figures(told: Data) -> Iterator[str]:
    """The result in a few lines, for a terminal."""
    if told["accounts"]:
        writes, uploads = told["accounts"]["writes"], told["accounts"]["uploads"]
        yield (
            f"Writes:  {writes['acknowledged']} acknowledged, {writes['lost']} lost: the last "
            f"{writes['rpo']:.1f} s (RPO; aim {AIM:.0f} s, at most {MOST:.0f} s)"
        )
        yield (
            f"Uploads: {uploads['acknowledged']} acknowledged, {uploads['lost']} lost: the last {uploads['rpo']:.1f} s "
            f"(RPO; the snapshot was {told['snapshot_age_seconds']:.1f} s old)"
        )
    if told["rto_seconds"] is not None:
        yield f"Page, consistent read, write and video all work {told['rto_seconds']:.0f} s after the destruction (RTO)"
    yield from (f"FAILED: {failure}" for failure in told["failures"])


def loss_rows(told: Data) -> list[tuple[str, ...]]:
    """Rows of the table of losses: what, acknowledged, lost, RPO, what it was compared with."""
    if not told["accounts"]:
        return []
    limits = {
        "writes": f"aim {AIM:.0f} s (`archive_timeout`), at most {MOST:.0f} s",
        "uploads": f"the snapshot was {told['snapshot_age_seconds']:.1f} s old",
    }
    return [
        (
            name,
            str(told["accounts"][name]["acknowledged"]),
            str(told["accounts"][name]["lost"]),
            f"{told['accounts'][name]['rpo']:.1f} s",
            limit,
        )
        for name, limit in limits.items()
    ]


def stage_rows(told: Data) -> list[tuple[str, ...]]:
    """Rows of the table of stages: what, how long it took, how long after the destruction it ended."""
    rows: list[tuple[str, ...]] = [
        (str(stage["title"]), f"{stage['seconds']:.1f} s", f"{stage['since'] + stage['seconds']:.1f} s")
        for stage in told["stages"]
    ]
    if told["rto_seconds"] is not None:
        rows.append(("page, consistent read, write and video all work (RTO)", "", f"{told['rto_seconds']:.1f} s"))
    return rows


def markdown(told: Data) -> str:
    """The tables alone, with what it was measured on."""
    about = told["about"]
    found = [
        f"Measured {about['date']} on the lab `{about['lab']}`, from a machine with {about['cores']} cores and "
        f"{about['memory_gib']} GiB, kernel {about['kernel']}. Every host but `{about['kept']}` was destroyed and "
        "built anew; a client had used the site until then.",
        "",
        *(f"**{failure}**\n" for failure in told["failures"]),
    ]
    if rows := loss_rows(told):
        found += ["| | acknowledged | lost | RPO | compared with |", "|---|--:|--:|--:|---|"]
        found += [*(f"| {' | '.join(row)} |" for row in rows), ""]
    found += ["| stage | took | ended after |", "|---|--:|--:|"]
    return "\n".join([*found, *(f"| {' | '.join(row)} |" for row in stage_rows(told)), ""])


def picture(told: Data) -> bytes:
    """A PNG of the stages, from the destruction on; the green line is when the site could be used again."""
    stages = told["stages"]
    figure = Figure(figsize=(10, 0.42 * len(stages) + 0.9), dpi=110, layout="constrained")
    axis = figure.subplots()
    places = range(len(stages))
    seconds = [stage["seconds"] for stage in stages]
    bars = axis.barh(places, seconds, left=[stage["since"] for stage in stages], color=COLOURS["bar"], height=0.6)
    axis.bar_label(bars, [f"{value:.0f} s" for value in seconds], padding=3)
    axis.set_yticks(places, [stage["title"] for stage in stages])
    if told["rto_seconds"] is not None:
        axis.axvline(told["rto_seconds"], color=COLOURS["back"], linewidth=1.5)
    axis.set_xlabel("seconds since the destruction")
    axis.margins(x=0.08)
    axis.spines.right.set_visible(False)
    axis.grid(axis="x", color="#eeeeee")
    axis.set_axisbelow(True)
    axis.invert_yaxis()
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()
