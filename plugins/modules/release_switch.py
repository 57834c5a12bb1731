#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: release_switch
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: Which release of the application is the current one on a host
description:
  - Links the release that copies of the application start from, and remembers the one that ran before.
  - A new release is on trial until O(state=done). Until then O(state=back) takes it back without a trace, whoever was
    interrupted when. So several hosts can change one after the other, and all go back if one of them fails.
  - Doesn't restart anything; M(renfo.redundancy.service_current) does.
options:
  home:
    description: The application's folder. Its releases are in C(releases) below it, each with a file C(.complete).
    type: path
    required: true
  state:
    description:
      - V(begun) makes O(release) the current one, on trial.
      - V(done) ends the trial, and removes old releases.
      - V(back) makes that one the current one which ran before the trial.
    type: str
    choices: [begun, done, back]
    required: true
  release:
    description: Id of the release. Required with O(state=begun).
    type: str
    default: ""
  over:
    description: Id of the release that the inventory declares, if O(release) is another one.
    type: str
    default: ""
  asked:
    description: V(previous) if the release is the one that ran before, and was asked for as such.
    type: str
    default: ""
  keep:
    description:
      - How many releases stay on the host. The current one, the previous one and those that a running copy uses stay
        in any case.
    type: int
    default: 3
  unit:
    description:
      - Name of the template unit of the copies, without its suffix (C(app@)).
      - Its file in C(/etc/systemd/system) becomes the one that the current release brought as C(.service), if it did.
        So a release that is taken back is started as it was before.
    type: str
    default: ""
  image:
    description:
      - Name, without a tag, of the images of releases (C(localhost/app)). With O(state=done) those of releases that are
        no longer on the host are removed. Where there is no Podman there are none.
    type: str
    default: ""
attributes:
  check_mode:
    description: Says what would be done, and does nothing.
    support: full
  diff_mode:
    description: Shows the releases before and after.
    support: full
  platform:
    description: Debian with systemd.
    platforms: debian
    support: full
seealso:
  - module: renfo.redundancy.service_current
  - module: renfo.redundancy.stack_host_info
"""

EXAMPLES = r"""
- name: Service | Make it the current release
  renfo.redundancy.release_switch:
    home: /srv/app
    release: 1.4.0-3f2c1a9b77d0
    state: begun
    unit: app@

- name: Done | Keep it, and remove old ones
  renfo.redundancy.release_switch:
    home: /srv/app
    state: done
    keep: 3
    unit: app@
    image: localhost/app
"""

RETURN = r"""
release:
  description: Id of the current release.
  returned: success
  type: str
  sample: 1.4.0-3f2c1a9b77d0
before:
  description: Id of the release that O(state=back) would make the current one; empty if there is no trial.
  returned: success
  type: str
  sample: 1.3.0-9a77d03f2c1b
pending:
  description: Whether there is a trial, which O(state=done) would end.
  returned: success
  type: bool
removed:
  description: Ids of the releases that were removed.
  returned: success
  type: list
  elements: str
images:
  description: Images that were removed.
  returned: success
  type: list
  elements: str
"""

import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.renfo.redundancy.plugins.module_utils.release_io import (
    ReleaseError,
    apply,
    complete_releases,
    has_unit,
    read_state,
    remove,
    surplus_tags,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.release_state import back, begin, finish, surplus
from ansible_collections.renfo.redundancy.plugins.module_utils.stack_host import ProbeError, run, units

UNITS = Path("/etc/systemd/system")
#: Seconds for Podman, which may have to unpack or remove much.
PODMAN_TIMEOUT = 120.0


def switch(params, check_mode, run=run):
    """Do what *params* say; gives the result, without what Ansible adds to it."""
    home = Path(params["home"])
    old = read_state(home)
    if params["state"] == "begun":
        new = begin(old, params["release"], params["over"], params["asked"])
    elif params["state"] == "back":
        new = back(old)
    else:
        new = finish(old)
    unit = UNITS / f"{params['unit']}.service" if params["unit"] else None
    other_unit = unit is not None and not has_unit(home, new.current, unit)
    if (new != old or other_unit) and not check_mode:
        apply(home, old, new, unit)
    removed, images = [], []
    if params["state"] == "done":
        used = in_use(params["unit"], run)
        if used is not None:
            there = complete_releases(home)
            removed = list(surplus(there, params["keep"], {new.current, new.previous, new.before, *used}))
            if not check_mode:
                remove(home, removed)
            images = surplus_images(params["image"], home, removed, run)
            for image in images if not check_mode else []:
                # A copy that was killed may have left its container behind.
                run(["podman", "image", "rm", "--force", image], PODMAN_TIMEOUT)
    words = [f"removed: {release}\n" for release in removed + images]
    words += [f"unit: of {new.current}\n"] if other_unit else []
    return {
        "changed": new != old or other_unit or bool(removed + images),
        "release": new.current,
        "before": new.before,
        "pending": new.trial is not None,
        "removed": removed,
        "images": images,
        "diff": {"before": describe(old), "after": describe(new) + "".join(words)},
    }


def surplus_images(name, home, removed, run):
    """Images of that *name* whose release is not, or not any more, on the host, finished or not."""
    if not name or not shutil.which("podman"):
        return []
    listed = run(["podman", "image", "ls", "--noheading", "--format={{.Tag}}", name], PODMAN_TIMEOUT)
    there = {folder.name for folder in (home / "releases").iterdir()} - set(removed)
    return [f"{name}:{tag}" for tag in surplus_tags(set(listed.split()) - {"<none>"}, there)]


def in_use(template, run):
    """Releases that running copies use; None if that can't be told of one of them."""
    try:
        listed = run(["systemctl", "list-units", "--all", "--plain", "--no-legend", f"{template}*.service"], 5.0)
    except ProbeError:
        return None
    names = [line.split()[0] for line in listed.splitlines() if line.strip()]
    found = [state["running_in"] for state in units(names, run).values() if state["running"]]
    return None if None in found else {folder.partition("/releases/")[2].partition("/")[0] for folder in found}


def describe(state):
    """Lines for a diff."""
    lines = {"current": state.current, "previous": state.before or state.previous, "in place of": state.over}
    return "".join(f"{name}: {release}\n" for name, release in lines.items() if release)


def main():
    module = AnsibleModule(
        argument_spec={
            "home": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["begun", "done", "back"], "required": True},
            "release": {"type": "str", "default": ""},
            "over": {"type": "str", "default": ""},
            "asked": {"type": "str", "default": ""},
            "keep": {"type": "int", "default": 3},
            "unit": {"type": "str", "default": ""},
            "image": {"type": "str", "default": ""},
        },
        required_if=[("state", "begun", ["release"])],
        supports_check_mode=True,
    )
    try:
        module.exit_json(**switch(module.params, module.check_mode))
    except (ReleaseError, ProbeError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
