# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any, cast

from ansible import context
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.renfo.redundancy.plugins.modules.drill_playbook import ARGUMENTS
from ansible_collections.renfo.redundancy.plugins.plugin_utils.drill_journal import note

#: What a playbook printed, and how many seconds after it was started.
Lines = list[tuple[float, str]]
#: Options by which a run asks its user for a password.
ASKING = ("ask_pass", "ask_vault_pass", "become_ask_pass")
#: Seconds that one run may take, whatever it waits for.
BOUND = 1800
PLAYBOOKS = Path(__file__).resolve().parents[2] / "playbooks"


class ActionModule(ActionBase):
    """Runs a playbook of this collection as the operator would, on the same inventory."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """See the documentation of the module ``drill_playbook``."""
        super().run(tmp, task_vars)
        arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)[1]
        asked = [option for option in ASKING if context.CLIARGS.get(option)]
        if asked:
            message = (
                f"a drill runs other playbooks, and can't ask for passwords again ({', '.join(asked)}): give a file"
            )
            return {"failed": True, "msg": message}
        folder = Path(arguments["report"]).absolute()
        began = time.monotonic()
        while True:
            code, lines = self._play(arguments["playbook"], arguments["extra"] or {}, arguments["show"])
            trouble = _trouble(code, lines, arguments["hopeless"])
            document = _document("".join(line for _seconds, line in lines))
            if code == 0 or time.monotonic() - began >= arguments["patience"]:
                break
            if document and document.get("degraded"):
                note(folder / "events.jsonl", "degraded", what=document["degraded"])
            time.sleep(1)
        seconds = time.monotonic() - began
        log = self._keep(folder, arguments["playbook"], lines)
        if arguments["event"] != "whole" or code == 0:
            note(
                folder / "events.jsonl",
                arguments["event"],
                playbook=arguments["playbook"],
                trouble=trouble,
                seconds=seconds,
                log=str(log.relative_to(folder)),
            )
        # What became of it is for the playbook to judge; an exit code alone would count as a failure of this task.
        return {
            "changed": False,
            "failed": False,
            "rc": code,
            "seconds": seconds,
            "document": document,
            "log": str(log),
        }

    def _play(self, playbook: str, extra: dict[str, Any], show: bool) -> tuple[int, Lines]:
        command = [sys.executable, "-m", "ansible", "playbook", *_options(), str(PLAYBOOKS / playbook)]
        if extra:
            command += ["-e", json.dumps(extra)]
        environment = {**os.environ, "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1", "PYTHONUNBUFFERED": "1"}
        began = time.monotonic()
        lines: Lines = []
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        ) as process:
            threading.Thread(target=_bound, args=(process, os.getppid()), daemon=True).start()
            for line in cast(IO[str], process.stdout):
                lines.append((time.monotonic() - began, line))
                if show:
                    Display().display(line.rstrip("\n"))
        return process.returncode, lines

    def _keep(self, folder: Path, playbook: str, lines: Lines) -> Path:
        """The whole output, each line with the second it came in; one file for each run."""
        logs = folder / "logs"
        # What a playbook prints is for whoever ran it.
        logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = logs / f"{len(list(logs.iterdir())) + 1:03}-{Path(playbook).stem}.log"
        path.write_text("".join(f"{seconds:7.2f}  {line}" for seconds, line in lines), encoding="utf-8")
        return path


def _bound(process: subprocess.Popen[str], caller: int) -> None:
    """Ends a run that takes too long, or whose caller was killed: the next one would meet it on the hosts."""
    ends = time.monotonic() + BOUND
    while process.poll() is None:
        if time.monotonic() > ends:
            process.kill()
        elif os.getppid() != caller:
            process.terminate()
        threading.Event().wait(0.2)


def _options() -> list[str]:
    """What this run was told of how to reach the hosts."""
    given = context.CLIARGS
    options = [part for source in given.get("inventory") or () for part in ("-i", source)]
    options += [part for value in given.get("extra_vars") or () for part in ("-e", value)]
    options += [part for value in given.get("vault_ids") or () for part in ("--vault-id", value)]
    options += [part for value in given.get("vault_password_files") or () for part in ("--vault-password-file", value)]
    named = {
        "remote_user": "--user",
        "private_key_file": "--private-key",
        "connection": "--connection",
        "ssh_common_args": "--ssh-common-args",
        "ssh_extra_args": "--ssh-extra-args",
        "become_method": "--become-method",
        "become_user": "--become-user",
        "become_password_file": "--become-password-file",
        "connection_password_file": "--connection-password-file",
    }
    options += [f"{option}={given[name]}" for name, option in named.items() if given.get(name)]
    return [*options, "--become"] if given.get("become") else options


def _trouble(code: int, lines: Lines, hopeless: str) -> str:
    """How a run ended otherwise than it should have; empty if it didn't. A *hopeless* one has to fail, and say that."""
    if not hopeless:
        return "" if code == 0 else f"ended with {code}, expected 0"
    if code == 0:
        return "ended with 0, expected an error"
    said = " ".join("".join(line for _seconds, line in lines).split())
    return "" if hopeless in said else f"ended with {code} for another reason than was expected"


def _document(output: str) -> Any:
    """The JSON document that the playbook printed, if it did."""
    start = output.find("\n{\n")
    if start < 0:
        return None
    try:
        return json.JSONDecoder().raw_decode(output, start + 1)[0]
    except ValueError:
        return None
