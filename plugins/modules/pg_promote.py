#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_promote
short_description: Promote this host's PostgreSQL standby
version_added: 0.1.0
author: The renfo.redundancy authors (@renfo)
description:
  - Makes a standby the primary, and proves by a committed write that it is one.
  - Refuses, with the evidence, what could end in two primaries or in a loss. A fence marker on this host, a paused
    replay, a peer that is a primary, or a timeline that is not the expected one.
  - An instance that is a primary already on the expected timeline is left as it is; the write is still made.
  - Asks the peers all at once, and waits for a host that is off no longer than O(peer_timeout). Silence of a peer
    proves nothing. Whoever promotes must know that the old primary is fenced.
requirements:
  - root privileges on the host (C(become)), and that root may connect as C(postgres) over the socket
  - the Debian package C(python3-psycopg2)
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
  - renfo.redundancy.postgresql.access
options:
  timeline:
    description: The timeline that the promotion is expected to lead to.
    type: int
  peers:
    description:
      - The other members, none of which may be a primary. Each has a C(name), as in its certificate, an C(address)
        and a C(port). Other keys are left alone.
    type: list
    elements: dict
    default: []
  peer_timeout:
    description:
      - Seconds within which a peer must take a connection. Its kernel does that, so a live one needs a round trip; a
        lost packet is sent again only after a second.
    type: float
    default: 0.2
  answer_timeout:
    description: Seconds within which a peer that took a connection must answer, as one that is frozen doesn't.
    type: float
    default: 2
  timeout:
    description: Seconds within which the instance must accept writes, once the promotion was requested.
    type: float
    default: 60
  verify:
    description: Whether to commit a write, which leaves nothing behind and waits for no standby.
    type: bool
    default: true
  synchronous_write_timeout:
    description:
      - Seconds to wait for a standby to acknowledge another write. V(0) makes none.
      - It is no error if none does, for a standby may need longer; see RV(synchronous_write).
    type: float
    default: 0
seealso:
  - module: renfo.redundancy.pg_fence
  - module: renfo.redundancy.pg_switchover
"""

EXAMPLES = r"""
- name: Promote the candidate, now that the old primary is fenced
  renfo.redundancy.pg_promote:
    version: 17
    timeline: 2
    peers:
      - name: pg1
        address: 192.0.2.21
        port: 5432
      - name: pg3
        address: 192.0.2.23
        port: 5432
    synchronous_write_timeout: 10
  become: true
"""

RETURN = r"""
timeline_before:
  description: The timeline of the standby; of the primary, where it was one already.
  returned: success
  type: int
  sample: 1
timeline_after:
  description: The timeline that it writes now. In check mode the expected one.
  returned: success
  type: int
  sample: 2
lsn:
  description: The position that it writes at now. In check mode the position that it holds.
  returned: success
  type: str
  sample: 0/5000150
milliseconds:
  description: From the request to the first committed write; null where nothing was promoted.
  returned: success
  type: int
  sample: 187
peers:
  description:
    - What each peer said, by its name. C(in_recovery), C(timeline), C(lsn), C(system_identifier), whether it was
      C(reachable), and the C(error) if it didn't answer.
  returned: success
  type: dict
synchronous_write:
  description: Whether a standby acknowledged a write in time, and the milliseconds; null if none was asked for.
  returned: success
  type: dict
  sample: {ok: true, milliseconds: 412}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_arguments import (
    ACCESS,
    LOCATION,
    access_from,
    instance_from,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import PgError
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_promote_io import (
    Access,
    Promotion,
    as_plain,
    synchronous_write,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_promote_steps import Peer

ARGUMENTS = {
    **LOCATION,
    **ACCESS,
    "timeline": {"type": "int"},
    "peers": {"type": "list", "elements": "dict", "default": []},
    "peer_timeout": {"type": "float", "default": 0.2},
    "answer_timeout": {"type": "float", "default": 2},
    "timeout": {"type": "float", "default": 60},
    "verify": {"type": "bool", "default": True},
    "synchronous_write_timeout": {"type": "float", "default": 0},
}


def run(module: AnsibleModule) -> None:
    """Refuse, or promote."""
    args = module.params
    instance = instance_from(args)
    access = Access(**access_from(args, instance))
    promotion = Promotion(
        instance,
        args["timeline"],
        tuple(Peer.from_dict(peer) for peer in args["peers"]),
        access,
        args["peer_timeout"],
        args["answer_timeout"],
        args["timeout"],
        args["verify"],
    )
    promoted, answers, warnings = promotion.run(only_check=module.check_mode)
    patience = args["synchronous_write_timeout"]
    synchronous = synchronous_write(instance, patience) if patience > 0 and not module.check_mode else None
    for warning in warnings:
        module.warn(warning)
    before = "standby" if promoted.changed else "primary"
    module.exit_json(
        **promoted.to_dict(),
        peers=as_plain(answers),
        synchronous_write=synchronous,
        diff={
            "before": f"{before} on timeline {promoted.timeline_before}\n",
            "after": f"primary on timeline {promoted.timeline_after}\n",
        },
    )


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        run(module)
    except PgError as error:
        module.fail_json(msg=str(error), **error.details)
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}; expected to read it as root")


if __name__ == "__main__":
    main()
