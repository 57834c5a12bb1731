# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """What is the same for modules that decide, watch or report."""

    DOCUMENTATION = r"""
attributes:
  diff_mode:
    description: There is nothing to compare.
    support: none
  platform:
    description: Any.
    platforms: posix
    support: full
"""
