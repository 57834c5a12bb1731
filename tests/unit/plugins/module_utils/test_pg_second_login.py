# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_second_login import (
    ident,
    is_password,
    literal,
    make,
    verifier,
)
from module_process import call

if TYPE_CHECKING:
    from .conftest import Host


@pytest.mark.parametrize(
    ("password", "stored", "same"),
    [
        ("pencil", verifier("pencil", b"salt"), True),
        ("pencil", verifier("pen\u00adcil", b"salt"), True),  # what isn't seen doesn't count
        ("pencil", verifier("pencils", b"salt"), False),
        ("pencil", "md5abc", False),
        ("pencil", None, False),
    ],
)
def test_a_password_is_known_by_its_verifier(password: str, stored: str | None, same: bool) -> None:
    assert is_password(stored, password) is same


def test_names_and_texts_are_quoted() -> None:
    assert ident('a"b') == '"a""b"'
    assert literal("it's") == "'it''s'"


def test_the_owners_settings_are_copied() -> None:
    settings = [("", "app.tenant=x"), ("shop", 'search_path="$user", public'), ("", "role=other")]
    assert make("b", "a", "stored", settings).split("; ")[3:] == [
        "ALTER ROLE \"b\" SET role TO 'a'",
        'ALTER ROLE "b" SET "app"."tenant" TO \'x\'',
        "SELECT set_config('search_path', '\"$user\", public', true)",
        'ALTER ROLE "b" IN DATABASE "shop" SET "search_path" FROM CURRENT',
    ]


def second(host: Host, directory: Path, **more: Any) -> dict[str, Any]:
    instance = host.instance
    arguments = {
        "version": instance.version,
        "data_directory": str(instance.data_directory),
        "config_directory": str(instance.config_directory),
        "port": instance.port,
        "name": "shop_rotation",
        "owner": "shop",
        "secrets": {"shop_rotation": "n\u00e9w"},
        "database": "postgres",
    }
    return call("pg_second_login", directory, **{**arguments, **more})


@pytest.fixture
def shop(pg1: Host) -> Host:
    """A server that lets in who is a member of the application's role, as ours do."""
    with (pg1.instance.config_directory / "pg_hba.conf").open("a") as hba:
        hba.write("host all +shop 127.0.0.1/32 scram-sha-256\n")
    pg1.sql("SELECT pg_reload_conf()")
    pg1.sql("CREATE ROLE shop LOGIN PASSWORD 'old'")
    pg1.sql("GRANT CREATE ON SCHEMA public TO shop")
    pg1.sql('ALTER ROLE shop SET search_path TO public, "$user"')
    pg1.sql("ALTER ROLE shop IN DATABASE postgres SET work_mem TO '7MB'")
    return pg1


def connect(host: Host, user: str, password: str) -> Any:
    where = {"host": "127.0.0.1", "port": host.instance.port, "dbname": "postgres"}
    connection = psycopg2.connect(user=user, password=password, **where)
    connection.autocommit = True
    return connection


def ask(connection: Any, sql: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone() if cursor.description else None


def test_what_a_second_login_makes_is_the_owners(shop: Host, tmp_path: Path) -> None:
    assert second(shop, tmp_path)["changed"]
    connection = connect(shop, "shop_rotation", "n\u00e9w")
    assert ask(connection, "SELECT session_user::text, current_user::text") == ("shop_rotation", "shop")
    assert ask(connection, "SHOW search_path") == ('public, "$user"',)
    assert ask(connection, "SHOW work_mem") == ("7MB",)
    ask(connection, "CREATE TABLE made ()")
    # As a connection pool does.
    ask(connection, "RESET ROLE")
    ask(connection, "CREATE TABLE made_by_the_login ()")
    connection.close()
    connect(shop, "shop", "old").close()

    assert second(shop, tmp_path, state="absent")["changed"]
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE tablename LIKE 'made%'"
    assert shop.sql(owners) == "shop"
    assert shop.sql("SELECT count(*) FROM pg_roles WHERE rolname = 'shop_rotation'") == "0"
    assert not second(shop, tmp_path, state="absent")["changed"]


def test_twice_is_once(shop: Host, tmp_path: Path) -> None:
    assert second(shop, tmp_path, _ansible_check_mode=True)["changed"]
    assert second(shop, tmp_path)["changed"]
    assert not second(shop, tmp_path)["changed"]
    assert second(shop, tmp_path, secrets={"shop_rotation": "newer"})["changed"]
    connect(shop, "shop_rotation", "newer").close()


def test_a_role_of_somebody_else_is_left_alone(shop: Host, tmp_path: Path) -> None:
    shop.sql("CREATE ROLE shop_rotation")
    for state in ("present", "absent"):
        assert "it wasn't made for a rotation" in second(shop, tmp_path, state=state)["msg"]


def test_a_standby_that_is_not_there_is_waited_for(shop: Host, tmp_path: Path) -> None:
    result = second(shop, tmp_path, standbys=["pg2"], timeout=0.3)
    assert result["failed"]
    assert result["msg"].startswith("pg2: hasn't replayed")


def test_a_password_is_required(shop: Host, tmp_path: Path) -> None:
    assert second(shop, tmp_path, secrets={})["msg"] == "secrets has no password for shop_rotation"
