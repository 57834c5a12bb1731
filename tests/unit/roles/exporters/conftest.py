# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Imports the program first, and leaves nothing beside it: what is in a role's folder is shipped, and read by tests."""

from __future__ import annotations

import sys

before = sys.dont_write_bytecode
sys.dont_write_bytecode = True
import stack_metrics  # noqa: E402, F401 - what stands above is for it

sys.dont_write_bytecode = before
