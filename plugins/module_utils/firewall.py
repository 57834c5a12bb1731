# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each host lets in, of whom, and how nftables is told. Pure.

Each port of the site is open to the hosts that need it, and to nobody else.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Union

from ansible_collections.renfo.redundancy.plugins.module_utils.ports import ANYONE, Port, integer, strings

if TYPE_CHECKING:
    from ansible_collections.renfo.redundancy.plugins.module_utils.topology import Topology

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]  # noqa: UP007  ansible-test's pylint knows no `|` here

#: The table of nftables that is ours; no other one is touched.
TABLE = "site_firewall"
#: Its sets of guests, by the version of the protocol: an address and a TCP port, let in for a while.
GUESTS = {4: "guests4", 6: "guests6"}
#: Protocols that have ports, and those that have none, by number: a small host has no /etc/protocols.
WITH_PORTS = ("tcp", "udp")
WITHOUT_PORTS = {"gre": 47, "esp": 50, "ah": 51, "vrrp": 112}

#: Options of one host.
OPTIONS: dict[str, dict[str, Any]] = {
    "firewall_ssh_sources": {
        "type": "list",
        "elements": "str",
        "default": [ANYONE],
        "description": (
            "Who may reach this host by SSH: addresses, networks, names of hosts of the site, or anyone. A list that "
            "leaves out the address that Ansible comes from is refused."
        ),
    },
    "firewall_ssh_port": {
        "type": "int",
        "default": 22,
        "description": "Port that this host's SSH server listens on.",
    },
    "firewall_extra_rules": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "description": (
            "What else this host lets in, for services that are not the collection's: sources (as in "
            "firewall_ssh_sources), ports (numbers, or ranges such as 6000-6010), protocol (tcp) and why."
        ),
        "options": {
            "protocol": {"type": "str", "choices": [*WITH_PORTS, *WITHOUT_PORTS]},
            "ports": {"type": "list", "elements": "str"},
            "sources": {"type": "list", "elements": "str"},
            "why": {"type": "str"},
        },
    },
}


@dataclasses.dataclass(frozen=True)
class Rule:
    """What is let in: a protocol, its ports (``5432`` or ``6000-6010``), from where (networks, or ``anyone``), and
    why."""

    protocol: str
    ports: tuple[str, ...]
    sources: tuple[str, ...]
    why: str

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Rule:
        """Read back what ``dataclasses.asdict`` made of one."""
        return cls(str(data["protocol"]), strings(data["ports"]), strings(data["sources"]), str(data["why"]))


@dataclasses.dataclass(frozen=True)
class Flow:
    """Connections of TCP to *ports* at *addresses* that are too many to be remembered."""

    addresses: tuple[str, ...]
    ports: tuple[str, ...]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Flow:
        """Read back what ``dataclasses.asdict`` made of one."""
        return cls(strings(data["addresses"]), strings(data["ports"]))


def rules(site: Topology, variables: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[Rule, ...]]:
    """What each host of *site* lets in, and each that leaves it, beside the answers to what it asked.

    *variables* are the hosts'. Both are free of problems. A host reaches itself anyhow.
    """
    addresses = {host.name: host.address for host in site.hosts.values()}
    found: dict[str, tuple[Rule, ...]] = {}
    for host in (*site.hosts, *(host.name for host in site.removed.values() if host.whole)):
        wanted = [
            Rule("tcp", (_span(port.first, port.last),), (*port.clients, *port.networks), port.what)
            for port in site.ports
            if port.host == host
        ]
        if host in (balancer.name for balancer in site.load_balancers) and site.settings["site_vip"]:
            peers = tuple(balancer.name for balancer in site.load_balancers)
            wanted.append(Rule("vrrp", (), peers, "VRRP (site_vip)"))
        wanted += [_extra(item) for item in variables[host].get("firewall_extra_rules") or ()]
        named = ((rule, _sources(rule.sources, addresses, host)) for rule in wanted)
        found[host] = tuple(dataclasses.replace(rule, sources=sources) for rule, sources in named if sources)
    return found


def flows(site: Topology) -> dict[str, tuple[Flow, ...]]:
    """What each host of *site* must not remember: requests to the load balancers, and theirs to the replicas.

    The kernel remembers every connection for two minutes after its end once a rule asks for any. A small load balancer
    has room for 65536, and drops whoever comes next.
    Source: https://docs.kernel.org/networking/nf_conntrack-sysctl.html
    """
    replicas = dict.fromkeys((replica.host, replica.address, str(replica.port)) for replica in site.replicas)
    balancers = {balancer.name: balancer.address for balancer in site.load_balancers}
    vip = (site.settings["site_vip"],) if site.settings["site_vip"] else ()
    found: dict[str, tuple[Flow, ...]] = {}
    for host in site.hosts:
        wanted = []
        public = tuple(
            str(port.first) for port in site.ports if port.host == host and port.service == "NGINX" and port.networks
        )
        if public:
            wanted.append(Flow((balancers[host], *vip), public))
        near = [each for each in replicas if host in balancers or each[0] == host]
        for number in dict.fromkeys(number for _host, _address, number in near):
            wanted.append(Flow(tuple(address for _host, address, other in near if other == number), (number,)))
        found[host] = tuple(wanted)
    return found


def problems(host: str, variables: Mapping[str, Any], hosts: Iterable[str]) -> Iterator[str]:
    """What is wrong with a host's own rules. *hosts* are the names that may stand for addresses.

    Values of another type than their spec's are left to it.
    """
    names = set(hosts)
    if "firewall_ssh_sources" in variables:
        sources = strings(variables["firewall_ssh_sources"] or ())
        if not sources:
            yield f"{host}: firewall_ssh_sources is empty, and nobody could reach it any more. Give an address."
        yield from _source_problems(f"{host}: firewall_ssh_sources", sources, names)
    yield from _source_problems(
        f"{host}: monitoring_viewers", strings(variables.get("monitoring_viewers") or ()), names
    )
    extra = variables.get("firewall_extra_rules") or ()
    for item in (item for item in extra if isinstance(item, Mapping)) if isinstance(extra, (list, tuple)) else ():
        where = f"{host}: firewall_extra_rules"
        rule = _extra(item)
        if not rule.sources:
            yield f"{where}: {dict(item)} has no sources. Name addresses, networks or hosts, or say anyone."
        yield from _source_problems(where, rule.sources, names)
        if rule.protocol in WITH_PORTS and not rule.ports:
            yield f"{where}: {dict(item)} has no ports."
        if rule.protocol in WITHOUT_PORTS and rule.ports:
            yield f"{where}: {dict(item)} has ports, and {rule.protocol} knows none."
        for port in rule.ports:
            first, _dash, last = port.partition("-")
            numbers = [integer(number) for number in (first, last or first)]
            if not all(number is not None and 0 < number < 65536 for number in numbers) or numbers != sorted(
                number or 0 for number in numbers
            ):
                yield f"{where}: {port!r} is no port, expected 1 to 65535, or a range such as 6000-6010."


def admits(rules: Iterable[Rule], address: str, port: int) -> bool:
    """Whether *rules* let a TCP connection from *address* to *port* in."""
    source = ipaddress.ip_address(address.partition("%")[0])
    source = getattr(source, "ipv4_mapped", None) or source
    return source.is_loopback or any(
        rule.protocol == "tcp" and _in_ports(port, rule.ports) and _in_sources(source, rule.sources) for rule in rules
    )


def ruleset(rules: Iterable[Rule], flows: Iterable[Flow] = ()) -> str:
    """What ``nft -f`` reads: our table, replaced in one transaction.

    Source: https://wiki.nftables.org/wiki-nftables/index.php/Atomic_rule_replacement
    """
    lines = "".join(f"        {line}\n" for rule in rules for line in _lines(rule))
    untracked = "".join(f"        {line}\n" for flow in flows for line in _untracked(flow))
    return _RULESET.replace("<rules>\n", lines).replace("<untracked>\n", untracked)


def table_of_ports(ports: Iterable[Port]) -> tuple[tuple[str, str, str, str], ...]:
    """What is open to whom, for people: on which hosts, the port, to whom, what for. Once for all hosts alike."""
    rows = [
        (port.where, _span(port.first, port.last), port.whom, port.service + (f", `{port.option}`" * bool(port.option)))
        for port in ports
        if port.whom
    ]
    return tuple(dict.fromkeys(rows))


# A connection of TCP is judged by the packet that opens it, and by nothing that the kernel remembers: connections that
# were there when the rules were loaded go on, and what belongs to none is answered by a reset as on any host. Nothing
# may be told from "established" there: a SYN that follows a reset counts as that.
_RULESET = f"""\
# Managed by Ansible: site.yml writes this file, and replaces the table {TABLE}. No other table is touched.
add table inet {TABLE}
delete table inet {TABLE}
table inet {TABLE} {{
    # An address and a port, let in for a while by whoever adds it.
    set {GUESTS[4]} {{ type ipv4_addr . inet_service; flags timeout; }}
    set {GUESTS[6]} {{ type ipv6_addr . inet_service; flags timeout; }}

    # Connections that are too many to be remembered. Only other protocols are asked for below.
    chain before {{
        type filter hook prerouting priority raw; policy accept;
<untracked>
    }}
    chain after {{
        type filter hook output priority raw; policy accept;
<untracked>
    }}

    chain input {{
        type filter hook input priority filter; policy drop;
        iif lo accept
        # Connections of TCP are judged by the packet that opens them. Those that are there go on.
        tcp flags & (syn | ack) != syn accept
        meta l4proto != tcp ct state established,related accept
        # ICMP and ICMPv6: errors, packet too big, neighbour discovery.
        meta l4proto {{ 1, 58 }} accept
        # Answers of DHCP come from where nothing was sent to.
        udp sport 67 udp dport 68 accept
        ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept
        ip saddr . tcp dport @{GUESTS[4]} accept
        ip6 saddr . tcp dport @{GUESTS[6]} accept
<rules>
        # As a port does that nobody listens on: who asks in vain learns it at once.
        meta l4proto tcp reject with tcp reset
        reject
    }}
}}
"""


def _lines(rule: Rule) -> Iterator[str]:
    """The lines for one rule: one for each version of the protocol that its sources are of."""
    if rule.protocol in WITHOUT_PORTS:
        match = f"meta l4proto {WITHOUT_PORTS[rule.protocol]}"
    else:
        match = f"{rule.protocol} dport {{ {', '.join(rule.ports)} }}"
    why = re.sub(r"[^A-Za-z0-9_ .,:;()/-]", "", rule.why)[:100]
    verdict = f'accept comment "{why}"' if why else "accept"
    if ANYONE in rule.sources:
        yield f"{match} {verdict}"
        return
    for family, word in (("ip", "."), ("ip6", ":")):
        sources = [source for source in rule.sources if word in source]
        if sources:
            yield f"{family} saddr {{ {', '.join(sources)} }} {match} {verdict}"


def _untracked(flow: Flow) -> Iterator[str]:
    ports = f"{{ {', '.join(flow.ports)} }}"
    for family, word in (("ip", "."), ("ip6", ":")):
        addresses = [address for address in flow.addresses if word in address]
        if addresses:
            there = f"{{ {', '.join(addresses)} }}"
            yield f"{family} daddr {there} tcp dport {ports} notrack"
            yield f"{family} saddr {there} tcp sport {ports} notrack"


def _extra(item: Mapping[str, Any]) -> Rule:
    return Rule(
        str(item.get("protocol") or "tcp"),
        strings(item.get("ports") or ()),
        strings(item.get("sources") or ()),
        str(item.get("why") or "firewall_extra_rules"),
    )


def _source_problems(where: str, sources: Sequence[str], names: set[str]) -> Iterator[str]:
    for source in sources:
        if source != ANYONE and source not in names:
            try:
                ipaddress.ip_network(source)
            except ValueError as error:
                yield f"{where}: {error}. Expected an address, a network, a host of the site, or {ANYONE}."


def _sources(wanted: Iterable[str], addresses: Mapping[str, str], host: str) -> tuple[str, ...]:
    """*wanted* as networks, none of which is part of another one; without *host*, which reaches itself anyhow."""
    others = [source for source in wanted if source != host]
    if ANYONE in others:
        return (ANYONE,)
    networks = list(dict.fromkeys(ipaddress.ip_network(addresses.get(source, source)) for source in others))
    outermost = [one for one in networks if not any(_within(one, other) for other in networks if other != one)]
    return tuple(str(one.network_address if one.num_addresses == 1 else one) for one in outermost)


def _within(one: Network, other: Network) -> bool:
    return one.version == other.version and one.subnet_of(other)  # type: ignore[arg-type]


def _in_sources(source: ipaddress.IPv4Address | ipaddress.IPv6Address, sources: Iterable[str]) -> bool:
    return any(each == ANYONE or source in ipaddress.ip_network(each) for each in sources)


def _in_ports(port: int, ports: Iterable[str]) -> bool:
    spans = (span.partition("-") for span in ports)
    return any(int(first) <= port <= int(last or first) for first, _dash, last in spans)


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"
