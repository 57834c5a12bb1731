# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The small site that the drill's own tests use."""

from __future__ import annotations

from plugin_utils.conftest import site

__all__ = ["site"]
