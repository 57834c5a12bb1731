"""What CI has no time for: `make rounds` runs it."""

from __future__ import annotations

import os

import pytest

#: Whether this is `make rounds`.
EVERY_STEP = os.environ.get("EVERY_STEP") == "1"
rounds_only = pytest.mark.skipif(not EVERY_STEP, reason="make rounds has the time for it")
