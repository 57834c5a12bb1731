"""A stranger beside the lab's hosts, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.lab import Lab
from tests.support.outsider import Outsider, outsider


@pytest.fixture(scope="package")
def stranger(lab: Lab) -> Iterator[Outsider]:
    with outsider(lab) as found:
        yield found
