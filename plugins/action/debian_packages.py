# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import shlex
from typing import Any

from ansible.plugins.action import ActionBase

#: Of how many seconds ago a host's package lists may be.
CACHE_VALID_TIME = 86400


class ActionModule(ActionBase):
    """Asks dpkg what is there, and apt only for what isn't: apt reads all its lists to say that nothing is missing."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """See the documentation of the module ``debian_packages``."""
        super().run(tmp, task_vars)
        arguments = self.validate_argument_spec(
            argument_spec={"name": {"type": "list", "elements": "str", "required": True}},
        )[1]
        wanted = arguments["name"]
        query = ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\\n", *wanted]
        # It fails where it knows one of them not at all, and tells of the others.
        said = self._low_level_execute_command(shlex.join(query))["stdout"]
        there = {line.split()[0] for line in said.splitlines() if line.endswith(" installed")}
        if there.issuperset(wanted):
            return {"changed": False}
        result: dict[str, Any] = self._execute_module(
            module_name="ansible.builtin.apt",
            module_args={"name": wanted, "cache_valid_time": CACHE_VALID_TIME, "install_recommends": False},
            task_vars=task_vars,
        )
        return result
