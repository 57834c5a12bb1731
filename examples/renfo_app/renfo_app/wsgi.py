# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`gunicorn -c gunicorn.conf.py renfo_app.wsgi:app`"""

from __future__ import annotations

from . import create_app

app = create_app()
