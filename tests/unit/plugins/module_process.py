# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module the way Ansible does, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

MODULES = Path(__file__).parents[3] / "plugins" / "modules"


def call(module: str, directory: Path, **arguments: Any) -> dict[str, Any]:
    """What *module* returns; *directory* takes the files this needs."""
    arguments = {"_ansible_remote_tmp": str(directory / "tmp"), **arguments}
    file = directory / "arguments.json"
    file.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
    done = subprocess.run(
        [sys.executable, str(MODULES / f"{module}.py"), str(file)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result
