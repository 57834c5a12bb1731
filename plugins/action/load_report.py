# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.renfo.redundancy.plugins.modules.load_report import ARGUMENTS
from ansible_collections.renfo.redundancy.plugins.plugin_utils import load_report, report


class ActionModule(ActionBase):
    """The load test's own part, all of it on the controller."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """See the documentation of the module ``load_report``."""
        super().run(tmp, task_vars)
        arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)[1]
        if report.MISSING:
            return {"failed": True, "msg": report.how_to_install()}
        folder = Path(arguments["report"]).absolute()
        if arguments["state"] == "begun":
            load_report.begin(folder)
            return {"changed": True}
        document = load_report.report(load_report.measured(folder), arguments["about"] or {})
        load_report.write(folder, document)
        return {"changed": True, "page": str(folder / "index.html"), "text": load_report.text(document)}
