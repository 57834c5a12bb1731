# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL settings that follow from a host's memory and cores. Pure.

Sources: https://wiki.postgresql.org/wiki/Tuning_Your_PostgreSQL_Server and the manual's chapter on
resource consumption. Settings that a standby must have at least as high as its primary
(``max_connections``, ``max_worker_processes``, ...) are never sized here: two hosts of different
size would then be unable to stand in for each other.
"""

from __future__ import annotations

#: Work memory is shared out among this many concurrent sorts and hashes.
CONCURRENT_SORTS = 200


def sized_settings(memory_mb: int, cores: int) -> dict[str, str]:
    """Settings for a host with *memory_mb* MiB of memory and *cores* cores that only runs PostgreSQL.

    Raises ``ValueError`` below 128 MiB or one core.
    """
    if memory_mb < 128 or cores < 1:
        raise ValueError(f"found {memory_mb} MiB and {cores} cores, expected at least 128 MiB and 1 core")
    return {
        "shared_buffers": _mb(memory_mb // 4, most=16384),
        "effective_cache_size": _mb(memory_mb * 3 // 4),
        "maintenance_work_mem": _mb(memory_mb // 16, least=32, most=2048),
        "work_mem": _mb(memory_mb // 4 // CONCURRENT_SORTS, least=4, most=256),
        "max_wal_size": _mb(memory_mb // 2, least=1024, most=16384),
        "min_wal_size": _mb(memory_mb // 16, least=128, most=2048),
        "max_parallel_workers": str(cores),
        "max_parallel_workers_per_gather": str(max(1, min(4, cores // 2))),
        "max_parallel_maintenance_workers": str(max(1, min(4, cores // 2))),
    }


def _mb(value: int, least: int = 0, most: int | None = None) -> str:
    return f"{max(least, value if most is None else min(value, most))}MB"
