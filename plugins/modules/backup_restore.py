#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_restore
short_description: Restore a PostgreSQL instance from its backups
version_added: 0.1.0
author: The renfo.redundancy authors (@renfo)
description:
  - Restores beside the instance that is there, starts the copy out of sight, and looks whether it came to the wanted
    point. Until then the instance serves on.
  - Puts the copy in the place of the instance in a step of its own. The old data directory is kept.
  - The copy never writes into the archive while it is out of sight, and accepts no writes unless it stays there.
requirements:
  - root privileges on the host (C(become)), and that root may connect as C(postgres) over the socket
  - pgBackRest, set up by the role P(renfo.redundancy.pg_backup#role)
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
    description:
      - V(possible) changes nothing, and fails if there is no room for it, or the instance has tablespaces.
      - V(ready) brings the files and looks whether they can become what is wanted.
      - V(placed) puts them in the place of the instance, which must be stopped.
      - V(finished) waits until the instance accepts writes, once it was started.
      - V(beside) is V(ready), and lets the copy accept writes and run on, on a port and a socket of its own.
      - V(absent) stops and removes the copy.
    type: str
    choices: [possible, ready, placed, finished, beside, absent]
    required: true
  options:
    description: Options of C(pgbackrest restore) for the backup, and for where the restore ends.
    type: list
    elements: str
    default: []
  size:
    description: Bytes that the restored files take.
    type: int
    default: 0
  clean:
    description:
      - With O(state=ready), whether the instance was stopped so that nothing is given up. It fails if it was not
        stopped cleanly, for then it may hold WAL that the archive lacks.
    type: bool
    default: false
  patience:
    description: Seconds without progress after which it gives up.
    type: float
    default: 120
seealso:
  - module: renfo.redundancy.backup_info
"""

EXAMPLES = r"""
- name: Bring the database of yesterday evening beside the one that runs
  renfo.redundancy.backup_restore:
    state: beside
    version: 17
    options:
      - --set=20261123-013000F
      - --type=time
      - --target=2026-11-23 20:00:00+00
      - --target-action=pause
    size: 5000000000
  become: true
"""

RETURN = r"""
restored:
  description: What the restored instance shows, C(lsn), C(timeline), C(last_commit), C(databases) with bytes.
  returned: success
  type: dict
seconds:
  description: For each step, how long it took.
  returned: success
  type: dict
  sample: {fetch: 12.4, recover: 3.1}
old:
  description: With O(state=placed), where the old data directory lies now.
  returned: success
  type: str
reach:
  description: With O(state=beside), how psql reaches the copy.
  returned: success
  type: str
"""

import datetime
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.renfo.redundancy.plugins.module_utils.backup_restore_io import PORT, SOCKETS, Restore
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_arguments import LOCATION, instance_from
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_io import running_postmaster
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_model import PgError

ARGUMENTS = {
    **LOCATION,
    "state": {
        "type": "str",
        "choices": ["possible", "ready", "placed", "finished", "beside", "absent"],
        "required": True,
    },
    "options": {"type": "list", "elements": "str", "default": []},
    "size": {"type": "int", "default": 0},
    "clean": {"type": "bool", "default": False},
    "patience": {"type": "float", "default": 120},
}


def run(module: AnsibleModule) -> None:
    """One step."""
    args = module.params
    restore = Restore(
        instance_from(args),
        # PostgreSQL, not this module, is to know what $PWD is.
        lambda argv: module.run_command(argv, cwd="/", expand_user_and_vars=False),
        tuple(args["options"]),
        args["size"],
        args["patience"],
    )
    if args["state"] == "possible":
        restore.check_room()
        module.exit_json(changed=False)
    if module.check_mode:
        module.exit_json(changed=restore.there if args["state"] == "absent" else args["state"] != "finished")
    if args["state"] in ("ready", "beside"):
        prepare(module, restore, args["state"] == "beside")
    elif args["state"] == "placed":
        old = restore.place(datetime.datetime.now(datetime.UTC))
        module.exit_json(changed=True, old=str(old or ""))
    elif args["state"] == "finished":
        begun = time.monotonic()
        restored = restore.finish()
        module.exit_json(changed=False, restored=restored, seconds={"start": round(time.monotonic() - begun, 1)})
    else:
        module.exit_json(changed=restore.remove())


def prepare(module: AnsibleModule, restore: Restore, beside: bool) -> None:
    """Bring the files, and see what becomes of them."""
    begun = time.monotonic()
    # Where the options name no end, it is where the archive ends.
    until, open_end = None, "--type=default" in restore.options
    if running_postmaster(restore.instance.data_directory) is None:
        until = restore.end_of_archive() if open_end and not beside else None
    elif not restore.in_recovery():
        restore.flush()
    if module.params["clean"] and until is None:
        raise PgError(
            "PostgreSQL was not stopped cleanly here, so it may hold commits that the archive lacks. Nothing was "
            "changed. Bring it back first, or choose another one by failover.yml. A restore_to with a time gives up "
            "what is later"
        )
    flushed = time.monotonic()
    restore.fetch()
    fetched = time.monotonic()
    restored = None
    if beside:
        restored = restore.run_beside()
    elif until is not None or not open_end:
        restored = restore.look(until)
    seconds = {"flush": flushed - begun, "fetch": fetched - flushed, "recover": time.monotonic() - fetched}
    module.exit_json(
        changed=True,
        restored=restored,
        seconds={name: round(taken, 1) for name, taken in seconds.items()},
        reach=f"psql -h {SOCKETS} -p {PORT}" if beside else "",
    )


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        run(module)
    except PgError as error:
        module.fail_json(msg=str(error), **error.details)
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}; expected to read and write it as root")


if __name__ == "__main__":
    main()
