# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from unittest.mock import MagicMock

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_model import Lsn, PgError
from ansible_collections.renfo.redundancy.plugins.modules import backup_restore


@pytest.mark.parametrize(("end", "refused"), [(None, True), (Lsn(0x5000000), False)])
def test_who_did_not_stop_cleanly_may_hold_more(
    end: Lsn | None, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_restore, "running_postmaster", lambda _data: None)
    restore = MagicMock(options=("--type=default",))
    restore.end_of_archive.return_value = end
    module = MagicMock(params={"clean": True})
    if refused:
        with pytest.raises(PgError, match="was not stopped cleanly here"):
            backup_restore.prepare(module, restore, beside=False)
        restore.fetch.assert_not_called()
    else:
        backup_restore.prepare(module, restore, beside=False)
        restore.look.assert_called_once_with(end)
    # Where nobody was the primary there is no such promise.
    module.params["clean"] = False
    backup_restore.prepare(module, restore, beside=False)
    assert restore.fetch.called
