#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_instance_info
short_description: Observe one PostgreSQL instance, running or not
version_added: 0.1.0
author: The renfo.redundancy authors (@renfo)
description:
  - Tells what one PostgreSQL instance on this host is, without changing anything.
  - A running server is asked once, through C(psql) as the operating system user V(postgres). For a
    stopped one C(pg_controldata) and the files are read. Nothing installed and no data directory is
    an answer (RV(instance.state=absent)), not an error.
  - A server that runs but does not answer within O(timeout) is reported as what its files say it
    is, with RV(instance.accepts_connections) false.
requirements:
  - root privileges on the host (C(become))
  - the Debian packages C(postgresql-common) and C(postgresql-<version>), once there is data
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
extends_documentation_fragment:
  - renfo.redundancy.postgresql
options:
  version:
    description:
      - Major version of PostgreSQL.
      - By default that of the instance that is there under C(/var/lib/postgresql); of several, the one that runs, else
        the latest with data. If there is none, RV(instance.state=absent), and RV(instance.version) is null.
      - Required with O(data_directory) or O(config_directory).
    type: int
    required: false
  port:
    description: Port to report while no server runs; a running one is asked on its own port.
    type: int
    default: 5432
  timeout:
    description: Seconds to wait for the server's answer.
    type: int
    default: 5
seealso:
  - plugin: renfo.redundancy.cluster_plan
    plugin_type: filter
  - module: renfo.redundancy.pg_standby
"""

EXAMPLES = r"""
- name: Observe the instance that is there
  renfo.redundancy.pg_instance_info:
  become: true
  register: pg_observed

- name: Show where it stands
  ansible.builtin.debug:
    msg: "{{ pg_observed.instance.state }} on timeline {{ pg_observed.instance.timeline }}"
"""

RETURN = r"""
instance:
  description: What was observed.
  returned: success
  type: dict
  contains:
    state:
      description: One of V(absent), V(stopped), V(primary), V(standby).
      type: str
    port:
      description: Port of the running server, else the given one.
      type: int
    data_directory:
      description: Data directory.
      type: str
    version:
      description: Major version that made the data directory.
      type: int
    server_version:
      description: Version of the running server.
      type: str
    system_identifier:
      description: Identifies the cluster; all its members share it.
      type: str
    timeline:
      description: Timeline that a primary writes, or that a standby has received.
      type: int
    current_lsn:
      description: Position that a primary writes at.
      type: str
    received_lsn:
      description: Position up to which a standby has WAL on disk.
      type: str
    replayed_lsn:
      description: Position up to which a standby has replayed.
      type: str
    lsn_exact:
      description:
        - Whether the positions are exact.
        - A stopped server may hold more than it shows, and so may a restarted standby until it has replayed all that
          it had received before.
      type: bool
    timeline_history:
      description: Ancestors of RV(instance.timeline), and the position where each was left.
      type: list
      elements: dict
      contains:
        timeline:
          description: The ancestor.
          type: int
        switch_lsn:
          description: Where it was left.
          type: str
    standby_signal:
      description: Whether C(standby.signal) is there.
      type: bool
    clean_shutdown:
      description: Whether a stopped server was stopped in order; null while it runs.
      type: bool
    upstream:
      description: Where it is told to stream from; null if nowhere.
      type: dict
      contains:
        host:
          description: Host name.
          type: str
        address:
          description: Address.
          type: str
        port:
          description: Port.
          type: int
        slot:
          description: Replication slot.
          type: str
    streaming:
      description: Whether a standby receives WAL right now.
      type: bool
    lag_seconds:
      description: Age of what a standby last replayed; 0 when it has replayed all it received.
      type: float
    replay_paused:
      description: Whether replay was paused by hand.
      type: bool
    replication:
      description: The standbys that stream from this instance.
      type: list
      elements: dict
      contains:
        name:
          description: Application name of the standby.
          type: str
        address:
          description: Its address.
          type: str
        state:
          description: State of its connection, V(streaming) when all is well.
          type: str
        sync_state:
          description: One of V(async), V(potential), V(sync), V(quorum).
          type: str
        flush_lsn:
          description: Position that it has on disk.
          type: str
        replay_lsn:
          description: Position that it has replayed.
          type: str
        lag_bytes:
          description: Bytes that it hasn't replayed.
          type: int
        lag_seconds:
          description: Seconds between a commit here and its replay there.
          type: float
        ssl:
          description: Whether the connection is encrypted.
          type: bool
    slots:
      description: Replication slots.
      type: list
      elements: dict
      contains:
        name:
          description: Name of the slot.
          type: str
        active:
          description: Whether somebody streams from it.
          type: bool
        wal_status:
          description: V(reserved), V(extended), V(unreserved), or V(lost) when it is of no use.
          type: str
        restart_lsn:
          description: Oldest position that it keeps.
          type: str
    synchronous_standby_names:
      description: The setting of that name.
      type: str
    pending_restart:
      description: Settings that wait for a restart.
      type: list
      elements: str
    archiver:
      description:
        - The last WAL that was archived (C(last_wal)), and for how many seconds that has been failing (C(failing_for),
          null while it doesn't). Null where nothing is archived.
      type: dict
    accepts_connections:
      description: Whether the server answered.
      type: bool
    oldest_lsn:
      description: Where the WAL begins that a running primary still has; null for others.
      type: str
    fenced:
      description:
        - Whether the instance is kept from starting as a primary, by a fence marker or by the guard.
      type: bool
    fenced_reason:
      description: Why, and what to do about it where the guard says so.
      type: str
    held:
      description:
        - Whether a stopped instance is fenced by nothing but what its guard decided at the last start. It asks again at
          the next one.
      type: bool
    clone_in_progress:
      description: Whether the left-over of an unfinished clone is there.
      type: bool
  sample:
    state: primary
    timeline: 1
    current_lsn: 0/3000060
    accepts_connections: true
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_arguments import LOCATION
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import (
    Observation,
    PgError,
    State,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_io import (
    Instance,
    observe,
    version_there,
)


def look(module: AnsibleModule) -> Observation:
    """The instance that the arguments describe, or that there is none."""
    args = module.params
    version = args["version"] or version_there(args["cluster"])
    if version is None:
        return Observation(State.ABSENT, port=args["port"])
    # From "/", for postgres may not enter the directory that root came from.
    return observe(Instance.of(**{**args, "version": version}), lambda argv: module.run_command(argv, cwd="/"))


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **LOCATION,
            # The one that is there, where none is named.
            "version": {"type": "int"},
            "timeout": {"type": "int", "default": 5},
        },
        required_by={"data_directory": ["version"], "config_directory": ["version"]},
        supports_check_mode=True,
    )
    try:
        seen = look(module)
    except PgError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(changed=False, instance=seen.to_dict())


if __name__ == "__main__":
    main()
