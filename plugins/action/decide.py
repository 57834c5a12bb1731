# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display


class ActionModule(ActionBase):
    """Shows a plan, and ends with an error if it refuses: one task, for somebody waits for the next."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """See the documentation of the module ``decide``."""
        super().run(tmp, task_vars)
        arguments = self.validate_argument_spec(
            argument_spec={"plan": {"type": "dict", "required": True}, "text": {"type": "str", "required": True}},
        )[1]
        plan = arguments["plan"]
        Display().display("\n" + arguments["text"].rstrip("\n") + "\n")
        if plan["refusals"]:
            message = "\n- ".join(("Refused.", *plan["refusals"]))
            return {"changed": False, "failed": True, "msg": message}
        return {"changed": False, "plan": plan}
