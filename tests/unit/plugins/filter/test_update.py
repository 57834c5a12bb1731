# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan, the order and the words, as the playbook gets them."""

from __future__ import annotations

from typing import Any

from ansible_collections.renfo.redundancy.plugins.filter.update import FilterModule
from project import ROOT, load, tasks_of
from update_site import HOSTS, STATUS, THING, host, site

FILTERS = FilterModule().filters()


def planned(pending: tuple[str, ...] = HOSTS, **wanted: Any) -> dict[str, Any]:
    hostvars = {
        name: {"update_before": {"host": host(name, **({"packages": [THING]} if name in pending else {}))}}
        for name in HOSTS
    }
    plan: dict[str, Any] = FILTERS["update_plan"](site(), hostvars, STATUS, **wanted)
    return plan


def test_hosts_are_named_with_commas_or_as_a_list() -> None:
    for hosts in ("pg2, lb1", ["pg2", "lb1"]):
        assert [step["host"] for step in planned(hosts=hosts)["steps"]] == ["lb1", "pg2"]


def test_a_host_that_could_not_be_asked() -> None:
    hostvars: dict[str, dict[str, Any]] = {name: {"update_before": {"unreachable": True}} for name in HOSTS}
    assert len(FILTERS["update_plan"](site(), hostvars, STATUS)["refusals"]) == len(HOSTS)


def test_what_is_going_to_happen() -> None:
    text = FILTERS["update_text"](planned(("app1", "pg1"), switch_back=True))
    assert text.splitlines() == [
        "To update, one by one, each as soon as the stack is whole again (update_reboot=needed):",
        "   1  app1 (application, store): 1 package to update",
        "        lab-thing 1 -> 2",
        "   2  pg1 (PostgreSQL primary): 1 package to update; hands over to pg2 first",
        "        lab-thing 1 -> 2",
        "  Then pg1 becomes the primary again.",
        "  left alone, nothing to do: lb1, lb2, app2, app3, pg2, pg3, ops1",
    ]
    assert FILTERS["update_text"](planned(())) == "There is nothing to update, and no reboot is due."
    assert FILTERS["update_text"](planned(limit="pg1")) == "Nothing was updated."


def test_where_it_stopped() -> None:
    said = FILTERS["update_stopped_text"](planned(), "app2", "it broke.\n")
    assert said.startswith(
        "The update stopped at app2 (5 of 9): it broke. Updated before it: ops1, lb2, lb1, app1. Not begun: app3"
    )
    assert said.endswith("then run update.yml again: it begins with what is not done.")


def test_what_was_done() -> None:
    plan = planned(("app1", "pg1"))
    done = {"seconds": 12.3, "rebooted": False, "left": [], "primary": "pg1"}
    last = {"seconds": 40.0, "rebooted": True, "left": ["dbus.service"], "primary": "pg2"}
    hostvars = {"app1": {"update_done": done}, "pg1": {"update_done": last}}
    assert FILTERS["update_report"](plan, hostvars).splitlines() == [
        "host  packages  rebooted  seconds until whole",
        "app1  1         no        12",
        "pg1   1         yes       40",
        "note: on pg1 dbus.service still runs files that were replaced; only a reboot takes the new ones (update_reboot=always, or by hand)",
        "The primary is pg2 now, it was pg1; site.yml follows it.",
        "To go back: switchover.yml -e switchover_to=pg1",
    ]
    assert (
        FILTERS["update_report"]({**plan, "back_to": "pg1"}, hostvars).splitlines()[-1]
        == "The primary is pg1, as before."
    )
    assert (
        FILTERS["update_done_text"](plan["steps"][1], last)
        == "pg1 is updated, rebooted, and the stack is whole again after 40 s."
    )


def test_one_host_at_a_time_and_the_next_one_on_a_whole_stack() -> None:
    (play,) = (play for play in load(ROOT / "playbooks/update.yml") if play["hosts"] == "update_line")
    assert (play["serial"], play["any_errors_fatal"]) == (1, True)
    named = [task["name"] for task in tasks_of(load(ROOT / "playbooks/tasks/update_host.yml"))]
    steps = ["Hand over first", "Refuse to update a primary", "Take it out of service", "Update its packages",
             "Put it back into service", "Wait until the stack is whole"]  # fmt: skip
    assert [name for name in dict.fromkeys(named) if name in steps] == steps
    (apt,) = (
        task for task in tasks_of(load(ROOT / "playbooks/tasks/update_host.yml")) if "ansible.builtin.apt" in task
    )
    # aptitude's safe-upgrade may remove packages, dist-upgrade too.
    assert apt["ansible.builtin.apt"] == {"upgrade": "yes", "force_apt_get": True, "lock_timeout": 300}
