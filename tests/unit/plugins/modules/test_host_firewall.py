# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.firewall import Rule, ruleset
from ansible_collections.renfo.redundancy.plugins.module_utils.firewall_io import FirewallError
from ansible_collections.renfo.redundancy.plugins.modules import host_firewall
from ansible_collections.renfo.redundancy.plugins.modules.host_firewall import absent, confirmed, present

SSH = [Rule("tcp", ("22",), ("192.0.2.0/24",), "SSH")]
TEXT = ruleset(SSH)
COMES_BY = "192.0.2.1 50000 192.0.2.31 22"


def host(kept: str = "", settled: bool = True, installed: bool = True) -> MagicMock:
    return MagicMock(
        confirmed=lambda: kept, is_settled=lambda: settled, is_installed=lambda: installed, is_there=lambda: bool(kept)
    )


@pytest.fixture(autouse=True)
def connection(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """By which connection the module was called."""
    found = [COMES_BY]
    monkeypatch.setattr(host_firewall, "ssh_connection", lambda _process: found[0])
    return found


def load(this: MagicMock, check: bool = False) -> dict[str, Any]:
    result: dict[str, Any] = present(this, SSH, TEXT, {"undo_after": 60.0}, check)
    return result


def test_new_rules_are_tried() -> None:
    this = host(kept="other")
    result = load(this)
    assert (result["changed"], result["tried"], result["connection"]) == (True, True, COMES_BY)
    assert result["diff"] == {"before": "other", "after": TEXT}
    this.attempt.assert_called_once_with(TEXT, 60.0)


def test_rules_that_are_there() -> None:
    this = host(kept=TEXT)
    assert not load(this)["changed"]
    assert not this.settle.called
    assert not this.attempt.called


def test_rules_that_were_confirmed_once_need_not_be_tried() -> None:
    this = host(kept=TEXT, settled=False)
    result = load(this)
    assert (result["changed"], result["tried"]) == (True, False)
    this.settle.assert_called_once_with()


@pytest.mark.parametrize("kept", ["", TEXT])
def test_check_mode_loads_nothing(kept: str) -> None:
    this = host(kept=kept, settled=False, installed=False)
    assert load(this, check=True)["changed"]
    assert not this.settle.called
    assert not this.attempt.called


@pytest.mark.parametrize(
    ("comes_by", "words"),
    [
        ("203.0.113.1 50000 192.0.2.31 22", "Put 203.0.113.1 into firewall_ssh_sources"),
        ("192.0.2.1 50000 192.0.2.31 2222", "2222 into firewall_ssh_port"),
    ],
)
def test_whoever_loads_them_is_never_locked_out(connection: list[str], comes_by: str, words: str) -> None:
    connection[0] = comes_by
    this = host()
    with pytest.raises(FirewallError, match="Nothing was changed") as error:
        load(this)
    assert words in str(error.value)
    assert not this.attempt.called


def test_who_did_not_come_by_ssh_can_look_for_himself(connection: list[str]) -> None:
    connection[0] = ""
    assert load(host())["tried"]


def test_only_another_connection_confirms(connection: list[str]) -> None:
    this = host()
    with pytest.raises(FirewallError, match="expected a new one"):
        confirmed(this, TEXT, {"tried_by": COMES_BY})
    assert not this.confirm.called
    connection[0] = "192.0.2.1 50001 192.0.2.31 22"
    confirmed(this, TEXT, {"tried_by": COMES_BY})
    this.confirm.assert_called_once_with(TEXT)


def test_absent() -> None:
    this = host(kept=TEXT)
    assert absent(this, check=True)["changed"]
    assert not this.remove.called
    assert absent(this, check=False)["changed"]
    assert this.remove.called
    assert not absent(host(), check=False)["changed"]
