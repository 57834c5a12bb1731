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
    that holds another cluster, or a primary, is refused.
  - The upstream is written to C(conf.d/90-standby.conf) in the configuration directory, outside the
    data directory. No password is in it, nor on any command line; it comes from O(passfile).
  - The replication slot is created on the upstream where it is missing.
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
options:
  action:
    description:
      - V(clone) copies the upstream if the data directory is missing or empty, or holds the left-over
        of an interrupted clone. A standby that is already there then follows the upstream.
      - V(follow) points an existing standby at the upstream and starts it if it is stopped.
    type: str
    choices: [clone, follow]
    required: true
  version:
    description: Major version of PostgreSQL.
    type: int
    required: true
  cluster:
    description: Name of the cluster in Debian's sense.
    type: str
    default: main
  data_directory:
    description: Data directory. By default V(/var/lib/postgresql/<version>/<cluster>).
    type: path
  config_directory:
    description: Configuration directory. By default V(/etc/postgresql/<version>/<cluster>).
    type: path
  port:
    description: Port of this instance.
    type: int
    default: 5432
  unit:
    description: The systemd unit. By default V(postgresql@<version>-<cluster>.service).
    type: str
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
  replication_user:
    description: PostgreSQL role that replicates.
    type: str
    default: replication
  passfile:
    description: Password file in libpq's format, readable by the user postgres alone.
    type: path
  sslmode:
    description: How the upstream's certificate is checked, as in libpq.
    type: str
    choices: [disable, allow, prefer, require, verify-ca, verify-full]
    default: verify-full
  ssl_root_certificate:
    description: Certificate of the authority that signed the upstream's certificate.
    type: path
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
"""

RETURN = r"""
actions:
  description:
    - What was done, in order, of V(create_slot), V(discard_left_over), V(copy), V(configure),
      V(enable), V(start), V(reload). In check mode what would be done.
  returned: success
  type: list
  elements: str
  sample: [copy, configure, start]
instance:
  description: What was observed after that, as returned by M(renfo.redundancy.pg_instance_info).
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_cluster import (
    PgError,
    Upstream,
    slot_name,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_io import Instance
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_standby_io import (
    Standby,
    as_diff,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pg_standby_steps import (
    Replication,
    StandbyAction,
    Wanted,
)

ARGUMENTS = {
    "action": {"type": "str", "choices": ["clone", "follow"], "required": True},
    "version": {"type": "int", "required": True},
    "cluster": {"type": "str", "default": "main"},
    "data_directory": {"type": "path"},
    "config_directory": {"type": "path"},
    "port": {"type": "int", "default": 5432},
    "unit": {"type": "str"},
    "upstream_host": {"type": "str", "required": True},
    "upstream_address": {"type": "str"},
    "upstream_port": {"type": "int", "default": 5432},
    "replication_user": {"type": "str", "default": "replication"},
    "passfile": {"type": "path", "no_log": False},
    "sslmode": {
        "type": "str",
        "choices": ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"],
        "default": "verify-full",
    },
    "ssl_root_certificate": {"type": "path"},
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
    replication = Replication(
        Upstream(args["upstream_host"], args["upstream_address"], args["upstream_port"], slot),
        args["replication_user"],
        args["application_name"],
        args["sslmode"],
        args["ssl_root_certificate"],
        args["passfile"],
    )
    location = ("version", "cluster", "data_directory", "config_directory", "port")
    return Standby(
        instance=Instance.of(**{key: args[key] for key in location}),
        wanted=Wanted(StandbyAction(args["action"]), replication, args["system_identifier"]),
        unit=args["unit"] or f"postgresql@{args['version']}-{args['cluster']}.service",
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
        plan = standby.plan(may_guess=True)
        for warning in plan.warnings:
            module.warn(warning)
        seen = plan.observed
    else:
        with standby.exclusive():
            plan = standby.plan()
            seen = standby.apply(plan.steps)
    module.exit_json(
        changed=bool(plan.actions),
        actions=plan.actions,
        instance=seen.to_dict(),
        diff=as_diff(standby, plan),
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
