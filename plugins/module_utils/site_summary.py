# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``site.yml`` says at its end: where the site is, what was left out, what is left to do. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def left_out(
    site: Mapping[str, Any], hostvars: Mapping[str, Any], plan: Mapping[str, Any], hosts: Sequence[str]
) -> dict[str, str]:
    """Which of ``hosts``, those that a run was meant for, it couldn't converge, and why."""
    found = {
        host: "could not be reached, left out. Bring it back, then run site.yml again."
        for host in site["hosts"]
        if "distribution_release" not in hostvars[host].get("ansible_facts", {})
    }
    for name in plan["held"]:
        found.setdefault(name, f"left alone: {plan['members'][name]['reason']}")
    return {host: why for host, why in found.items() if host in hosts}


def site_summary(
    site: Mapping[str, Any],
    plan: Mapping[str, Any],
    without: Mapping[str, str],
    notes: Sequence[str] = (),
    monitoring: Sequence[str] = (),
    removal: Mapping[str, Any] | None = None,
    removal_done: bool = True,
) -> str:
    """Lines for the operator. All is plain data; *without* is what ``left_out`` found.

    *notes* are what else there is to tell; *monitoring* says where Prometheus is; *removal* is what ``removal``
    decided, *removal_done* whether all of that was done everywhere.
    """
    return "\n".join(_lines(site, plan, without, notes, monitoring, removal or {}, removal_done))


def _lines(
    site: Mapping[str, Any],
    plan: Mapping[str, Any],
    without: Mapping[str, str],
    notes: Sequence[str],
    monitoring: Sequence[str],
    removal: Mapping[str, Any],
    removal_done: bool,
) -> Iterator[str]:
    settings = site["settings"]
    if plan["primary"]:
        yield f"PostgreSQL primary: {plan['primary']}"
    yield f"Site: https://{settings['site_vip'] or site['load_balancers'][0]['address']}/ ({settings['site_name']})"
    for url in monitoring:
        yield f"Monitoring: {url}consoles/index.html"
    # What holds for several is said once.
    for why in dict.fromkeys(without.values()):
        yield f"! {', '.join(host for host, its in without.items() if its == why)}: {why}"
    for note in (*plan["notes"], *notes):
        yield f"* {note}"
    if rotated := ",".join(site["rotation"]["parts"]):
        stage = site["rotation"]["stage"]
        yield f"* a rotation of {rotated} is under way (stage {stage}): run rotate.yml -e rotate={rotated} to finish it"
    for name in removal.get("hosts", ()):
        yield (
            f"- {name} was removed: nothing of it is left elsewhere, its data is where it was. Its line may go too."
            if removal_done
            else f"! {name}: something of it may be left elsewhere. Leave its line, and run site.yml again."
        )
    for note in removal.get("notes", ()):
        yield f"! {note}"
    yield "Next: ansible-playbook renfo.redundancy.status shows every part of the stack."
