#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: gluster_info
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: What a GlusterFS server knows of its pool and of a volume
description:
  - Reads the files of glusterd, whether it runs or not; changes nothing.
  - With O(bricks) it asks glusterd how the bricks are, too.
options:
  name:
    description: Name of the volume.
    type: str
    required: true
  brick:
    description: Folder of this server's brick.
    type: path
    required: true
  bricks:
    description: Ask how the bricks are. Costs a second, and only a server that has the volume can be asked.
    type: bool
    default: false
attributes:
  check_mode:
    description: Changes nothing, in check mode or without.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
  platform:
    description: Debian with GlusterFS 10 or later.
    platforms: debian
    support: full
"""

EXAMPLES = r"""
- name: Look at the store
  renfo.redundancy.gluster_info:
    name: media
    brick: /srv/gluster/media/brick
  register: store_observed
"""

RETURN = r"""
store:
  description: What was found; empty values on a host that serves nothing.
  returned: success
  type: dict
  contains:
    uuid:
      description: What the pool calls this server.
      type: str
    peers:
      description: The others of its pool.
      type: list
      elements: str
    neighbours:
      description: Their names and addresses.
      type: list
      elements: str
    volume_id:
      description: Identity of the volume.
      type: str
    bricks:
      description: The servers of the volume's bricks, by address.
      type: dict
    empty:
      description: Whether the brick of this host holds no file.
      type: bool
    returned:
      description: Whether the brick is yet to be filled, after the host came back with an empty disk.
      type: bool
  sample: {uuid: "", peers: [], neighbours: [], volume_id: "", bricks: {}, empty: true, returned: false}
bricks:
  description: How the bricks are, with the number of files that each has to heal for others (null if it doesn't say).
  returned: with O(bricks), where the volume is known
  type: list
  elements: dict
  sample: [{name: "192.0.2.21:/srv/gluster/media/brick", online: true, to_heal: 0}]
error:
  description: Why it can't be told how the bricks are.
  returned: with O(bricks), where glusterd doesn't answer
  type: str
layout:
  description: The bricks in order, and how many of them are arbiters.
  returned: with O(bricks), where the volume is known
  type: dict
  sample: {bricks: ["192.0.2.21:/srv/gluster/media/brick"], arbiters: 0}
"""

import dataclasses
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.renfo.redundancy.plugins.module_utils.gluster import (
    every_brick,
    parse_bricks,
    parse_heal_count,
    parse_volume,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.gluster_pool import look


class SilentError(Exception):
    """glusterd doesn't answer."""


def ask(module, *words):
    """What ``gluster WORDS`` says."""
    rc, out, err = module.run_command(["gluster", "--mode=script", *words])
    if rc != 0:
        raise SilentError(f"gluster {' '.join(words)} failed: {(err or out).strip()}")
    return out


def heal_counts(module, name):
    """It fails where a self-heal daemon starts just now, and says nothing then."""
    try:
        return parse_heal_count(ask(module, "volume", "heal", name, "statistics", "heal-count"))
    except SilentError:
        return {}


def ask_bricks(module, name):
    volume = parse_volume(ask(module, "volume", "info", "--xml"), name)
    if volume is None:
        raise SilentError(f"glusterd knows no volume {name}, though its files do")
    heal = ask(module, "volume", "heal", name, "info", "summary", "--xml")
    told = parse_bricks(ask(module, "volume", "status", name, "--xml"), heal)
    return volume, every_brick(volume, told, heal_counts(module, name))


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "brick": {"type": "path", "required": True},
            "bricks": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    name = module.params["name"]
    try:
        found = look(name, Path(module.params["brick"]))
    except OSError as error:
        module.fail_json(msg=f"{error.filename} can't be read: {error.strerror}; expected to read it as root")
    result = {"store": dataclasses.asdict(found)}
    if module.params["bricks"] and found.volume_id:
        try:
            volume, bricks = ask_bricks(module, name)
            result |= {
                "bricks": [dataclasses.asdict(brick) for brick in bricks],
                "layout": {"bricks": volume.bricks, "arbiters": volume.arbiters},
            }
        except SilentError as error:
            # Perhaps it is stopped, which whoever asks is about to mend.
            result["error"] = str(error)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
