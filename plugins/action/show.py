# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display


class ActionModule(ActionBase):
    """Prints text as it is: a table that went through a callback is no table any more."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """See the documentation of the module ``show``."""
        super().run(tmp, task_vars)
        arguments = self.validate_argument_spec(
            argument_spec={"text": {"type": "str", "default": ""}, "data": {"type": "raw"}},
        )[1]
        if arguments["data"] is not None:
            Display().display(json.dumps(arguments["data"], indent=2, sort_keys=True, default=str))
        else:
            Display().display("\n" + arguments["text"].rstrip("\n") + "\n")
        return {"changed": False}
