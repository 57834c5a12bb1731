#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_switchover
short_description: Hand the primary's role over from one PostgreSQL instance to another
version_added: 0.1.0
author: The renfo.redundancy authors (@renfo)
description:
  - Runs as one task on two hosts at once. With O(part=hand_over) on the primary, with O(part=take_over) on the standby
    that is to be the next one. The two coordinate through the standby, without the controller.
  - The primary writes a checkpoint, waits until the other is ready and close behind, and stops. The standby is promoted
    the moment it holds the primary's shutdown checkpoint, which proves that nothing is missing. The old primary comes
    back as its standby.
  - A lost connection is no shutdown, and never leads to a promotion.
  - If the candidate is not ready, nothing is stopped. If it gives up after the stop, the old primary is started again
    as the primary, and the module fails. There are never two primaries.
  - Both parts end in bounded time, also if the controller dies; a second run finishes the job.
  - Other standbys should follow the candidate before, so that its first synchronous commit finds one.
requirements:
  - root privileges on the hosts (C(become)), and that root may connect as C(postgres) over the socket
  - the Debian package C(python3-psycopg2)
  - that the replication role may connect to the database C(postgres) of O(peer), and is a member of C(pg_monitor)
    there and may execute C(pg_stat_file(text, boolean))
attributes:
  check_mode:
    description: Can run in check mode and return what it would outside it.
    support: full
    details: Refuses the same, and changes nothing.
  diff_mode:
    description: Returns what would change, in diff mode.
    support: full
  platform:
    description: Target systems.
    platforms: debian
    support: full
extends_documentation_fragment:
  - renfo.redundancy.postgresql
  - renfo.redundancy.postgresql.unit
  - renfo.redundancy.postgresql.access
options:
  part:
    description:
      - V(hand_over) stops this host's primary and makes it a standby of O(peer).
      - V(take_over) promotes this host's standby once O(peer) was stopped so.
    type: str
    choices: [hand_over, take_over]
    required: true
  peer:
    description:
      - The other host, its C(name) as in its certificate, its C(address) and C(port). Other keys are left alone.
    type: dict
    required: true
  timeline:
    description:
      - The timeline that the old primary is expected to be on.
      - With it, a standby that was promoted meanwhile is taken for the result of an earlier run.
    type: int
  application_name:
    description:
      - Name under which the successor knows this instance as a standby, as in C(synchronous_standby_names). Required
        with O(part=hand_over).
    type: str
  slot:
    description:
      - Replication slot on the successor for this instance, made where it is missing. By default O(application_name) in
        lower case, everything but letters, digits and underscores replaced by underscores.
    type: str
  drop_slots:
    description:
      - Physical slots of this instance that nobody uses when it is no primary any more, with O(part=hand_over). Left
        alone they would keep WAL. One that is in use is not dropped.
    type: list
    elements: str
    default: []
  timeout:
    description:
      - Seconds that the candidate waits for the shutdown, and that the primary waits for the candidate; first to be
        ready, then, after the stop, to be promoted. The same on both hosts.
    type: float
    default: 30
  stop_timeout:
    description:
      - Seconds that the primary's shutdown may take. After twice as long it is cut short, and the switchover fails.
    type: float
    default: 20
seealso:
  - module: renfo.redundancy.pg_promote
  - module: renfo.redundancy.pg_standby
"""

EXAMPLES = r"""
- name: Hand over from pg1 to pg2
  hosts: pg1:pg2
  become: true
  tasks:
    - name: Hand over
      renfo.redundancy.pg_switchover:
        part: "{{ 'hand_over' if inventory_hostname == 'pg1' else 'take_over' }}"
        version: 17
        timeline: 1
        application_name: "{{ inventory_hostname }}"
        peer:
          name: "{{ 'pg2' if inventory_hostname == 'pg1' else 'pg1' }}"
          address: "{{ '192.0.2.22' if inventory_hostname == 'pg1' else '192.0.2.21' }}"
          port: 5432
"""

RETURN = r"""
outcome:
  description:
    - V(handed_over) or V(took_over); V(already) if an earlier run had done it. When the module fails, V(handed_back)
      says that this instance is the primary again, V(standby) and V(guard) that it couldn't be, or not for certain.
  returned: success, and where it is known on failure
  type: str
  sample: took_over
timeline_before:
  description: The timeline of the old primary.
  returned: success
  type: int
  sample: 1
timeline_after:
  description: The timeline of the new one; null in check mode.
  returned: success
  type: int
  sample: 2
milliseconds:
  description:
    - Of the candidate, from the proof to the first committed write. Of the old primary, from the request to stop until
      it saw that the other is the primary. Null where nothing was done.
  returned: success
  type: int
  sample: 187
waited_milliseconds:
  description: How long the candidate waited for the shutdown.
  returned: success, with O(part=take_over)
  type: int
  sample: 640
lsn:
  description: The position that the new primary writes at; null in check mode.
  returned: success, with O(part=take_over)
  type: str
  sample: 0/5000150
phases:
  description:
    - Milliseconds of each phase of the old primary's part. C(checkpoint), C(wait_armed), C(catch_up), C(stop),
      C(start_standby), C(outcome), C(total).
  returned: success, with O(part=hand_over)
  type: dict
  sample: {checkpoint: 41, wait_armed: 12, catch_up: 35, stop: 122, start_standby: 480, outcome: 3, total: 803}
"""

import signal

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_arguments import (
    ACCESS,
    LOCATION,
    UNIT,
    access_from,
    instance_from,
    unit_from,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import PgError, slot_name
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_io import Instance
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_promote_io import Access
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_promote_steps import Peer
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_standby_io import Standby
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_standby_steps import StandbyAction, Wanted
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_switchover_hand import HandOver
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_switchover_take import TakeOver

ARGUMENTS = {
    **LOCATION,
    **UNIT,
    **ACCESS,
    "part": {"type": "str", "choices": ["hand_over", "take_over"], "required": True},
    "peer": {"type": "dict", "required": True},
    "timeline": {"type": "int"},
    "application_name": {"type": "str"},
    "slot": {"type": "str"},
    "drop_slots": {"type": "list", "elements": "str", "default": []},
    "timeout": {"type": "float", "default": 30},
    "stop_timeout": {"type": "float", "default": 20},
}


def hand_over_from(module: AnsibleModule, instance: Instance, peer: Peer) -> HandOver:
    """The old primary's part, as the arguments describe it."""
    args = module.params
    slot = args["slot"] or slot_name(args["application_name"])
    for name in (slot, *args["drop_slots"]):
        if name != slot_name(name):
            raise PgError(f"found the slot {name!r}, expected lower-case letters, digits and underscores")
    access = Access(**access_from(args, instance))
    standby = Standby(
        instance=instance,
        wanted=Wanted(StandbyAction.FOLLOW, access.replication(peer, args["application_name"], slot)),
        unit=unit_from(args),
        run=lambda argv: module.run_command(argv, cwd="/"),
    )
    return HandOver(
        standby, peer, access, args["timeline"], args["timeout"], args["stop_timeout"], tuple(args["drop_slots"])
    )


def run(module: AnsibleModule) -> None:
    """Refuse, or do this host's part."""
    args = module.params
    instance = instance_from(args)
    peer = Peer.from_dict(args["peer"])
    if not module.check_mode:
        # Half of it is worse than all of it: the connection to the controller may break, the task goes on.
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
    if args["part"] == "hand_over":
        part = hand_over_from(module, instance, peer)
        done = part.check() if module.check_mode else part.hand_over()
        for warning in done.warnings:
            module.warn(warning)
        result = {key: value for key, value in vars(done).items() if key != "warnings"}
        words = ("primary", f"standby of {peer.name}")
    else:
        candidate = TakeOver(
            instance, lambda argv: module.run_command(argv, cwd="/"), peer, args["timeline"], args["timeout"]
        )
        result = (candidate.check() if module.check_mode else candidate.take_over()).to_dict()
        words = (f"standby of {peer.name}", "primary")
    before, after = words if result["changed"] else (words[1], words[1])
    module.exit_json(**result, diff={"before": f"{before}\n", "after": f"{after}\n"})


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        required_if=[("part", "hand_over", ("application_name",))],
        supports_check_mode=True,
    )
    try:
        run(module)
    except PgError as error:
        module.fail_json(msg=str(error), **error.details)
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}; expected to change it as root")


if __name__ == "__main__":
    main()
