# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.renfo.redundancy.plugins.module_utils.monitoring import HOST_SETTINGS, declared, targets, urls
from ansible_collections.renfo.redundancy.plugins.plugin_utils.bcrypt import BcryptError, bcrypt_hash

DOCUMENTATION = """
name: monitoring
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: What the monitoring of a declared site watches
description:
  - The filter C(monitoring_targets) lists all that Prometheus asks, as job, instance, address and host.
  - The filter C(monitoring_declared) counts what the inventory declares; alerts compare that with what is there.
  - The filter C(monitoring_urls) says where people reach Prometheus, by host.
  - They take the topology, and C(hostvars) for the ports and paths that hosts have.
  - The filter C(bcrypt) makes of a password and a context, such as the user's name, the hash that Prometheus knows that
    user by. It is the same in every run.
positional: _input, hostvars
options:
  _input:
    description: The topology.
    type: dict
    required: true
  hostvars:
    description: The magic variable C(hostvars).
    type: dict
    required: true
"""

EXAMPLES = """
- name: Watch the site
  ansible.builtin.import_role:
    name: renfo.redundancy.monitoring
  vars:
    monitoring_targets: "{{ topology | renfo.redundancy.monitoring_targets(hostvars) }}"
    monitoring_declared: "{{ topology | renfo.redundancy.monitoring_declared(hostvars) }}"
"""

RETURN = """
_value:
  description: A list of targets, numbers by what they count, URLs by host, or a hash.
  type: raw
"""


def _settings(site: Mapping[str, Any], hostvars: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        host: {name: hostvars[host].get(name, default) for name, default in HOST_SETTINGS.items()}
        for host in site["hosts"]
    }


def monitoring_targets(site: Mapping[str, Any], hostvars: Mapping[str, Any]) -> list[dict[str, str]]:
    """Plain data of module_utils.monitoring.targets."""
    return [dataclasses.asdict(target) for target in targets(site, _settings(site, hostvars))]


def monitoring_declared(site: Mapping[str, Any], hostvars: Mapping[str, Any]) -> dict[str, int]:
    """See module_utils.monitoring.declared."""
    return declared(site, _settings(site, hostvars))


def monitoring_urls(site: Mapping[str, Any], hostvars: Mapping[str, Any]) -> dict[str, str]:
    """See module_utils.monitoring.urls."""
    return urls(site, _settings(site, hostvars))


def bcrypt(password: Any, context: Any) -> str:
    """See plugin_utils.bcrypt."""
    try:
        return bcrypt_hash(str(password), str(context))
    except BcryptError as error:
        raise AnsibleFilterError(f"bcrypt: {error}.") from error


class FilterModule:
    """Filters of the collection that monitoring needs."""

    def filters(self) -> dict[str, Any]:
        """Names of the filters and what they call."""
        return {
            "bcrypt": bcrypt,
            "monitoring_declared": monitoring_declared,
            "monitoring_targets": monitoring_targets,
            "monitoring_urls": monitoring_urls,
        }
