# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_sizing import sized_settings
from hypothesis import given
from hypothesis import strategies as st


def test_sixteen_gib_and_eight_cores() -> None:
    assert sized_settings(16384, 8) == {
        "shared_buffers": "4096MB",
        "effective_cache_size": "12288MB",
        "maintenance_work_mem": "1024MB",
        "work_mem": "20MB",
        "max_wal_size": "8192MB",
        "min_wal_size": "1024MB",
        "max_parallel_workers": "8",
        "max_parallel_workers_per_gather": "4",
        "max_parallel_maintenance_workers": "4",
    }


@pytest.mark.parametrize(
    ("memory", "cores", "setting", "expected"),
    [
        pytest.param(512, 1, "work_mem", "4MB", id="little memory leaves sorts their default"),
        pytest.param(512, 1, "maintenance_work_mem", "32MB", id="little memory leaves vacuum something"),
        pytest.param(512, 1, "max_parallel_workers_per_gather", "1", id="one core"),
        pytest.param(1048576, 64, "shared_buffers", "16384MB", id="a terabyte is not all buffers"),
        pytest.param(1048576, 64, "max_parallel_workers_per_gather", "4", id="sixty-four cores are not for one query"),
        pytest.param(1048576, 64, "work_mem", "256MB", id="a terabyte is not for one sort"),
    ],
)
def test_bounds(memory: int, cores: int, setting: str, expected: str) -> None:
    assert sized_settings(memory, cores)[setting] == expected


@pytest.mark.parametrize(("memory", "cores"), [(127, 1), (4096, 0), (0, 0)])
def test_a_host_too_small(memory: int, cores: int) -> None:
    with pytest.raises(ValueError, match=f"found {memory} MiB and {cores} cores, expected at least 128 MiB and 1 core"):
        sized_settings(memory, cores)


@given(memory=st.integers(128, 4 * 1024 * 1024), cores=st.integers(1, 512))
def test_every_host_keeps_memory_for_its_work(memory: int, cores: int) -> None:
    settings = sized_settings(memory, cores)
    megabytes = {name: int(value[:-2]) for name, value in settings.items() if value.endswith("MB")}
    assert megabytes["shared_buffers"] * 4 <= memory
    assert megabytes["shared_buffers"] <= megabytes["effective_cache_size"] <= memory
    assert megabytes["min_wal_size"] < megabytes["max_wal_size"]
    # What a standby must have as high as its primary never depends on the host.
    assert (
        not {"max_connections", "max_worker_processes", "max_wal_senders", "max_locks_per_transaction"}
        & settings.keys()
    )
