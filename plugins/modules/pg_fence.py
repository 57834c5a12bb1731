#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_fence
short_description: Keep this host's PostgreSQL primary from accepting writes
version_added: 0.1.0
author: The renfo.redundancy authors (@renfo)
description:
  - Writes the fence marker, then stops the server at once, whatever state it is in, and looks that no process of it
    is left. A frozen server is killed.
  - While the marker is there, the guard never lets the instance start as a primary, whoever starts it. As a standby it
    starts freely.
  - An immediate shutdown is what makes this quick. Nothing that was committed is lost by it; the server recovers when
    it starts again.
requirements:
  - root privileges on the host (C(become))
attributes:
  check_mode:
    description: Can run in check mode and return what it would outside it.
    support: full
  diff_mode:
    description: Returns what would change, in diff mode.
    support: full
  platform:
    description: Target systems.
    platforms: debian
    support: full
extends_documentation_fragment:
  - renfo.redundancy.postgresql
  - renfo.redundancy.postgresql.unit
options:
  state:
    description:
      - V(fenced) marks and stops a primary; where there is no instance it only marks. A standby is refused.
      - V(lifted) removes the marker. Nothing is started.
    type: str
    choices: [fenced, lifted]
    default: fenced
  reason:
    description: Why, for whoever finds the instance down. Required with O(state=fenced).
    type: str
  grace:
    description: Seconds that the immediate shutdown may take before everything of the server is killed.
    type: float
    default: 2
seealso:
  - module: renfo.redundancy.pg_promote
"""

EXAMPLES = r"""
- name: Stop the old primary, and keep it from starting
  renfo.redundancy.pg_fence:
    version: 17
    reason: pg2 was promoted by failover.yml
  become: true

- name: Let it start again
  renfo.redundancy.pg_fence:
    version: 17
    state: lifted
  become: true
"""

RETURN = r"""
stopped:
  description: Whether something ran and was stopped. In check mode whether it would be.
  returned: success
  type: bool
was:
  description: What the instance was before, one of V(running), V(stopped), V(absent).
  returned: success
  type: str
  sample: running
milliseconds:
  description: How long it took until nothing ran any more.
  returned: success
  type: int
  sample: 84
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_arguments import (
    LOCATION,
    UNIT,
    instance_from,
    unit_from,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import PgError
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_fence_io import Fence

ARGUMENTS = {
    **LOCATION,
    **UNIT,
    "state": {"type": "str", "choices": ["fenced", "lifted"], "default": "fenced"},
    "reason": {"type": "str"},
    "grace": {"type": "float", "default": 2},
}


def run(module: AnsibleModule) -> None:
    """Look; then, outside check mode, fence or lift."""
    args = module.params
    began = time.monotonic()
    fence = Fence(
        instance_from(args),
        unit_from(args),
        lambda argv: module.run_command(argv, cwd="/"),
        args["grace"],
    )
    looked = fence.look()
    wanted = args["reason"].strip() if args["state"] == "fenced" else None
    stopped = False
    if wanted is not None:
        fence.refuse_standby(looked)
        stopped = looked.was == "running" if module.check_mode else fence.raise_fence(looked, wanted)
    elif looked.marker is not None and not module.check_mode:
        fence.lift()
    header = str(fence.instance.fence_file)
    module.exit_json(
        changed=stopped or looked.marker != wanted,
        stopped=stopped,
        was=looked.was,
        milliseconds=round((time.monotonic() - began) * 1000),
        diff={
            "before_header": header,
            "before": "" if looked.marker is None else looked.marker + "\n",
            "after_header": header,
            "after": "" if wanted is None else wanted + "\n",
        },
    )


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENTS, required_if=[("state", "fenced", ("reason",))], supports_check_mode=True
    )
    try:
        run(module)
    except PgError as error:
        module.fail_json(msg=str(error), **error.details)
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}; expected to change it as root")


if __name__ == "__main__":
    main()
