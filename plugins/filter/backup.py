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
  - The filter C(live_timeline) gives the timeline of the live primary, along which a restore goes.
  - The filter C(restore_report) says what was restored, and what is left to do.
  - The filter C(backup_text) shows the backups of a repository.
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
    description: What the operator asked for. C(to), C(label), C(timeline), C(host) and C(place).
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


def live_timeline(site: Mapping[str, Any], hostvars: Mapping[str, Any]) -> int | str:
    """The timeline that is written now; empty without a primary."""
    seen = [hostvars[member["name"]].get("pg_observed", {}).get("instance") or {} for member in site["members"]]
    return next((one["timeline"] for one in seen if one.get("state") == "primary"), "")


def restore_report(plan: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    """What was done, for people."""
    return "\n".join(report_lines(plan, results))


def backup_text(backups: Mapping[str, Any]) -> str:
    """The backups that there are, for people."""
    return "\n".join(backup_lines(backup_catalogue.Catalogue.from_dict(backups["catalogue"]), backups))


class FilterModule:
    """Filters of the collection about backups."""

    def filters(self) -> dict[str, Any]:
        """Names of the filters and what they call."""
        return {
            "restore_plan": restore_plan,
            "restore_report": restore_report,
            "restore_overtaken": restore_overtaken,
            "live_timeline": live_timeline,
            "backup_text": backup_text,
        }
