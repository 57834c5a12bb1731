# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host remembers of the application's releases, and what becomes of it when the release changes. Pure.

A change is a trial until all of the site has it: until then it can be taken back without a trace, whatever was
interrupted when. Whether there is a trial the link tells that the copies start from: a trial counts while the link
leads to its release.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

#: What ``app_replicas_version`` says instead of a version, to go back to the release that ran before.
PREVIOUS = "previous"


@dataclasses.dataclass(frozen=True)
class Trial:
    """A change that is not final. *asked* is ``previous`` if that was asked for; *over* is of the state to be."""

    release: str
    before: str
    over: str = ""
    asked: str = ""


@dataclasses.dataclass(frozen=True)
class State:
    """The releases of a host, by id; empty where there is none.

    *previous* is the one to go back to. *over* is the one that the inventory declared when ``deploy.yml`` brought
    the current one in its place.
    """

    current: str = ""
    previous: str = ""
    over: str = ""
    trial: Trial | None = None

    @property
    def before(self) -> str:
        """The release that a trial takes back; empty where there is no trial."""
        return self.trial.before if self.trial else ""

    @property
    def declared(self) -> str:
        """The release that the inventory declared when it was last followed."""
        return self.over or self.before or self.current

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> State:
        """Read back what ``to_dict`` gave. A trial that the link doesn't lead to is none."""
        trial = Trial(**data["trial"]) if data.get("trial") else None
        current = str(data.get("current") or "")
        return cls(
            current=current,
            previous=str(data.get("previous") or ""),
            over=str(data.get("over") or ""),
            trial=trial if trial and trial.release == current else None,
        )


def begin(state: State, release: str, over: str = "", asked: str = "") -> State:
    """*release* becomes the current one, on trial."""
    if state.current == release:
        if state.trial:
            return dataclasses.replace(state, trial=dataclasses.replace(state.trial, over=over, asked=asked))
        return dataclasses.replace(state, over=over)
    before = state.before or state.current
    if before in ("", release):
        # The first one of all, or a trial that is undone.
        return State(release, state.previous, over)
    return dataclasses.replace(state, current=release, trial=Trial(release, before, over, asked))


def finish(state: State) -> State:
    """The trial is final: what ran before it is the previous release."""
    return State(state.current, state.before, state.trial.over) if state.trial else state


def back(state: State) -> State:
    """The trial is undone; nothing tells of it any more."""
    return State(state.before, state.previous, state.over) if state.trial else state


def surplus(releases: Sequence[str], keep: int, needed: Collection[str]) -> tuple[str, ...]:
    """Which *releases*, the newest first, are more than *keep* and are not *needed*."""
    room = max(keep, 1) - len([release for release in releases if release in needed])
    spare = [release for release in releases if release not in needed]
    return tuple(spare[max(room, 0) :])
