# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

from ansible_collections.renfo.redundancy.plugins.module_utils.site_summary import left_out, site_summary

SITE: dict[str, Any] = {
    "settings": {"site_vip": "10.0.0.100", "site_name": "shop.example"},
    "load_balancers": [{"name": "lb1", "address": "10.0.0.11"}],
    "rotation": {"parts": [], "stage": ""},
}
PLAN: dict[str, Any] = {"primary": "pg1", "held": [], "members": {}, "notes": []}


def test_all_is_well() -> None:
    assert site_summary(SITE, PLAN, {}).splitlines() == [
        "PostgreSQL primary: pg1",
        "Site: https://10.0.0.100/ (shop.example)",
        "Next: ansible-playbook renfo.redundancy.status shows every part of the stack.",
    ]


def test_what_else_there_is_to_tell() -> None:
    assert "* the application stays" in site_summary(SITE, PLAN, {}, ["the application stays"]).splitlines()


def test_one_load_balancer_has_the_address() -> None:
    site = {**SITE, "settings": {"site_vip": "", "site_name": "shop.example"}}
    assert "Site: https://10.0.0.11/ (shop.example)" in site_summary(site, PLAN, {})


def test_a_rotation_that_was_interrupted_is_told() -> None:
    site = {**SITE, "rotation": {"parts": ["certificates", "ca"], "stage": "renew"}}
    assert (
        "* a rotation of certificates,ca is under way (stage renew): run rotate.yml -e rotate=certificates,ca to finish it"
        in site_summary(site, PLAN, {}).splitlines()
    )


def test_where_the_monitoring_is() -> None:
    said = site_summary(SITE, PLAN, {}, (), ["https://10.0.0.41:9090/"])
    assert "Monitoring: https://10.0.0.41:9090/consoles/index.html" in said.splitlines()


def test_no_primary_is_not_named() -> None:
    assert "PostgreSQL primary" not in site_summary(SITE, {**PLAN, "primary": None}, {})


PARTIAL = {
    **PLAN,
    "primary": "pg2",
    "held": ["pg1", "pg3"],
    "members": {"pg1": {"reason": "it can't be reached"}, "pg3": {"reason": "pg1 must be seen first"}},
    "notes": ["the primary is pg2, the inventory says pg1"],
}
REACHED = {"ansible_facts": {"distribution_release": "trixie"}}
HOSTVARS = {"app1": {}, "pg1": {"ansible_facts": {}}, "pg2": REACHED, "pg3": REACHED}


def test_what_was_left_out_and_why() -> None:
    assert left_out({"hosts": HOSTVARS}, HOSTVARS, PARTIAL, list(HOSTVARS)) == {
        "app1": "could not be reached, left out. Bring it back, then run site.yml again.",
        "pg1": "could not be reached, left out. Bring it back, then run site.yml again.",
        "pg3": "left alone: pg1 must be seen first",
    }


def test_a_limit_leaves_nobody_out() -> None:
    assert list(left_out({"hosts": HOSTVARS}, HOSTVARS, PARTIAL, ["pg2", "pg3"])) == ["pg3"]
    assert left_out({"hosts": HOSTVARS}, HOSTVARS, PARTIAL, ["pg2"]) == {}


def test_what_was_left_out_is_told() -> None:
    lines = site_summary(SITE, PARTIAL, {"pg3": "left alone: pg1 must be seen first"}).splitlines()
    assert lines[2:4] == [
        "! pg3: left alone: pg1 must be seen first",
        "* the primary is pg2, the inventory says pg1",
    ]


def test_who_left_is_named() -> None:
    lines = site_summary(SITE, PLAN, {}, removal={"hosts": {"pg3": {}}, "notes": ["pg9 was removed."]}).splitlines()
    assert lines[2:4] == [
        "- pg3 was removed: nothing of it is left elsewhere, its data is where it was. Its line may go too.",
        "! pg9 was removed.",
    ]
    lines = site_summary(SITE, PLAN, {}, removal={"hosts": {"pg3": {}}}, removal_done=False).splitlines()
    assert lines[2].startswith("! pg3: something of it may be left elsewhere. Leave its line")
