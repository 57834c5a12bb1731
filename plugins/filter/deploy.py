# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = """
name: deploy
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: Decide which release the application's hosts get, and say it
description:
  - The filter C(deploy_plan) says which hosts get a release, in which order, or why none may be touched. It takes what
    M(renfo.redundancy.stack_host_info) saw from the variable C(host_observed) of each host, as registered.
  - The filter C(deploy_text) turns the plan into a text for a terminal, and C(deploy_report) says what runs where
    afterwards, after a first line that is empty unless something went wrong.
  - The filter C(deploy_failures) tells which hosts of the given batches didn't get the release, and why, and
    C(deploy_back) which hosts go back to the release before, batch by batch.
  - The filter C(deploy_questions) gives the arguments of M(renfo.redundancy.stack_host_info) for one host.
  - The filter C(site_release) says which release C(site.yml) is to give to hosts.
positional: _input, hostvars
options:
  _input:
    description: The topology.
    type: dict
    required: true
  hostvars:
    description: The magic variable C(hostvars).
    type: dict
    required: true
  drain:
    description: Names of hosts, separated by commas, that may be drained although nobody else is ready.
    type: str
    default: ""
  without:
    description: Names of hosts, separated by commas, that are left out.
    type: str
    default: ""
seealso:
  - module: renfo.redundancy.release_switch
  - module: renfo.redundancy.stack_host_info
"""

EXAMPLES = """
- name: Decide
  renfo.redundancy.decide:
    plan: "{{ deploy_plan }}"
    text: "{{ deploy_plan | renfo.redundancy.deploy_text }}"
  vars:
    deploy_plan: "{{ topology | renfo.redundancy.deploy_plan(hostvars) }}"
"""

RETURN = """
_value:
  description:
    - The plan, with C(refusals), C(release), C(over) (the release that the inventory declares, if it is another one),
      C(hosts) (what is to be done on each, and why), C(prepared) (those that need the release), C(batches) (those that
      are switched, in order), C(final) (those on which the release is to be final), C(pause) (seconds between two
      batches) and C(notes).
  type: dict
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.utils.vars import load_extra_vars
from ansible_collections.renfo.redundancy.plugins.module_utils import deploy
from ansible_collections.renfo.redundancy.plugins.module_utils.release_state import PREVIOUS, State
from ansible_collections.renfo.redundancy.plugins.module_utils.stack_status import (
    Names,
    app_unit,
    questions,
    release_in,
)

#: How long NGINX leaves a replica alone, by default of the role nginx_lb.
FAIL_TIMEOUT = 5
LOST = "it can't be reached any more"

Data = Mapping[str, Any]


def plan(topology: Data, hostvars: Data, drain: str = "", without: str = "") -> dict[str, Any]:
    """The plan as plain data."""
    release = topology["release"]
    wanted = deploy.Wanted(
        release=PREVIOUS if release["version"] == PREVIOUS else release["id"],
        named=named(),
        batch=str(topology["settings"]["app_replicas_batch"]),
        drain=_names(drain),
        without=_names(without),
        pause=pause(topology, hostvars),
        rotation=topology.get("rotation", {}).get("stage", ""),
    )
    return deploy.plan(seen(topology, hostvars), wanted).to_dict()


def named() -> bool:
    """Whether the release was named with ``-e``; what the inventory says of it can't be seen then."""
    names = {"app_replicas_version", "app_replicas_archive", "app_replicas_image"}
    return bool(names & set(load_extra_vars(DataLoader())))


def pause(topology: Data, hostvars: Data) -> int:
    """Seconds after which every load balancer tries a replica again that refused; NGINX counts whole ones."""
    waits = [
        int(hostvars[balancer["name"]].get("nginx_lb_fail_timeout", FAIL_TIMEOUT))
        for balancer in topology["load_balancers"]
    ]
    return max(waits) + 1 if waits else 0


def ask(topology: Data, host: str, hostvars: Data) -> dict[str, Any]:
    """What to ask of *host*: its copies and its releases."""
    asked = questions(topology, host, _names_on(hostvars[host]), None)
    return {name: asked[name] for name in ("units", "ready", "release_home")}


def seen(topology: Data, hostvars: Data) -> dict[str, deploy.Seen]:
    """The hosts of the application, as observed."""
    return {host: _seen(topology, host, hostvars[host]) for host in topology["replicas_by_host"]}


def failures(batches: Sequence[Sequence[str]], hostvars: Data, mark: str = "deploy_switched") -> dict[str, str]:
    """Why hosts of *batches* didn't get where they should, which the variable *mark* would tell. It ends with them."""
    for batch in batches:
        found = {
            name: str(hostvars[name].get("deploy_failure") or LOST) for name in batch if mark not in hostvars[name]
        }
        if found:
            return found
    return {}


def take_back(topology: Data, hostvars: Data, found: Data, failed: Mapping[str, str]) -> list[list[str]]:
    """The batches that go back."""
    batch = str(topology["settings"]["app_replicas_batch"])
    hosts = _without_lost(seen(topology, hostvars), failed)
    return [list(names) for names in deploy.take_back(hosts, found["release"], list(failed), batch)]


def report(found: Data, topology: Data, hostvars: Data, failed: Mapping[str, str]) -> list[str]:
    """The lines of the report."""
    return list(deploy.report(_without_lost(seen(topology, hostvars), failed), found, failed))


def _without_lost(hosts: Mapping[str, deploy.Seen], failed: Mapping[str, str]) -> dict[str, deploy.Seen]:
    """A host that was lost on the way is not asked any more: what is known of it is from before."""
    return {name: deploy.Seen(error=LOST) if failed.get(name) == LOST else host for name, host in hosts.items()}


def site_release(topology: Data, hostvars: Data) -> dict[str, Any]:
    """What ``site.yml`` is to do about the release."""
    release = topology["release"]
    in_container = release.get("runtime") == "container"
    kept = deploy.keep(seen(topology, hostvars), release.get("id", ""), in_container)
    return {
        "release": kept.release,
        "over": kept.over,
        "refusals": list(kept.refusals),
        "notes": list(kept.notes),
    }


def _seen(topology: Data, host: str, variables: Data) -> deploy.Seen:
    result = variables.get("host_observed")
    if not result:
        return deploy.Seen(error="it was not asked; take no --limit")
    answer = result.get("host")
    if not answer:
        return deploy.Seen(error=str(result.get("msg") or "it can't be reached"))
    releases = answer.get("releases") or {}
    if releases.get("error"):
        return deploy.Seen(error=str(releases["error"]))
    units = answer["units"]
    names = _names_on(variables)
    copies = [
        (replica["name"], units.get(app_unit(names, replica["index"])) or {})
        for replica in topology["replicas_by_host"][host]
    ]
    return deploy.Seen(
        state=State.from_dict(releases),
        releases=tuple(releases.get("releases", ())),
        images=frozenset(releases.get("images", ())),
        copies=tuple(
            deploy.Copy(
                copy,
                release_in(unit.get("running_in")) or "",
                # A unit that is down while something else answers on its port is not this copy.
                bool(unit.get("running")) and bool((answer["ready"].get(copy) or {}).get("ok")),
            )
            for copy, unit in copies
        ),
    )


def _names_on(variables: Data) -> Names:
    wanted = ("app_replicas_name", "app_replicas_ready_path")
    # One by one: the variables of a host are templates until they are asked for.
    return Names.from_variables({name: variables[name] for name in wanted if name in variables})


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(",") if name.strip())


class FilterModule:
    """Filters of the collection that decide a deployment."""

    def filters(self) -> dict[str, Any]:
        """Names of the filters and what they call."""
        return {
            "deploy_plan": plan,
            "deploy_text": deploy.plan_text,
            "deploy_questions": ask,
            "deploy_failures": failures,
            "deploy_back": take_back,
            "deploy_report": report,
            "site_release": site_release,
        }
