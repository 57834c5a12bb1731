# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How an instance becomes a standby, or goes on being one: the steps, decided without I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import (
    Observation,
    PgError,
    State,
    Upstream,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_text import (
    format_conninfo,
)

# A lost upstream is noticed within about nine seconds, so that a standby looks for it again.
ALIVE = {
    "connect_timeout": "3",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "9000",
}
MANAGED = "# Managed by Ansible (renfo.redundancy.pg_standby): what is changed here is lost.\n"


class StandbyAction(StrEnum):
    """What pg_standby is asked for."""

    CLONE = "clone"
    FOLLOW = "follow"
    REJOIN = "rejoin"


class Step(StrEnum):
    """One thing to do, in the order in which they are done."""

    FENCE = "fence"
    STOP = "stop"
    SAVE_FORK = "save_fork"
    DROP_SLOT = "drop_slot"
    CREATE_SLOT = "create_slot"
    CHECKPOINT = "checkpoint"
    REWIND = "rewind"
    DISCARD_LEFT_OVER = "discard_left_over"
    DISCARD_DATA = "discard_data"
    COPY = "copy"
    STANDBY_SIGNAL = "standby_signal"
    CONFIGURE = "configure"
    ENABLE = "enable"
    START = "start"
    RELOAD = "reload"
    WAIT = "wait"
    UNFENCE = "unfence"
    CLEAR = "clear"


@dataclass(frozen=True)
class Replication:
    """How the upstream is reached; the password is in ``passfile``, never here."""

    upstream: Upstream
    user: str
    application_name: str
    sslmode: str = "verify-full"
    ssl_root_certificate: str | None = None
    passfile: str | None = None

    @property
    def conninfo(self) -> dict[str, str]:
        """The libpq keywords, those that aren't set left out."""
        values = {
            "host": self.upstream.host,
            "hostaddr": self.upstream.address,
            "port": str(self.upstream.port),
            "user": self.user,
            "sslmode": self.sslmode,
            "sslrootcert": self.ssl_root_certificate,
            "passfile": self.passfile,
            "application_name": self.application_name,
        }
        return {**{key: value for key, value in values.items() if value}, **ALIVE}

    @property
    def settings(self) -> str:
        """The settings file of a standby that is reached so."""
        values = {
            "primary_conninfo": format_conninfo(self.conninfo),
            "primary_slot_name": self.upstream.slot or "",
        }
        return MANAGED + "".join("{} = '{}'\n".format(name, value.replace("'", "''")) for name, value in values.items())


@dataclass(frozen=True)
class Wanted:
    """The standby as it is to be. ``system_identifier``: of the cluster it must belong to.

    A rejoin may stop a running primary that is obsolete only with ``stop_primary``, and give up what
    can't be saved only with ``discard``.
    """

    action: StandbyAction
    replication: Replication
    system_identifier: str | None = None
    stop_primary: bool = False
    discard: bool = False

    @property
    def upstream(self) -> Upstream:
        return self.replication.upstream

    @property
    def where(self) -> str:
        """The upstream, in a sentence."""
        return f"{self.upstream.host}:{self.upstream.port}"

    @property
    def settings(self) -> str:
        """The whole text of the settings file."""
        return self.replication.settings


@dataclass(frozen=True)
class Lost:
    """Committed transactions that the upstream doesn't have (None: nobody knows), and where they are saved."""

    transactions: int | None = 0
    directory: str | None = None


NOTHING_LOST = Lost()


@dataclass(frozen=True)
class Local:
    """What of this host counts beside the instance itself.

    ``overridden``: postgresql.auto.conf holds settings that would win over the settings file.
    ``fenced``: the marker is there that keeps the instance from being started as a primary; ``held``:
    the guard did so. ``left_overs``: an earlier run left something beside the data directory.
    """

    settings: str
    overridden: bool
    enabled: bool
    fenced: bool = False
    held: bool = False
    left_overs: bool = False


@dataclass(frozen=True)
class Source:
    """What the upstream says of itself."""

    system_identifier: str
    timeline: int
    version: int
    slot_exists: bool
    slot_lost: bool = False


def is_settled(observed: Observation, wanted: Wanted, local: Local) -> bool:
    """Whether the instance is the standby that is wanted, so that nobody needs to be asked."""
    return (
        observed.state is State.STANDBY
        and observed.streaming
        and observed.upstream == wanted.upstream
        and wanted.system_identifier in (None, observed.system_identifier)
        and is_configured(wanted, local)
        and local.enabled
    )


def standby_steps(observed: Observation, wanted: Wanted, local: Local, source: Source | None) -> tuple[Step, ...]:
    """What is to be done, nothing if all is as wanted.

    ``source`` is None where the upstream could not be asked, which only a rehearsal may ignore.
    PgError: what is there contradicts what is wanted; nothing may be changed then.
    """
    if is_settled(observed, wanted, local):
        return tidy_steps(local)
    refuse(observed, wanted, source)
    copy = not observed.has_data
    needed = {
        Step.DISCARD_LEFT_OVER: copy and observed.clone_in_progress,
        Step.COPY: copy,
    }
    return (
        *slot_steps(source),
        *chosen(needed),
        *streaming_steps(observed, wanted, local, observed.state is State.STANDBY),
        *tidy_steps(local),
    )


def slot_steps(source: Source | None) -> tuple[Step, ...]:
    """What gives the upstream a slot that can be used. One that lost its WAL can't, ever again."""
    if source is None:
        return ()
    return chosen({Step.DROP_SLOT: source.slot_lost, Step.CREATE_SLOT: source.slot_lost or not source.slot_exists})


def streaming_steps(observed: Observation, wanted: Wanted, local: Local, running: bool) -> tuple[Step, ...]:
    """What makes the data that is there stream, once it is right; ``running``: it is to go on running."""
    configure = not is_configured(wanted, local)
    stale = observed.upstream != wanted.upstream
    needed = {
        Step.CONFIGURE: configure,
        Step.ENABLE: not local.enabled,
        Step.START: not running,
        Step.RELOAD: running and (configure or stale),
        Step.WAIT: True,
    }
    return chosen(needed)


def tidy_steps(local: Local) -> tuple[Step, ...]:
    """What a standby that streams no longer needs.

    A marker that stayed would keep it down as a primary, after it was promoted one day.
    """
    return chosen({Step.UNFENCE: local.fenced or local.held, Step.CLEAR: local.left_overs})


def chosen(needed: Mapping[Step, bool]) -> tuple[Step, ...]:
    """The steps that are needed, in the order given."""
    return tuple(step for step, is_needed in needed.items() if is_needed)


def is_configured(wanted: Wanted, local: Local) -> bool:
    return local.settings == wanted.settings and not local.overridden


def refuse_other_cluster(observed: Observation, wanted: Wanted, source: Source | None) -> None:
    """PgError if the upstream, or the data that is there, belongs to a cluster that wasn't meant."""
    expected = wanted.system_identifier
    if source is not None:
        if expected not in (None, source.system_identifier):
            raise PgError(
                f"the upstream {wanted.where} has system identifier {source.system_identifier}, "
                f"expected {expected}: it belongs to another cluster. Check upstream_host and "
                "upstream_port",
                found=source.system_identifier,
                expected=expected,
            )
        expected = source.system_identifier
    if observed.has_data and expected not in (None, observed.system_identifier):
        raise PgError(
            f"{observed.data_directory} has system identifier {observed.system_identifier}, "
            f"expected {expected} as on the upstream {wanted.where}: it belongs to another "
            "cluster. Nothing was changed. Move it away to have a fresh copy made",
            found=observed.system_identifier,
            expected=expected,
        )


def refuse(observed: Observation, wanted: Wanted, source: Source | None) -> None:
    """PgError if ``observed`` can't become or stay a standby of the upstream just as it is."""
    refuse_other_cluster(observed, wanted, source)
    if not observed.has_data:
        if wanted.action is StandbyAction.FOLLOW:
            raise PgError(
                f"{observed.data_directory} holds no database, expected a standby that can follow "
                f"{wanted.where}: use action=clone"
            )
        return
    if not observed.is_standby:
        raise PgError(
            f"{observed.data_directory} belongs to a {primary_words(observed)} on timeline "
            f"{observed.timeline}, expected nothing or a standby: what it holds may exist nowhere "
            "else. Nothing was changed. Run rejoin.yml to make it a standby",
            state=observed.state.value,
        )
    if source is not None and source.timeline < observed.timeline:
        raise PgError(
            f"the upstream {wanted.where} is on timeline {source.timeline}, this standby is on "
            f"the later timeline {observed.timeline}: the upstream may be an old primary. Nothing "
            "was changed. Run status.yml to see which is the primary",
            found=source.timeline,
            expected=observed.timeline,
        )


def primary_words(observed: Observation) -> str:
    return "running primary" if observed.state is State.PRIMARY else "stopped primary"
