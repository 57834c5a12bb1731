# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.renfo.redundancy.plugins.filter.pg_sizing import FilterModule

pg_sizing = FilterModule().filters()["pg_sizing"]


@pytest.mark.parametrize(
    ("memory", "cores"), [(1024, 2), ("1024", "2")], ids=["numbers", "texts, as inventories have them"]
)
def test_settings(memory: Any, cores: Any) -> None:
    assert pg_sizing(memory, cores)["shared_buffers"] == "256MB"


@pytest.mark.parametrize(
    ("memory", "cores", "message"),
    [
        (64, 1, "pg_sizing: found 64 MiB and 1 cores, expected at least 128 MiB and 1 core"),
        ("lots", 1, "pg_sizing: invalid literal for int"),
    ],
    ids=["too small", "a word"],
)
def test_bad_input(memory: Any, cores: Any, message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        pg_sizing(memory, cores)
