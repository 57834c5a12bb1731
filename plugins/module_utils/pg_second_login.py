# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A second login of a role: the SQL that makes one, judges one and removes one. Pure.

It is a member of the role, and becomes it when it logs in: what it makes belongs to the role, as if that had logged in.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import unicodedata
from collections.abc import Iterable, Iterator
from stringprep import in_table_b1, in_table_c12

#: Who has this comment is ours.
MARK = "second login, made by renfo.redundancy for the time of a rotation"

#: Name and comment, the stored password. Nothing for a role that isn't there.
LOOK = "SELECT shobj_description(oid, 'pg_authid'), rolpassword FROM pg_authid WHERE rolname = {name}"
#: What is set for the owner, everywhere ('') and in single databases.
SETTINGS = (
    "SELECT coalesce(datname, ''), unnest(setconfig) FROM pg_db_role_setting"
    " LEFT JOIN pg_database d ON d.oid = setdatabase WHERE setrole = (SELECT oid FROM pg_roles WHERE rolname = {owner})"
)
#: Standbys that have replayed all that was written until a position.
REPLAYED = "SELECT application_name FROM pg_stat_replication WHERE replay_lsn >= {lsn}"

#: Settings whose value is a list of names, which must not be quoted as one.
LISTS = (
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "temp_tablespaces",
)


def ident(name: str) -> str:
    """A name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """A text in SQL, with standard_conforming_strings on."""
    return "'" + value.replace("'", "''") + "'"


def make(name: str, owner: str, stored: str, settings: Iterable[tuple[str, str]]) -> str:
    """Make the login *name*, with the *settings* that the owner has (database, ``name=value``). One transaction."""
    role = ident(name)
    return "; ".join(
        [
            f"CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE INHERIT PASSWORD {literal(stored)}",
            f"COMMENT ON ROLE {role} IS {literal(MARK)}",
            f"GRANT {ident(owner)} TO {role}",
            f"ALTER ROLE {role} SET role TO {literal(owner)}",
            *_copied(role, settings),
        ]
    )


def _copied(role: str, settings: Iterable[tuple[str, str]]) -> Iterator[str]:
    for database, setting in settings:
        name, _sign, value = setting.partition("=")
        if name == "role":
            continue
        where = f"ALTER ROLE {role}{f' IN DATABASE {ident(database)}' if database else ''} SET {_setting(name)}"
        if name in LISTS:
            # As it is stored, which quotes each name for itself; in force until the transaction ends.
            yield f"SELECT set_config({literal(name)}, {literal(value)}, true)"
            yield f"{where} FROM CURRENT"
        else:
            yield f"{where} TO {literal(value)}"


def _setting(name: str) -> str:
    """The name of a setting, which may have a prefix: ``app.tenant``."""
    return ".".join(ident(part) for part in name.split("."))


def set_password(name: str, stored: str) -> str:
    """Give *name* another password."""
    return f"ALTER ROLE {ident(name)} PASSWORD {literal(stored)}"


def remove(name: str, owner: str) -> str:
    """Remove the login. What it made after a RESET ROLE is the owner's."""
    return f"REASSIGN OWNED BY {ident(name)} TO {ident(owner)}; DROP OWNED BY {ident(name)}; DROP ROLE {ident(name)}"


def is_password(stored: str | None, password: str) -> bool:
    """Whether *password* is the one of which a SCRAM verifier is *stored*.

    https://www.rfc-editor.org/rfc/rfc5803
    """
    match = re.fullmatch(r"SCRAM-SHA-256\$(\d+):([^$]+)\$[^:]+:.+", stored or "")
    if match is None:
        return False
    salt = base64.b64decode(match[2])
    return hmac.compare_digest(verifier(password, salt, int(match[1])), str(stored))


def verifier(password: str, salt: bytes, iterations: int = 4096) -> str:
    """What PostgreSQL stores of *password*: no statement, and so no log, has the password itself."""
    kept = (" " if in_table_c12(letter) else letter for letter in password if not in_table_b1(letter))
    plain = unicodedata.normalize("NFKC", "".join(kept)).encode()
    salted = hashlib.pbkdf2_hmac("sha256", plain, salt, iterations)
    client = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    first, second, third = (base64.b64encode(part).decode() for part in (salt, client, server))
    return f"SCRAM-SHA-256${iterations}:{first}${second}:{third}"
