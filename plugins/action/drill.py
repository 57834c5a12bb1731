# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.renfo.redundancy.plugins.module_utils import drill_verdict
from ansible_collections.renfo.redundancy.plugins.modules.drill import ARGUMENTS
from ansible_collections.renfo.redundancy.plugins.plugin_utils import drill_journal, drill_report, report
from ansible_collections.renfo.redundancy.plugins.plugin_utils.drill_session import Session, SessionError


class ActionModule(ActionBase):
    """The drill's own part, all of it on the controller."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """See the documentation of the module ``drill``."""
        super().run(tmp, task_vars)
        arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)[1]
        if report.MISSING:
            return {"failed": True, "msg": report.how_to_install()}
        session = Session(arguments["report"])
        try:
            return {"changed": True, **getattr(self, f"_{arguments['state']}")(session, arguments)}
        except SessionError as error:
            return {"failed": True, "msg": str(error)}

    def _started(self, session: Session, arguments: dict[str, Any]) -> dict[str, Any]:
        # A task runs in a worker; the run itself is what started the worker.
        session.start(arguments["client"], os.getppid())
        return {}

    def _begun(self, session: Session, arguments: dict[str, Any]) -> dict[str, Any]:
        session.note("begin")
        return {"at": time.time()}

    def _watched(self, session: Session, arguments: dict[str, Any]) -> dict[str, Any]:
        session.note("watched")
        return {}

    def _settled(self, session: Session, arguments: dict[str, Any]) -> dict[str, Any]:
        session.settle()
        return {}

    def _judged(self, session: Session, arguments: dict[str, Any]) -> dict[str, Any]:
        result = session.judge(arguments["target"], arguments["witnesses"], arguments["alerts"])
        Display().display("\n" + drill_verdict.line(result) + "\n", color="green" if result["passed"] else "red")
        return {"result": result}

    def _ended(self, session: Session, arguments: dict[str, Any]) -> dict[str, Any]:
        about = dict(arguments["about"] or {})
        planned = int(about.pop("rounds", 0))
        session.stop()
        results = drill_journal.lines(session.rounds)
        document = drill_report.report(results, about, _afterwards(session), planned)
        drill_report.write(session.folder, document, session.requests())
        return {"passed": document["passed"], "page": str(session.folder / "index.html"), "totals": document["totals"]}


def _afterwards(session: Session) -> list[str]:
    """What became of everything that was acknowledged, in whichever round."""
    try:
        return [f"all rounds taken together: {sentence}" for sentence in session.lost_since().sentences()]
    except SessionError as error:
        return [str(error)]
