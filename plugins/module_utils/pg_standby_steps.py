# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How an instance becomes a standby, or goes on being one: the steps, decided without I/O."""

from __future__ import annotations

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


class Step(StrEnum):
    """One thing to do, in the order in which they are done."""

    CREATE_SLOT = "create_slot"
    DISCARD_LEFT_OVER = "discard_left_over"
    COPY = "copy"
    CONFIGURE = "configure"
    ENABLE = "enable"
    START = "start"
    RELOAD = "reload"
    WAIT = "wait"


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
    """The standby as it is to be. ``system_identifier``: of the cluster it must belong to."""

    action: StandbyAction
    replication: Replication
    system_identifier: str | None = None

    @property
    def upstream(self) -> Upstream:
        return self.replication.upstream

    @property
    def settings(self) -> str:
        """The whole text of the settings file."""
        return self.replication.settings


@dataclass(frozen=True)
class Local:
    """What of this host counts beside the instance itself.

    ``overridden``: postgresql.auto.conf holds settings that would win over the settings file.
    """

    settings: str
    overridden: bool
    enabled: bool


@dataclass(frozen=True)
class Source:
    """What the upstream says of itself."""

    system_identifier: str
    timeline: int
    version: int
    slot_exists: bool


def is_settled(observed: Observation, wanted: Wanted, local: Local) -> bool:
    """Whether the instance is the standby that is wanted, so that nobody needs to be asked."""
    return (
        observed.state is State.STANDBY
        and observed.streaming
        and observed.upstream == wanted.upstream
        and wanted.system_identifier in (None, observed.system_identifier)
        and _is_configured(wanted, local)
        and local.enabled
    )


def standby_steps(observed: Observation, wanted: Wanted, local: Local, source: Source | None) -> tuple[Step, ...]:
    """What is to be done, nothing if all is as wanted.

    ``source`` is None where the upstream could not be asked, which only a rehearsal may ignore.
    PgError: what is there contradicts what is wanted; nothing may be changed then.
    """
    if is_settled(observed, wanted, local):
        return ()
    _refuse(observed, wanted, source)
    copy = not observed.has_data
    running = observed.state is State.STANDBY
    configure = not _is_configured(wanted, local)
    stale = running and observed.upstream != wanted.upstream
    needed = {
        Step.CREATE_SLOT: source is not None and not source.slot_exists,
        Step.DISCARD_LEFT_OVER: copy and observed.clone_in_progress,
        Step.COPY: copy,
        Step.CONFIGURE: configure,
        Step.ENABLE: not local.enabled,
        Step.START: not running,
        Step.RELOAD: running and (configure or stale),
        Step.WAIT: True,
    }
    return tuple(step for step, is_needed in needed.items() if is_needed)


def _is_configured(wanted: Wanted, local: Local) -> bool:
    return local.settings == wanted.settings and not local.overridden


def _refuse(observed: Observation, wanted: Wanted, source: Source | None) -> None:
    expected = wanted.system_identifier
    if source is not None:
        if expected not in (None, source.system_identifier):
            raise PgError(
                f"the upstream {_name(wanted)} has system identifier {source.system_identifier}, "
                f"expected {expected}: it belongs to another cluster. Check upstream_host and "
                "upstream_port",
                found=source.system_identifier,
                expected=expected,
            )
        expected = source.system_identifier
    if not observed.has_data:
        if wanted.action is StandbyAction.FOLLOW:
            raise PgError(
                f"{observed.data_directory} holds no database, expected a standby that can follow "
                f"{_name(wanted)}: use action=clone"
            )
        return
    if expected not in (None, observed.system_identifier):
        raise PgError(
            f"{observed.data_directory} has system identifier {observed.system_identifier}, "
            f"expected {expected} as on the upstream {_name(wanted)}: it belongs to another "
            "cluster. Nothing was changed. Move it away to have a fresh copy made",
            found=observed.system_identifier,
            expected=expected,
        )
    if not observed.is_standby:
        raise PgError(
            f"{observed.data_directory} belongs to a {_primary_words(observed)} on timeline "
            f"{observed.timeline}, expected nothing or a standby: what it holds may exist nowhere "
            "else. Nothing was changed. Run rejoin.yml to make it a standby",
            state=observed.state.value,
        )
    if source is not None and source.timeline < observed.timeline:
        raise PgError(
            f"the upstream {_name(wanted)} is on timeline {source.timeline}, this standby is on "
            f"the later timeline {observed.timeline}: the upstream may be an old primary. Nothing "
            "was changed. Run status.yml to see which is the primary",
            found=source.timeline,
            expected=observed.timeline,
        )


def _primary_words(observed: Observation) -> str:
    return "running primary" if observed.state is State.PRIMARY else "stopped primary"


def _name(wanted: Wanted) -> str:
    return f"{wanted.upstream.host}:{wanted.upstream.port}"
