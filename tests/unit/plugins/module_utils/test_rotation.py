# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.rotation import (
    InForce,
    Rotation,
    plan,
    report,
    second_login,
    stages,
    text,
    wished,
)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("certificates",), ("renew",)),
        (("passwords",), ("prepare", "renew")),
        (("certificates", "passwords"), ("prepare", "renew")),
        (("certificates", "ca"), ("prepare", "renew", "retire")),
    ],
)
def test_stages(parts: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert stages(parts) == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("certificates", ("certificates",)),
        ("passwords, certificates", ("passwords", "certificates")),
        (["passwords"], ("passwords",)),
        ("ca", ("ca", "certificates")),
        ("all", ("certificates", "ca", "passwords")),
        ("", ()),
        (None, ()),
        ("keys", ("keys",)),
    ],
)
def test_wishes(said: Any, expected: tuple[str, ...]) -> None:
    assert wished(said) == expected


def force(parts: tuple[str, ...] = (), stage: str = "") -> InForce:
    rotation = Rotation(parts, stage, {"pg1": "before"}) if parts else None
    return InForce(rotation, "/s", "/s/rotation", "shop")


CA = ("certificates", "ca")


@pytest.mark.parametrize(
    ("in_force", "issuer", "trusted"),
    [
        (force(), "/s/tls", "/s/tls/ca.crt"),
        (force(("certificates",), "renew"), "/s/tls", "/s/tls/ca.crt"),
        (force(CA, "prepare"), "/s/tls", "/s/rotation/ca-bundle.crt"),
        (force(CA, "renew"), "/s/rotation", "/s/rotation/ca-bundle.crt"),
        (force(CA, "retire"), "/s/rotation", "/s/rotation/ca.crt"),
    ],
)
def test_who_issues_is_trusted_before_and_after(in_force: InForce, issuer: str, trusted: str) -> None:
    assert (in_force.issuer(), in_force.trusted()) == (issuer, trusted)


@pytest.mark.parametrize(
    ("in_force", "digest", "expected"),
    [
        (force(), "before", False),
        (force(("passwords",), "renew"), "before", False),
        (force(CA, "prepare"), "before", False),
        (force(("certificates",), "renew"), "before", True),
        (force(("certificates",), "renew"), "after", False),
    ],
)
def test_a_certificate_is_renewed_once(in_force: InForce, digest: str, expected: bool) -> None:
    assert in_force.is_old("pg1", digest) is expected


def test_new_passwords_count_at_once_and_the_owners_when_nobody_uses_it() -> None:
    assert force(CA, "prepare").secret_paths() == force().secret_paths()
    prepares, renews = force(("passwords",), "prepare"), force(("passwords",), "renew")
    assert prepares.secret_paths() == renews.secret_paths()
    assert prepares.secret_paths()["replication"] == "/s/rotation/pg_replication_password"
    assert prepares.secret_paths()["backup"] == "/s/site_backup_passphrase"
    assert prepares.to_dict() == {
        "parts": ["passwords"],
        "stage": "prepare",
        "login": "shop_rotation",
        "application_login": "shop_rotation",
        "owner_waits": True,
    }
    assert renews.to_dict() | {"stage": "", "parts": []} == {
        "parts": [],
        "stage": "",
        "login": "shop_rotation",
        "application_login": "",
        "owner_waits": False,
    }
    assert not any(force().to_dict().values())
    assert force(CA, "prepare").to_dict()["login"] == ""


def test_a_long_name_keeps_its_suffix() -> None:
    assert len(second_login("x" * 63)) == 63
    assert second_login("x" * 63).endswith("x_rotation")


@pytest.mark.parametrize(
    ("there", "wanted", "expected"),
    [("prepare", "prepare", "prepare"), ("prepare", "renew", "renew"), ("renew", "retire", "retire")],
)
def test_one_stage_after_the_other(there: str, wanted: str, expected: str) -> None:
    assert Rotation(CA, there, {}).moved(wanted).stage == expected


@pytest.mark.parametrize(("there", "wanted"), [("prepare", "retire"), ("renew", "prepare")])
def test_no_stage_is_skipped_or_taken_back(there: str, wanted: str) -> None:
    with pytest.raises(ValueError, match=f"is in stage {there}"):
        Rotation(CA, there, {}).moved(wanted)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"parts": ["passwords"], "stage": "retire", "old": {}},
        {"parts": ["keys"], "stage": "renew", "old": {}},
        {"parts": [], "stage": "renew", "old": {}},
        [],
    ],
)
def test_a_state_that_cannot_be(data: Any) -> None:
    with pytest.raises(ValueError, match=r"it (has|says)"):
        Rotation.from_dict(data)


def test_a_state_is_read_back() -> None:
    rotation = Rotation(CA, "renew", {"pg1": "x"})
    assert Rotation.from_dict(rotation.to_dict()) == rotation


def site(in_force: InForce | None = None, **tls: Any) -> dict[str, Any]:
    files = {name: {"certificate": f"/s/tls/{name}.crt"} for name in ("pg1", "site")}
    return {
        "rotation": (in_force or force()).to_dict(),
        "settings": {"site_database_user": "shop"},
        "tls": {"own": [], "ca_due": False, "issuer": "/s/tls", "files": files} | tls,
    }


def test_a_new_one_goes_through_all_stages() -> None:
    decided = plan(site(), "all")
    assert (decided.refusals, decided.fresh, decided.stages) == ((), True, ("prepare", "renew", "retire"))
    assert decided.parts == ("certificates", "ca", "passwords")
    assert decided.to_dict()["new_ca"]
    said = text(decided.to_dict())
    for words in ("by the new CA", "shop_rotation is dropped", "the passphrase of the backups"):
        assert words in said


@pytest.mark.parametrize("wish", ["", "ca", "certificates", "ca,certificates"])
def test_an_interrupted_one_goes_on_where_it_was(wish: str) -> None:
    decided = plan(site(force(CA, "renew")), wish)
    assert (decided.refusals, decided.fresh, decided.stages) == ((), False, ("renew", "retire"))
    assert not decided.to_dict()["new_ca"]
    assert "was interrupted" in text(decided.to_dict())


def test_the_users_own_certificates_are_left_alone() -> None:
    decided = plan(site(own=["site"]), "certificates").to_dict()
    assert decided["certificates"] == {"pg1": "/s/tls/pg1.crt"}
    assert "the files are your own: site." in text(decided)
    assert "the files are your own: site." in report(decided, "/s")


OURS = {"app1": {"environment": ["SECRET_KEY"], "names": {"write_url": "DATABASE_URL", "read_url": "READ_URL"}}}
THEIRS = {"app1": {"environment": ["DATABASE_URL"], "names": {"write_url": "DATABASE_URL", "read_url": "READ_URL"}}}


@pytest.mark.parametrize(
    ("state", "wish", "more", "said"),
    [
        (None, "", {}, "rotate is not given"),
        (None, "keys", {}, "rotate is keys, expected certificates, ca, passwords or all"),
        (
            force(CA, "renew"),
            "passwords",
            {},
            "run rotate.yml -e rotate=certificates,ca, then rotate.yml -e rotate=passwords.",
        ),
        (None, "passwords", {"limit": "pg1"}, "--limit is 'pg1'"),
        (None, "passwords", {"environments": THEIRS}, "app1: app_replicas_environment sets DATABASE_URL"),
        (force(("passwords",), "renew"), "", {"environments": THEIRS}, "app1: app_replicas_environment"),
    ],
)
def test_what_is_refused(state: InForce | None, wish: str, more: dict[str, Any], said: str) -> None:
    (refusal,) = plan(site(state), wish, **more).refusals
    assert said in refusal


def test_without_a_ca_there_is_nothing_to_rotate() -> None:
    (refusal,) = plan(site(ca_due=True), "ca").refusals
    assert "run site.yml" in refusal


def test_an_application_of_which_we_know_the_login() -> None:
    assert plan(site(), "passwords", environments=OURS).refusals == ()
    assert plan(site(), "certificates", environments=THEIRS).refusals == ()


def test_nothing_wished_is_nothing_to_do() -> None:
    assert text(plan(site(), "").to_dict()) == "Nothing is rotated."
