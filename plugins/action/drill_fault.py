# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import subprocess
import time
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible_collections.renfo.redundancy.plugins.modules.drill_fault import ARGUMENTS
from ansible_collections.renfo.redundancy.plugins.plugin_utils.drill_journal import note

#: Seconds that a power switch may take.
SWITCH = 60


class ActionModule(ActionBase):
    """Switches a host off or on here, does everything else on the host, and notes when."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """See the documentation of the module ``drill_fault``."""
        super().run(tmp, task_vars)
        arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)[1]
        host = (task_vars or {})["inventory_hostname"]
        present = arguments["state"] == "present"
        if self._task.check_mode:
            return {"changed": True, "at": time.time()}
        began = time.time()
        if arguments["means"]["kind"] == "none":
            result: dict[str, Any] = {"changed": True, "at": began}
        elif arguments["means"]["kind"] == "power":
            result = self._switch(arguments["power_off" if present else "power_on"], host, "off" if present else "on")
        else:
            result = self._ask(task_vars, 0 if present else arguments["patience"])
        if not result.get("failed"):
            if arguments["delay"]:
                began = result["at"]
            note(arguments["journal"], "injecting" if present else "healing", host=host, at=began)
            note(arguments["journal"], "injected" if present else "healed", host=host, at=result["at"])
        return result

    def _switch(self, command: str, host: str, way: str) -> dict[str, Any]:
        # Neither the command nor what it says is told: either may hold the password of a power switch.
        hook = f"drill_power_{way}_command of {host}"
        try:
            # No pipes: what the command leaves running would keep them open beyond any bound.
            done = subprocess.run(
                command,
                shell=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=SWITCH,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"failed": True, "msg": f"{hook}: no answer within {SWITCH} s"}
        if done.returncode != 0:
            return {
                "failed": True,
                "msg": f"{hook} ended with {done.returncode}, expected 0. Run it by hand to see why",
            }
        return {"changed": True, "at": time.time()}

    def _ask(self, task_vars: dict[str, Any] | None, patience: float) -> dict[str, Any]:
        """Run the module; a host that can't be reached is asked again for as long as *patience* lasts (seconds)."""
        end = time.monotonic() + patience
        # The host has nothing to do with its power switch, and would write the password into its journal.
        given = {name: value for name, value in self._task.args.items() if not name.startswith("power_")}
        while True:
            try:
                result: dict[str, Any] = self._execute_module(module_args=given, task_vars=task_vars)
            except AnsibleConnectionFailure:
                if time.monotonic() >= end:
                    raise
            else:
                if not result.get("unreachable") or time.monotonic() >= end:
                    return result
            time.sleep(1)
