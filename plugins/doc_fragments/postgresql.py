# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """What the modules for PostgreSQL share; the arguments are in module_utils/pg_arguments.py."""

    DOCUMENTATION = r"""
options:
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
"""

    UNIT = r"""
options:
  unit:
    description: The systemd unit. By default V(postgresql@<version>-<cluster>.service).
    type: str
"""

    ACCESS = r"""
options:
  replication_user:
    description: PostgreSQL role that replicates from the other members, and asks them.
    type: str
    default: replication
  passfile:
    description:
      - Password file in libpq's format, readable by the user postgres alone. By default C(replication.pgpass) in the
        configuration directory, if it is there.
    type: path
  sslmode:
    description: How the certificate of another member is checked, as in libpq.
    type: str
    choices: [disable, allow, prefer, require, verify-ca, verify-full]
    default: verify-full
  ssl_root_certificate:
    description:
      - Certificate of the authority that signed that certificate. By default C(tls/ca.crt) in the configuration
        directory, if it is there.
    type: path
"""
