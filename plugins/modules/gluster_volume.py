#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: gluster_volume
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: A replicated GlusterFS volume of the servers given
description:
  - Brings the servers into one pool, creates the volume, sets its options and starts it.
  - Run it on any one of the servers.
  - Never changes the layout of a volume that is there. Replaces a brick only of a server that is named in O(removed),
    and
    only while both others are online and hold all; that server is told to leave the pool once the new brick has healed.
  - Changes a volume only where this server and those that it reaches are more than half of the pool.
options:
  name:
    description: Name of the volume.
    type: str
    required: true
  servers:
    description: Addresses of the servers, in order. The last one is the arbiter, if there is one.
    type: list
    elements: str
    required: true
  brick:
    description: Folder of the brick, on every server.
    type: path
    required: true
  arbiter:
    description: The last server stores names only.
    type: bool
    default: false
  options:
    description: Options of the volume, by name.
    type: dict
    default: {}
  removed:
    description: Addresses of servers that leave. A brick of one of them may be replaced by that of a new server.
    type: list
    elements: str
    default: []
  returned:
    description:
      - Addresses of servers that came back with an empty disk and were made ready by
        M(renfo.redundancy.gluster_return).
    type: list
    elements: str
    default: []
  timeout:
    description: How long the other servers may take to join, in seconds.
    type: int
    default: 30
attributes:
  check_mode:
    description: Computes the same commands and stops.
    support: full
  diff_mode:
    description: Shows the commands.
    support: full
  platform:
    description: Debian with GlusterFS 10 or later.
    platforms: debian
    support: full
"""

EXAMPLES = r"""
- name: Build a volume with three full copies
  renfo.redundancy.gluster_volume:
    name: media
    servers: [10.0.0.21, 10.0.0.22, 10.0.0.23]
    brick: /srv/gluster/media/brick
    options:
      network.ping-timeout: 2
  run_once: true
"""

RETURN = r"""
actions:
  description: The gluster commands that were run, or in check mode would be.
  returned: always
  type: list
  elements: str
  sample: ["gluster volume start media"]
leaving:
  description: Addresses of O(removed) that are in the pool still, for not all copies are whole without them.
  returned: success
  type: list
  elements: str
  sample: []
"""

import dataclasses
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.renfo.redundancy.plugins.module_utils.gluster import (
    GlusterError,
    Wanted,
    every_brick,
    looks,
    parse_bricks,
    parse_heal_count,
    parse_peers,
    parse_volume,
    still_in_pool,
    volume_commands,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.gluster_pool import resolved


class Gluster:
    """The gluster command line of this host."""

    def __init__(self, module):
        self._module = module
        self.installed = module.get_bin_path("gluster") is not None

    def run(self, *arguments):
        """Output of ``gluster ARGUMENTS``; raises with its own words when it fails."""
        rc, out, err = self._module.run_command(["gluster", "--mode=script", *arguments])
        if rc != 0:
            raise GlusterError(f"gluster {' '.join(arguments)} failed: {(err or out).strip()}")
        return out

    def peers(self):
        if not self.installed:
            return ()
        return tuple(
            dataclasses.replace(peer, names=(*peer.names, *resolved(peer.address)))
            for peer in parse_peers(self.run("peer", "status", "--xml"))
        )

    def bricks(self, volume):
        heal = self.run("volume", "heal", volume.name, "info", "summary", "--xml")
        bricks = parse_bricks(self.run("volume", "status", volume.name, "--xml"), heal)
        return every_brick(volume, bricks, self.heal_count(volume.name))

    def heal_count(self, name):
        # It fails where a self-heal daemon starts just now, and says nothing then.
        rc, out, _err = self._module.run_command(
            ["gluster", "--mode=script", "volume", "heal", name, "statistics", "heal-count"]
        )
        return parse_heal_count(out) if rc == 0 else {}

    def volume(self, name):
        # With no volume at all, and only then, `volume info NAME` would fail: ask for all.
        return parse_volume(self.run("volume", "info", "--xml"), name) if self.installed else None

    def local_addresses(self):
        out = self._module.run_command(["ip", "-o", "address", "show"])[1]
        return tuple(line.split()[3].split("/")[0] for line in out.splitlines() if len(line.split()) > 3)

    def wait_for_peers(self, wanted, timeout):
        """Until every server is in the pool and connected."""
        deadline = time.monotonic() + timeout
        local = self.local_addresses()
        while True:
            peers = [peer for peer in self.peers() if peer.connected]
            missing = [s for s in wanted if s not in local and not any(peer.is_at(s) for peer in peers)]
            if not missing:
                return
            if time.monotonic() > deadline:
                raise GlusterError(
                    f"{', '.join(missing)} did not join the pool within {timeout} s. Every new brick needs its "
                    "server: start glusterd there (systemctl start glusterd), then run this again."
                )
            time.sleep(0.5)

    def insist(self, command, timeout):
        """Run what needs other servers, once they know each other.

        That this one is connected to all of them doesn't say that they are to each other: a server refuses in the
        first of two phases then, and nothing was done anywhere.
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                return self.run(*command)
            except GlusterError as error:
                early = "not connected" in str(error) or "'Peer in Cluster' state" in str(error)
                if not early or time.monotonic() > deadline:
                    raise
            time.sleep(0.5)


def newcomers(command):
    """Servers that must be in the pool before *command*: those of the bricks that it makes."""
    bricks = [word for word in command if ":/" in word]
    if command[:2] == ("volume", "create"):
        return [brick.rpartition(":")[0] for brick in bricks]
    return [bricks[-1].rpartition(":")[0]] if command[1] in ("replace-brick", "reset-brick") else []


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "servers": {"type": "list", "elements": "str", "required": True},
            "brick": {"type": "path", "required": True},
            "arbiter": {"type": "bool", "default": False},
            "options": {"type": "dict", "default": {}},
            "removed": {"type": "list", "elements": "str", "default": []},
            "returned": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    wanted = Wanted(
        name=module.params["name"],
        servers=tuple(module.params["servers"]),
        brick=module.params["brick"],
        arbiter=module.params["arbiter"],
        options={name: str(value) for name, value in module.params["options"].items()},
    )
    gluster = Gluster(module)
    try:
        peers, volume = gluster.peers(), gluster.volume(wanted.name)
        removed, returned = module.params["removed"], module.params["returned"]
        bricks = gluster.bricks(volume) if looks(wanted, peers, volume, removed, returned) else ()
        commands = volume_commands(wanted, gluster.local_addresses(), peers, volume, removed, bricks, returned)
        if not module.check_mode:
            for command in commands:
                if newcomers(command):
                    gluster.wait_for_peers(newcomers(command), module.params["timeout"])
                    gluster.insist(command, module.params["timeout"])
                else:
                    gluster.run(*command)
    except GlusterError as error:
        module.fail_json(msg=str(error))
    actions = [" ".join(("gluster", *command)) for command in commands]
    module.exit_json(
        changed=bool(actions),
        actions=actions,
        leaving=list(still_in_pool(peers, removed, commands)),
        diff={"before": "", "after": "".join(f"{action}\n" for action in actions)},
    )


if __name__ == "__main__":
    main()
