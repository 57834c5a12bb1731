# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the checkout importable as the collection, on a fresh clone too."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from hypothesis import settings

ROOT = Path(__file__).resolve().parents[2]
COLLECTIONS = ROOT / ".cache" / "collections"


def link() -> None:
    """What ``make`` links too: .cache/collections/ansible_collections/renfo/redundancy -> the checkout."""
    place = COLLECTIONS / "ansible_collections" / "renfo" / "redundancy"
    place.parent.mkdir(parents=True, exist_ok=True)
    # Several processes of pytest-xdist may come here at once.
    with contextlib.suppress(FileExistsError):
        place.symlink_to("../../../..")


link()
# First: a released version of the collection may be installed.
sys.path.insert(0, str(COLLECTIONS))

# A slow machine is no defect.
settings.register_profile("here", deadline=None)
settings.load_profile("here")
