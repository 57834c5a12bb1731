# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Members of a cluster as they may be observed, for tests of what is decided about them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.pg_model import (
    Declared,
    Lsn,
    Member,
    Observation,
    Role,
    State,
    TimelineSwitch,
    Upstream,
    slot_name,
)
from hypothesis import strategies as st

ADDRESSES = {"pg1": "10.0.0.1", "pg2": "10.0.0.2", "pg3": "10.0.0.3"}


def members(*names: str) -> tuple[Member, ...]:
    return tuple(
        Member(name, ADDRESSES[name], 5432, Role.REPLICA if index else Role.PRIMARY) for index, name in enumerate(names)
    )


THREE = Declared(members("pg1", "pg2", "pg3"))

ABSENT = Observation(State.ABSENT)
HALF_CLONED = Observation(State.ABSENT, clone_in_progress=True)
UNREACHABLE = None


def forks(timeline: int) -> tuple[TimelineSwitch, ...]:
    """A history in which every timeline was left a hundred bytes after the one before it."""
    return tuple(TimelineSwitch(tli, Lsn(tli * 100)) for tli in range(1, timeline))


def waits_for(*others: str) -> str:
    """The setting synchronous_standby_names of a member whose peers these are."""
    return "ANY 1 (" + ",".join(f'"{name}"' for name in others) + ")"


def primary(timeline: int = 1, lsn: int = 1000, **changes: Any) -> Observation:
    values: dict[str, Any] = {
        "version": 17,
        "system_identifier": "7",
        "timeline": timeline,
        "current_lsn": Lsn(lsn),
        "accepts_connections": True,
        "synchronous_standby_names": waits_for("pg2", "pg3"),
        "timeline_history": forks(timeline),
    }
    return Observation(State.PRIMARY, **{**values, **changes})


def stopped_primary(timeline: int = 1, lsn: int = 1000, **changes: Any) -> Observation:
    values: dict[str, Any] = {
        "state": State.STOPPED,
        "accepts_connections": False,
        "lsn_exact": False,
        "clean_shutdown": True,
        "synchronous_standby_names": "",
    }
    return replace(primary(timeline, lsn), **{**values, **changes})


def standby(of: str = "pg1", me: str = "pg2", timeline: int = 1, lsn: int = 1000, **changes: Any) -> Observation:
    values: dict[str, Any] = {
        "version": 17,
        "system_identifier": "7",
        "timeline": timeline,
        "received_lsn": Lsn(lsn),
        "replayed_lsn": Lsn(lsn),
        "standby_signal": True,
        "streaming": True,
        "accepts_connections": True,
        "upstream": Upstream(of, ADDRESSES[of], 5432, slot_name(me)),
        "synchronous_standby_names": waits_for(*(name for name in ADDRESSES if name != me)),
        "timeline_history": forks(timeline),
    }
    return Observation(State.STANDBY, **{**values, **changes})


def stopped_standby(*args: Any, **changes: Any) -> Observation:
    return replace(
        standby(*args, **changes),
        state=State.STOPPED,
        streaming=False,
        accepts_connections=False,
        lsn_exact=False,
        clean_shutdown=changes.get("clean_shutdown", True),
        synchronous_standby_names="",
    )


# What may be seen on a host, in every combination. Positions cluster around the forks of
# ``primary()`` so that "just before", "at" and "just after" a fork all occur.
positions = st.sampled_from([50, 99, 100, 101, 150, 199, 200, 201, 300, 1000])
timelines = st.integers(1, 3)
upstreams = st.one_of(
    st.none(),
    st.builds(
        lambda of, me: Upstream(of, ADDRESSES[of], 5432, me),
        st.sampled_from(list(ADDRESSES)),
        st.sampled_from(list(ADDRESSES)),
    ),
)
mostly_not = st.sampled_from([False, False, False, True])
identifiers = st.sampled_from(["7", "7", "7", "8"])
anything = st.one_of(
    st.none(),
    st.just(ABSENT),
    st.just(HALF_CLONED),
    st.builds(
        primary,
        timelines,
        positions,
        accepts_connections=st.booleans(),
        system_identifier=identifiers,
    ),
    st.builds(
        stopped_primary,
        timelines,
        positions,
        clean_shutdown=st.booleans(),
        fenced=st.booleans(),
        held=st.booleans(),
        system_identifier=identifiers,
    ),
    st.builds(
        standby,
        timeline=timelines,
        lsn=positions,
        upstream=upstreams,
        streaming=st.booleans(),
        accepts_connections=st.booleans(),
        replay_paused=mostly_not,
        fenced=mostly_not,
        lsn_exact=st.booleans(),
        system_identifier=identifiers,
    ),
    st.builds(
        stopped_standby,
        timeline=timelines,
        lsn=positions,
        upstream=upstreams,
        clean_shutdown=st.booleans(),
        system_identifier=identifiers,
    ),
)
clusters = st.fixed_dictionaries(dict.fromkeys(ADDRESSES, anything))
live_primaries = st.builds(primary, timelines, positions, accepts_connections=st.booleans())
Seen = dict[str, Observation | None]

# The same with a lost primary, so that what is decided about it isn't drowned by strangers: standbys
# that mostly run, follow it or each other, and are on its timeline or one after it.
well_placed = st.builds(
    standby,
    of=st.sampled_from(["pg1", "pg1", "pg1", "pg2", "pg3"]),
    me=st.sampled_from(["pg2", "pg3"]),
    timeline=st.sampled_from([1, 1, 1, 2]),
    lsn=positions,
    streaming=st.booleans(),
    replay_paused=mostly_not,
    lsn_exact=mostly_not.map(lambda rarely: not rarely),
)
survivors = st.one_of(
    well_placed,
    well_placed,
    st.builds(
        stopped_standby,
        me=st.sampled_from(["pg2", "pg3"]),
        lsn=positions,
        clean_shutdown=st.booleans(),
        streaming=st.just(False),
    ),
    st.none(),
)
lost_primaries = st.one_of(
    st.none(),
    st.just(ABSENT),
    st.builds(stopped_primary, lsn=positions, clean_shutdown=st.booleans(), fenced=st.booleans(), held=st.booleans()),
    st.builds(primary, lsn=positions, accepts_connections=st.just(False), lsn_exact=st.just(False)),
)
lost_clusters = st.fixed_dictionaries({"pg1": lost_primaries, "pg2": survivors, "pg3": survivors})
