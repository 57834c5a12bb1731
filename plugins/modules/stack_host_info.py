#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: stack_host_info
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: Observe one host's part of the stack
description:
  - Tells what one host has of the stack, PostgreSQL apart, without changing anything. Ask only for what the host has.
  - Something that is missing or does not answer is a part of the result, never an error.
  - All questions are asked at the same time and each has a bound, so that a stalled file system or a hung daemon
    costs a few seconds at most.
requirements:
  - root privileges on the host (C(become))
  - C(openssl) for O(certificates), C(ip) for O(addresses), C(gluster) for O(gluster_volume)
options:
  units:
    description: Names of systemd units, with their suffix.
    type: list
    elements: str
    default: []
  ready:
    description: URLs to ask whether a service is ready. A 2xx answer means yes. No proxy is used.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Key of the answer in RV(host.ready).
        type: str
        required: true
      url:
        description: What to ask.
        type: str
        required: true
  addresses:
    description: IP addresses that may be on an interface of this host, such as a virtual one.
    type: list
    elements: str
    default: []
  certificates:
    description: Files that hold a certificate in PEM format.
    type: list
    elements: path
    default: []
  mounts:
    description: Directories that a shared store should be mounted at.
    type: list
    elements: path
    default: []
  gluster_volume:
    description: Name of a GlusterFS volume that this host serves.
    type: str
    default: ""
  release_home:
    description: Folder of the application, whose releases are in C(releases) below it.
    type: path
    default: ""
  timeout:
    description: Seconds that one of O(ready), and the file system of one of O(mounts), may take to answer.
    type: float
    default: 3
  gluster_timeout:
    description: Seconds that C(gluster) may take, waiting for its lock included.
    type: float
    default: 15
attributes:
  check_mode:
    description: Can run in check mode and return what it would outside it.
    support: full
  diff_mode:
    description: Returns what would change, in diff mode.
    support: none
    details: Nothing is changed.
  platform:
    description: Target systems.
    platforms: debian
    support: full
seealso:
  - module: renfo.redundancy.pg_instance_info
  - plugin: renfo.redundancy.stack_status
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Observe a load balancer
  renfo.redundancy.stack_host_info:
    units: [nginx.service, keepalived.service]
    addresses: [192.0.2.100]
    certificates: [/etc/nginx/tls/site.crt]
    mounts: [/srv/media]
  become: true

- name: Observe a host that runs the application and holds a copy of the store
  renfo.redundancy.stack_host_info:
    units: [app@1.service, glusterd.service]
    ready:
      - name: app1-1
        url: http://192.0.2.21:8000/readyz
    mounts: [/srv/media]
    gluster_volume: media
  become: true
"""

RETURN = r"""
host:
  description: What was observed.
  returned: success
  type: dict
  contains:
    units:
      description: State of each unit, by name.
      type: dict
      sample:
        nginx.service:
          running: true
          active: active
          sub: running
          since: "2026-11-23T03:10:00Z"
          running_in: /
          error: ""
    ready:
      description: Answer of each of O(ready), by name. C(ms) is in milliseconds, C(body) an excerpt.
      type: dict
      sample:
        app1-1: {ok: true, status: 200, ms: 7, body: '{"ok": true}', error: ""}
    addresses:
      description: For each address whether this host holds it; null where that can't be told.
      type: dict
      sample: {192.0.2.100: true}
    certificates:
      description: Last day and whole days left of each certificate, by file; null where it can't be read.
      type: dict
      sample:
        /etc/nginx/tls/site.crt: {not_after: "2027-11-23T03:10:00Z", days: 364, error: ""}
    mounts:
      description: For each directory whether something is mounted there, whether it answers, and its size in bytes.
      type: dict
      sample:
        /srv/media:
          mounted: true
          type: fuse.glusterfs
          answers: true
          total_bytes: 64424509440
          free_bytes: 42949672960
          error: ""
    gluster:
      description:
        - The bricks of O(gluster_volume) as this server sees them; null if it was not asked.
        - A brick whose server is out of reach is missing. C(to_heal) is a number of files, null where it didn't say.
      type: dict
      sample:
        answered: true
        bricks:
          - {name: "192.0.2.21:/srv/gluster/media/brick", online: true, to_heal: 0}
        error: ""
    releases:
      description:
        - The releases in O(release_home), the newest first, and which of them is the current one; null if it was not
          asked.
        - C(previous) ran before. C(over) was declared in the inventory when C(deploy.yml) brought the current one.
          C(trial) is a change that is not final. C(images) are those of the releases that run in containers.
      type: dict
      sample:
        current: 1.4.0-3f2c1a9b77d0
        previous: 1.3.0-9a77d03f2c1b
        over: ""
        trial: null
        releases: [1.4.0-3f2c1a9b77d0, 1.3.0-9a77d03f2c1b]
        images: []
        error: ""
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.renfo.redundancy.plugins.module_utils.stack_host import observe


def main():
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "list", "elements": "str", "default": []},
            "ready": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "url": {"type": "str", "required": True},
                },
            },
            "addresses": {"type": "list", "elements": "str", "default": []},
            "certificates": {"type": "list", "elements": "path", "default": []},
            "mounts": {"type": "list", "elements": "path", "default": []},
            "gluster_volume": {"type": "str", "default": ""},
            "release_home": {"type": "path", "default": ""},
            "timeout": {"type": "float", "default": 3},
            "gluster_timeout": {"type": "float", "default": 15},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, host=observe(module.params))


if __name__ == "__main__":
    main()
