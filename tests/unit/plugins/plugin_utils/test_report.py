# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What reports share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COLLECTIONS = Path(__file__).resolve().parents[4] / ".cache" / "collections"
PACKAGE = "ansible_collections.renfo.redundancy.plugins"


@pytest.mark.parametrize("library", ["jinja2", "junitparser", "matplotlib"])
def test_a_missing_library_is_named_by_who_needs_it(library: str) -> None:
    """And by nobody else: the collection is loaded without it."""
    # jinja2 is Ansible's own too, so it is gone only once Ansible is there.
    code = f"""
import sys
import ansible.plugins.action
sys.modules[{library!r}] = None
from {PACKAGE}.action import drill, load_report
from {PACKAGE}.plugin_utils import report
print(report.how_to_install())
"""
    environment = {**os.environ, "PYTHONPATH": str(COLLECTIONS)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.stdout == f"{library} is missing on the controller. Run: pip install -r requirements-drill.txt\n", (
        done.stderr
    )
