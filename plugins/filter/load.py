# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: load
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: Decide what a load test measures, and where
description:
  - The filter C(load_plan) says from where and how a load test is run, or refuses it; C(load_text) says that in words.
  - The filter C(load_aim) takes the topology, the status of the stack, that plan, the URL of the site, the path of a
    video there, and where the application redirects NGINX for it (below a prefix), and gives what a round measures.
  - The filter C(load_bare_host) says on which host the bare NGINX runs.
positional: _input, hostvars, wanted
options:
  _input:
    description: The topology.
    type: dict
    required: true
  hostvars:
    description: The magic variable C(hostvars).
    type: dict
    required: true
  wanted:
    description: What the user asked for, as in C(vars/loadtest.yml).
    type: dict
    required: true
  limit:
    description: What the run was limited to.
    type: str
  may_load:
    description: Name of the inventory that the user allows to be loaded.
    type: str
    required: true
  generator:
    description: Host that the load comes from.
    type: str
seealso:
  - module: renfo.redundancy.load_measure
  - module: renfo.redundancy.load_report
"""

EXAMPLES = r"""
- name: Decide
  renfo.redundancy.decide:
    plan: "{{ load_planned }}"
    text: "{{ load_planned | renfo.redundancy.load_text }}"
  vars:
    load_planned: "{{ topology | renfo.redundancy.load_plan(hostvars, load_wanted, may_load=loadtest_i_may_load) }}"
"""

RETURN = r"""
_value:
  description: The plan, with C(refusals), C(generator), C(wanted), and where the load test keeps what it needs.
  type: dict
"""

from collections.abc import Mapping
from typing import Any

from ansible_collections.renfo.redundancy.plugins.filter.drill import inventories
from ansible_collections.renfo.redundancy.plugins.module_utils.load_plan import (
    BARE_PORT,
    FOLDER,
    bare_host,
    measures,
    refusals,
    replica_url,
)

Data = Mapping[str, Any]


def plan(
    topology: Data, hostvars: Data, wanted: Data, may_load: str = "", limit: str = "", generator: str = ""
) -> dict[str, Any]:
    """Whether a load test may be run, and from where."""
    source = generator or next(iter(topology["monitoring"]), "")
    return {
        "refusals": refusals(inventories(topology, hostvars), may_load, limit, topology, source, wanted),
        "generator": source,
        "wanted": wanted,
        "folder": FOLDER,
        "bare_port": BARE_PORT,
        "replica": replica_url(topology),
    }


def text(plan: Data) -> str:
    """What is going to happen, for a terminal."""
    if plan["refusals"]:
        return "Nothing was loaded."
    wanted = plan["wanted"]
    return (
        f"{wanted['rounds']} round(s) in which everything is measured for {wanted['seconds']} s each. HTTP is asked "
        f"from {plan['generator']}; the application is stopped on some hosts in between."
    )


def aim(topology: Data, status: Data, plan: Data, url: str, video: str, redirect: str, prefix: str) -> dict[str, Any]:
    """What is measured, and where the bare NGINX finds the video."""
    stored = redirect.removeprefix(prefix) if redirect.startswith(prefix) else ""
    return {
        "measures": measures(topology, status, plan["generator"], plan["wanted"], url, video, stored),
        "stored": stored,
    }


class FilterModule:
    """Filters of the collection that decide a load test."""

    def filters(self) -> dict[str, Any]:
        """Names of the filters and what they call."""
        return {"load_plan": plan, "load_text": text, "load_aim": aim, "load_bare_host": bare_host}
