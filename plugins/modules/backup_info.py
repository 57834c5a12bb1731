#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_info
short_description: Observe the backups of the database and of the shared store
version_added: 0.1.0
author: The renfo.redundancy authors (@renfo)
description:
  - Tells which backups and which WAL the repository of this host holds, of which cluster, and how the last ones went.
  - Tells how the last snapshots of the store went, and the last restore that was made to verify it all.
  - A host that was not set up yet has none; that is no error.
requirements:
  - root privileges on the host (C(become))
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
  for_restore:
    description: Whether to look up the way of a restore too, which the archive tells more slowly.
    type: bool
    default: false
  snapshots:
    description: Whether to look up when the snapshots of the store were taken too, for which restic is asked.
    type: bool
    default: false
  timeline:
    description: The timeline that a restore is to lead to. By default the newest that the archive knows.
    type: int
seealso:
  - module: renfo.redundancy.backup_stanza
  - module: renfo.redundancy.backup_restore
"""

EXAMPLES = r"""
- name: Look at the backups
  renfo.redundancy.backup_info:
  become: true
  register: backups
"""

RETURN = r"""
backups:
  description: What was observed; null where pgBackRest isn't set up.
  returned: success
  type: dict
  contains:
    catalogue:
      description: The backups (C(backups)), oldest first, the WAL (C(archives)), what is wrong with it (C(troubles)).
      type: dict
    units:
      description: For each kind of backup, how the unit that makes it is, in systemd's words.
      type: dict
    next_backup:
      description: When the next backup is due.
      type: str
    media:
      description:
        - The C(result) of the last snapshots of the shared store, null before the first; the C(state) of the unit that
          takes them; when the C(next) one is due.
        - With O(snapshots) also C(times), when each was begun, in seconds since the epoch.
      type: dict
    verified:
      description: The same of the last restore that was made to verify the backups, and the C(max_age) of a result.
      type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.renfo.redundancy.plugins.module_utils.backup_catalogue import BackupError
from ansible_collections.renfo.redundancy.plugins.module_utils.backup_io import Repository


def main() -> None:
    arguments = {
        "for_restore": {"type": "bool", "default": False},
        "snapshots": {"type": "bool", "default": False},
        "timeline": {"type": "int"},
    }
    module = AnsibleModule(argument_spec=arguments, supports_check_mode=True)
    repository = Repository(lambda argv: module.run_command(argv, cwd="/"))
    if not repository.there:
        module.exit_json(changed=False, backups=None)
    try:
        module.exit_json(changed=False, backups=repository.observe(**module.params))
    except BackupError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
