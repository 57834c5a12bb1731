#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_stanza
short_description: Prepare the repository for a PostgreSQL cluster, and begin its first backup
version_added: 0.1.0
author: The renfo.redundancy authors (@renfo)
description:
  - Makes the stanza, as pgBackRest calls what belongs to one cluster. It needs the running primary for that.
  - Begins a full backup where there is none, and doesn't wait for it.
  - A repository of another cluster is refused, never taken over. Its backups may be the last there are.
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
  system_identifier:
    description: Of the cluster to be backed up. Empty if it isn't known.
    type: str
    default: ""
seealso:
  - module: renfo.redundancy.backup_info
"""

EXAMPLES = r"""
- name: Keep the history of the cluster
  renfo.redundancy.backup_stanza:
    system_identifier: "7443211234567890123"
  become: true
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be done.
  returned: success
  type: list
  elements: str
  sample: [make the stanza, begin the first backup]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.renfo.redundancy.plugins.module_utils.backup_catalogue import (
    BackupError,
    Catalogue,
    another_cluster,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.backup_io import Repository


def run(module: AnsibleModule) -> list[str]:
    """What was done."""
    repository = Repository(lambda argv: module.run_command(argv, cwd="/"))
    found = Catalogue("main", {}, (), (), ()) if module.check_mode and not repository.there else repository.catalogue()
    refused = another_cluster(found, module.params["system_identifier"])
    if refused:
        raise BackupError(refused)
    actions = []
    if not found.histories:
        actions.append("make the stanza")
        if not module.check_mode:
            repository.ask("stanza-create")
    if not found.whole and not repository.backup_running():
        actions.append("begin the first backup")
        if not module.check_mode:
            repository.start("full")
    return actions


def main() -> None:
    module = AnsibleModule(
        argument_spec={"system_identifier": {"type": "str", "default": ""}}, supports_check_mode=True
    )
    try:
        actions = run(module)
    except BackupError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(actions), actions=actions)


if __name__ == "__main__":
    main()
