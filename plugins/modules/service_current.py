#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: service_current
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: A systemd unit runs with the configuration that is on disk
description:
  - Starts and enables units, and reloads or restarts those that run with an older configuration than the one on disk.
  - Decides by what the host says, not by what changed in this run, so that an interrupted run is finished by the
    next one. A handler cannot do that.
  - A mount whose other end is gone for good, as that of a store which was made anew, counts as not mounted.
  - Units are handled one after the other; each must be ready before the next is touched.
    With C(throttle=1) on the task this is a rolling restart over all hosts.
options:
  units:
    description: Names of the units, with their suffix.
    type: list
    elements: str
    required: true
  files:
    description:
      - Files and directories that the units read when they start or reload. Missing ones are allowed.
      - C(%i) in a path is the instance of a template unit.
    type: list
    elements: path
    default: []
  context:
    description: Anything else that the units depend on, such as the id of a release.
    type: str
    default: ""
  on_change:
    description: How a running unit takes over a changed configuration.
    type: str
    choices: [reload, restart, nothing]
    default: restart
  restart_files:
    description:
      - Files that only a restart takes over, whatever O(on_change) says, such as the unit itself.
      - C(%i) in a path is the instance of a template unit.
    type: list
    elements: path
    default: []
  validate:
    description: A command that must succeed before anything is reloaded, restarted or started.
    type: list
    elements: str
    default: []
  enabled:
    description: Whether the units start at boot.
    type: bool
    default: true
  ready_urls:
    description: For each unit, in order, a URL that must answer 2xx before the unit counts as up.
    type: list
    elements: str
    default: []
  ready_timeout:
    description: How long a unit may take to get ready, in seconds.
    type: float
    default: 60
  gate:
    description:
      - Name of an nftables table, with C(%i) for the instance. From before a unit is started or restarted until it is
        ready, the port of its URL in O(ready_urls) refuses connections, but for those that root on this host makes to
        find out. So a unit that never gets ready is asked by nobody.
      - The gate opens by itself after O(gate_seconds), should whoever closed it be interrupted.
      - Empty means none.
    type: str
    default: ""
  gate_seconds:
    description: How long a gate stays closed at most, in seconds. It must be enough to stop, start and get ready.
    type: int
    default: 300
  only_instances_of:
    description: A template (C(app@)); active instances of it that O(units) doesn't name are stopped and disabled.
    type: str
    default: ""
attributes:
  check_mode:
    description: Computes the same steps and stops.
    support: full
  diff_mode:
    description: Shows the steps.
    support: full
  platform:
    description: Debian with systemd.
    platforms: debian
    support: full
"""

EXAMPLES = r"""
- name: Service | NGINX serves with the configuration on disk
  renfo.redundancy.service_current:
    units: [nginx.service]
    files: [/etc/nginx]
    on_change: reload
    validate: [nginx, -t]

- name: Service | Restart the replicas that need it, one at a time, over all hosts
  renfo.redundancy.service_current:
    units: [app@1.service, app@2.service]
    files: [/etc/app/%i.env, /etc/systemd/system/app@.service]
    context: 3f2c1a9b77d0
    ready_urls: ["http://10.0.0.21:8000/readyz", "http://10.0.0.21:8001/readyz"]
    only_instances_of: app@
  throttle: 1
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be done, in order.
  returned: always
  type: list
  elements: str
  sample: ["restart app@1.service"]
"""

import dataclasses
import hashlib
import json
import os
import time
import urllib.error
import urllib.parse
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url
from ansible_collections.renfo.redundancy.plugins.module_utils.service_state import (
    Apply,
    Stamp,
    Step,
    UnitState,
    is_starting,
    steps,
)

STAMPS = Path("/run/renfo")


class ServiceError(Exception):
    """A unit did not do what it was told."""


class Systemd:
    """What this module asks of the host."""

    def __init__(self, module):
        self._module = module

    def run(self, *argv):
        rc, out, err = self._module.run_command(list(argv))
        if rc != 0:
            raise ServiceError(f"{' '.join(argv)} failed: {(err or out).strip()}")
        return out

    def show(self, unit):
        """Properties of *unit*; an unknown unit has them too."""
        names = (
            "ActiveState,SubState,UnitFileState,InvocationID,NeedDaemonReload,Where"
            ",ActiveEnterTimestampMonotonic,InactiveExitTimestampMonotonic"
        )
        rc, out, err = self._module.run_command(["systemctl", "show", unit, f"--property={names}"])
        if rc != 0:
            raise ServiceError(f"systemctl show {unit} failed: {err.strip()}")
        return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)

    def leads_nowhere(self, where):
        """Whether what is mounted at *where* has lost the other end for good, as when that was replaced."""
        # It may hang too, which is no reason to give it up.
        _rc, _out, err = self._module.run_command(["timeout", "5", "stat", "-f", where], environ_update={"LC_ALL": "C"})
        return "Transport endpoint is not connected" in err

    def instances(self, template):
        """Loaded instances of a template unit."""
        out = self.run("systemctl", "list-units", "--all", "--plain", "--no-legend", f"{template}*.service")
        return [line.split()[0] for line in out.splitlines() if line.strip()]

    def journal(self, unit):
        """The unit's last words."""
        return self._module.run_command(["journalctl", "-u", unit, "-n", "15", "--no-pager", "-o", "cat"])[1].strip()


def fingerprint(paths, context):
    """Digest of all *paths* with *context*, and when the youngest of them was changed, or a link on the way to it."""
    digest = hashlib.sha256(context.encode())
    youngest = 0.0
    for path in sorted(file for root in paths for file in _files(Path(root))):
        digest.update(f"{path}\0".encode())
        digest.update(path.read_bytes())
        links = [place.lstat().st_mtime for place in (path, *path.parents) if place.is_symlink()]
        youngest = max(youngest, path.stat().st_mtime, *links)
    return digest.hexdigest(), youngest


def _files(root):
    if root.is_dir():
        return [path for path in root.rglob("*") if path.is_file()]
    return [root] if root.is_file() else []


def observe(systemd, unit, params, shown):
    """The state of *unit*, of which systemd has *shown* that, and of the files it reads."""
    instance = unit.partition("@")[2].rpartition(".")[0]

    def fingerprints(files):
        return fingerprint([path.replace("%i", instance) for path in files], params["context"])

    digest, changed_at = fingerprints(params["files"])
    stamp = STAMPS / f"{unit}.json"
    return UnitState(
        # Debian's postgresql@.service ignores a failed start and stays "active (exited)".
        active=shown.get("ActiveState") in ("active", "reloading")
        and shown.get("SubState") != "exited"
        # A mount is mounted, says systemd, whatever became of the store.
        and not (shown.get("Where") and systemd.leads_nowhere(shown["Where"])),
        enabled=shown.get("UnitFileState") in ("enabled", "enabled-runtime", "static", "generated", "indirect")
        or not params["enabled"],
        invocation=shown.get("InvocationID", ""),
        started_at=moment(shown, "ActiveEnter"),
        digest=digest,
        changed_at=changed_at,
        unit_changed_at=fingerprints(params["restart_files"])[1],
        stamp=Stamp.from_dict(json.loads(stamp.read_text())) if stamp.exists() else None,
    )


def moment(shown, name):
    """When a unit did that, in seconds since the epoch; systemd counts from boot."""
    monotonic = int(shown.get(f"{name}TimestampMonotonic") or 0) / 1e6
    return time.time() - (time.clock_gettime(time.CLOCK_MONOTONIC) - monotonic)


def start(systemd, unit, state, on_change):
    """Start *unit*, or wait for the start that is under way."""
    shown = systemd.show(unit)
    if not is_starting(shown.get("SubState", "")):
        # One that only claims to be active: a start would do nothing.
        systemd.run("systemctl", "restart", unit)
        return
    systemd.run("systemctl", "start", unit)
    if (
        shown["SubState"] == "start"
        and state.changed_at >= moment(shown, "InactiveExit")
        and on_change is not Apply.NOTHING
    ):
        # It may have read what was there when it began.
        systemd.run("systemctl", on_change.value, unit)


def write_stamp(systemd, unit, digest):
    """Remember what this invocation of *unit* runs with."""
    STAMPS.mkdir(mode=0o755, exist_ok=True)
    temporary = STAMPS / f".{unit}.json"
    temporary.write_text(json.dumps(dataclasses.asdict(Stamp(systemd.show(unit).get("InvocationID", ""), digest))))
    os.replace(temporary, STAMPS / f"{unit}.json")


def wait_ready(systemd, unit, url, timeout):
    """Ask *url* until it answers 2xx; raises with the last answer and the unit's last words."""
    deadline = time.monotonic() + timeout
    answer = "no answer"
    while time.monotonic() < deadline:
        try:
            with open_url(url, timeout=10, use_proxy=False):
                return
        except urllib.error.HTTPError as error:
            answer = f"{error.code} {error.read(2000).decode(errors='replace')}"
        except OSError as error:
            answer = str(error)
        time.sleep(0.2)
    raise ServiceError(
        f"{unit} did not get ready within {timeout:g} s: {url} says: {answer}\n"
        f"Its journal ends with:\n{systemd.journal(unit)}"
    )


def gate_rules(table, port, seconds):
    """A table of nftables that refuses new connections to *port*, and forgets to after *seconds*.

    A reset makes a load balancer go to the next replica. Root asks whether the unit is ready; a load balancer on the
    same host isn't root.
    """
    refuse = "tcp dport @closed tcp flags & (syn|ack) == syn {who} reject with tcp reset;"
    return (
        # To delete it where there is none would fail.
        f"add table inet {table}; delete table inet {table}; table inet {table} {{ "
        f"set closed {{ type inet_service; flags timeout; elements = {{ {port} timeout {seconds}s }}; }}; "
        "chain outside { type filter hook input priority -5; policy accept; "
        f'iifname != "lo" {refuse.format(who="")} }}; '
        "chain inside { type filter hook output priority -5; policy accept; "
        f'oifname "lo" {refuse.format(who="meta skuid != 0")} }}; }}'
    )


class Gate:
    """Keeps everybody away from the port of a unit until it is ready."""

    def __init__(self, systemd, unit, url, params):
        self._systemd = systemd
        self._table = params["gate"].replace("%i", unit.partition("@")[2].rpartition(".")[0]) if url else ""
        self._port = urllib.parse.urlsplit(url or "").port
        self._seconds = params["gate_seconds"]

    def close(self):
        """Close it, or keep it closed for longer."""
        if self._table:
            self._systemd.run("nft", gate_rules(self._table, self._port, self._seconds))

    def open(self):
        """Open it, whoever closed it."""
        if self._table:
            self._systemd.run("nft", f"add table inet {self._table}; delete table inet {self._table}")


def settle(module, systemd):
    """Plan for every unit, and unless in check mode act. Returns the actions."""
    params = module.params
    urls = params["ready_urls"] or [None] * len(params["units"])
    if len(urls) != len(params["units"]):
        raise ServiceError(f"ready_urls has {len(urls)} entries for {len(params['units'])} units: give one for each")
    surplus = []
    if params["only_instances_of"]:
        surplus = sorted(set(systemd.instances(params["only_instances_of"])) - set(params["units"]))
    shown = {unit: systemd.show(unit) for unit in (*params["units"], *surplus)}
    units = {unit: observe(systemd, unit, params, shown[unit]) for unit in params["units"]}
    planned = {unit: steps(state, Apply(params["on_change"])) for unit, state in units.items()}
    actions = [f"{step.value} {unit}" for unit, todo in planned.items() for step in todo]
    actions += [f"{Step.STOP.value} {unit}" for unit in surplus]
    if module.check_mode:
        return actions

    if actions and params["validate"]:
        systemd.run(*params["validate"])
    if any(properties.get("NeedDaemonReload") == "yes" for properties in shown.values()) or actions:
        systemd.run("systemctl", "daemon-reload")
    for unit, url in zip(units, urls, strict=True):
        gate = Gate(systemd, unit, url, params)
        if {Step.START, Step.RESTART} & set(planned[unit]):
            gate.close()
        for step in planned[unit]:
            try:
                if step is Step.START:
                    start(systemd, unit, units[unit], Apply(params["on_change"]))
                else:
                    systemd.run("systemctl", step.value, unit)
            except ServiceError as error:
                raise ServiceError(f"{error}\nIts journal ends with:\n{systemd.journal(unit)}") from error
        if planned[unit] and systemd.show(unit).get("ActiveState") in ("inactive", "failed"):
            # A unit whose ExecCondition= says no is skipped, and systemctl calls that a success.
            raise ServiceError(f"{unit} doesn't run.\nIts journal ends with:\n{systemd.journal(unit)}")
        if planned[unit] or units[unit].stamp is None or units[unit].stamp.invocation != units[unit].invocation:
            # Before it is ready, which it may never be: whoever comes next has to know what it runs with.
            write_stamp(systemd, unit, units[unit].digest)
        if url:
            wait_ready(systemd, unit, url, params["ready_timeout"])
        gate.open()
    for unit in surplus:
        systemd.run("systemctl", "disable", "--now", unit)
        if systemd.show(unit).get("ActiveState") == "failed":
            # It would be listed, and stopped again, for ever.
            systemd.run("systemctl", "reset-failed", unit)
    return actions


def main():
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "list", "elements": "str", "required": True},
            "files": {"type": "list", "elements": "path", "default": []},
            "context": {"type": "str", "default": ""},
            "on_change": {"type": "str", "choices": ["reload", "restart", "nothing"], "default": "restart"},
            "restart_files": {"type": "list", "elements": "path", "default": []},
            "validate": {"type": "list", "elements": "str", "default": []},
            "enabled": {"type": "bool", "default": True},
            "ready_urls": {"type": "list", "elements": "str", "default": []},
            "ready_timeout": {"type": "float", "default": 60},
            "gate": {"type": "str", "default": ""},
            "gate_seconds": {"type": "int", "default": 300},
            "only_instances_of": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    try:
        actions = settle(module, Systemd(module))
    except (ServiceError, OSError) as error:
        module.fail_json(msg=str(error))
    diff = {"before": "", "after": "".join(f"{action}\n" for action in actions)}
    module.exit_json(changed=bool(actions), actions=actions, diff=diff)


if __name__ == "__main__":
    main()
