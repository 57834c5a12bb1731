"""The drill's own client and checkers, used by a test that breaks things itself."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.support.lab import ROOT, Lab

# As Ansible finds it: the checkout, linked there by lab/setup.sh.
sys.path.insert(0, str(ROOT / ".cache/collections"))

from ansible_collections.renfo.redundancy.plugins.module_utils.drill_faults import UNBOUNDED
from ansible_collections.renfo.redundancy.plugins.plugin_utils.drill_session import Session


class Round:
    """One round, whose fault the test injects."""

    def __init__(self, lab: Lab, session: Session) -> None:
        self._lab = lab
        self._session = session

    def judge(self) -> dict[str, Any]:
        """The result, once everything that was sent has been answered."""
        now = time.time()
        for event in ("injecting", "healed"):
            self._session.note(event, at=now)
        self._session.settle()
        witnesses = {host: self._ask(host) for host in self._lab.pg_hosts}
        target = {
            "number": 1,
            "name": "control",
            "title": "",
            "tier": "primary",
            "hosts": [],
            "budget": dataclasses.asdict(UNBOUNDED),
        }
        return self._session.judge(target, witnesses)

    def _ask(self, host: str) -> dict[str, Any]:
        said = self._lab.module(host, "drill_witness", {"state": "asked"})
        # The checkout's ansible.cfg asks for results in YAML.
        found: dict[str, Any] = yaml.safe_load(said.partition("=>")[2])
        return found


@contextlib.contextmanager
def drilled(lab: Lab, folder: Path) -> Iterator[Round]:
    """The site is used, and the database watched from within, until the end."""
    session = Session(str(folder))
    for host in lab.pg_hosts:
        lab.module(host, "drill_witness", {"state": "present", "lifetime": 3600})
    client = {
        "url": f"https://{lab.vip}",
        "server_name": "renfo.example",
        "ca": str(ROOT / f"inventories/lab/.secrets/{lab.name}/tls/ca.crt"),
        "rates": {"write": 10, "upload": 1, "video": 1},
        "timeout": 15,
        "upload_bytes": 10_000,
        "paths": {"page": "/", "sessions": "/sessions", "videos": "/videos"},
    }
    try:
        session.start(client, os.getpid())
        session.note("begin")
        yield Round(lab, session)
    finally:
        session.stop()
        for host in lab.pg_hosts:
            lab.module(host, "drill_witness", {"state": "absent"})
