# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.renfo.redundancy.plugins.module_utils.gluster import (
    Brick,
    Movement,
    Progress,
    heal_progress,
    is_healed,
)
from ansible_collections.renfo.redundancy.plugins.modules.gluster_heal import ARGUMENTS

#: Seconds between two looks.
PAUSE = 5


class ActionModule(ActionBase):
    """Looks again and again, and says here how far it is: a module could only speak at its end."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """See the documentation of the module ``gluster_heal``."""
        super().run(tmp, task_vars)
        arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)[1]
        question = {"name": arguments["name"], "brick": arguments["brick"], "bricks": True}
        said, moved, movement = "", time.monotonic(), Movement()
        while True:
            found: dict[str, Any] = self._execute_module(
                module_name="renfo.redundancy.gluster_info", module_args=question, task_vars=task_vars
            )
            if found.get("failed") or found.get("unreachable"):
                return found
            bricks = [Brick(**brick) for brick in found.get("bricks", ())]
            waiting = heal_progress(bricks) if bricks else Progress(None, 0, found.get("error", "no volume was found"))
            if is_healed(bricks) or self._task.check_mode:
                return {"changed": False, "waiting": waiting.files}
            if waiting.text != said:
                Display().display(waiting.text)
                said = waiting.text
            if bricks and movement.further(waiting):
                moved = time.monotonic()
            if time.monotonic() - moved > arguments["patience"]:
                return {"failed": True, "waiting": waiting.files, "msg": _stuck(waiting.text, arguments)}
            time.sleep(PAUSE)


def _stuck(text: str, arguments: dict[str, Any]) -> str:
    return (
        f"{text}, and it got no further for {arguments['patience']:g} s. The host that leaves is still in the pool, "
        f"and its files are where they were. Look at 'gluster volume heal {arguments['name']} info', then run "
        "site.yml again."
    )
