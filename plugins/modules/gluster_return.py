#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: gluster_return
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: Lead a GlusterFS server that lost its disk back into its pool
description:
  - Gives glusterd the identity that the pool knows, and the others of the pool, which then tell it of the volume.
    Prepares an empty brick; M(renfo.redundancy.gluster_volume) with
    O(renfo.redundancy.gluster_volume#module:returned) then has it filled.
  - A brick that still holds files is left as it is.
  - Run again after an interruption, it finishes.
options:
  uuid:
    description: What the pool calls this server.
    type: str
    required: true
  volume_id:
    description: Identity of the volume.
    type: str
    required: true
  brick:
    description: Folder of the brick.
    type: path
    required: true
  peers:
    description: What the pool calls the other servers of the volume, by address.
    type: dict
    required: true
  state:
    description:
      - V(present) leads it back.
      - V(done) forgets that the brick was yet to be filled.
    type: str
    choices: [present, done]
    default: present
  timeout:
    description: Seconds that the pool may take to take it back.
    type: int
    default: 60
attributes:
  check_mode:
    description: Says that it would change the host, and changes nothing.
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
- name: Come back
  renfo.redundancy.gluster_return:
    uuid: 9ec4c28a-604a-410a-84a1-5ade5be028e4
    volume_id: 2d125fb5-a922-4df6-b4b2-ebc7f3341c35
    brick: /srv/gluster/media/brick
    peers:
      192.0.2.21: 6bfa31f2-1b54-4517-9f6a-b5bbc214a2cd
"""

RETURN = r""" # """

import os
import re
import shutil
import time
import uuid
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.renfo.redundancy.plugins.module_utils.gluster import parse_peers
from ansible_collections.renfo.redundancy.plugins.module_utils.gluster_pool import RETURNED, STATE, is_empty

INFO = STATE / "glusterd.info"


class ReturnError(Exception):
    """The server could not be led back; says what to do."""


def run(module, *argv):
    rc, out, err = module.run_command(list(argv))
    if rc != 0:
        raise ReturnError(f"{' '.join(argv)} failed: {(err or out).strip()}")
    return out


def lead_back(module):
    """With glusterd stopped: it reads all this when it starts, and the others then tell it of the volume."""
    params = module.params
    brick = Path(params["brick"])
    text = INFO.read_text(encoding="utf-8")
    run(module, "systemctl", "stop", "glusterd.service")
    for folder in ("peers", "vols"):
        shutil.rmtree(STATE / folder, ignore_errors=True)
        (STATE / folder).mkdir(mode=0o755)
    INFO.write_text(re.sub(r"(?m)^UUID=.*$", f"UUID={params['uuid']}", text), encoding="utf-8")
    for address, identity in params["peers"].items():
        # 3: in the cluster.
        (STATE / "peers" / identity).write_text(f"uuid={identity}\nstate=3\nhostname1={address}\n", encoding="utf-8")
    if is_empty(brick):
        prepare(brick, params["volume_id"])
    run(module, "systemctl", "start", "glusterd.service")
    wait(module)
    # Only a glusterd that knew of the volume when it started has found the brick, and lets it be reset: without that a
    # brick runs, and nobody fills it.
    run(module, "systemctl", "restart", "glusterd.service")
    wait(module)


def prepare(brick, volume_id):
    """What glusterd needs to start an empty brick: it makes none of it where the volume is there already."""
    (STATE / RETURNED).write_text("its brick is to be filled\n", encoding="utf-8")
    (brick / ".glusterfs" / "indices").mkdir(mode=0o600, parents=True, exist_ok=True)
    os.setxattr(brick, "trusted.glusterfs.volume-id", uuid.UUID(volume_id).bytes)


def wait(module):
    """Until the others have taken this server back, and told it of the volume."""
    deadline = time.monotonic() + module.params["timeout"]
    while True:
        rc, out, _err = module.run_command(["gluster", "--mode=script", "peer", "status", "--xml"])
        if rc == 0 and any(peer.connected for peer in parse_peers(out)) and any((STATE / "vols").glob("*/info")):
            return
        if time.monotonic() > deadline:
            raise ReturnError(
                f"the pool did not take this server back within {module.params['timeout']} s. Look at 'gluster "
                "peer status' here and on the others, start glusterd where it doesn't run, then run this again"
            )
        time.sleep(0.5)


def main():
    module = AnsibleModule(
        argument_spec={
            "uuid": {"type": "str", "required": True},
            "volume_id": {"type": "str", "required": True},
            "brick": {"type": "path", "required": True},
            "peers": {"type": "dict", "required": True},
            "state": {"type": "str", "choices": ["present", "done"], "default": "present"},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    done = module.params["state"] == "done"
    try:
        changed = not done or (STATE / RETURNED).exists()
        if not module.check_mode:
            if done:
                (STATE / RETURNED).unlink(missing_ok=True)
            else:
                lead_back(module)
    except (ReturnError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=changed)


if __name__ == "__main__":
    main()
