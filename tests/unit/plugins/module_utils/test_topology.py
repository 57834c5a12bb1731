# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.topology import (
    Topology,
    hba_rules,
    host_network,
    is_address,
    read_service,
    release_problems,
    topology,
    write_service,
)
from declared_site import GROUPS, OCTETS, SITE, Groups, Hostvars, declare
from hypothesis import given
from hypothesis import strategies as st


def test_the_lab_has_no_problem() -> None:
    site = declare()
    assert site.problems == ()
    assert [(member.name, member.role, member.slot) for member in site.members] == [
        ("pg1", "primary", "pg1"),
        ("pg2", "replica", "pg2"),
        ("pg3", "replica", "pg3"),
    ]
    assert [(replica.name, replica.address, replica.port) for replica in site.replicas] == [
        ("app1-1", "10.0.0.21", 8000),
        ("app2-1", "10.0.0.22", 8000),
        ("app3-1", "10.0.0.23", 8000),
    ]
    assert site.synchronous == "any_1"
    assert site.storage_clients == ("app1", "app2", "app3", "lb1", "lb2", "ops1")


@pytest.mark.parametrize(
    ("groups", "everywhere", "hosts", "sentences"),
    [
        pytest.param(
            {"pg_primary": ["pg1", "pg2"], "pg_replica": ["pg3"]},
            {"pg_synchronous": "any_1"},
            {},
            ["group pg_primary: found pg1, pg2, expected exactly one host. It names the initial primary."],
            id="two primaries",
        ),
        pytest.param(
            {"pg_primary": []},
            {},
            {},
            ["group pg_primary: found none, expected exactly one host. It names the initial primary."],
            id="no primary",
        ),
        pytest.param(
            {"pg_replica": ["pg1", "pg2", "pg3"]},
            {},
            {},
            ["pg1: declared in pg_primary and in pg_replica. Keep it in one of the two groups."],
            id="a host in both PostgreSQL groups",
        ),
        pytest.param(
            {"app_replicas": []},
            {},
            {},
            ["group app_replicas: found no host, expected at least one. Nothing would serve the site."],
            id="no app replica",
        ),
        pytest.param(
            {},
            {},
            {"app2": {"app_replicas_count": 0}},
            ["app2: app_replicas_count is 0, expected a whole number of at least 1."],
            id="a replica count of none",
        ),
        pytest.param(
            {},
            {},
            {"app2": {"app_replicas_count": "two"}},
            ["app2: app_replicas_count is 'two', expected a whole number of at least 1."],
            id="a replica count in words",
        ),
        pytest.param(
            {},
            {},
            {"app2": {"app_replicas_count": True}},
            ["app2: app_replicas_count is True, expected a whole number of at least 1."],
            id="a replica count of yes",
        ),
        pytest.param(
            {"shared_storage": ["app1", "app2"]},
            {},
            {},
            [
                "group shared_storage: found 2 hosts (app1, app2). Two bricks cannot tell which of them is right after "
                "a network cut and would split their brain. Add a third host; with shared_storage_arbiter: true it "
                "stores names only."
            ],
            id="two bricks and no arbiter",
        ),
        pytest.param(
            {"shared_storage": ["app1"]},
            {},
            {},
            [
                "group shared_storage: found 1 hosts (app1), expected exactly three (three full copies). "
                "Or set shared_storage_backend: mount and name the store that you already have."
            ],
            id="one brick",
        ),
        pytest.param(
            {"shared_storage": []},
            {"shared_storage_arbiter": True},
            {},
            [
                "group shared_storage: found 0 hosts (none), expected exactly three (two full copies and an arbiter). "
                "Or set shared_storage_backend: mount and name the store that you already have."
            ],
            id="an arbiter of nothing",
        ),
        pytest.param(
            {"nginx_lb": []}, {}, {}, ["group nginx_lb: found no host, expected at least one."], id="no load balancer"
        ),
        pytest.param(
            {},
            {"site_vip": ""},
            {},
            ["lb1, lb2: several load balancers need one address in common. Set site_vip."],
            id="two load balancers without an address in common",
        ),
        pytest.param(
            {}, {"site_vip": "www"}, {}, ["site_vip is 'www', expected an IP address."], id="a virtual address in words"
        ),
        pytest.param(
            {},
            {},
            {"lb1": {"nginx_lb_status_port": 443}},
            [
                "lb1: port 443 is used by NGINX (nginx_lb_https_port) and by NGINX (nginx_lb_status_port). "
                "Give one of them another port."
            ],
            id="a port used twice by NGINX",
        ),
        pytest.param(
            {"pg_replica": ["app1", "pg3"]},
            {},
            {"app1": {"app_replicas_port": 5432}},
            [
                "app1: port 5432 is used by PostgreSQL (pg_port) and by app replica app1-1 (app_replicas_port). "
                "Give one of them another port."
            ],
            id="a port used by the application and by PostgreSQL",
        ),
        pytest.param(
            {},
            {},
            {"ops1": {"monitoring_port": 9093}},
            [
                "ops1: port 9093 is used by Prometheus (monitoring_port) and by Alertmanager. "
                "Give one of them another port."
            ],
            id="a port used twice by the monitoring",
        ),
        pytest.param(
            {"nginx_lb": ["app1"]},
            {},
            {"app1": {"app_replicas_count": 82}},
            [
                "app1: port 8081 is used by app replica app1-82 (app_replicas_port) and by NGINX (nginx_lb_status_port). "
                "Give one of them another port."
            ],
            id="so many replicas that they reach another service's port",
        ),
        pytest.param(
            {},
            {},
            {"app3": {"app_replicas_port": 65535, "app_replicas_count": 2}},
            ["app3: app replica app3-2 (app_replicas_port) would use port 65536, expected 1 to 65535."],
            id="a port that there is not",
        ),
        pytest.param(
            {"pg_replica": ["pg2"]},
            {},
            {},
            [
                "pg_synchronous is not set, and a cluster of two members must choose: any_1 (no acknowledged write is "
                "ever lost, but while the only standby is down every write waits) or off (writes go on without the "
                "standby, but losing the primary can lose the last acknowledged writes). Set pg_synchronous in "
                "group_vars/all, or declare a second standby."
            ],
            id="two members that did not choose",
        ),
        pytest.param(
            {},
            {"pg_synchronous": "any_2"},
            {},
            ["pg_synchronous is 'any_2', expected any_1 or off."],
            id="a synchronous mode that there is not",
        ),
        pytest.param(
            {"pg_replica": []},
            {"pg_synchronous": "any_1"},
            {},
            ["pg_synchronous is any_1 but no standby is declared: add a host to pg_replica, or set it to off."],
            id="synchronous with nobody",
        ),
        pytest.param(
            {},
            {},
            {"lb2": {"site_name": "other.example"}},
            None,
            id="hosts that disagree on an option of the site",
        ),
        pytest.param(
            {},
            {"site_name": ""},
            {},
            [
                "site_name is not set. Public name of the site: NGINX answers to it and the certificate carries it. "
                "Set it in group_vars/all."
            ],
            id="a site without a name",
        ),
        pytest.param(
            {},
            {},
            {"pg2": {"ansible_host": "pg2.example.org"}},
            [
                "pg2: its address is 'pg2.example.org', expected an IP address. "
                "Set site_address (or ansible_host) of pg2 to the address its peers reach it at."
            ],
            id="a host known by name only",
        ),
        pytest.param(
            {},
            {},
            {"pg2": {"ansible_host": "10.0.0.31"}},
            ["pg1, pg2: declared with the same address 10.0.0.31. Give every host its own."],
            id="an address used twice",
        ),
    ],
)
def test_bad_input_is_named(
    groups: Groups, everywhere: dict[str, Any], hosts: Hostvars, sentences: list[str] | None
) -> None:
    problems = declare(groups, everywhere, **hosts).problems
    if sentences is None:
        assert len(problems) == 1
        assert problems[0].startswith("site_name must be the same for the whole site: ")
        assert "lb1 says 'shop.example', lb2 says 'other.example'" in problems[0]
        assert problems[0].endswith("Set it once, in group_vars/all.")
    else:
        assert list(problems) == sentences


def test_names_that_give_one_slot_are_refused() -> None:
    hostvars = {name: {"ansible_host": f"10.0.0.{octet}", **SITE} for name, octet in OCTETS.items()}
    hostvars |= {"pg-2": {"ansible_host": "10.0.0.52", **SITE}, "pg.2": {"ansible_host": "10.0.0.53", **SITE}}
    site = topology({**GROUPS, "pg_replica": ["pg-2", "pg.2"]}, hostvars)
    assert site.problems == ("pg-2, pg.2: these names give the same replication slot 'pg_2'. Rename one.",)


@pytest.mark.parametrize(
    ("standbys", "chosen", "expected"),
    [
        pytest.param(["pg2", "pg3"], None, "any_1", id="two standbys, nothing chosen"),
        pytest.param(["pg2", "pg3"], "off", "off", id="two standbys, off"),
        pytest.param(["pg2", "pg3"], False, "off", id="two standbys, a bare off as YAML reads it"),
        pytest.param(["pg2"], "any_1", "any_1", id="one standby, chosen"),
        pytest.param(["pg2"], "off", "off", id="one standby, off"),
        pytest.param([], None, "off", id="no standby, nothing chosen"),
    ],
)
def test_synchronous_mode(standbys: list[str], chosen: Any, expected: str) -> None:
    site = declare({"pg_replica": standbys}, {} if chosen is None else {"pg_synchronous": chosen})
    assert site.problems == ()
    assert site.synchronous == expected


def test_a_primary_is_vouched_for_unless_the_user_says_otherwise() -> None:
    assert declare().settings["pg_unattended_start"] == "vouched"
    assert declare({}, {"pg_unattended_start": "always"}).settings["pg_unattended_start"] == "always"


def test_a_store_that_the_team_has_needs_no_bricks() -> None:
    assert declare({"shared_storage": []}, {"shared_storage_backend": "mount"}).problems == ()


def test_an_arbiter_makes_three_of_two() -> None:
    assert declare({}, {"shared_storage_arbiter": True}).problems == ()


def test_one_load_balancer_needs_no_virtual_address() -> None:
    site = declare({"nginx_lb": ["lb1"]}, {"site_vip": ""})
    assert site.problems == ()
    assert {found.name: found for found in site.certificates}["site"].subject_alt_names == (
        "DNS:shop.example",
        "DNS:localhost",
        "IP:10.0.0.11",
        "IP:127.0.0.1",
    )


def test_site_address_wins_over_ansible_host() -> None:
    site = declare(pg2={"ansible_host": "bastion.example.org", "site_address": "192.0.2.32"})
    assert site.problems == ()
    assert site.hosts["pg2"].address == "192.0.2.32"


def test_a_host_runs_several_replicas() -> None:
    site = declare(app1={"app_replicas_count": 2, "app_replicas_port": 9000})
    assert [(replica.name, replica.port) for replica in site.replicas[:2]] == [("app1-1", 9000), ("app1-2", 9001)]
    assert [replica["name"] for replica in site.to_dict()["replicas_by_host"]["app1"]] == ["app1-1", "app1-2"]


def test_nobody_connects_without_tls_and_scram() -> None:
    rules = list(hba_rules(declare()))
    local = [rule for rule in rules if rule.contype == "local"]
    assert [(rule.databases, rule.users, rule.method) for rule in local] == [
        ("all", "postgres", "peer"),
        ("postgres", "prometheus", "peer"),
    ]
    for rule in rules[len(local) :]:
        assert (rule.contype, rule.method) == ("hostssl", "scram-sha-256")
        assert ipaddress.ip_network(rule.address).num_addresses == 1
    for database in ("replication", "postgres"):
        assert [(rule.address, rule.users) for rule in rules[len(local) :] if rule.databases == database] == [
            ("10.0.0.31/32", "replication"),
            ("10.0.0.32/32", "replication"),
            ("10.0.0.33/32", "replication"),
        ]
    assert [rule.address for rule in rules if rule.users == "+app"] == ["10.0.0.21/32", "10.0.0.22/32", "10.0.0.23/32"]


def test_nobody_reads_figures_where_nobody_asks_for_them() -> None:
    site = declare({"monitoring": []})
    assert not [rule for rule in hba_rules(site) if rule.users == "prometheus"]
    assert not [one for one in site.certificates if one.name.startswith("metrics.")]


def test_every_host_of_a_watched_site_has_a_certificate_for_it() -> None:
    site = declare()
    found = {one.name: one for one in site.certificates if one.name.startswith("metrics.")}
    assert sorted(found) == sorted(f"metrics.{name}" for name in site.hosts)
    assert found["metrics.app1"].usages == ("serverAuth", "clientAuth")
    assert found["metrics.app1"].subject_alt_names == ("DNS:app1", "IP:10.0.0.21")


@pytest.mark.parametrize("port", [9100, 9998])
def test_an_application_leaves_the_ports_of_the_exporters_alone(port: int) -> None:
    variables = {"app_replicas_port": port}
    (problem,) = declare(app1=variables).problems
    assert problem.startswith(f"app1: port {port} is used by app replica app1-1 (app_replicas_port) and by ")
    assert declare({"monitoring": []}, app1=variables).problems == ()


def test_two_replicas_on_a_host_share_a_line_of_pg_hba() -> None:
    rules = list(hba_rules(declare(app1={"app_replicas_count": 3})))
    assert len([rule for rule in rules if rule.address == "10.0.0.21/32"]) == 1


def test_writes_look_for_the_primary_among_all_members() -> None:
    service = write_service(declare())
    assert service["host"] == "pg1,pg2,pg3"
    assert service["port"] == "5432,5432,5432"
    assert service["hostaddr"] == "10.0.0.31,10.0.0.32,10.0.0.33"
    assert service["target_session_attrs"] == "read-write"
    assert service["sslmode"] == "verify-full"
    assert (service["dbname"], service["user"]) == ("app", "app")
    assert "password" not in service


@pytest.mark.parametrize(
    ("turn", "order"),
    [(0, "pg2,pg3,pg1"), (1, "pg3,pg2,pg1"), (2, "pg2,pg3,pg1")],
    ids=["first host", "second host", "third host begins anew"],
)
def test_reads_spread_over_the_standbys(turn: int, order: str) -> None:
    service = read_service(declare(), turn)
    assert service["host"] == order
    assert service["target_session_attrs"] == "prefer-standby"


def test_reads_go_to_the_primary_where_there_is_no_standby() -> None:
    assert read_service(declare({"pg_replica": []}), 1)["host"] == "pg1"


def test_plain_data_for_playbooks() -> None:
    data = declare().to_dict()
    assert data["slots"] == {"pg1": "pg1", "pg2": "pg2", "pg3": "pg3"}
    assert data["priorities"] == {"lb1": 100, "lb2": 90}
    assert data["storage_addresses"] == ["10.0.0.21", "10.0.0.22", "10.0.0.23", "10.0.0.11", "10.0.0.12", "10.0.0.41"]
    assert [peer["name"] for peer in data["peers"]["pg2"]] == ["pg1", "pg3"]
    assert list(data["database_services"]) == ["app1", "app2", "app3"]
    assert data["cluster"]["synchronous"] == "any_1"
    assert "password" not in str(data)


@pytest.mark.parametrize(
    ("release", "supported"),
    [("Debian bookworm", True), ("Debian trixie", True), ("Debian bullseye", False), ("Ubuntu noble", False)],
)
def test_releases(release: str, supported: bool) -> None:
    expected = (
        []
        if supported
        else [
            f"pg1: runs {release}, expected Debian bookworm or Debian trixie. "
            "Reinstall it with one of these, or take it out of the inventory."
        ]
    )
    assert list(release_problems({"pg1": release})) == expected


@given(st.ip_addresses())
def test_a_rule_is_for_one_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert is_address(str(address))
    assert host_network(str(address)) == f"{address}/{address.max_prefixlen}"


NAMES = st.lists(st.sampled_from(sorted(OCTETS)), max_size=4, unique=True)
ODD = st.one_of(st.none(), st.booleans(), st.integers(-2, 70000), st.text(max_size=5))


@given(
    groups=st.fixed_dictionaries({}, optional=dict.fromkeys(GROUPS, NAMES)),
    everywhere=st.dictionaries(
        st.sampled_from(
            ["site_vip", "site_name", "pg_synchronous", "shared_storage_backend", "pg_port", "site_address"]
        ),
        ODD,
    ),
    count=ODD,
    port=ODD,
)
def test_whatever_is_declared_gives_an_answer(
    groups: Groups, everywhere: dict[str, Any], count: Any, port: Any
) -> None:
    application = {
        "app_replicas_count": count if not isinstance(count, int) else min(count, 5),
        "app_replicas_port": port,
    }
    site = declare(groups, everywhere, app1=application)
    if len(site.members) != len({member.name for member in site.members}) or groups.get("pg_primary") == []:
        assert site.problems
    assert all(problem.endswith(".") for problem in site.problems)


def test_whoever_takes_part_in_backups_is_server_and_client() -> None:
    site = declare()
    found = {one.name: one for one in site.certificates if one.name.startswith("backup.")}
    assert sorted(found) == sorted(f"backup.{name}" for name in ("ops1", *(member.name for member in site.members)))
    assert found["backup.pg1"].usages == ("serverAuth", "clientAuth")
    assert f"DNS:{site.hosts['pg1'].address}" in found["backup.pg1"].subject_alt_names
    assert not [one for one in declare({"backup": []}).certificates if one.name.startswith("backup.")]


@pytest.mark.parametrize(
    ("hosts", "words"),
    [(["ops1", "app1"], "expected one host"), (["pg2"], "Losing it would lose the database and its backups")],
)
def test_backups_lie_on_one_host_of_their_own(hosts: list[str], words: str) -> None:
    assert any(words in problem for problem in declare({"backup": hosts}).problems)


def leaving(**hosts: Any) -> Topology:
    """pg3 and app3 left as a whole; *hosts* have variables."""
    changes = {
        "app_replicas": ["app1", "app2"],
        "shared_storage": ["app1", "app2", "ops1"],
        "pg_replica": ["pg2"],
        "removed": ["pg3", "app3"],
    }
    return declare(changes, {"pg_synchronous": "any_1"}, **hosts)


def test_what_leaves() -> None:
    site = leaving(lb2={"site_removed_from": ["backup"]})
    assert site.problems == ()
    assert "pg3" not in site.hosts
    assert not {"10.0.0.33/32", "10.0.0.23/32"} & {rule.address for rule in hba_rules(site)}
    removed = {name: (host.whole, host.slot, host.stays) for name, host in site.removed.items()}
    assert removed == {
        "pg3": (True, "pg3", ()),
        "app3": (True, "app3", ()),
        "lb2": (False, "", ("nginx_lb",)),
    }
    assert site.to_dict()["storage_leaves"]
    assert not declare().to_dict()["storage_leaves"]


def test_a_slot_that_a_member_has_by_now_is_nobody_elses() -> None:
    site = declare({"removed": ["PG2"]})
    assert site.removed["PG2"].slot == ""


@pytest.mark.parametrize(
    ("changes", "hosts", "words"),
    [
        ({"removed": ["pg3"]}, {}, "pg3: declared in pg_replica, and the group removed says that it has left"),
        (
            {},
            {"pg1": {"site_removed_from": ["pg_replica"]}},
            "pg1: declared in pg_primary, and site_removed_from says that it has left",
        ),
        (
            {"removed": ["pg3"], "pg_replica": ["pg2"]},
            {"pg3": {"ansible_host": "10.0.0.32"}, "pg2": {"pg_synchronous": "off"}},
            "pg3: is in the group removed with the address 10.0.0.32, which pg2 has",
        ),
        (
            {"removed": ["pg3"], "pg_replica": ["pg2"]},
            {
                "pg3": {"ansible_host": "192.0.2.9"},
                "pg2": {"ansible_host": "192.0.2.9", "site_address": "10.0.0.32", "pg_synchronous": "off"},
            },
            "pg3: is in the group removed with the address 10.0.0.32, which pg2 has",
        ),
    ],
)
def test_what_can_not_leave(changes: Groups, hosts: dict[str, Any], words: str) -> None:
    assert any(words in problem for problem in declare(changes, **hosts).problems)


def test_hosts_behind_one_address_have_ports_of_their_own() -> None:
    shared = {"ansible_host": "192.0.2.9", "site_address": "10.0.0.32", "pg_synchronous": "off"}
    site = declare(
        {"removed": ["pg3"], "pg_replica": ["pg2"]},
        pg3={"ansible_host": "192.0.2.9", "site_address": "10.0.0.33", "ansible_port": 2203},
        pg2=shared | {"ansible_port": 2202},
    )
    assert site.problems == ()


def test_hosts_that_are_reached_by_their_names_share_no_address() -> None:
    site = declare(
        {"removed": ["pg3"], "pg_replica": ["pg2"]},
        pg3={"ansible_host": None, "site_address": "10.0.0.33"},
        pg2={"ansible_host": None, "site_address": "10.0.0.32", "pg_synchronous": "off"},
    )
    assert site.problems == ()
