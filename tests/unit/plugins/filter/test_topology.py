# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
import datetime
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleUndefinedVariable
from ansible_collections.renfo.redundancy.plugins.filter.topology import FilterModule
from ansible_collections.renfo.redundancy.plugins.plugin_utils.rotation_store import move
from certificates import issue, new_key, pem
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jinja2 import StrictUndefined

FILTERS = FilterModule().filters()
ROOT = Path(__file__).resolve().parents[4]
PROVIDED = yaml.safe_load((ROOT / "playbooks/vars/topology.yml").read_text())["site_provided_options"]
NOW = datetime.datetime.now(datetime.UTC)

GROUPS: dict[str, list[str]] = {
    "nginx_lb": ["lb1", "lb2"],
    "app_replicas": ["app1", "app2", "app3"],
    "shared_storage": ["app1", "app2", "app3"],
    "pg_primary": ["pg1"],
    "pg_replica": ["pg2", "pg3"],
}
OCTETS = {"lb1": 11, "lb2": 12, "app1": 21, "app2": 22, "app3": 23, "pg1": 31, "pg2": 32, "pg3": 33}


class Templates(dict[str, Any]):
    """Variables of a host as Ansible has them where a filter isn't in between: a bad one raises when it is read."""

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        if value == "{{ nobody_set_this }}":
            raise AnsibleUndefinedVariable("'nobody_set_this' is undefined")
        return value


class Site:
    """An inventory in a folder of its own, with a release."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.groups = {"all": list(OCTETS), **copy.deepcopy(GROUPS)}
        self.everywhere: dict[str, Any] = {
            "inventory_dir": str(folder),
            "site_name": "shop.example",
            "site_vip": "10.0.0.100",
            "app_replicas_archive": str(self.release("shop/wsgi.py")),
            "app_replicas_entry_point": "shop.wsgi:app",
        }
        self.hosts: dict[str, dict[str, Any]] = {}

    def release(self, *names: str) -> Path:
        path = self.folder / "release.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            for name in names:
                archive.addfile(tarfile.TarInfo(name), io.BytesIO())
        return path

    def read(self, **given: Any) -> dict[str, Any]:
        hostvars = {
            host: Templates(ansible_host=f"10.0.0.{octet}", **{**self.everywhere, **self.hosts.get(host, {})})
            for host, octet in OCTETS.items()
        }
        result: dict[str, Any] = FILTERS["topology"](self.groups, hostvars, provided=PROVIDED, **given)
        # It is kept as a fact: plain data or nothing.
        assert json.loads(json.dumps(result)) == result
        return result

    def members(self) -> dict[str, Any]:
        hostvars = {
            host: Templates(ansible_host=f"10.0.0.{octet}", **{**self.everywhere, **self.hosts.get(host, {})})
            for host, octet in OCTETS.items()
        }
        result: dict[str, Any] = FILTERS["members"](self.groups, hostvars)
        assert json.loads(json.dumps(result)) == result
        return result

    def problems(self) -> list[str]:
        problems: list[str] = self.read()["problems"]
        return problems


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_good_inventory(site: Site) -> None:
    found = site.read()
    assert found["problems"] == []
    assert found["release"]["archive"].endswith("/release.tar.gz")
    assert len(found["release"]["id"]) == 12
    assert found["settings"]["site_secrets_directory"] == f"{site.folder}/.secrets"
    assert found["tls"]["ca_due"]
    assert [due["name"] for due in found["tls"]["due"]] == ["pg1", "pg2", "pg3", "site"]


def test_what_each_host_lets_in(site: Site) -> None:
    site.hosts["pg1"] = {"firewall_extra_rules": [{"ports": [10050], "sources": ["lb1"], "why": "ours"}]}
    found = site.read()["firewall"]
    assert set(found) == set(OCTETS)
    assert found["pg1"]["rules"][-1] == {"protocol": "tcp", "ports": ["10050"], "sources": ["10.0.0.11"], "why": "ours"}
    assert found["pg1"]["untracked"] == []
    assert found["app1"]["untracked"] == [{"addresses": ["10.0.0.21"], "ports": ["8000"]}]


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"firewall_ssh_sources": ["nowhere"]}, "firewall_ssh_sources: 'nowhere' does not appear to be"),
        ({"firewall_extra_rules": [{"port": 80, "sources": ["anyone"]}]}, "firewall_extra_rules.port. Supported"),
        ({"firewall_enabled": "perhaps"}, "firewall_enabled"),
        ({"firewall_sources": []}, "firewall_sources is not a variable of this collection"),
    ],
)
def test_rules_of_ones_own_that_cannot_be(site: Site, variables: dict[str, Any], sentence: str) -> None:
    site.everywhere |= variables
    found = site.read()
    assert sentence in " ".join(found["problems"])
    assert "firewall" not in found


def test_a_version_is_in_the_name_of_the_release(site: Site) -> None:
    unnamed = site.read()["release"]["id"]
    site.everywhere |= {"app_replicas_version": "1.4.0"}
    found = site.read()
    assert found["problems"] == []
    assert (found["release"]["id"], found["release"]["version"]) == (f"1.4.0-{unnamed}", "1.4.0")


def test_the_release_before_needs_no_archive(site: Site) -> None:
    site.everywhere |= {"app_replicas_version": "previous", "app_replicas_archive": "/nowhere/shop-previous.tar.gz"}
    found = site.read(previous=True)
    assert (found["problems"], found["release"]["version"]) == ([], "previous")
    assert site.problems() == [
        "app_replicas_version is 'previous', which only deploy.yml knows, and only with -e. Name a version."
    ]


def test_secrets_are_not_in_the_result(site: Site) -> None:
    site.everywhere |= {"pg_replication_password": "hunter2", "site_database_password": "hunter2"}
    assert "hunter2" not in json.dumps(site.read())


@pytest.mark.parametrize(
    ("groups", "variables", "sentence"),
    [
        pytest.param(
            {"pg_primary": ["pg1", "pg2"], "pg_replica": ["pg3"]},
            {"pg_synchronous": "any_1"},
            "group pg_primary: found pg1, pg2, expected exactly one host. It names the initial primary.",
            id="two primaries",
        ),
        pytest.param(
            {"pg_primary": []}, {}, "group pg_primary: found none, expected exactly one host.", id="no primary"
        ),
        pytest.param(
            {"pg_replica": ["pg1", "pg2", "pg3"]},
            {},
            "pg1: declared in pg_primary and in pg_replica. Keep it in one of the two groups.",
            id="a host in both PostgreSQL groups",
        ),
        pytest.param(
            {"app_replicas": []}, {}, "group app_replicas: found no host, expected at least one.", id="no app replica"
        ),
        pytest.param(
            {},
            {"app_replicas_count": 0},
            "app1: app_replicas_count is 0, expected a whole number of at least 1.",
            id="a replica count below one",
        ),
        pytest.param(
            {"shared_storage": ["app1", "app2"]},
            {},
            "group shared_storage: found 2 hosts (app1, app2). Two bricks cannot tell which of them is right",
            id="two bricks and no arbiter",
        ),
        pytest.param(
            {},
            {"nginx_lb_http_port": 443},
            "lb1: port 443 is used by NGINX (nginx_lb_http_port) and by NGINX (nginx_lb_https_port). Give one of them another",
            id="a port used twice",
        ),
        pytest.param(
            {},
            {"nginx_lb_htps_port": 444},
            "lb1: nginx_lb_htps_port is not a variable of this collection. Did you mean nginx_lb_https_port?",
            id="a mistyped name",
        ),
        pytest.param(
            {},
            {"pg_port": "postgres"},
            "lb1: argument 'pg_port' is of type str and we were unable to convert to int",
            id="a mistyped value of the site",
        ),
        pytest.param(
            {},
            {"nginx_lb_read_timeout": "30s"},
            "lb1: argument 'nginx_lb_read_timeout' is of type str and we were unable to convert to int",
            id="a mistyped value of a role",
        ),
        pytest.param(
            {}, {"site_vip": []}, "lb1: site_vip is a list, expected a single value.", id="a list for one value"
        ),
        pytest.param(
            {},
            {"site_vip": "{{ nobody_set_this }}"},
            "lb1: site_vip cannot be resolved: 'nobody_set_this' is undefined",
            id="an undefined variable, read",
        ),
        pytest.param(
            {},
            {"site_vip": StrictUndefined(name="nobody_set_this")},
            "lb1: site_vip cannot be resolved: 'nobody_set_this' is undefined",
            id="an undefined variable, as a filter gets it",
        ),
        pytest.param(
            {},
            {"app_replicas_environment": {"A": ["x", StrictUndefined(name="nobody_set_this")]}},
            "lb1: app_replicas_environment cannot be resolved: 'nobody_set_this' is undefined",
            id="an undefined variable far down",
        ),
        pytest.param(
            {"pg_replica": ["pg2"]},
            {},
            "pg_synchronous is not set, and a cluster of two members must choose: any_1 (",
            id="two members that did not choose",
        ),
        pytest.param(
            {},
            {"app_replicas_version": 1.1},
            "app_replicas_version is the number 1.1: a zero at its end would be lost. Put it in quotes.",
            id="a version that is a number",
        ),
        pytest.param(
            {},
            {"app_replicas_version": "../1"},
            "app_replicas_version is '../1', expected up to 64 letters",
            id="no version",
        ),
        pytest.param(
            {},
            {"app_replicas_archive": "/nowhere.tar.gz"},
            "app_replicas_archive is '/nowhere.tar.gz': there is no such file on this controller. Build the release first.",
            id="no archive",
        ),
        pytest.param(
            {},
            {"app_replicas_archive": __file__},
            f"app_replicas_archive: {__file__} is neither a tar nor a zip archive",
            id="no archive at all",
        ),
        pytest.param(
            {},
            {"app_replicas_entry_point": "shop.main:app"},
            "the archive has no shop/main.py or shop/main/__init__.py, which app_replicas_entry_point 'shop.main:app' needs; "
            "at its top it has shop.",
            id="an archive without the entry point",
        ),
        pytest.param(
            {},
            {"app_replicas_entry_point": ""},
            "app_replicas_entry_point is '', expected module:object",
            id="no entry point",
        ),
        pytest.param(
            {},
            {"app_replicas_runtime": "container"},
            "it is no image archive, for it has no manifest.json: make it with docker save or podman save, of one image.",
            id="an archive that is no image",
        ),
        pytest.param(
            {},
            {"app_replicas_runtime": "docker"},
            "value of app_replicas_runtime must be one of: native, container, got: docker",
            id="no runtime",
        ),
        pytest.param(
            {},
            {"app_replicas_image": f"registry.example/shop@sha256:{'0' * 64}"},
            "app_replicas_image is set, which needs app_replicas_runtime: container.",
            id="an image without its runtime",
        ),
        pytest.param(
            {},
            {"app_replicas_runtime": "container", "app_replicas_image": f"registry.example/shop@sha256:{'0' * 64}"},
            "app_replicas_image and app_replicas_archive are both set",
            id="two releases",
        ),
        pytest.param(
            {},
            {"app_replicas_runtime": "container", "app_replicas_archive": "", "app_replicas_image": "registry/shop:1"},
            "behind a tag alone each host may find another image.",
            id="an image without its digest",
        ),
        pytest.param(
            {},
            {"app_replicas_runtime": "container", "site_media_directory": "/media"},
            "Choose one that is two levels deep, such as /srv/media.",
            id="a store that a container would lose",
        ),
    ],
)
def test_bad_input(site: Site, groups: dict[str, list[str]], variables: dict[str, Any], sentence: str) -> None:
    site.groups |= groups
    site.everywhere |= variables
    problems = site.problems()
    assert len(problems) == 1, "one fault of a group variable is said once, not once a host"
    assert sentence in problems[0]


def test_an_image_in_a_registry(site: Site) -> None:
    image = f"registry.example:5000/shop:1.4@sha256:{'0123456789ab' + '0' * 52}"
    del site.everywhere["app_replicas_entry_point"], site.everywhere["app_replicas_archive"]
    site.everywhere |= {"app_replicas_runtime": "container", "app_replicas_image": image, "app_replicas_version": "1.4"}
    found = site.read()
    assert found["problems"] == []
    assert found["release"] == {"id": "1.4-0123456789ab", "archive": "", "version": "1.4", "runtime": "container"}


def test_one_runtime_on_every_host(site: Site) -> None:
    site.hosts["app2"] = {"app_replicas_runtime": "container"}
    assert site.problems() == [
        "app_replicas_runtime differs: app1 native, app2 container, app3 native. A release is for one runtime: set the same on "
        "every host."
    ]


def test_all_that_is_wrong_is_said_at_once(site: Site) -> None:
    site.groups["pg_primary"] = []
    site.everywhere |= {"pg_port": "x", "site_nmae": "y"}
    said = "\n".join(site.problems())
    for word in ("pg_primary: found none", "'pg_port'", "Did you mean site_name?"):
        assert word in said


def test_what_only_the_user_knows_is_asked_for(site: Site) -> None:
    del site.everywhere["app_replicas_archive"]
    assert site.problems() == [
        "app_replicas_archive is not set. It is the release, an archive on this controller.",
    ]


def test_a_variable_of_one_host_names_the_host(site: Site) -> None:
    site.hosts["pg2"] = {"pg_instance_memory_mb": "lots"}
    (problem,) = site.problems()
    assert problem.startswith("pg2: argument 'pg_instance_memory_mb' is of type str")


def made(folder: Path, site: dict[str, Any]) -> None:
    """The CA and the certificates that are due, as the role internal_ca makes them."""
    folder.mkdir(parents=True, exist_ok=True)
    ca = new_key()
    (folder / "ca.key").write_bytes(pem(ca))
    (folder / "ca.crt").write_bytes(issue(ca, ca, NOW, subject="CA"))
    for due in site["tls"]["due"]:
        key = new_key()
        (folder / f"{due['name']}.key").write_bytes(pem(key))
        (folder / f"{due['name']}.crt").write_bytes(issue(key, ca, NOW, names=due["subject_alt_names"]))


def test_certificates_are_due_once(site: Site) -> None:
    made(site.folder / ".secrets/tls", site.read())
    tls = site.read()["tls"]
    assert not tls["ca_due"]
    assert tls["due"] == []


def test_a_new_name_makes_its_certificate_due(site: Site) -> None:
    made(site.folder / ".secrets/tls", site.read())
    site.everywhere["site_name"] = "other.example"
    assert [due["name"] for due in site.read()["tls"]["due"]] == ["site"]


def test_a_lost_ca_key_makes_everything_due(site: Site) -> None:
    made(site.folder / ".secrets/tls", site.read())
    (site.folder / ".secrets/tls/ca.key").unlink()
    tls = site.read()["tls"]
    assert tls["ca_due"]
    assert len(tls["due"]) == 4


def own_certificate(site: Site, key_of_another: bool = False) -> Path:
    key = new_key()
    (site.folder / "own.crt").write_bytes(issue(key, key, NOW, names=["DNS:shop.example"]))
    (site.folder / "own.key").write_bytes(pem(new_key() if key_of_another else key))
    site.everywhere |= {
        "nginx_lb_tls_certificate_file": f"{site.folder}/own.crt",
        "nginx_lb_tls_key_file": f"{site.folder}/own.key",
    }
    return site.folder / "own.key"


def test_the_users_own_certificate_is_used(site: Site) -> None:
    own_certificate(site)
    found = site.read()
    assert found["problems"] == []
    assert found["tls"]["files"]["site"]["certificate"] == f"{site.folder}/own.crt"
    assert "site" not in [due["name"] for due in found["tls"]["due"]]


def test_a_certificate_that_does_not_match_its_key(site: Site) -> None:
    own_certificate(site, key_of_another=True)
    assert site.problems() == [
        f"lb1: nginx_lb_tls_certificate_file {site.folder}/own.crt with nginx_lb_tls_key_file {site.folder}/own.key: "
        "the certificate does not match the key: it was made for another one."
    ]


def test_a_certificate_whose_key_is_not_there(site: Site) -> None:
    own_certificate(site).unlink()
    (problem,) = site.problems()
    assert problem.endswith(f"there is no file {site.folder}/own.key.")


def test_a_certificate_without_the_option_for_its_key(site: Site) -> None:
    own_certificate(site)
    del site.everywhere["nginx_lb_tls_key_file"]
    assert site.problems() == [
        "lb1: nginx_lb_tls_certificate_file is set and nginx_lb_tls_key_file is not. Set both, or neither."
    ]


FACTS = {
    "pg1": {"ansible_facts": {"distribution": "Debian", "distribution_release": "trixie"}},
    "pg2": {"ansible_facts": {"distribution": "Ubuntu", "distribution_release": "noble"}},
    "pg3": {},
}


def test_a_release_that_was_never_tested() -> None:
    assert FILTERS["unsupported_hosts"]({"hosts": FACTS}, FACTS) == [
        "pg2: runs Ubuntu noble, expected Debian bookworm or Debian trixie. "
        "Reinstall it with one of these, or take it out of the inventory."
    ]


def test_the_members_alone_say_the_same_of_the_cluster(site: Site) -> None:
    whole, members = site.read(), site.members()
    assert members["problems"] == []
    for key in ("cluster", "slots", "peers", "members"):
        assert members[key] == whole[key], key
    assert members["settings"]["pg_contact_timeout"] == 3
    assert list(members["hosts"]) == ["pg1", "pg2", "pg3"]


def test_nothing_but_the_cluster_keeps_a_failover_from_being_decided(site: Site) -> None:
    site.everywhere |= {"app_replicas_archive": "/nowhere", "site_vip": "nonsense", "nginx_lb_htp_port": 80}
    site.groups["nginx_lb"] = []
    assert site.problems() != []
    assert site.members()["problems"] == []
    site.groups["pg_primary"] = ["pg1", "pg2"]
    assert any("group pg_primary: found pg1, pg2" in problem for problem in site.members()["problems"])


def test_a_fence_command_is_told_of_and_never_shown(site: Site) -> None:
    site.hosts = {
        "pg1": {"pg_fence_command": "power off --password hunter2"},
        "pg2": {"pg_fence_command": "{{ nobody_set_this }}"},
    }
    members = site.members()
    assert members["fence_commands"] == ["pg1"]
    assert "hunter2" not in json.dumps(members)


def test_a_value_of_the_wrong_kind_is_said_before_a_failover_too(site: Site) -> None:
    site.everywhere["pg_contact_timeout"] = "soon"
    assert any("pg_contact_timeout" in problem for problem in site.members()["problems"])


def converged(site: Site) -> None:
    """All that is due is made, as site.yml would."""
    tls = site.read()["tls"]
    signer = load_pem_private_key((Path(tls["issuer"]) / "ca.key").read_bytes(), None)
    assert isinstance(signer, EllipticCurvePrivateKey)
    for due in tls["due"]:
        key, path = new_key(), Path(tls["directory"]) / due["name"]
        path.with_suffix(".key").write_bytes(pem(key))
        path.with_suffix(".crt").write_bytes(issue(key, signer, NOW, names=due["subject_alt_names"]))


def stage(site: Site, name: str, *parts: str) -> None:
    certificates = {of: files["certificate"] for of, files in site.read()["tls"]["files"].items()}
    move(site.folder / ".secrets", name, parts, certificates)


def names_due(site: Site) -> list[str]:
    return [due["name"] for due in site.read()["tls"]["due"]]


def test_certificates_are_renewed_once_in_a_rotation(site: Site) -> None:
    made(site.folder / ".secrets/tls", site.read())
    own_certificate(site)
    stage(site, "renew", "certificates")
    assert names_due(site) == ["pg1", "pg2", "pg3"]
    assert site.read()["tls"]["own"] == ["site"]
    converged(site)
    assert names_due(site) == []
    stage(site, "done")
    assert names_due(site) == []


def test_a_new_ca_issues_once_everybody_trusts_it(site: Site) -> None:
    secrets = site.folder / ".secrets"
    made(secrets / "tls", site.read())
    before = (secrets / "tls/ca.crt").read_text().strip()
    signer = new_key()
    (secrets / "rotation").mkdir()
    (secrets / "rotation/ca.key").write_bytes(pem(signer))
    (secrets / "rotation/ca.crt").write_bytes(issue(signer, signer, NOW, subject="CA"))
    stage(site, "prepare", "certificates", "ca")
    tls = site.read()["tls"]
    assert names_due(site) == []
    assert before in Path(tls["ca"]).read_text()
    assert tls["files"]["pg1"]["ca"] == tls["ca"]
    stage(site, "renew")
    assert len(names_due(site)) == 4
    assert site.read()["tls"]["ca"] == tls["ca"]
    converged(site)
    assert names_due(site) == []
    stage(site, "retire")
    assert before not in Path(site.read()["tls"]["ca"]).read_text()
    stage(site, "done")
    assert names_due(site) == []
    assert site.read()["tls"]["ca"] == str(secrets / "tls/ca.crt")
    assert not site.read()["rotation"]["parts"]


def test_a_rotation_whose_state_is_broken(site: Site) -> None:
    folder = site.folder / ".secrets/rotation"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text("{}")
    (problem,) = site.problems()
    assert problem.startswith("A rotation was interrupted, and its state can't be used: ")


def test_certificates_of_hosts_that_left_are_stale(site: Site) -> None:
    folder = site.folder / ".secrets/tls"
    made(folder, site.read())
    for name in ("pg3", "backup.pg3", "pg33"):
        (folder / f"{name}.crt").touch()
        (folder / f"{name}.key").touch()
    assert site.read()["tls"]["stale"] == []
    site.groups["pg_replica"].remove("pg3")
    site.groups["removed"] = ["pg3"]
    site.everywhere["pg_synchronous"] = "any_1"
    stale = [Path(path).name for path in site.read()["tls"]["stale"]]
    assert stale == ["backup.pg3.crt", "backup.pg3.key", "pg3.crt", "pg3.key"]
