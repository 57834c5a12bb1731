# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How certificates, the CA and passwords are renewed without downtime, stage by stage.

``site.yml`` converges to what is declared and to the stage that a rotation is in; ``rotate.yml`` only moves the stage,
once every host has the one before. So whoever runs either of them after an interruption goes on where it stopped.

Pure: the state and what is wished for in, what is in force and what comes next out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

#: What can be renewed.
PARTS = ("certificates", "ca", "passwords")

PREPARE, RENEW, RETIRE = "prepare", "renew", "retire"
#: In order. Not every part needs every stage.
STAGES = (PREPARE, RENEW, RETIRE)
DONE = "done"

#: Files of the secrets folder, by the name that playbooks use.
SECRETS = {
    "replication": "pg_replication_password",
    "database": "site_database_password",
    "monitoring": "site_monitoring_password",
    "backup": "site_backup_passphrase",
}
#: What was encrypted with it could not be read any more.
NEVER_ROTATED = "site_backup_passphrase"
PASSWORDS = tuple(name for name in SECRETS.values() if name != NEVER_ROTATED)

#: PostgreSQL cuts longer names off.
LONGEST_NAME = 63
SUFFIX = "_rotation"


@dataclasses.dataclass(frozen=True)
class Rotation:
    """A rotation under way: what is renewed, its stage, and the digests of the certificates from before it."""

    parts: tuple[str, ...]
    stage: str
    old: Mapping[str, str]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Rotation:
        """Read back what ``to_dict`` wrote; ValueError says what it can't be."""
        try:
            found = cls(tuple(data["parts"]), data["stage"], dict(data["old"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"it has no usable {error}") from error
        if not found.parts or set(found.parts) - set(PARTS) or found.stage not in stages(found.parts):
            raise ValueError(f"it says parts {list(found.parts)} and stage {found.stage!r}")
        return found

    def to_dict(self) -> dict[str, Any]:
        """As it is kept."""
        return {"parts": list(self.parts), "stage": self.stage, "old": dict(self.old)}

    def left(self) -> tuple[str, ...]:
        """This stage, which may be half done, and those that come after it."""
        there = stages(self.parts)
        return there[there.index(self.stage) :]

    def moved(self, stage: str) -> Rotation:
        """The same in its next *stage*, or as it is; ValueError if *stage* is neither."""
        if stage not in self.left()[:2]:
            raise ValueError(f"the rotation is in stage {self.stage}, expected {stage} or the one before it")
        return dataclasses.replace(self, stage=stage)


def stages(parts: Sequence[str]) -> tuple[str, ...]:
    """The stages that a rotation of *parts* goes through."""
    first = () if set(parts) == {"certificates"} else (PREPARE,)
    return (*first, RENEW, *((RETIRE,) if "ca" in parts else ()))


def second_login(owner: str) -> str:
    """The login that the application has while its own password changes."""
    return owner[: LONGEST_NAME - len(SUFFIX)] + SUFFIX


@dataclasses.dataclass(frozen=True)
class InForce:
    """What of the two halves counts. Paths are those of the secrets folder and of the rotation's folder in it."""

    rotation: Rotation | None
    secrets: str
    folder: str
    owner: str

    def _renews(self, part: str) -> bool:
        return self.rotation is not None and part in self.rotation.parts

    def _new_ca(self) -> bool:
        return self._renews("ca") and self.rotation is not None and self.rotation.stage != PREPARE

    def issuer(self) -> str:
        """Folder of the CA that issues."""
        return self.folder if self._new_ca() else f"{self.secrets}/tls"

    def trusted(self) -> str:
        """File of all the CAs that everybody trusts."""
        if self._renews("ca") and self.rotation is not None and self.rotation.stage != RETIRE:
            return f"{self.folder}/ca-bundle.crt"
        return f"{self.issuer()}/ca.crt"

    def is_old(self, certificate: str, digest: str) -> bool:
        """Whether a certificate is from before a rotation that is to have replaced it by now."""
        if self.rotation is None or self.rotation.stage == PREPARE or not self._renews("certificates"):
            return False
        return self.rotation.old.get(certificate) == digest

    def secret_paths(self) -> dict[str, str]:
        """Where each secret lies. A new password counts from the first stage on."""
        return {
            name: f"{self.folder if self._renews('passwords') and file in PASSWORDS else self.secrets}/{file}"
            for name, file in SECRETS.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """What playbooks need to know of it; without a rotation everything is empty."""
        login = second_login(self.owner) if self._renews("passwords") else ""
        prepares = self.rotation is not None and self.rotation.stage == PREPARE
        return {
            "parts": list(self.rotation.parts) if self.rotation else [],
            "stage": self.rotation.stage if self.rotation else "",
            # There from the first stage to the end.
            "login": login,
            # While the application moves to the second login, the owner keeps its password.
            "application_login": login if prepares else "",
            "owner_waits": bool(login) and prepares,
        }


def wished(text: Any) -> tuple[str, ...]:
    """The parts in what the user said: a name, several with commas, a list, or ``all``. Unknown ones too."""
    names = text.split(",") if isinstance(text, str) else list(text or ())
    found = [str(name).strip() for name in names if str(name).strip()]
    if "all" in found:
        found += PARTS
    if "ca" in found:
        # It issues them all.
        found.append("certificates")
    return tuple(dict.fromkeys(name for name in found if name != "all"))


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run of ``rotate.yml`` does."""

    refusals: tuple[str, ...]
    parts: tuple[str, ...]
    stages: tuple[str, ...]
    fresh: bool
    owner: str
    login: str
    own: tuple[str, ...]
    certificates: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for playbooks."""
        return {**dataclasses.asdict(self), "new_ca": self.fresh and "ca" in self.parts}


def plan(
    site: Mapping[str, Any], wish: Any, limit: str = "", environments: Mapping[str, Mapping[str, Any]] | None = None
) -> Plan:
    """Begin what is wished for, or finish what is under way.

    *site* is the topology as plain data; *environments* are the variables of the application on each of its hosts.
    """
    wanted = wished(wish)
    under_way = tuple(site["rotation"]["parts"])
    parts = under_way or tuple(part for part in PARTS if part in wanted)
    left = stages(parts) if parts else ()
    if under_way:
        left = left[left.index(site["rotation"]["stage"]) :]
    owner = str(site["settings"]["site_database_user"])
    return Plan(
        refusals=tuple(_refusals(site, wanted, limit, environments or {})),
        parts=parts,
        stages=left,
        fresh=not under_way,
        owner=owner,
        login=second_login(owner) if "passwords" in parts else "",
        own=tuple(site["tls"]["own"]),
        certificates={
            name: files["certificate"] for name, files in site["tls"]["files"].items() if name not in site["tls"]["own"]
        },
    )


def _refusals(
    site: Mapping[str, Any], wanted: Sequence[str], limit: str, environments: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    under_way = site["rotation"]["parts"]
    if unknown := [name for name in wanted if name not in PARTS]:
        yield f"rotate is {', '.join(unknown)}, expected {', '.join(PARTS)} or all."
    elif not wanted and not under_way:
        yield f"rotate is not given: say -e rotate=... with {', '.join(PARTS)} or all. No rotation is under way."
    elif under_way and set(wanted) - set(under_way):
        more = ",".join(name for name in wanted if name not in under_way)
        yield (
            f"A rotation of {', '.join(under_way)} is under way, in its stage {site['rotation']['stage']}. Finish it "
            f"first: run rotate.yml -e rotate={','.join(under_way)}, then rotate.yml -e rotate={more}."
        )
    if (under_way or wanted) and site["tls"]["ca_due"]:
        yield f"There is no CA in {site['tls']['issuer']}: put it back from a copy, or run site.yml: it makes one."
    if limit:
        yield f"--limit is {limit!r}, expected every host: a stage must be complete before the next. Run it without."
    if "passwords" in (under_way or wanted):
        for host, names in environments.items():
            if found := sorted(_login_variables(names)):
                yield (
                    f"{host}: app_replicas_environment sets {', '.join(found)}, so the application's login is yours, "
                    "and it can't be moved to another for the time of the rotation. Take that out of the inventory, "
                    "and let site.yml give the login; or renew yours by hand."
                )


def _login_variables(application: Mapping[str, Any]) -> set[str]:
    names = application.get("names") or {}
    ours = {"PGPASSWORD", "PGUSER", "PGPASSFILE", "PGSERVICEFILE"}
    ours |= {str(names[of]) for of in ("write_url", "read_url") if of in names}
    return ours & set(application.get("environment") or {})


def text(decided: Mapping[str, Any]) -> str:
    """The plan in words."""
    return "\n".join(_lines(decided))


def _lines(decided: Mapping[str, Any]) -> Iterator[str]:
    if decided["refusals"] or not decided["stages"]:
        yield "Nothing is rotated."
        return
    if decided["fresh"]:
        yield f"Rotation of {', '.join(decided['parts'])}:"
    else:
        yield f"Goes on with the rotation of {', '.join(decided['parts'])}, which was interrupted:"
    for stage in decided["stages"]:
        yield f"  {stage}"
        for line in _does(stage, decided):
            yield f"    - {line}"
    if "passwords" in decided["parts"]:
        yield f"  then {decided['login']} is dropped"
    yield "site.yml brings each stage to all hosts; the next one begins when the stack is whole."
    if "certificates" in decided["parts"] and decided["own"]:
        yield f"Left alone, since the files are your own: {', '.join(decided['own'])}."
    if "passwords" in decided["parts"]:
        yield "Left alone: the passphrase of the backups, which the ones that are there need (docs/rotation.md)."


def _does(stage: str, decided: Mapping[str, Any]) -> Iterator[str]:
    parts, owner, login = decided["parts"], decided["owner"], decided["login"]
    if "ca" in parts and stage == PREPARE:
        yield "a new CA is trusted everywhere beside the old one, which still issues; copies of the application restart"
    if "certificates" in parts and stage == RENEW:
        yield f"all certificates, with new keys, by {'the new' if 'ca' in parts else 'the same'} CA; services reload"
    if stage == RETIRE:
        yield "the old CA is trusted nowhere any more; copies of the application restart one by one"
    if "passwords" in parts and stage == PREPARE:
        yield "a new password of replication, on all members and the primary within seconds"
        yield f"a second login {login} with the new password; copies of the application restart one by one and use it"
    if "passwords" in parts and stage == RENEW:
        yield f"{owner} has the new password; copies of the application restart one by one and use it again"


def report(decided: Mapping[str, Any], secrets: str) -> str:
    """What was done, and what is left to do."""
    lines = [f"Renewed: {', '.join(decided['parts'])}. Nobody knows the old ones any more."]
    if "certificates" in decided["parts"] and decided["own"]:
        lines.append(f"Left alone, since the files are your own: {', '.join(decided['own'])}.")
    if "ca" in decided["parts"]:
        lines.append(f"Who trusts the CA outside of these hosts (a browser, a check) needs {secrets}/tls/ca.crt.")
    if "passwords" in decided["parts"]:
        lines.append("A password that you set yourself is the one that stands in the inventory.")
    lines.append(f"Next: what you keep of {secrets} in another place is out of date. Copy it again now.")
    return "\n".join(lines)
