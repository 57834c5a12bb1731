#!/usr/bin/python
# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_standby
short_description: Make this host's PostgreSQL instance a streaming standby
version_added: 0.1.0
author: The renfo.redundancy authors (@renfo)
description:
  - Makes one PostgreSQL instance a standby of an upstream and returns when it streams.
  - A copy is made beside the data directory and renamed into place whole, so a run that was
    interrupted at any point can be repeated and finishes.
  - The system identifier of the upstream is checked before anything is touched. A data directory
    that holds another cluster is refused; one that holds a primary too, but by O(action=rejoin).
  - The upstream is written to C(conf.d/90-standby.conf) in the configuration directory, outside the
    data directory. No password is in it, nor on any command line; it comes from O(passfile).
  - The replication slot is created on the upstream where it is missing, and anew where it lost its WAL.
  - Nothing that exists nowhere else is discarded. Where O(action=rejoin) finds transactions that the primary
    doesn't have, it saves them to a directory for the operator first, or refuses.
requirements:
  - root privileges on the host (C(become))
  - the Debian packages C(postgresql-common) and C(postgresql-<version>)
  - a configuration directory whose C(postgresql.conf) includes C(conf.d)
attributes:
  check_mode:
    description: Can run in check mode and return what it would outside it.
    support: full
    details: Where the upstream can't be asked yet, a warning says so and it is taken to be right.
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
  action:
    description:
      - V(clone) copies the upstream if the data directory is missing or empty, or holds the left-over
        of an interrupted clone. A standby that is already there then follows the upstream.
      - V(follow) points an existing standby at the upstream and starts it if it is stopped.
      - V(rejoin) makes a standby of the primary of whatever is there. What is a part of the primary's history
        goes on from where it is; what parted from it is rewound by C(pg_rewind), after it was saved; where that
        isn't possible, or the primary no longer has the WAL that is missing, a fresh copy takes its place, and a
        warning says so. A standby that streams is left alone.
      - For V(rejoin) the upstream must be the primary, and its role O(replication_user) be a member of
        C(pg_monitor) and C(pg_checkpoint), allowed to execute the functions that C(pg_rewind) needs, and allowed to
        connect to the database C(postgres).
      - An instance that streams at the end is freed of the marks that kept it from being started as a primary.
    type: str
    choices: [clone, follow, rejoin]
    required: true
  stop_primary:
    description:
      - Whether V(rejoin) may stop an instance that runs as a primary. It does so only where the upstream is the
        primary of a later timeline that came out of the one this instance is on.
    type: bool
    default: false
  discard:
    description:
      - Whether V(rejoin) may give up what this instance holds where it can't be shown that it exists elsewhere and
        it can't be saved, and remove the old data before a fresh copy is made where the disk is too small for both.
    type: bool
    default: false
  upstream_host:
    description: Name of the upstream, as in its certificate.
    type: str
    required: true
  upstream_address:
    description: Address of the upstream, so that streaming needs no name service.
    type: str
  upstream_port:
    description: Port of the upstream.
    type: int
    default: 5432
  application_name:
    description:
      - Name under which the upstream knows this standby, as in C(synchronous_standby_names); the
        inventory's name of the host.
    type: str
    required: true
  slot:
    description:
      - Replication slot on the upstream. By default O(application_name) in lower case, everything
        but letters, digits and underscores replaced by underscores.
    type: str
  system_identifier:
    description: System identifier that the upstream must have.
    type: str
  checkpoint:
    description: Whether the copy begins with a quick checkpoint or waits for a spread one.
    type: str
    choices: [fast, spread]
    default: fast
  max_rate:
    description: Upper bound of the copy's speed, in kilobytes per second or with the suffix V(M).
    type: str
  timeout:
    description: Seconds within which the standby must stream, once it was started.
    type: int
    default: 60
seealso:
  - module: renfo.redundancy.pg_instance_info
  - name: Streaming replication
    description: How PostgreSQL does it.
    link: https://www.postgresql.org/docs/current/warm-standby.html
  - name: pg_rewind
    description: What it needs, and what its role must be allowed to do.
    link: https://www.postgresql.org/docs/current/app-pgrewind.html
"""

EXAMPLES = r"""
- name: Stream from the live primary
  renfo.redundancy.pg_standby:
    action: "{{ cluster_plan.members[inventory_hostname].action }}"
    version: 17
    upstream_host: pg1
    upstream_address: 192.0.2.21
    passfile: /etc/postgresql/17/main/replication.pgpass
    ssl_root_certificate: /etc/postgresql/17/main/tls/ca.crt
    application_name: "{{ inventory_hostname }}"
  become: true

- name: Bring the old primary back, after pg2 was promoted
  renfo.redundancy.pg_standby:
    action: rejoin
    version: 17
    upstream_host: pg2
    upstream_address: 192.0.2.22
    passfile: /etc/postgresql/17/main/replication.pgpass
    ssl_root_certificate: /etc/postgresql/17/main/tls/ca.crt
    application_name: "{{ inventory_hostname }}"
  become: true
  register: rejoined

- name: Say where the transactions are that only it had
  ansible.builtin.debug:
    msg: "{{ rejoined.lost.transactions }} transactions, saved in {{ rejoined.lost.directory }}"
  when: rejoined.lost.directory is not none
"""

RETURN = r"""
actions:
  description:
    - What was done, in order, of V(fence), V(stop), V(save_fork), V(drop_slot), V(create_slot), V(checkpoint),
      V(rewind), V(discard_left_over), V(discard_data), V(copy), V(standby_signal), V(configure), V(enable),
      V(start), V(reload), V(unfence), V(clear). In check mode what would be done.
  returned: success
  type: list
  elements: str
  sample: [copy, configure, start]
instance:
  description: What was observed after that, as returned by M(renfo.redundancy.pg_instance_info).
  returned: success
  type: dict
reason:
  description: Why O(action=rejoin) did what it did, in words; none where nothing had to be decided.
  returned: success
  type: str
  sample: it holds timeline 1 up to 0/3001A28, the primary left that history on timeline 1 at 0/3000148
lost:
  description:
    - What O(action=rejoin) found that the primary doesn't have. It is no longer in the database.
  returned: success
  type: dict
  contains:
    transactions:
      description: How many committed transactions, null where that couldn't be told.
      type: int
    directory:
      description:
        - Where they were saved on this host, null if there were none, and in check mode. C(README.txt) in it says what
          is where.
      type: str
  sample: {transactions: 3, directory: /var/lib/postgresql/lost-pg1-20260102T030405Z}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_arguments import (
    ACCESS,
    LOCATION,
    UNIT,
    access_from,
    instance_from,
    unit_from,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import (
    PgError,
    Upstream,
    slot_name,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_rewind_io import (
    Rejoin,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_standby_io import (
    Outcome,
    Standby,
    as_diff,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_standby_steps import (
    Replication,
    StandbyAction,
    Wanted,
)

ARGUMENTS = {
    **LOCATION,
    **UNIT,
    **ACCESS,
    "action": {"type": "str", "choices": ["clone", "follow", "rejoin"], "required": True},
    "stop_primary": {"type": "bool", "default": False},
    "discard": {"type": "bool", "default": False},
    "upstream_host": {"type": "str", "required": True},
    "upstream_address": {"type": "str"},
    "upstream_port": {"type": "int", "default": 5432},
    "application_name": {"type": "str", "required": True},
    "slot": {"type": "str"},
    "system_identifier": {"type": "str"},
    "checkpoint": {"type": "str", "choices": ["fast", "spread"], "default": "fast"},
    "max_rate": {"type": "str"},
    "timeout": {"type": "int", "default": 60},
}


def standby_from(module: AnsibleModule) -> Standby:
    """The standby that the arguments describe."""
    args = module.params
    slot = args["slot"] or slot_name(args["application_name"])
    if slot != slot_name(slot):
        raise PgError(f"slot is {slot!r}, expected lower-case letters, digits and underscores")
    instance = instance_from(args)
    replication = Replication(
        Upstream(args["upstream_host"], args["upstream_address"], args["upstream_port"], slot),
        application_name=args["application_name"],
        **access_from(args, instance),
    )
    action = StandbyAction(args["action"])
    return (Rejoin if action is StandbyAction.REJOIN else Standby)(
        instance=instance,
        wanted=Wanted(action, replication, args["system_identifier"], args["stop_primary"], args["discard"]),
        unit=unit_from(args),
        # From "/", for postgres may not enter the directory that root came from.
        run=lambda argv: module.run_command(argv, cwd="/"),
        timeout=args["timeout"],
        checkpoint=args["checkpoint"],
        max_rate=args["max_rate"],
    )


def run(module: AnsibleModule) -> None:
    """Plan; then, outside check mode, apply."""
    standby = standby_from(module)
    if module.check_mode:
        outcome = Outcome.of(standby.plan(may_guess=True))
    else:
        with standby.exclusive():
            outcome = standby.make()
    for warning in dict.fromkeys(outcome.warnings):
        module.warn(warning)
    module.exit_json(
        changed=bool(outcome.actions),
        actions=outcome.actions,
        instance=outcome.observed.to_dict(),
        reason=outcome.plan.reason,
        lost={"transactions": outcome.lost.transactions, "directory": outcome.lost.directory},
        diff=as_diff(standby, outcome.plan),
    )


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        run(module)
    except PgError as error:
        module.fail_json(msg=str(error), **error.details)
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}; expected to change it as root")


if __name__ == "__main__":
    main()
