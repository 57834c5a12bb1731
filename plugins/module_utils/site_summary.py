# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``site.yml`` says at its end: where the site is, what was left out, what is left to do. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def site_summary(site: Mapping[str, Any], plan: Mapping[str, Any], unreached: Sequence[str]) -> str:
    """Lines for the operator. *site* and *plan* are plain data, as the playbooks hold them."""
    return "\n".join(_lines(site, plan, unreached))


def _lines(site: Mapping[str, Any], plan: Mapping[str, Any], unreached: Sequence[str]) -> Iterator[str]:
    settings = site["settings"]
    if plan["primary"]:
        yield f"PostgreSQL primary: {plan['primary']}"
    yield f"Site: https://{settings['site_vip'] or site['load_balancers'][0]['address']}/ ({settings['site_name']})"
    for host in unreached:
        yield f"! {host} could not be reached and was left out. Bring it back, then run site.yml again."
    for name in plan["held"]:
        if name not in unreached:
            yield f"! {name} was left alone: {plan['members'][name]['reason']}"
    for note in plan["notes"]:
        yield f"* {note}"
    yield "Next: ansible-playbook renfo.redundancy.status shows every part of the stack."
