# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.renfo.redundancy.plugins.modules.rotation import ARGUMENTS
from ansible_collections.renfo.redundancy.plugins.plugin_utils.rotation_store import move


class ActionModule(ActionBase):
    """Moves a rotation to its next stage, on the controller."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """See the documentation of the module ``rotation``."""
        super().run(tmp, task_vars)
        arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)[1]
        try:
            changed = move(
                Path(arguments["directory"]),
                arguments["stage"],
                arguments["parts"],
                arguments["certificates"],
                check=self._task.check_mode,
            )
        except (OSError, ValueError) as error:
            return {"failed": True, "msg": str(error)}
        return {"changed": changed}
