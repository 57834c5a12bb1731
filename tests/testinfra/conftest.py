"""Every test of this folder asks the lab that LAB_NAME names, from outside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cluster import Cluster
from tests.support.lab import ROOT, Lab

FAILURES = ROOT / ".cache/lab/failures.txt"


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The converged lab."""
    return Lab.from_environment()


@pytest.fixture(scope="module")
def cluster(lab: Lab) -> Iterator[Cluster]:
    """The database's members; the roles that the inventory names are restored afterwards."""
    cluster = Cluster(lab)
    yield cluster
    cluster.back_home()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failed test prints what the hosts have to say."""
    outcome = yield
    report = outcome.get_result()
    if report.failed and "lab" in getattr(item, "funcargs", {}):
        report.sections.append(("journals of the lab's hosts", item.funcargs["lab"].journals()))
        remember(report)


def remember(report: pytest.TestReport) -> None:
    """Keep what failed in a few lines: tests/run.sh ends with it, after all that Ansible has said."""
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = str(crash.message if crash else report.longrepr).splitlines()
    telling = [line for line in lines if "rror" in line or "fatal" in line or "FAILED" in line]
    shown = list(dict.fromkeys([*lines[:5], *telling[-15:], *lines[-5:]]))
    with open(FAILURES, "a", encoding="utf-8") as file:
        file.write(f"{report.nodeid} ({report.when})\n" + "".join(f"    {line[:500]}\n" for line in shown))
