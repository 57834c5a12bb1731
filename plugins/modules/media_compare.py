#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: media_compare
short_description: Find where the shared store and the database disagree
version_added: 0.1.0
author: The renfo.redundancy authors (@renfo)
description:
  - Lists the rows whose file isn't in the store, the files that no row names, and the rows whose file holds other bytes
    than the database says.
  - Changes nothing in either. Hidden folders at the top of the store are left out.
requirements:
  - root privileges on the host (C(become))
  - the store, mounted
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
  rows:
    description: What the database names. Each has an C(id), a C(path) below the store, and its C(sha256) or null.
    type: list
    elements: dict
    required: true
  read:
    description: Paths of files that are read whole, and compared with the checksums of the database.
    type: list
    elements: str
    default: []
  read_all:
    description: Whether all files are.
    type: bool
    default: false
  report:
    description: File on the host for all that was found, as JSON; what is returned may be too much to read on a screen.
    type: path
seealso:
  - module: renfo.redundancy.media_restore
"""

EXAMPLES = r"""
- name: Compare
  renfo.redundancy.media_compare:
    directory: /srv/media
    rows:
      - {id: 7, path: videos/7, sha256: null}
    read_all: true
    report: /root/media-comparison.json
  become: true
"""

RETURN = r"""
rows:
  description: How many files the database names.
  returned: success
  type: int
files:
  description: How many there are.
  returned: success
  type: int
checked:
  description: How many were read whole.
  returned: success
  type: int
missing:
  description: Rows without a file, with their C(id), C(path) and C(sha256).
  returned: success
  type: list
  elements: dict
wrong:
  description: Rows whose file holds other bytes, the same way.
  returned: success
  type: list
  elements: dict
unknown:
  description: Files without a row. The C(id) is the path, the C(sha256) that of the file.
  returned: success
  type: list
  elements: dict
report:
  description: The file that has it all; empty if none was asked for, or in check mode.
  returned: success
  type: str
"""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.renfo.redundancy.plugins.module_utils.backup_catalogue import BackupError
from ansible_collections.renfo.redundancy.plugins.module_utils.media_io import Media
from ansible_collections.renfo.redundancy.plugins.module_utils.media_restore import compare, parse_rows
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_standby_io import write_atomically

ARGUMENTS = {
    "directory": {"type": "path", "required": True},
    "rows": {"type": "list", "elements": "dict", "required": True},
    "read": {"type": "list", "elements": "str", "default": []},
    "read_all": {"type": "bool", "default": False},
    "report": {"type": "path"},
}


def run(module: AnsibleModule) -> dict[str, Any]:
    """Where they disagree."""
    media = Media(Path(module.params["directory"]), functools.partial(module.run_command, cwd="/"))
    rows = parse_rows(module.params["rows"])
    store = media.store()
    named = {row.path for row in rows if row.sha256} & store.keys()
    read = named if module.params["read_all"] else named.intersection(module.params["read"])
    found = compare(rows, store, {path: media.sha256(path) for path in sorted(read)})
    result = {
        "rows": len(rows),
        "files": len(store),
        "checked": found.checked,
        "missing": [dataclasses.asdict(row) for row in found.rows],
        "wrong": [dataclasses.asdict(row) for row in found.wrong],
        "unknown": [{"id": path, "path": path, "sha256": media.sha256(path)} for path in found.files],
    }
    report = "" if module.check_mode else module.params["report"] or ""
    if report:
        write_atomically(Path(report), json.dumps(result, indent=1) + "\n", 0o600)
    return {**result, "report": report}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        module.exit_json(changed=False, **run(module))
    except BackupError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}; run it again once the store answers (status.yml)")


if __name__ == "__main__":
    main()
