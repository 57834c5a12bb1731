"""What a stranger finds in the hosts' network, and that the firewall locks nobody out who belongs there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

import pytest

from tests.support.cluster import Cluster, wait
from tests.support.lab import Lab
from tests.support.outsider import Outsider
from tests.support.rounds import EVERY_STEP, rounds_only

TABLE = ("nft", "--stateless", "list", "table", "inet", "site_firewall")

#: Reads {address: ports}, answers {address: those that take a connection}. One that says nothing ends it with an error.
SCAN = """
import json, multiprocessing, socket, sys

def scan(item):
    address, ports = item
    found = []
    for port in ports or range(1, 65536):
        with socket.socket() as probe:
            probe.settimeout(10)
            try:
                probe.connect((address, port))
            except ConnectionRefusedError:
                continue
            found.append(port)
    return address, found

with multiprocessing.Pool(2) as pool:
    print(json.dumps(dict(pool.map(scan, json.loads(sys.argv[1]).items(), 1))))
"""

#: Sends something to ports of UDP, answers who said something, and what.
ASK = """
import json, select, socket, sys
probes, said = {}, []
for address in sys.argv[1].split(","):
    for port in map(int, sys.argv[2].split(",")):
        probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        probe.connect((address, port))
        probe.send(b"hello")
        probes[probe] = (address, port)
while ready := select.select(list(probes), [], [], 1)[0]:
    for probe in ready:
        asked = probes.pop(probe)
        try:
            said.append([*asked, repr(probe.recv(100))])
        except ConnectionRefusedError:
            pass
print(json.dumps(said))
"""


def scan(stranger: Outsider, ports: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """Which ports the stranger gets into, by address. No *ports* of an address are all."""
    return dict(json.loads(stranger.python(SCAN, json.dumps({address: list(some) for address, some in ports.items()}))))


def listening(lab: Lab) -> set[int]:
    """Ports of TCP that anything listens on, on any host."""
    found = [line.split()[3] for host in lab.addresses for line in lab.run(host, "ss -Htln").splitlines()]
    return {int(address.rpartition(":")[2]) for address in found}


def test_a_stranger_finds_ssh_and_the_site(lab: Lab, stranger: Outsider) -> None:
    everywhere = listening(lab)
    assert {22, 80, 443, 5432, 8000, 8432, 24007} <= everywhere
    # Of each kind one host is asked for every port there is, the others for those that somebody listens on.
    whole = set(lab.addresses) if EVERY_STEP else {"lb1", "app1", "pg1", "ops1"}
    wanted = {lab.addresses[host]: sorted(() if host in whole else everywhere) for host in lab.addresses}
    found = scan(stranger, {**wanted, lab.vip: sorted(everywhere)})
    site = {lab.vip, *(lab.addresses[host] for host in lab.lb_hosts)}
    assert found == {address: [22, 80, 443] if address in site else [22] for address in [*wanted, lab.vip]}


def test_a_stranger_hears_nothing_by_udp(lab: Lab, stranger: Outsider) -> None:
    ports = "53,68,111,123,161,323,514,546,5353,8125,24007,49152"
    assert json.loads(stranger.python(ASK, ",".join(lab.addresses.values()), ports)) == []


def test_who_belongs_there_gets_in(lab: Lab) -> None:
    """From the hosts themselves: what the documentation promises, and no more."""
    where = {host: lab.addresses[host] for host in ("app1", "pg1", "ops1")}
    expected = {
        "lb1": {"app1:8000", "app1:24007"},
        "app2": {"app1:24007", "pg1:5432"},
        "pg2": {"pg1:5432", "ops1:8432"},
        "ops1": {"app1:8000", "app1:24007", "pg1:8432"},
    }
    asked = ["app1:8000", "app1:24007", "pg1:5432", "pg1:8432", "ops1:8432"]
    for host, wanted in expected.items():
        asks = [target for target in asked if target.partition(":")[0] != host]
        probes = "; ".join(
            f"(exec 3<>/dev/tcp/{where[name]}/{port}) 2>/dev/null && echo {name}:{port}"
            for name, _colon, port in (target.partition(":") for target in asks)
        )
        assert set(lab.run(host, f"bash -c '{probes}; true'").split()) == wanted, host


@pytest.fixture(scope="module")
def another_ca(lab: Lab) -> Iterator[str]:
    """A folder on pg2 with a CA of somebody else's, and a certificate that it made for the role that standbys use."""
    folder = "/run/another-ca"
    new = "openssl req -newkey rsa:2048 -nodes -batch"
    lab.run(
        "pg2",
        f"mkdir -p {folder} && cd {folder} && {new} -x509 -days 2 -subj /CN=other -keyout ca.key -out ca.crt 2>&1"
        f" && {new} -subj /CN=replication -keyout client.key -out client.csr 2>&1"
        " && openssl x509 -req -in client.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out client.crt 2>&1"
        " && chown -R postgres .",
    )
    yield folder
    lab.run("pg2", f"rm -r {folder}")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("sslmode=disable", "no encryption"),
        ("sslmode=verify-full sslrootcert={ca}/ca.crt", "certificate verify failed"),
        ("sslmode=require sslcert={ca}/client.crt sslkey={ca}/client.key", "unknown ca"),
    ],
    ids=["plain text", "a server of another CA", "a client of another CA"],
)
def test_a_members_host_alone_is_not_enough_for_postgresql(lab: Lab, another_ca: str, options: str, said: str) -> None:
    url = f"host=pg1 hostaddr={lab.addresses['pg1']} user=replication dbname=postgres {options.format(ca=another_ca)}"
    result = lab.host("pg2").run(f"runuser -u postgres -- psql -w -c 'SELECT 1' '{url}'")
    assert result.rc != 0
    assert said in result.stderr


def test_the_rules_are_there_after_a_reboot(lab: Lab, cluster: Cluster, stranger: Outsider) -> None:
    before = lab.run("ops1", " ".join(TABLE))
    cluster.power_off("ops1")
    cluster.power_on("ops1")
    cluster.wait_up("ops1")
    assert lab.run("ops1", " ".join(TABLE)) == before
    address = lab.addresses["ops1"]
    assert scan(stranger, {address: sorted(listening(lab))}) == {address: [22]}
    lab.wait_healthy()


def test_rules_that_leave_the_controller_out_are_refused(lab: Lab) -> None:
    before = lab.run("ops1", " ".join(TABLE))
    rules = [{"protocol": "tcp", "ports": ["22"], "sources": [lab.addresses["lb1"]], "why": "SSH"}]
    with pytest.raises(AssertionError, match=f"Nothing was changed. Ansible comes from {lab.subnet}.1 to port 22"):
        lab.module("ops1", "host_firewall", {"rules": rules})
    assert lab.run("ops1", " ".join(TABLE)) == before


@rounds_only
def test_rules_under_which_nobody_gets_in_are_undone_by_the_host(lab: Lab) -> None:
    """SSH is dropped by somebody else's table: rules that did it themselves would be refused."""
    exec_ = ("exec", lab.container("ops1"))
    before = lab.docker(*exec_, *TABLE)
    rules = [{"protocol": "tcp", "ports": ["22", "4711"], "sources": ["anyone"], "why": "SSH"}]
    # A connection of Ansible's that is there when nobody else gets in.
    lab.module("ops1", "host_firewall", {"rules": rules}, check=True)
    drop = "tcp dport 22 tcp flags & (syn | ack) == syn drop"
    chain = f"chain in {{ type filter hook input priority -300; {drop}; }}"
    lab.docker(*exec_, "nft", f"table inet test {{ {chain}; }}")
    try:
        with pytest.raises(AssertionError, match="could not be confirmed by a new connection"):
            lab.module("ops1", "host_firewall", {"rules": rules, "undo_after": 30})
        assert "4711" in lab.docker(*exec_, *TABLE)
        wait(lambda: lab.docker(*exec_, *TABLE) == before, 40, lambda: lab.docker(*exec_, *TABLE))
    finally:
        lab.docker(*exec_, "nft", "delete", "table", "inet", "test")
    play = lab.play("site.yml", "--check")
    assert play.changed() == {}, play.output
