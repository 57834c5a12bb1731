#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: media_restore
short_description: Bring files of the shared store back from its snapshots
version_added: 0.1.0
author: The renfo.redundancy authors (@renfo)
description:
  - Brings back what a snapshot holds and the store doesn't. With O(moment), a file that holds something else than
    it did then gives way too, and is kept in a hidden folder of the store.
  - Removes nothing. A file that is younger than the snapshot stays.
  - Can be repeated, also after an interruption. A file is in its place whole or not at all.
requirements:
  - root privileges on the host (C(become))
  - the store, mounted, and restic, set up by the role P(renfo.redundancy.media_backup#role)
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
options:
  directory:
    description: Where the store is mounted.
    type: path
    required: true
  moment:
    description:
      - The time that the store is brought back to, in seconds since the epoch. By default the newest snapshot's, and
        then only what is missing comes back.
    type: float
seealso:
  - module: renfo.redundancy.media_compare
"""

EXAMPLES = r"""
- name: Bring back what is missing
  renfo.redundancy.media_restore:
    directory: /srv/media
  become: true
"""

RETURN = r"""
snapshots:
  description: The snapshots that were used, by id, with the time of each in seconds since the epoch.
  returned: success
  type: dict
paths:
  description: The files that were brought back, or in check mode would be.
  returned: success
  type: list
  elements: str
brought:
  description: Their number.
  returned: success
  type: int
replaced:
  description: How many of them another file gave way for.
  returned: success
  type: int
bytes:
  description: Their size.
  returned: success
  type: int
aside:
  description: Where the files lie that gave way.
  returned: success
  type: str
seconds:
  description: How long it took.
  returned: success
  type: float
"""

import datetime
import functools
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.renfo.redundancy.plugins.module_utils.backup_catalogue import BackupError
from ansible_collections.renfo.redundancy.plugins.module_utils.media_io import Media
from ansible_collections.renfo.redundancy.plugins.module_utils.media_restore import choose, media_plan

ARGUMENTS = {"directory": {"type": "path", "required": True}, "moment": {"type": "float"}}


def run(module: AnsibleModule) -> dict[str, Any]:
    """What was done."""
    begun, moment = time.monotonic(), module.params["moment"]
    # A file may be called $HOME.
    run_command = functools.partial(module.run_command, cwd="/", expand_user_and_vars=False)
    media = Media(Path(module.params["directory"]), run_command)
    choice = choose(media.snapshots(), moment)
    chosen = {one.id: one for one in (choice.before, choice.after) if one is not None}
    held = {one.id: media.held(one) for one in chosen.values()}
    store = media.store()
    plan = media_plan(choice, held, store, moment)
    replaced = {name: media.differing(name, paths, store, held[name]) for name, paths in plan.doubtful.items()}
    changed = {name: [*plan.bring.get(name, ()), *replaced.get(name, ())] for name in chosen}
    size = plan.size + sum(held[name][path].size for name, paths in replaced.items() for path in paths)
    aside = media.directory / f".before-{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%SZ}"
    if not module.check_mode:
        media.make_sure_of_room(size)
        media.begin()
        for name, paths in changed.items():
            if paths:
                media.bring(name, paths, len(paths) == len(held[name]), dict.fromkeys(replaced.get(name, ()), aside))
        media.end()
    return {
        "changed": any(changed.values()),
        "snapshots": {name: one.time for name, one in chosen.items()},
        "paths": [path for paths in changed.values() for path in paths],
        "brought": sum(map(len, changed.values())),
        "replaced": sum(map(len, replaced.values())),
        "bytes": size,
        "aside": str(aside) if any(replaced.values()) else "",
        "seconds": round(time.monotonic() - begun, 1),
    }


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        module.exit_json(**run(module))
    except BackupError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}; run it again once the store answers (status.yml)")


if __name__ == "__main__":
    main()
