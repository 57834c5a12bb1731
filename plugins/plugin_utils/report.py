# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the reports of drills and of load tests share: their libraries, their page, where they were made."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any

try:
    import jinja2
    import junitparser
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter
except ImportError as error:  # said by the action: the collection's other parts are loaded without them
    MISSING: str | None = str(error.name)
    jinja2 = junitparser = Figure = FuncFormatter = None  # type: ignore[assignment,misc,unused-ignore]
else:
    MISSING = None
    matplotlib.rcParams.update({"font.size": 8, "font.family": "DejaVu Sans", "axes.spines.top": False})

__all__ = ["MISSING", "Figure", "FuncFormatter", "how_to_install", "junitparser", "machine", "render"]

TEMPLATES = Path(__file__).resolve().parents[2] / "playbooks" / "templates"


def how_to_install() -> str:
    """What to do about what is missing."""
    return f"{MISSING} is missing on the controller. Run: pip install -r requirements-drill.txt"


def render(template: str, *folders: Path, **values: Any) -> str:
    """The page that *template* makes of *values*. It may lie in one of *folders* too."""
    environment = jinja2.Environment(
        autoescape=True,
        loader=jinja2.FileSystemLoader([TEMPLATES, *folders]),
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(template).render(**values)


def machine() -> dict[str, Any]:
    """Where and when a report was made."""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3),
        "kernel": platform.release(),
    }
