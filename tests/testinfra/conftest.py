"""Every test of this folder asks the lab that LAB_NAME names, from outside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.lab import Lab


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The converged lab."""
    return Lab.from_environment()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failed test prints what the hosts have to say."""
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed and "lab" in getattr(item, "funcargs", {}):
        report.sections.append(("journals of the lab's hosts", item.funcargs["lab"].journals()))
