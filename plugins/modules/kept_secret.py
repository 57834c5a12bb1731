#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kept_secret
short_description: Refuse to replace a passphrase that what is kept needs
version_added: 0.1.0
author: The renfo.redundancy authors (@renfo)
description:
  - Fails if a host encrypts what it keeps with another passphrase than the one that is about to be written. A
    controller that lost its secrets makes up new ones; with the old one on the host replaced nobody could read the
    backups any more.
  - Changes nothing.
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
  secrets:
    description: The passphrase that is about to be written, by the file that it will stand in. It is shown nowhere.
    type: dict
    required: true
  prefix:
    description: What the line begins with that has it.
    type: str
    default: ""
  keeps:
    description: The folder of what is encrypted with it. While it is empty any passphrase will do.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Keep the passphrase of the backups that are there
  renfo.redundancy.kept_secret:
    secrets:
      /etc/media-backup/passphrase: "{{ vault_backup_passphrase }}"
    keeps: /var/lib/media-backup/repository
  become: true
"""

RETURN = r"""
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule


def another(secret: str, file: Path, prefix: str, keeps: Path) -> bool:
    """Whether *file* has another secret than this one, and *keeps* something that needs it."""
    if not file.exists() or not keeps.is_dir() or not any(keeps.iterdir()):
        return False
    lines = file.read_text(encoding="utf-8").splitlines()
    return [line.removeprefix(prefix) for line in lines if line.startswith(prefix)][:1] != [secret]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "secrets": {"type": "dict", "required": True, "no_log": True},
            "prefix": {"type": "str", "default": ""},
            "keeps": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    keeps = Path(module.params["keeps"])
    for name, secret in module.params["secrets"].items():
        if another(secret, Path(name), module.params["prefix"], keeps):
            module.fail_json(
                msg=f"The backups in {keeps} are encrypted with another passphrase than the inventory's. Nothing was "
                f"changed. Theirs stands in {name} on this host, maybe nowhere else: put it into "
                "site_backup_passphrase of the secrets folder (or your vault), and keep a copy. If these backups are "
                "no longer wanted, move that folder away"
            )
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
