# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import datetime
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible_collections.renfo.redundancy.plugins.module_utils import firewall
from ansible_collections.renfo.redundancy.plugins.module_utils.inventory_check import (
    OUR_PREFIXES,
    ROLES_OF_GROUP,
    missing_names,
    unknown_names,
    wrong_values,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.pki import RENEW_DAYS, certificate_problem
from ansible_collections.renfo.redundancy.plugins.module_utils.release import (
    archive_names,
    image_archive_problem,
    image_problem,
    image_release_id,
    release_id,
    release_problems,
    version_problem,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.release_state import PREVIOUS
from ansible_collections.renfo.redundancy.plugins.module_utils.rotation import InForce
from ansible_collections.renfo.redundancy.plugins.module_utils.topology import (
    GROUPS,
    HOST_OPTIONS,
    SITE_OPTIONS,
    Topology,
    backup_certificate,
    cluster_facts,
    metrics_certificate,
    topology,
)
from ansible_collections.renfo.redundancy.plugins.module_utils.topology import release_problems as debian_problems
from ansible_collections.renfo.redundancy.plugins.plugin_utils import rotation_store
from jinja2 import Undefined
from jinja2.exceptions import UndefinedError

DOCUMENTATION = """
name: topology
author: The renfo.redundancy authors (@renfo)
version_added: 0.1.0
short_description: Read and check the whole inventory, once
description:
  - Turns the inventory's groups and the variables of its hosts into one value that says who is what, and where.
  - Everything that is wrong with the inventory is listed in C(problems), before any host is touched.
  - Reads, on the controller, the argument specs of the collection's roles, the release archive and the certificates.
positional: _input, hostvars
options:
  _input:
    description: The magic variable C(groups).
    type: dict
    required: true
  hostvars:
    description: The magic variable C(hostvars).
    type: dict
    required: true
  provided:
    description: Role options that the playbook itself gives, so that the user need not.
    type: list
    elements: str
    default: []
  previous:
    description: Whether C(app_replicas_version) may be V(previous). Then no archive is looked at.
    type: bool
    default: false
"""

EXAMPLES = """
- name: Read the inventory
  ansible.builtin.set_fact:
    topology: "{{ groups | renfo.redundancy.topology(hostvars, provided=site_provided_options) }}"
"""

RETURN = """
_value:
  description: The declared site, and what is wrong with it.
  type: dict
"""

#: The value of ``app_replicas_runtime`` that needs no containers.
NATIVE = "native"
ROLES = Path(__file__).resolve().parents[2] / "roles"


def read(
    groups: Mapping[str, Any],
    hostvars: Mapping[str, Any],
    provided: list[str] | None = None,
    previous: bool = False,
) -> dict[str, Any]:
    """The declared site as plain data, with the problems of variables, archive and certificates added."""
    specs = {role: _spec(role) for role in {role for roles in ROLES_OF_GROUP.values() for role in roles}}
    known = {name for spec in specs.values() for name in spec} | SITE_OPTIONS.keys() | HOST_OPTIONS.keys()
    problems: list[str] = []
    variables: dict[str, dict[str, Any]] = {}
    site_hosts = {host for group in GROUPS for host in groups.get(group, ())}
    for host in groups["all"]:
        variables[host] = _resolve(host, hostvars[host], known, problems)
        problems += unknown_names(host, hostvars[host].keys(), known)
        problems += wrong_values(host, variables[host], {**SITE_OPTIONS, **HOST_OPTIONS})
        problems += firewall.problems(host, variables[host], site_hosts)
    for group, roles in ROLES_OF_GROUP.items():
        for host in groups.get(group, ()):
            for role in roles:
                problems += wrong_values(host, variables[host], specs[role])
                problems += missing_names(host, variables[host], specs[role], provided or [])
    if problems:
        # Nothing further can be read off variables that are wrong; what the groups say still can.
        site = topology(groups, {host: _safe(values) for host, values in variables.items()})
        return _with(site, [*problems, *_further(site.problems, problems, known)], {}, {})
    site = topology(groups, variables)
    secrets = Path(str(site.settings["site_secrets_directory"] or _beside_inventory(groups, hostvars)))
    release, release_found = _release(site, variables, previous)
    in_force, rotation_found = _rotation(site, secrets)
    tls, tls_found = _tls(site, variables, secrets, in_force)
    result = _with(site, [*site.problems, *release_found, *rotation_found, *tls_found], release, tls)
    result["settings"]["site_secrets_directory"] = str(secrets)
    result |= {"rotation": in_force.to_dict(), "secrets": in_force.secret_paths()}
    if not site.problems:
        let_in, untracked = firewall.rules(site, variables), firewall.flows(site)
        found = {host: {"rules": rules, "untracked": untracked.get(host, ())} for host, rules in let_in.items()}
        result["firewall"] = json.loads(json.dumps(found, default=dataclasses.asdict))
    return result


def members(groups: Mapping[str, Any], hostvars: Mapping[str, Any]) -> dict[str, Any]:
    """The PostgreSQL members alone. Nothing else in the inventory can keep a failover from being decided."""
    known = {name for name in (*SITE_OPTIONS, *HOST_OPTIONS) if name.startswith("pg_")} | {"site_address"}
    # Whether a command is there counts; what it says may be a secret.
    known -= {"pg_fence_command"}
    problems: list[str] = []
    variables: dict[str, dict[str, Any]] = {}
    for host in dict.fromkeys([*groups.get("pg_primary", ()), *groups.get("pg_replica", ())]):
        variables[host] = _resolve(host, hostvars[host], known, problems, prefixes=False)
        variables[host]["pg_fence_command"] = _has_fence_command(hostvars[host])
        problems += wrong_values(
            host, variables[host], {name: SITE_OPTIONS[name] for name in known & SITE_OPTIONS.keys()}
        )
    site = cluster_facts(groups, {host: _safe(values) for host, values in variables.items()})
    return {**site, "problems": [*problems, *site["problems"]]}


def _has_fence_command(variables: Mapping[str, Any]) -> bool:
    try:
        return "pg_fence_command" in variables and bool(_plain(variables["pg_fence_command"]))
    except (AnsibleError, UndefinedError):
        # It can't be run, so it is none: the operator is asked for their word.
        return False


def unsupported(site: Mapping[str, Any], hostvars: Mapping[str, Any]) -> list[str]:
    """Problems of the hosts whose facts were gathered; hosts that were not reached have none."""
    facts = {host: hostvars[host].get("ansible_facts", {}) for host in site["hosts"]}
    return list(
        debian_problems(
            {
                host: f"{found['distribution']} {found['distribution_release']}"
                for host, found in facts.items()
                if "distribution_release" in found
            }
        )
    )


def _further(found: Iterable[str], said: Iterable[str], known: set[str]) -> list[str]:
    """Those *found* that don't merely follow from what was *said* about the same variable."""
    named = known.intersection(word for problem in said for word in re.findall(r"\w+", problem))
    return [problem for problem in found if not named.intersection(re.findall(r"\w+", problem))]


def _with(site: Topology, problems: list[str], release: dict[str, Any], tls: dict[str, Any]) -> dict[str, Any]:
    data = {**site.to_dict(), "release": release, "tls": tls}
    # One fault of a group variable shows once for every host: the first is enough.
    once: dict[str, str] = {}
    for problem in problems:
        once.setdefault(problem.partition(": ")[2] or problem, problem)
    data["problems"] = list(once.values())
    plain: dict[str, Any] = json.loads(json.dumps(data, default=list))
    return plain


def _spec(role: str) -> dict[str, Any]:
    document = yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    options: dict[str, Any] = document["argument_specs"]["main"]["options"]
    return options


def _resolve(
    host: str, variables: Mapping[str, Any], known: set[str], problems: list[str], prefixes: bool = True
) -> dict[str, Any]:
    """The host's variables that concern us, templates resolved; what cannot be resolved is a problem."""
    values: dict[str, Any] = {}
    for name in variables:
        if name in known or (prefixes and OUR_PREFIXES.match(name)) or name == "ansible_host":
            try:
                values[name] = _plain(variables[name])
            except (AnsibleError, UndefinedError) as error:
                problems.append(f"{host}: {name} cannot be resolved: {getattr(error, 'message', error)}")
    return values


def _plain(value: Any) -> Any:
    """*value* with every template in it resolved. Raises where one is undefined.

    An undefined value comes as an object that raises once it is used as text, however deep it sits.
    """
    if isinstance(value, Undefined):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value


def _safe(variables: Mapping[str, Any]) -> dict[str, Any]:
    spec = {**SITE_OPTIONS, **HOST_OPTIONS}
    return {name: value for name, value in variables.items() if name not in spec or isinstance(value, (str, int, bool))}


def _beside_inventory(groups: Mapping[str, Any], hostvars: Mapping[str, Any]) -> Path:
    return Path(str(hostvars[groups["all"][0]]["inventory_dir"])) / ".secrets"


def _release(
    site: Topology, variables: Mapping[str, Mapping[str, Any]], previous: bool
) -> tuple[dict[str, Any], list[str]]:
    version = site.settings["app_replicas_version"] or ""
    if version == PREVIOUS and previous:
        return {"id": "", "archive": "", "version": PREVIOUS}, []
    if version == PREVIOUS:
        return {}, [
            "app_replicas_version is 'previous', which only deploy.yml knows, and only with -e. Name a version."
        ]
    if version and (problem := version_problem(version)):
        return {}, [problem]
    hosts = list(dict.fromkeys(replica.host for replica in site.replicas))
    if not hosts:
        return {}, []
    first = variables[hosts[0]]
    runtimes = {host: variables[host].get("app_replicas_runtime") or NATIVE for host in hosts}
    if problem := _runtime_problem(runtimes, first, site.settings["site_media_directory"]):
        return {}, [problem]
    in_container, image = runtimes[hosts[0]] != NATIVE, str(first.get("app_replicas_image") or "")
    if in_container and image:
        found = [f"{problem}." for problem in filter(None, [image_problem(image)])]
        identity = image_release_id(image, str(version))
        return {"id": identity, "archive": "", "version": str(version), "runtime": runtimes[hosts[0]]}, found
    if not first.get("app_replicas_archive"):
        return {}, ["app_replicas_archive is not set. It is the release, an archive on this controller."]
    archive = Path(str(first["app_replicas_archive"]))
    if not archive.is_file():
        return {}, [
            f"app_replicas_archive is {str(archive)!r}: there is no such file on this controller. "
            "Build the release first."
        ]
    try:
        if in_container:
            found = list(filter(None, [image_archive_problem(archive)]))
        else:
            found = list(release_problems(archive_names(archive), str(first.get("app_replicas_entry_point") or "")))
    except ValueError as error:
        return {}, [f"app_replicas_archive: {error}"]
    found = [f"app_replicas_archive {archive}: {problem}." for problem in found]
    parts = [archive]
    if first.get("app_replicas_requirements") and not in_container:
        # Other wheels make another release, even of the same archive.
        parts.append(Path(str(first["app_replicas_requirements"])))
        if not parts[1].is_file():
            return {}, [
                *found,
                f"app_replicas_requirements is {str(parts[1])!r}: there is no such file on this controller.",
            ]
    return {
        "id": release_id(*parts, version=str(version)),
        "archive": str(archive),
        "version": str(version),
        "runtime": runtimes[hosts[0]],
    }, found


def _runtime_problem(runtimes: Mapping[str, str], variables: Mapping[str, Any], media_directory: str) -> str:
    """What keeps the application from running on all hosts by the same runtime."""
    if len(set(runtimes.values())) > 1:
        said = ", ".join(f"{host} {runtime}" for host, runtime in runtimes.items())
        return f"app_replicas_runtime differs: {said}. A release is for one runtime: set the same on every host."
    image = variables.get("app_replicas_image")
    if set(runtimes.values()) == {NATIVE}:
        problem = "app_replicas_image is set, which needs app_replicas_runtime: container. Set that, or no image."
        return problem if image else ""
    if image and variables.get("app_replicas_archive"):
        return "app_replicas_image and app_replicas_archive are both set: the release is one of them. Set one."
    if Path(media_directory).parent == Path("/"):
        return (
            f"site_media_directory is {media_directory!r}: containers get the folder above it, so that a store which "
            "is mounted again reaches them. Choose one that is two levels deep, such as /srv/media."
        )
    return ""


def _rotation(site: Topology, secrets: Path) -> tuple[InForce, list[str]]:
    """What of a rotation's two halves is in force."""
    folder, owner = str(secrets / rotation_store.FOLDER), str(site.settings["site_database_user"])
    try:
        return InForce(rotation_store.read(secrets), str(secrets), folder, owner), []
    except (OSError, ValueError) as error:
        problem = (
            f"A rotation was interrupted, and its state can't be used: {error}. Put that back from your copy of it."
        )
        return InForce(None, str(secrets), folder, owner), [problem]


def _tls(
    site: Topology, variables: Mapping[str, Mapping[str, Any]], secrets: Path, in_force: InForce
) -> tuple[dict[str, Any], list[str]]:
    """Where each certificate is, which of ours are due, and what is wrong with the user's own."""
    folder, issuer = secrets / "tls", Path(in_force.issuer())
    now = datetime.datetime.now(datetime.UTC)
    ca = issuer / "ca.crt"
    ca_due = not ca.is_file() or not (issuer / "ca.key").is_file()
    users: list[str] = []
    files: dict[str, dict[str, str]] = {}
    due: list[dict[str, Any]] = []
    problems: list[str] = []
    own = {
        **{member.name: (member.name, "pg_instance") for member in site.members},
        **({"site": (site.load_balancers[0].name, "nginx_lb")} if site.load_balancers else {}),
        **{backup_certificate(name): (name, "pg_backup") for name in site.hosts},
        **{metrics_certificate(name): (name, "exporters") for name in site.hosts},
    }
    for certificate in site.certificates:
        host, role = own[certificate.name]
        given = variables[host].get(f"{role}_tls_certificate_file")
        given_key = variables[host].get(f"{role}_tls_key_file")
        if given or given_key:
            users.append(certificate.name)
            files[certificate.name] = {
                "certificate": str(given),
                "key": str(given_key),
                "ca": str(variables[host].get(f"{role}_tls_ca_file", given)),
            }
            if not (given and given_key):
                there, missing = ("certificate", "key") if given else ("key", "certificate")
                problems.append(
                    f"{host}: {role}_tls_{there}_file is set and {role}_tls_{missing}_file is not. "
                    "Set both, or neither."
                )
                continue
            problem = _judge(Path(str(given)), Path(str(given_key)), now)
            if problem:
                problems.append(
                    f"{host}: {role}_tls_certificate_file {given} with {role}_tls_key_file {given_key}: {problem}."
                )
            continue
        path, key = folder / f"{certificate.name}.crt", folder / f"{certificate.name}.key"
        files[certificate.name] = {"certificate": str(path), "key": str(key), "ca": in_force.trusted()}
        names = certificate.subject_alt_names
        if (
            ca_due
            or _judge(path, key, now, names=names, issuer=ca.read_bytes(), days=RENEW_DAYS)
            or in_force.is_old(certificate.name, rotation_store.digest(path))
        ):
            due.append({"name": certificate.name, "subject_alt_names": list(names), "usages": list(certificate.usages)})
    return {
        "directory": str(folder),
        "issuer": str(issuer),
        "ca": in_force.trusted(),
        "ca_due": ca_due,
        "due": due,
        "files": files,
        "own": users,
        "stale": _stale(folder, site),
    }, problems


def _stale(folder: Path, site: Topology) -> list[str]:
    """Certificates and keys of hosts that were removed, which nobody needs any more."""
    needed = {certificate.name for certificate in site.certificates}
    return [
        str(path)
        for path in sorted(folder.glob("*"))
        if path.suffix in (".crt", ".key")
        and path.stem not in needed
        and any(path.stem == name or path.stem.endswith(f".{name}") for name in site.removed)
    ]


def _judge(certificate: Path, key: Path, now: datetime.datetime, **wanted: Any) -> str | None:
    for path in (certificate, key):
        if not path.is_file():
            return f"there is no file {path}"
    return certificate_problem(certificate.read_bytes(), key.read_bytes(), now, **wanted)


class FilterModule:
    """Filters of the collection that read the inventory."""

    def filters(self) -> dict[str, Any]:
        """Names of the filters and what they call."""
        return {
            "topology": read,
            "members": members,
            "unsupported_hosts": unsupported,
        }
