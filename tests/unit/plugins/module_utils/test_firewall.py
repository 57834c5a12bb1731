# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import ipaddress
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.firewall import (
    Flow,
    Rule,
    admits,
    flows,
    problems,
    rules,
    ruleset,
    table_of_ports,
)
from declared_site import GROUPS, OCTETS, declare, variables
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[4]
LBS, APPS, PGS, OPS = ("10.0.0.11", "10.0.0.12"), ("10.0.0.21", "10.0.0.22", "10.0.0.23"), ("10.0.0.31",), "10.0.0.41"


def of(host: str, everywhere: dict[str, Any] | None = None, **hosts: Any) -> list[Rule]:
    """The rules of *host* in the lab's shape."""
    return list(rules(declare(None, everywhere, **hosts), variables(everywhere, **hosts))[host])


def test_a_load_balancer() -> None:
    assert of("lb1") == [
        Rule("tcp", ("22",), ("anyone",), "SSH (firewall_ssh_port)"),
        Rule("tcp", ("80",), ("anyone",), "NGINX (nginx_lb_http_port)"),
        Rule("tcp", ("443",), ("anyone",), "NGINX (nginx_lb_https_port)"),
        Rule("tcp", ("9998",), (OPS,), "metrics (exporters_port)"),
        Rule("vrrp", (), ("10.0.0.12",), "VRRP (site_vip)"),
    ]


def test_an_app_host_that_is_a_storage_host() -> None:
    others = ("10.0.0.22", "10.0.0.23", *LBS, OPS)
    assert of("app1") == [
        Rule("tcp", ("22",), ("anyone",), "SSH (firewall_ssh_port)"),
        Rule("tcp", ("8000",), (*LBS, OPS), "app replica app1-1 (app_replicas_port)"),
        Rule("tcp", ("24007",), others, "GlusterFS (glusterd)"),
        Rule("tcp", ("49152-60999",), others, "GlusterFS (bricks)"),
        Rule("tcp", ("9998",), (OPS,), "metrics (exporters_port)"),
    ]


def test_a_postgresql_host() -> None:
    assert of("pg1") == [
        Rule("tcp", ("22",), ("anyone",), "SSH (firewall_ssh_port)"),
        Rule("tcp", ("5432",), ("10.0.0.32", "10.0.0.33", *APPS), "PostgreSQL (pg_port)"),
        Rule("tcp", ("8432",), (OPS,), "pgBackRest (pg_backup_port)"),
        Rule("tcp", ("9998",), (OPS,), "metrics (exporters_port)"),
    ]


def test_the_backup_and_monitoring_host() -> None:
    """Its own metrics it asks itself for, and nobody was named who may see Prometheus."""
    assert of("ops1") == [
        Rule("tcp", ("22",), ("anyone",), "SSH (firewall_ssh_port)"),
        Rule("tcp", ("8432",), ("10.0.0.31", "10.0.0.32", "10.0.0.33"), "pgBackRest (pg_backup_port)"),
    ]


def test_a_host_that_leaves_can_be_reached_to_be_taken_down() -> None:
    groups = {**GROUPS, "app_replicas": ["app1", "app2"], "shared_storage": [], "removed": ["app3"]}
    limits = {"app3": {"firewall_ssh_sources": ["ops1", "192.0.2.1"]}}
    found = rules(declare(groups, **limits), variables(**limits))
    assert found["app3"] == (Rule("tcp", ("22",), (OPS, "192.0.2.1"), "SSH (firewall_ssh_port)"),)
    assert not any("10.0.0.23" in rule.sources for rule in found["pg1"])


def test_what_the_user_adds() -> None:
    found = of(
        "ops1",
        ops1={
            "firewall_ssh_sources": ["192.0.2.0/24", "192.0.2.7", "lb1", "2001:db8::/32"],
            "monitoring_viewers": ["198.51.100.7"],
            "firewall_extra_rules": [
                {"ports": [10050, "6000-6010"], "sources": ["anyone", "lb1"], "why": "the company's"},
                {"protocol": "udp", "ports": ["51820"], "sources": ["lb2", "ops1"]},
                {"protocol": "gre", "sources": ["192.0.2.9"]},
            ],
        },
    )
    assert found[0].sources == ("192.0.2.0/24", "10.0.0.11", "2001:db8::/32")
    assert found[2:] == [
        Rule("tcp", ("9090",), ("198.51.100.7",), "Prometheus (monitoring_port)"),
        Rule("tcp", ("10050", "6000-6010"), ("anyone",), "the company's"),
        Rule("udp", ("51820",), ("10.0.0.12",), "firewall_extra_rules"),
        Rule("gre", (), ("192.0.2.9",), "firewall_extra_rules"),
    ]


def test_one_host_alone_opens_nothing_to_itself() -> None:
    groups = {group: ["ops1"] if group in ("nginx_lb", "app_replicas", "pg_primary") else [] for group in GROUPS}
    found = rules(declare(groups, {"site_vip": ""}), variables())
    assert {port for rule in found["ops1"] for port in rule.ports} == {"22", "80", "443"}


@st.composite
def sites(draw: st.DrawFn) -> tuple[Any, dict[str, dict[str, Any]]]:
    """Any groups of the nine hosts, some with IPv6, some with SSH for few only."""
    groups = {group: draw(st.lists(st.sampled_from(list(OCTETS)), unique=True)) for group in GROUPS}
    hosts = {name: {"ansible_host": f"fd00::{octet}"} if draw(st.booleans()) else {} for name, octet in OCTETS.items()}
    for name in draw(st.lists(st.sampled_from(list(OCTETS)), unique=True)):
        hosts[name]["firewall_ssh_sources"] = ["192.0.2.0/24"]
    return declare(groups, **hosts), variables(**hosts)


@given(sites())
def test_who_needs_a_port_gets_in_and_nobody_else(made: tuple[Any, dict[str, dict[str, Any]]]) -> None:
    site, hostvars = made
    found = rules(site, hostvars)
    assert set(found) == set(site.hosts)
    for name in site.hosts:
        for port in (port for port in site.ports if port.host == name):
            for other in site.hosts.values():
                if other.name == name:
                    continue
                # Two services may want one port; that is a problem of its own.
                here = [each for each in site.ports if each.host == name and each.first <= port.first <= each.last]
                needs = any(other.name in each.clients or "anyone" in each.networks for each in here)
                assert admits(found[name], other.address, port.first) is needs, (name, port, other)
        assert admits(found[name], "192.0.2.77", 22)
        # Nobody of the site, and a port of nobody.
        stranger = {port.first for port in site.ports if admits(found[name], "203.0.113.9", port.first)}
        assert stranger <= {22, 80, 443}
        assert not admits(found[name], "10.0.0.11", 4711)
    for rule in (rule for let_in in found.values() for rule in let_in if rule.sources != ("anyone",)):
        networks = [ipaddress.ip_network(source) for source in rule.sources]
        # nft refuses a set in which one contains another.
        assert not [
            1 for one in networks for other in networks if one is not other and one.version == other.version and one.overlaps(other)
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "lines"),
    [
        (Rule("tcp", ("22",), ("anyone",), "SSH"), ['tcp dport { 22 } accept comment "SSH"']),
        (
            Rule("tcp", ("24007", "49152-60999"), ("10.0.0.21", "fd00::/8", "10.1.0.0/16"), "files"),
            [
                'ip saddr { 10.0.0.21, 10.1.0.0/16 } tcp dport { 24007, 49152-60999 } accept comment "files"',
                'ip6 saddr { fd00::/8 } tcp dport { 24007, 49152-60999 } accept comment "files"',
            ],
        ),
        (Rule("vrrp", (), ("10.0.0.12",), ""), ["ip saddr { 10.0.0.12 } meta l4proto 112 accept"]),
        # It stands between quotes.
        (Rule("udp", ("53",), ("anyone",), 'a"; drop\n é'), ['udp dport { 53 } accept comment "a; drop "']),
    ],
)
def test_what_nft_is_told(rule: Rule, lines: list[str]) -> None:
    text = ruleset([rule])
    assert [line.strip() for line in text.splitlines() if "comment" in line or "112" in line] == lines


def test_our_table_is_replaced_and_no_other_one_is_touched() -> None:
    text = ruleset([])
    commands = [line for line in text.splitlines() if re.match(r"\w", line)]
    assert commands == [
        "add table inet site_firewall",
        "delete table inet site_firewall",
        "table inet site_firewall {",
    ]
    assert "flush" not in text
    # Whatever comes last is refused, also if that were taken away.
    assert "policy drop" in text
    assert text.rstrip().splitlines()[-3].strip() == "reject"


def test_what_the_kernel_does_not_remember() -> None:
    found = flows(declare(app3={"app_replicas_port": 9000}))
    near = (Flow(("10.0.0.21", "10.0.0.22"), ("8000",)), Flow(("10.0.0.23",), ("9000",)))
    assert found == {
        **dict.fromkeys(("pg1", "pg2", "pg3", "ops1"), ()),
        "lb1": (Flow(("10.0.0.11", "10.0.0.100"), ("80", "443")), *near),
        "lb2": (Flow(("10.0.0.12", "10.0.0.100"), ("80", "443")), *near),
        "app1": (Flow(("10.0.0.21",), ("8000",)),),
        "app2": (Flow(("10.0.0.22",), ("8000",)),),
        "app3": (Flow(("10.0.0.23",), ("9000",)),),
    }
    lines = [line.strip() for line in ruleset([], [Flow(("10.0.0.21", "fd00::21"), ("8000",))]).splitlines()]
    # Both ways, of what comes and of what goes.
    assert [line for line in lines if "notrack" in line] == 2 * [
        "ip daddr { 10.0.0.21 } tcp dport { 8000 } notrack",
        "ip saddr { 10.0.0.21 } tcp sport { 8000 } notrack",
        "ip6 daddr { fd00::21 } tcp dport { 8000 } notrack",
        "ip6 saddr { fd00::21 } tcp sport { 8000 } notrack",
    ]
    assert Flow.from_dict({"addresses": ["10.0.0.21"], "ports": [8000]}) == Flow(("10.0.0.21",), ("8000",))


def test_a_connection_of_tcp_is_never_judged_by_what_the_kernel_remembers() -> None:
    """A SYN after a reset counts as part of an established connection."""
    assert [line.strip() for line in ruleset([]).splitlines() if "ct state" in line] == [
        "meta l4proto != tcp ct state established,related accept"
    ]


@pytest.mark.parametrize(
    ("address", "port", "let_in"),
    [
        ("192.0.2.7", 22, True),
        ("192.0.3.7", 22, False),
        ("::ffff:192.0.2.7", 22, True),
        ("fe80::1%eth0", 22, False),
        ("fd00::7", 22, True),
        ("192.0.2.7", 23, False),
        ("203.0.113.1", 6005, True),
        ("203.0.113.1", 6011, False),
        # It reaches itself anyhow, as through a tunnel.
        ("127.0.0.1", 23, True),
        ("::1", 23, True),
    ],
)
def test_admits(address: str, port: int, let_in: bool) -> None:
    given = [
        Rule("tcp", ("22",), ("192.0.2.0/24", "fd00::7"), ""),
        Rule("tcp", ("6000-6010",), ("anyone",), ""),
        Rule("udp", ("23",), ("anyone",), ""),
    ]
    assert admits(given, address, port) is let_in


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"firewall_ssh_sources": []}, "firewall_ssh_sources is empty"),
        ({"firewall_ssh_sources": ["192.0.2.1/24"]}, "192.0.2.1/24 has host bits set. Expected an address, a network"),
        ({"firewall_ssh_sources": ["office"]}, "'office' does not appear to be an IPv4 or IPv6 network"),
        ({"monitoring_viewers": ["office"]}, "monitoring_viewers: 'office' does not appear"),
        ({"firewall_extra_rules": [{"ports": [80]}]}, "{'ports': [80]} has no sources"),
        ({"firewall_extra_rules": [{"sources": ["anyone"]}]}, "{'sources': ['anyone']} has no ports"),
        ({"firewall_extra_rules": [{"protocol": "gre", "ports": [1], "sources": ["lb1"]}]}, "has ports, and gre knows"),
        ({"firewall_extra_rules": [{"ports": ["0"], "sources": ["lb1"]}]}, "'0' is no port"),
        ({"firewall_extra_rules": [{"ports": ["20-10"], "sources": ["lb1"]}]}, "'20-10' is no port"),
        ({"firewall_extra_rules": [{"ports": ["1-x"], "sources": ["lb1"]}]}, "'1-x' is no port"),
        ({"firewall_extra_rules": [{"ports": [80], "sources": ["nobody"]}]}, "'nobody' does not appear"),
    ],
)
def test_what_cannot_be(given: dict[str, Any], sentence: str) -> None:
    (found,) = problems("lb1", given, ["lb1"])
    assert found.startswith("lb1: ")
    assert sentence in found


def test_what_can_be() -> None:
    extra = [{"ports": [80, "1-65535"], "sources": ["lb2", "anyone", "::/0"]}, {"protocol": "esp", "sources": ["lb2"]}]
    given = {"firewall_ssh_sources": ["anyone"], "firewall_extra_rules": extra, "monitoring_viewers": ["lb2"]}
    assert list(problems("lb1", given, ["lb2"])) == []
    # Their specs say what is wrong with these.
    assert list(problems("lb1", {"firewall_extra_rules": "all"}, [])) == []
    assert list(problems("lb1", {"firewall_extra_rules": ["all"]}, [])) == []


def test_a_rule_is_read_back() -> None:
    rule = Rule("tcp", ("22",), ("10.0.0.0/8", "fd00::1"), "SSH")
    assert Rule.from_dict(dataclasses.asdict(rule)) == rule


def test_the_documentation_has_the_table() -> None:
    rows = [f"| {where} | {port} | {whom} | {what} |" for where, port, whom, what in table_of_ports(declare().ports)]
    text = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    table = text.split("<!-- ports -->\n")[1]
    assert table.strip().splitlines() == ["| on | port | from | for |", "|---|---|---|---|", *rows]
