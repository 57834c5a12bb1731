# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.update_plan import (
    Plan,
    Wanted,
    plan_update,
    questions,
    reboots,
)
from hypothesis import given
from hypothesis import strategies as st
from update_site import HOSTS, STATUS, THING, everybody, host, site

PENDING = {"packages": [THING]}


def planned(
    seen: dict[str, dict[str, Any]],
    topology: dict[str, Any] | None = None,
    status: dict[str, Any] = STATUS,
    **wanted: Any,
) -> Plan:
    return plan_update(topology or site(), status, seen, {}, Wanted(**wanted))


def order(plan: Plan) -> list[str]:
    return [step.host for step in plan.steps]


def test_everybody_in_order() -> None:
    plan = planned(everybody(**PENDING))
    assert order(plan) == ["ops1", "lb2", "lb1", "app1", "app2", "app3", "pg2", "pg3", "pg1"]
    assert [step.hand_over_to for step in plan.steps if step.hand_over_to] == ["pg2"]
    assert plan.steps[-1].hand_over_to == "pg2"
    assert (plan.primary, plan.back_to, plan.idle, plan.left_out) == ("pg1", "", (), ())


def test_after_a_failover_the_role_goes_back_on_the_way() -> None:
    plan = planned(everybody(**PENDING), status={"primary": "pg3", "vip_holders": ["lb2"]})
    assert order(plan) == ["ops1", "lb1", "lb2", "app1", "app2", "app3", "pg1", "pg2", "pg3"]
    assert plan.steps[-1].hand_over_to == "pg1"


def test_nothing_to_do_is_nothing_touched() -> None:
    plan = planned(everybody())
    assert (plan.steps, plan.refusals, plan.idle) == ((), (), HOSTS)


def test_only_who_has_something_to_do() -> None:
    plan = planned(everybody() | {"pg2": host("pg2", **PENDING), "app2": host("app2", **PENDING)})
    assert order(plan) == ["app2", "pg2"]
    assert plan.steps[0].packages == ("lab-thing 1 -> 2",)
    assert "app1" in plan.idle


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ({"unfinished": ["lab-thing"]}, "lab-thing is not set up to its end"),
        ({"reboot": ["/run/reboot-required is there"]}, "/run/reboot-required is there"),
        (
            {"units": [{"name": "app@1.service", "replaced": "/usr/bin/python3.13"}]},
            "app@1.service runs /usr/bin/python3.13",
        ),
    ],
)
def test_what_else_is_to_be_done(found: dict[str, Any], why: str) -> None:
    (step,) = planned(everybody() | {"app1": host("app1", **found)}).steps
    assert step.why[0].startswith(why)


def test_what_is_taken_out_of_service() -> None:
    steps = {step.host: step for step in planned(everybody(**PENDING)).steps}
    # NGINX first, for its end gives the address away; media may still be asked for until then.
    assert steps["lb1"].stop == ("nginx.service", "nginx-media.service")
    assert (steps["lb1"].vip, steps["app1"].vip) == ("10.0.0.100", "")
    assert steps["app1"].stop == ("app@1.service", "app@2.service")
    assert steps["app1"].units[0] == "glusterd.service"
    assert steps["pg2"].stop == ()


@pytest.mark.parametrize(
    ("reboot", "found", "planned_for", "done"),
    [
        ("needed", {"packages": [THING]}, "", False),
        ("needed", {"reboot": ["x"]}, "x", True),
        (
            "needed",
            {"packages": [{**THING, "name": "linux-image-6.12.57+deb13-amd64", "installed": ""}]},
            "brings a kernel",
            False,
        ),
        ("never", {"packages": [THING], "reboot": ["x"]}, "", False),
        ("always", {"packages": [THING]}, "update_reboot is always", True),
    ],
)
def test_reboots(reboot: str, found: dict[str, Any], planned_for: str, done: bool) -> None:
    seen = host("app1", **found)
    plan = planned(everybody() | {"app1": seen}, reboot=reboot)
    assert planned_for in plan.steps[0].reboot
    assert bool(planned_for) is bool(plan.steps[0].reboot)
    assert reboots(plan.to_dict(), seen) is done


def test_a_reboot_that_is_never_made_is_no_reason() -> None:
    assert planned(everybody(reboot=["x"]), reboot="never").steps == ()


def test_some_hosts() -> None:
    plan = planned(everybody(**PENDING), hosts=("pg1", "lb1"))
    assert order(plan) == ["lb1", "pg1"]
    assert plan.steps[-1].hand_over_to == "pg2"
    assert plan.left_out == ("lb2", "app1", "app2", "app3", "pg2", "pg3", "ops1")
    assert plan.notes[0].startswith("left out, though there is something to do: lb2, app1")


def test_the_primary_hands_over_to_one_that_has_its_updates() -> None:
    seen = everybody() | {"pg1": host("pg1", **PENDING), "pg2": host("pg2", **PENDING)}
    assert planned(seen, hosts=("pg1",)).steps[-1].hand_over_to == "pg3"


def test_a_host_of_all_tiers_waits_for_the_last_of_them() -> None:
    topology = site(
        hosts={name: {} for name in ("pg1", "pg2", "pg3")},
        load_balancers=[{"name": "pg2"}, {"name": "pg1"}],
        replicas_by_host={"pg1": [], "pg2": [], "pg3": []},
        storage_servers=[{"name": "pg1"}, {"name": "pg2"}, {"name": "pg3"}],
        backup=None,
    )
    seen = {name: host(name, **PENDING) for name in ("pg1", "pg2", "pg3")}
    plan = planned(seen, topology, {"primary": "pg1", "vip_holders": ["pg2"]})
    assert order(plan) == ["pg3", "pg2", "pg1"]
    assert plan.steps[-1].tiers == ("load balancer", "application", "store", "PostgreSQL primary")


@pytest.mark.parametrize(
    ("status", "back_to"),
    [(STATUS, "pg1"), ({"primary": "pg3", "vip_holders": []}, "")],
    ids=["there and back", "there"],
)
def test_the_role_goes_back_on_demand(status: dict[str, Any], back_to: str) -> None:
    assert planned(everybody(**PENDING), status=status, switch_back=True).back_to == back_to


def test_the_role_goes_back_after_an_interruption() -> None:
    plan = planned(everybody(), status={"primary": "pg2", "vip_holders": []}, switch_back=True)
    assert (plan.steps, plan.back_to) == ((), "pg1")


SINGLE = {
    "lb1": (site(load_balancers=[{"name": "lb1"}]), "lb1 is the only load balancer"),
    "app1": (site(replicas_by_host={"app1": []}), "app1 is the only host of the application"),
    "pg1": (site(members=[{"name": "pg1", "role": "primary"}]), "pg1 is the only PostgreSQL instance"),
    "pg2": (site(members=[{"name": "pg1", "role": "primary"}, {"name": "pg2", "role": "replica"}]), "none while pg2 is updated"),
}  # fmt: skip


@pytest.mark.parametrize("name", SINGLE)
def test_an_outage_is_to_be_accepted(name: str) -> None:
    topology, found = SINGLE[name]
    seen = everybody() | {name: host(name, **PENDING)}
    refused = planned(seen, topology)
    assert refused.steps == ()
    assert found in refused.refusals[0]
    assert refused.refusals[0].endswith("update.yml -e update_accept_outage=true")
    accepted = planned(seen, topology, accept_outage=True)
    assert order(accepted) == [name]
    assert accepted.steps[0].hand_over_to == ""
    assert accepted.steps[0].alone is (name == "pg1")
    assert found in accepted.notes[0]
    assert "update_accept_outage" not in accepted.notes[0]


def test_a_pair_that_is_not_synchronous_goes_on() -> None:
    topology = site(members=site()["members"][:2], synchronous="off")
    assert order(planned(everybody() | {"pg2": host("pg2", **PENDING)}, topology)) == ["pg2"]


@pytest.mark.parametrize(
    ("found", "wanted", "said"),
    [
        ({}, {"limit": "pg2"}, "--limit pg2 leaves hosts out"),
        ({}, {"hosts": ("pg9",)}, "update_hosts names pg9, expected hosts of this site: lb1, lb2"),
        ({}, {"reboot": "perhaps"}, "update_reboot is perhaps, expected needed or never or always"),
        ({"trouble": "dpkg was interrupted: run 'dpkg --configure -a' there"}, {}, "pg2: dpkg was interrupted"),
        (
            {**PENDING, "busy": ["pg-backup@full.service"]},
            {},
            "pg2: pg-backup@full.service runs, and would be broken off",
        ),
        ({"removed": ["nginx"]}, {}, "pg2: nginx would be removed"),
        (
            {"packages": [{**THING, "origin": "Debian:14.0/testing, Debian-Security:14/testing-security"}]},
            {},
            "pg2: lab-thing 2 is of Debian 14, this host is Debian 13",
        ),
        (
            {"packages": [{**THING, "name": "postgresql-18", "installed": ""}]},
            {},
            "pg2: postgresql-18 would be installed, another major version",
        ),
    ],
)
def test_what_is_refused(found: dict[str, Any], wanted: dict[str, Any], said: str) -> None:
    plan = planned(everybody(**PENDING) | {"pg2": host("pg2", **found)}, **wanted)
    assert plan.steps == ()
    assert plan.refusals[0].startswith(said)


def test_who_was_not_asked_is_not_guessed() -> None:
    seen = everybody(**PENDING)
    del seen["app2"]
    assert planned(seen).refusals == (
        "app2: it was not asked what is to be updated, expected an answer. Run update.yml again",
    )


@pytest.mark.parametrize("origin", ["Debian:13.9/stable", "localhost", "apt.postgresql.org:18/trixie-pgdg"])
def test_what_stays_within_the_release(origin: str) -> None:
    packages = [{**THING, "origin": origin}, {**THING, "name": "postgresql-17"}]
    assert planned(everybody() | {"pg2": host("pg2", packages=packages)}).refusals == ()


def test_trouble_of_a_host_that_is_left_out_matters_not() -> None:
    seen = everybody() | {"pg2": host("pg2", **PENDING), "lb1": host("lb1", trouble="x")}
    assert order(planned(seen, hosts=("pg2",))) == ["pg2"]


def test_a_busy_host_with_nothing_to_do_is_left_alone() -> None:
    assert planned(everybody() | {"ops1": host("ops1", busy=["media-backup.service"])}).refusals == ()


def test_what_is_kept_back_is_told() -> None:
    assert planned(everybody(kept_back=["nginx"])).notes[0] == "lb1: apt keeps back nginx; that stays so"


def test_what_hosts_are_asked() -> None:
    topology = site(settings={"site_vip": "", "site_media_directory": "/srv/my-media/"})
    asked = questions(topology, "app1", {"app_replicas_name": "shop"})
    assert "shop@*.service" in asked["units"]
    assert r"srv-my\x2dmedia.mount" in asked["units"]
    assert asked["busy"] == []
    assert "media-backup.service" in questions(topology, "ops1", {})["busy"]


@given(
    st.sets(st.sampled_from(HOSTS)),
    st.sets(st.sampled_from(HOSTS)),
    st.sampled_from(["pg1", "pg2", "pg3"]),
    st.sampled_from(["lb1", "lb2"]),
    st.booleans(),
)
def test_whatever_is_to_be_done_the_order_is_safe(
    pending: set[str], asked: set[str], primary: str, holder: str, back: bool
) -> None:
    seen = everybody() | {name: host(name, **PENDING) for name in pending}
    plan = planned(seen, status={"primary": primary, "vip_holders": [holder]}, hosts=tuple(asked), switch_back=back)
    done = order(plan)
    # Everybody who has something to do and was asked for, once; and nobody else.
    assert sorted(done) == sorted(pending & (asked or set(HOSTS)))
    # One host a step, and each knows its place.
    assert [step.number for step in plan.steps] == list(range(1, len(done) + 1))
    # The primary comes last, and only after it handed over to a standby that is as new as it gets.
    for step in plan.steps:
        assert bool(step.hand_over_to) is (step.host == primary)
        if step.hand_over_to:
            assert step is plan.steps[-1]
            assert step.hand_over_to != primary
            behind = pending - set(done) - {primary}
            if {"pg1", "pg2", "pg3"} - {primary} - behind:
                assert step.hand_over_to not in behind
    # The address moves once: its holder is the last of the load balancers.
    balancers = [name for name in done if name.startswith("lb")]
    assert holder not in balancers[:-1]
    tiers = [name.rstrip("123") for name in done]
    assert tiers == sorted(tiers, key=["ops", "lb", "app", "pg"].index)
