#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: gluster_heal
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: Wait until all copies of a GlusterFS volume are whole
description:
  - Waits on a server of the volume until every brick is online and none has anything to heal, and shows how many
    files are left.
  - Gives up when it got no further for O(patience) seconds. To interrupt it does no harm; healing goes on by itself.
options:
  name:
    description: Name of the volume.
    type: str
    required: true
  brick:
    description: Folder of this server's brick.
    type: path
    required: true
  patience:
    description: Seconds without any progress after which it gives up.
    type: float
    default: 600
attributes:
  check_mode:
    description: Looks once, and waits for nothing.
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
- name: Wait for the new copy
  renfo.redundancy.gluster_heal:
    name: media
    brick: /srv/gluster/media/brick
"""

RETURN = r"""
waiting:
  description: Files that are left to heal, on the brick with the most; null if one didn't say.
  returned: always
  type: int
  sample: 0
"""

ARGUMENTS = {
    "name": {"type": "str", "required": True},
    "brick": {"type": "path", "required": True},
    "patience": {"type": "float", "default": 600},
}
