# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the user's variables against the argument specs of the roles, before any host is touched.

Ansible checks a role's arguments when the role starts, which is too late for the fifth role of a
site: the first four have changed things by then. Pure.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

Spec = Mapping[str, Mapping[str, Any]]

#: Which roles a host of a group may get, in ``site.yml``'s order; a test compares the two. A host of either
#: PostgreSQL group gets either role: the observed primary is the primary.
ROLES_OF_GROUP: dict[str, tuple[str, ...]] = {
    "all": ("internal_ca", "exporters", "firewall"),
    "nginx_lb": ("nginx_lb", "shared_storage"),
    "app_replicas": ("app_replicas", "shared_storage"),
    "shared_storage": ("shared_storage",),
    "pg_primary": ("pg_backup", "pg_instance", "pg_primary", "pg_replica"),
    "pg_replica": ("pg_backup", "pg_instance", "pg_primary", "pg_replica"),
    "monitoring": ("monitoring",),
    "backup": ("backup_verify", "media_backup", "pg_backup", "shared_storage"),
}

#: A variable with one of these prefixes is ours; an unknown one is a typing mistake.
OUR_PREFIXES = re.compile(
    r"^(site|pg|nginx_lb|app_replicas|shared_storage|media_backup|backup_verify|internal_ca|firewall|exporters|monitoring)_"
)

#: Keys of an argument spec that the validator takes. `required` and `default` are left out: the
#: playbook provides some of the required ones, and a default needs no check here.
_CHECKED_KEYS = ("type", "elements", "choices", "options")


def unknown_names(host: str, names: Collection[str], known: Collection[str]) -> Iterator[str]:
    """A problem for every variable that looks like ours and isn't."""
    for name in sorted(names):
        if OUR_PREFIXES.match(name) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]}?" if near else "Remove it, or see the role's README for what there is."
            yield f"{host}: {name} is not a variable of this collection. {hint}"


def wrong_values(host: str, variables: Mapping[str, Any], spec: Spec) -> Iterator[str]:
    """A problem for every variable whose value doesn't fit its spec."""
    for name, option in spec.items():
        if name not in variables or variables[name] is None:
            continue
        value = variables[name]
        if option.get("type", "str") in ("str", "path") and isinstance(value, (list, Mapping)):
            # The validator would take it, as the text "[]".
            kind = "list" if isinstance(value, list) else "dictionary"
            yield f"{host}: {name} is a {kind}, expected a single value. Remove the brackets or the dash."
            continue
        validator = ArgumentSpecValidator({name: _checked(option)})
        for message in validator.validate({name: value}).error_messages:
            yield f"{host}: {message}"


def missing_names(host: str, variables: Mapping[str, Any], spec: Spec, provided: Collection[str]) -> Iterator[str]:
    """A problem for every required option that neither the user nor the playbook gives."""
    for name, option in spec.items():
        if option.get("required") and name not in variables and name not in provided:
            yield f"{host}: {name} is not set. {_first_sentence(option.get('description', ''))}"


def _checked(option: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {key: option[key] for key in _CHECKED_KEYS if key in option}
    if "options" in kept:
        kept["options"] = {name: _checked(inner) for name, inner in kept["options"].items()}
    return kept


def _first_sentence(description: str | list[str]) -> str:
    text = description if isinstance(description, str) else " ".join(description)
    return text.split(". ")[0].rstrip(".") + "."
