# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: backup
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: Decide a restore, and say what backups there are
description:
  - The filter C(restore_plan) says what a restore begins with, where it ends, which member it runs on and what is given
    up; or why it must not be done.
  - The filter C(restore_overtaken) says what speaks against it once all members are stopped.
  - The filter C(system_identifier) gives that of the cluster that is there, empty where it can't be told.
  - The filter C(live_timeline) gives the timeline of the live primary, along which a restore goes.
  - The filter C(restore_report) says what was restored, and what is left to do.
  - The filter C(media_report) says which files came back, and where store and database disagree.
  - The filter C(backup_text) shows the backups of a repository, C(backup_problems) lists what is wrong with them.
positional: _input, hostvars, backups, asked, now
options:
  _input:
    description: The topology.
    type: dict
    required: true
  hostvars:
    description: The variables of all hosts. The members have C(pg_observed), as registered.
    type: dict
    required: true
  backups:
    description: The RV(renfo.redundancy.backup_info#module:backups) of the backup host.
    type: dict
  asked:
    description: What the operator asked for. C(what), C(to), C(label), C(timeline), C(host) and C(place).
    type: dict
    required: true
  now:
    description: The time, in seconds since the epoch.
    type: float
    required: true
seealso:
  - module: renfo.redundancy.backup_restore
"""

EXAMPLES = r"""
- name: Decide
  ansible.builtin.set_fact:
    plan: "{{ topology | renfo.redundancy.restore_plan(hostvars, backups, {'to': 'latest'}, now().timestamp()) }}"
"""

RETURN = r"""
_value:
  description: The plan, or a text.
  type: raw
"""

from collections.abc import Mapping
from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils import backup_catalogue
from ansible_collections.renfo.redundancy.plugins.module_utils.backup_restore import (
    backup_lines,
    overtaken,
    report_lines,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.backup_restore import restore_plan as decide
from ansible_collections.renfo.redundancy.plugins.module_utils.backup_results import backups_of
from ansible_collections.renfo.redundancy.plugins.module_utils.media_restore import comparison_lines, media_lines
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_model import observations_from


def restore_plan(
    site: Mapping[str, Any],
    hostvars: Mapping[str, Any],
    backups: Mapping[str, Any] | None,
    asked: Mapping[str, Any],
    now: float,
) -> dict[str, Any]:
    """The plan, as plain data."""
    names = [member["name"] for member in site["members"]]
    seen = observations_from({name: hostvars[name].get("pg_observed", {}).get("instance") for name in names})
    return decide(names, seen, backups, asked, now).to_dict()


def restore_overtaken(site: Mapping[str, Any], hostvars: Mapping[str, Any], planned: int) -> list[str]:
    """Why what was decided must not be done any more, now that all members are stopped."""
    names = [member["name"] for member in site["members"]]
    return overtaken(
        planned, observations_from({name: hostvars[name].get("pg_stopped", {}).get("instance") for name in names})
    )


def system_identifier(site: Mapping[str, Any], hostvars: Mapping[str, Any]) -> str:
    """Of the cluster that is there; empty where none is, or its members don't agree."""
    seen = [hostvars[member["name"]].get("pg_observed", {}).get("instance") or {} for member in site["members"]]
    found = {one["system_identifier"] for one in seen if one.get("system_identifier")}
    return found.pop() if len(found) == 1 else ""


def live_timeline(site: Mapping[str, Any], hostvars: Mapping[str, Any]) -> int | str:
    """The timeline that is written now; empty without a primary."""
    seen = [hostvars[member["name"]].get("pg_observed", {}).get("instance") or {} for member in site["members"]]
    return next((one["timeline"] for one in seen if one.get("state") == "primary"), "")


def restore_report(plan: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    """What was done, for people."""
    return "\n".join(report_lines(plan, results))


def media_report(restored: Mapping[str, Any] | None, compared: Mapping[str, Any] | None, check: bool = False) -> str:
    """Which files came back, and where store and database disagree, for people."""
    lines = [*(media_lines(restored, check) if restored else ()), *(comparison_lines(compared) if compared else ())]
    return "\n".join(lines)


def backup_text(backups: Mapping[str, Any]) -> str:
    """The backups that there are, for people."""
    return "\n".join(backup_lines(backup_catalogue.Catalogue.from_dict(backups["catalogue"]), backups))


def backup_problems(backups: Mapping[str, Any], host: str, now: float) -> list[str]:
    """What is wrong with the backups that *host* keeps."""
    return [problem for row in backups_of(host, True, True, backups, now) for problem in row.problems]


class FilterModule:
    """Filters of the collection about backups."""

    def filters(self) -> dict[str, Any]:
        """Names of the filters and what they call."""
        return {
            "restore_plan": restore_plan,
            "restore_report": restore_report,
            "media_report": media_report,
            "restore_overtaken": restore_overtaken,
            "live_timeline": live_timeline,
            "system_identifier": system_identifier,
            "backup_text": backup_text,
            "backup_problems": backup_problems,
        }
