# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A declared site, and how it is, as far as a load test wants to know."""

from __future__ import annotations

from typing import Any

TOPOLOGY: dict[str, Any] = {
    "hosts": {"lb1": {"address": "10.0.0.11"}, "lb2": {"address": "fd00::12"}, "ops1": {"address": "10.0.0.41"}},
    "settings": {"pg_port": 5432, "site_name": "renfo.example"},
    "members": [{"name": f"pg{n}"} for n in (1, 2, 3)],
    "cluster": {"synchronous": "any_1"},
    "replicas": [{"address": "10.0.0.21", "port": 8000}],
    "replicas_by_host": {"app1": [], "app2": [], "app3": []},
    "load_balancers": [{"name": "lb1"}, {"name": "lb2"}],
    "monitoring": ("ops1",),
}
WANTED: dict[str, Any] = {
    "rounds": 2,
    "seconds": 10,
    "connections": 16,
    "clients": 8,
    "scale": 10,
    "video_bytes": 8388608,
    "upload_bytes": 102400,
    "paths": {"page": "/", "videos": "/videos"},
}
