# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.pki import certificate_problem
from certificates import issue, new_key, pem

NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
NAMES = ("DNS:pg1", "IP:10.0.0.31", "IP:fd00::31")
KEY, OTHER_KEY, CA_KEY = new_key(), new_key(), new_key()
CA = issue(CA_KEY, CA_KEY, NOW, subject="CA")
LEAF = issue(KEY, CA_KEY, NOW, names=NAMES)


def test_a_good_one() -> None:
    assert certificate_problem(LEAF, pem(KEY), NOW, names=NAMES, issuer=CA, days=30) is None


def test_names_in_another_order_and_fewer_than_there_are() -> None:
    assert certificate_problem(LEAF, pem(KEY), NOW, names=("IP:10.0.0.31", "DNS:pg1")) is None


def test_a_day_more_than_wanted_is_enough() -> None:
    assert certificate_problem(issue(KEY, CA_KEY, NOW, days=31), pem(KEY), NOW, days=30) is None


@pytest.mark.parametrize(
    ("certificate", "key", "wanted", "sentence"),
    [
        pytest.param(
            LEAF,
            pem(OTHER_KEY),
            {},
            "the certificate does not match the key: it was made for another one",
            id="another key",
        ),
        pytest.param(b"hello", pem(KEY), {}, "the certificate cannot be read: ", id="no certificate"),
        pytest.param(LEAF, b"hello", {}, "the key cannot be read: ", id="no key"),
        pytest.param(LEAF, pem(KEY, b"secret"), {}, "the key cannot be read: ", id="a key with a passphrase"),
        pytest.param(pem(KEY), LEAF, {}, "the certificate cannot be read: ", id="the two swapped"),
        pytest.param(
            issue(KEY, CA_KEY, NOW, days=-1), pem(KEY), {}, "the certificate ends on 2026-05-31", id="expired"
        ),
        pytest.param(
            issue(KEY, CA_KEY, NOW, days=30),
            pem(KEY),
            {"days": 30},
            "the certificate ends on 2026-07-01",
            id="about to expire",
        ),
        pytest.param(
            LEAF,
            pem(KEY),
            {"names": ("DNS:pg1", "IP:10.0.0.99", "DNS:x")},
            "the certificate is not good for IP:10.0.0.99, DNS:x",
            id="names are missing",
        ),
        pytest.param(
            issue(KEY, CA_KEY, NOW),
            pem(KEY),
            {"names": ("DNS:pg1",)},
            "the certificate is not good for DNS:pg1",
            id="no names at all",
        ),
        pytest.param(
            issue(KEY, OTHER_KEY, NOW, names=NAMES),
            pem(KEY),
            {"issuer": CA},
            "the certificate was issued by another CA",
            id="another CA of the same name",
        ),
    ],
)
def test_bad_ones(certificate: bytes, key: bytes, wanted: dict[str, Any], sentence: str) -> None:
    problem = certificate_problem(certificate, key, NOW, **wanted)
    assert problem is not None
    assert problem.startswith(sentence)
