#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: managed_files
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: Several folders and files of a host, in one call
description:
  - Makes folders and writes files with their owner and mode. Each file is replaced in one step, so a service never
    reads half of one.
  - Does what M(ansible.builtin.file) and M(ansible.builtin.copy) do for one path a call. A role that writes ten files
    costs twenty calls with those, on every run on every host, changed or not.
options:
  directories:
    description: Folders, made in the order given, parents first.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The folder.
        type: path
        required: true
      owner:
        description: Its user.
        type: str
        default: root
      group:
        description: Its group.
        type: str
        default: root
      mode:
        description: Its mode, in octal.
        type: str
        default: "0755"
  files:
    description: Files, written after the folders.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The file.
        type: path
        required: true
      content:
        description: What is in it. A file without it finds its content in O(secrets).
        type: str
      owner:
        description: Its user.
        type: str
        default: root
      group:
        description: Its group.
        type: str
        default: root
      mode:
        description: Its mode, in octal.
        type: str
        default: "0644"
  secrets:
    description:
      - Contents that nobody must see, by path. They are shown in no diff and no log.
      - An option of its own, since Ansible keeps only whole options out of a host's system log.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Finds the same changes and makes none.
    support: full
  diff_mode:
    description: Shows what changes in each file; of a secret one, that it changes.
    support: full
  platform:
    description: Debian.
    platforms: debian
    support: full
"""

EXAMPLES = r"""
- name: Configure | Write the configuration
  renfo.redundancy.managed_files:
    directories:
      - path: /etc/shop
    files:
      - path: /etc/shop/shop.conf
        content: "{{ lookup('ansible.builtin.template', 'shop.conf.j2') }}"
      - path: /etc/shop/key.pem
        mode: "0600"
    secrets:
      /etc/shop/key.pem: "{{ lookup('ansible.builtin.file', 'key.pem', rstrip=false) }}"
"""

RETURN = r"""
paths:
  description: What was changed, or in check mode would be.
  returned: always
  type: list
  elements: str
  sample: [/etc/shop/shop.conf]
"""

import contextlib
import grp
import os
import pwd
import stat
import tempfile

from ansible.module_utils.basic import AnsibleModule

HIDDEN = "(secret)\n"


class FilesError(Exception):
    """A path can't be what was asked for."""


def owner_ids(entry, lenient):
    """Numbers of the user and group; None for one that a check of a new host doesn't have yet."""
    found = []
    for kind, name, look in (("user", entry["owner"], pwd.getpwnam), ("group", entry["group"], grp.getgrnam)):
        try:
            found.append(look(name)[2])
        except KeyError:
            if not lenient:
                raise FilesError(f"{entry['path']}: there is no {kind} {name} on this host") from None
            found.append(None)
    return tuple(found)


def attributes(path):
    """``(uid, gid, mode)`` of *path* as octal text, or None if it isn't there."""
    try:
        shown = os.lstat(path)
    except FileNotFoundError:
        return None
    return shown.st_uid, shown.st_gid, f"{stat.S_IMODE(shown.st_mode):04o}"


def wanted_mode(entry):
    try:
        return f"{int(entry['mode'], 8):04o}"
    except ValueError:
        raise FilesError(f"{entry['path']}: mode is {entry['mode']!r}, expected octal such as 0644") from None


def ensure_directory(entry, check):
    """Whether the folder changes; unless *check*, it has changed."""
    path, ids, mode = entry["path"], owner_ids(entry, check), wanted_mode(entry)
    if attributes(path) == (*ids, mode) and os.path.isdir(path):
        return False
    if os.path.lexists(path) and not os.path.isdir(path):
        raise FilesError(f"{path} is there and is no folder")
    if not check:
        with contextlib.suppress(FileExistsError):
            os.makedirs(path, mode=0o755)
        os.chown(path, *ids)
        os.chmod(path, int(mode, 8))
    return True


def ensure_file(entry, secrets, check):
    """A diff if the file changes, else None; unless *check*, it has changed."""
    secret = entry["content"] is None
    if secret and entry["path"] not in secrets:
        raise FilesError(f"{entry['path']}: it has no content, and secrets holds none for it")
    text = secrets[entry["path"]] if secret else entry["content"]
    path, ids, mode = entry["path"], owner_ids(entry, check), wanted_mode(entry)
    content = text.encode()
    before = b""
    if os.path.isfile(path) and not os.path.islink(path):
        with open(path, "rb") as stream:
            before = stream.read()
        if before == content and attributes(path) == (*ids, mode):
            return None
    elif os.path.isdir(path):
        raise FilesError(f"{path} is there and is a folder")
    if not check:
        replace(path, content, ids, int(mode, 8))
    if secret:
        return {"before_header": path, "after_header": path, "before": "", "after": HIDDEN}
    header = f"{path} ({entry['owner']}:{entry['group']} {mode})"
    return {
        "before_header": path,
        "after_header": header,
        "before": before.decode(errors="replace"),
        "after": text,
    }


def replace(path, content, ids, mode):
    """Write beside *path*, and rename: readers see the old file or the new one, whole."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise FilesError(f"{path}: there is no folder {folder}")
    handle, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=folder)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            os.fchown(stream.fileno(), *ids)
            os.fchmod(stream.fileno(), mode)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def main():
    common = {
        "path": {"type": "path", "required": True},
        "owner": {"type": "str", "default": "root"},
        "group": {"type": "str", "default": "root"},
    }
    module = AnsibleModule(
        argument_spec={
            "directories": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {**common, "mode": {"type": "str", "default": "0755"}},
            },
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    **common,
                    "mode": {"type": "str", "default": "0644"},
                    "content": {"type": "str"},
                },
            },
            "secrets": {"type": "dict", "default": {}, "no_log": True},
        },
        supports_check_mode=True,
    )
    paths, diffs = [], []
    try:
        for entry in module.params["directories"]:
            if ensure_directory(entry, module.check_mode):
                paths.append(entry["path"])
        for entry in module.params["files"]:
            diff = ensure_file(entry, module.params["secrets"], module.check_mode)
            if diff:
                paths.append(entry["path"])
                diffs.append(diff)
    except (FilesError, OSError) as error:
        module.fail_json(msg=str(error), paths=paths)
    module.exit_json(changed=bool(paths), paths=paths, diff=diffs)


if __name__ == "__main__":
    main()
