# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import time
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Loads rules on the host, and confirms those that are tried there by a new connection. Costs one call if they are
    the same as before."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """See the documentation of the module ``host_firewall``."""
        super().run(tmp, task_vars)
        result: dict[str, Any] = self._execute_module(module_args=self._task.args, task_vars=task_vars)
        if result.get("failed") or not result.get("tried"):
            return result
        undo_after = float(self._task.args.get("undo_after", 60))
        said = self._confirm(result["connection"], undo_after / 2, task_vars)
        if said.get("failed") or said.get("unreachable"):
            return {
                **result,
                "failed": True,
                "msg": (
                    "The new rules were loaded, and could not be confirmed by a new connection: "
                    f"{said.get('msg', 'no answer')}. The host goes back to the rules before by itself, "
                    f"{undo_after:g} s after it loaded these. Look at firewall_ssh_sources, firewall_ssh_port and "
                    "whatever else lies between this machine and the host, and run site.yml again"
                ),
            }
        return result

    def _confirm(self, connection: str, patience: float, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """Ask the host by a new connection to keep the rules, again and again for *patience* seconds."""
        end = time.monotonic() + patience
        arguments = {**self._task.args, "state": "confirmed", "tried_by": connection}
        while True:
            self._connection.reset()
            try:
                said: dict[str, Any] = self._execute_module(module_args=arguments, task_vars=task_vars)
            except AnsibleConnectionFailure as error:
                said = {"unreachable": True, "msg": str(error)}
            if not said.get("unreachable") or time.monotonic() >= end:
                return said
            time.sleep(1)
