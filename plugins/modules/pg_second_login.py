#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_second_login
short_description: A second login of a PostgreSQL role, for as long as its password changes
version_added: 0.1.0
author: The renfo.redundancy authors (@renfo)
description:
  - A role has one password, and whoever connects with the old one fails from the moment that it changes. So its clients
    move to a second login with the new password first, and back once the role itself has it.
  - The second login is a member of the role and becomes it when it logs in. It has the role's settings; what it makes
    belongs to the role.
  - Waits until each standby has replayed it, so that it can log in everywhere.
  - Never touches a role that has its name and was made by somebody else.
requirements:
  - root privileges on the primary (C(become)), and that root may connect as C(postgres) over the socket
  - the Debian package C(python3-psycopg2)
attributes:
  check_mode:
    description: Can run in check mode and return what it would outside it.
    support: full
  diff_mode:
    description: Returns what would change, in diff mode.
    support: none
  platform:
    description: Target systems.
    platforms: debian
    support: full
extends_documentation_fragment:
  - renfo.redundancy.postgresql
options:
  state:
    description: Whether it is there. What it made is the owner's afterwards.
    type: str
    choices: [present, absent]
    default: present
  name:
    description: Name of the second login.
    type: str
    required: true
  owner:
    description: The role whose login it is.
    type: str
    required: true
  secrets:
    description: Its password, by its name. It is shown nowhere. Required when O(state=present).
    type: dict
    default: {}
  database:
    description: The database that it uses.
    type: str
    required: true
  standbys:
    description: Names of the standbys (C(application_name)) that must have replayed all of it.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds within which they must have.
    type: float
    default: 60
"""

EXAMPLES = r"""
- name: Let the application log in by a second name
  renfo.redundancy.pg_second_login:
    version: 17
    name: shop_rotation
    owner: shop
    secrets:
      shop_rotation: "{{ vault_new_password }}"
    database: shop
    standbys: [pg2, pg3]
  become: true
"""

RETURN = r"""
ready:
  description: Whether all standbys have what the primary has. In check mode what is planned.
  returned: success
  type: bool
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.renfo.redundancy.plugins.module_utils import pg_second_login as second
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_arguments import LOCATION, instance_from
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import PgError
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_io import local_conninfo
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_promote_io import postmaster_of
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_session import LOCAL_OPTIONS, Session

#: Seconds in which the server on this host answers.
LOCAL = 10

ARGUMENTS = {
    **LOCATION,
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "name": {"type": "str", "required": True},
    "owner": {"type": "str", "required": True},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "database": {"type": "str", "required": True},
    "standbys": {"type": "list", "elements": "str", "default": []},
    "timeout": {"type": "float", "default": 60},
}


def missing(session: Session, args: dict) -> str:
    """The SQL that makes the login what it is to be; nothing if it is."""
    found = session.ask(second.LOOK.format(name=second.literal(args["name"])), LOCAL)
    if found and found[0][0] != second.MARK:
        raise PgError(
            f"there is a role {args['name']}, and it wasn't made for a rotation. Nothing was changed. Rename it or "
            "drop it, then run this again"
        )
    if args["state"] == "absent":
        return second.remove(args["name"], args["owner"]) if found else ""
    password = str(args["secrets"].get(args["name"]) or "")
    if not password:
        raise PgError(f"secrets has no password for {args['name']}")
    if found and second.is_password(found[0][1], password):
        return ""
    stored = second.verifier(password, os.urandom(16))
    if found:
        return second.set_password(args["name"], stored)
    settings = session.ask(second.SETTINGS.format(owner=second.literal(args["owner"])), LOCAL)
    return second.make(args["name"], args["owner"], stored, settings)


def wait_replayed(session: Session, standbys: list, timeout: float) -> None:
    """Until each of them has what was written until now; PgError says who hasn't."""
    query = second.REPLAYED.format(lsn=second.literal(session.value("SELECT pg_current_wal_insert_lsn()::text", LOCAL)))
    deadline = time.monotonic() + timeout
    while behind := sorted(set(standbys) - {name for (name,) in session.ask(query, LOCAL)}):
        if time.monotonic() > deadline:
            raise PgError(
                f"{', '.join(behind)}: hasn't replayed the roles of this primary within {timeout:g} s, and nobody "
                "could log in there. status.yml says what is wrong; mend it, then run this again"
            )
        time.sleep(0.1)


def run(module: AnsibleModule) -> None:
    """Look, and outside check mode change and wait."""
    args = module.params
    instance = instance_from(args)
    settings = {
        **local_conninfo(instance, postmaster_of(instance)),
        "dbname": args["database"],
        "options": LOCAL_OPTIONS,
    }
    with Session(settings, LOCAL) as session:
        # No client was promised anything of this, and who could acknowledge it is waited for below.
        session.ask("SET synchronous_commit = local; SET standard_conforming_strings = on", LOCAL)
        sql = missing(session, args)
        if not module.check_mode:
            if sql:
                session.ask(sql, LOCAL)
            wait_replayed(session, args["standbys"], args["timeout"])
    module.exit_json(changed=bool(sql), ready=True)


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        run(module)
    except PgError as error:
        module.fail_json(msg=str(error), **error.details)


if __name__ == "__main__":
    main()
