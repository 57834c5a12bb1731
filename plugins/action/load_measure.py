# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.renfo.redundancy.plugins.modules.load_measure import ARGUMENTS
from ansible_collections.renfo.redundancy.plugins.plugin_utils.drill_journal import note
from ansible_collections.renfo.redundancy.plugins.plugin_utils.load_report import JOURNAL


class ActionModule(ActionBase):
    """Measures on the host, and notes here what was found."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """See the documentation of the module ``load_measure``."""
        super().run(tmp, task_vars)
        arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)[1]
        result: dict[str, Any] = self._execute_module(task_vars=task_vars)
        if "figures" in result:
            note(
                Path(arguments["report"]) / JOURNAL,
                "measured",
                measure=arguments["measure"],
                round=arguments["round"],
                host=(task_vars or {})["inventory_hostname"],
                figures=result["figures"],
            )
        return result
