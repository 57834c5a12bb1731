"""What a service may do on its host that was taken over, and what its unit tells whoever reads it."""

from __future__ import annotations

import re

import pytest

from tests.support.lab import INVENTORY, Lab

#: As `systemd-analyze security` counts: 10 may do everything.
MOST = 3.0
EXPORTERS = ["prometheus-node-exporter", "prometheus-exporter-exporter", "stack-metrics"]
UNITS = {
    "lb1": ["nginx", "nginx-media", "prometheus-nginx-exporter", "mtail", *EXPORTERS],
    "app1": ["app@1", *EXPORTERS],
    "pg1": ["prometheus-postgres-exporter", *EXPORTERS],
    "ops1": ["prometheus", "prometheus-alertmanager", "prometheus-blackbox-exporter", *EXPORTERS],
}
UNIT_TEXTS = (
    r"find /etc/systemd /run/systemd/system /run/systemd/transient -type f -regex '.*\.\(service\|conf\|timer\|mount\)'"
    " -exec cat {} +; systemctl show '*' | tr -cd '[:print:]\n'"
)


@pytest.mark.parametrize("host", UNITS)
def test_services_may_do_little(lab: Lab, host: str) -> None:
    found = {}
    for unit in UNITS[host]:
        assert lab.run(host, f"systemctl is-active {unit}") == "active"
        last = lab.run(host, f"systemd-analyze security --no-pager {unit} | tail -1")
        match = re.search(r"exposure level for \S+: ([0-9.]+)", last)
        assert match, last
        found[unit] = float(match[1])
    assert {unit: exposure for unit, exposure in found.items() if exposure > MOST} == {}


def test_no_secret_is_in_a_unit(lab: Lab) -> None:
    secrets = [path.read_text().strip() for path in (INVENTORY / ".secrets" / lab.name).glob("*pass*")]
    assert len(secrets) >= 4
    for host in lab.addresses:
        said = lab.run(host, UNIT_TEXTS)
        assert not [number for number, secret in enumerate(secrets) if secret in said], host
