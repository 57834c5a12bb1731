"""The lab as tests see it: hosts to ask, the site to use, playbooks to run."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import requests
import testinfra
import urllib3
import yaml

from tests.support.client import trusting

ROOT = Path(__file__).resolve().parents[2]
INVENTORY = ROOT / "inventories" / "lab"

# The lab's certificate comes from its own CA; one test checks it against that.
urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)


@dataclasses.dataclass(frozen=True)
class Play:
    """What a run of ansible-playbook said."""

    rc: int
    output: str

    def recap(self) -> dict[str, dict[str, int]]:
        """Counters by host, from the recap."""
        lines = re.findall(r"^(\S+)\s+: (ok=.*)$", self.output, flags=re.MULTILINE)
        assert "\x1b[" not in self.output, "coloured output can't be read"
        return {
            host: {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", counters)} for host, counters in lines
        }

    def changed(self) -> dict[str, int]:
        """Hosts on which something changed, with how much."""
        return {host: counters["changed"] for host, counters in self.recap().items() if counters["changed"]}

    def said(self) -> str:
        """The output with its line breaks and indentation folded, for looking a sentence up."""
        return re.sub(r"\s+", " ", self.output)


@dataclasses.dataclass(frozen=True)
class Answer:
    """What an HTTP server said, as ``curl --include`` shows it; named as in ``requests``."""

    status_code: int
    headers: Mapping[str, str]
    text: str

    @classmethod
    def read(cls, shown: str) -> Answer:
        """The answer in what was *shown*."""
        head, _blank, body = shown.replace("\r\n", "\n").partition("\n\n")
        status, *lines = head.split("\n")
        fields = (line.partition(":") for line in lines)
        headers = requests.structures.CaseInsensitiveDict({name: value.strip() for name, _colon, value in fields})
        return cls(int(status.split()[1]), headers, body)

    @property
    def ok(self) -> bool:
        return self.status_code < 400

    def json(self) -> Any:
        return json.loads(self.text)


class RunningPlay:
    """A run of ansible-playbook that can be watched, and killed as by a power cut of the controller."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**environment, "PYTHONUNBUFFERED": "1"},
            cwd=ROOT,
            start_new_session=True,
        )
        self._lines: list[str] = []

    def wait_for_task(self, name: str) -> None:
        """Until the task of that name begins; the test fails if it never does."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line)
            if line.startswith("TASK [") and name in line:
                return
        raise AssertionError(f"no task {name!r} in:\n{''.join(self._lines)}")

    def kill(self) -> None:
        """SIGKILL to the controller and everything it started, its SSH connections' masters excepted."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def wait(self) -> int:
        """Its exit code."""
        self._lines.append(self._process.communicate(timeout=300)[0])
        return self._process.returncode


class Lab:
    """One lab, by name."""

    def __init__(self, name: str) -> None:
        settings = yaml.safe_load((INVENTORY / "group_vars/all/lab.yml").read_text())["lab_catalogue"][name]
        groups = yaml.safe_load((INVENTORY / "hosts.yml").read_text())["all"]["children"]
        self.name = name
        self.subnet: str = settings["subnet"]
        self.https_port: int = settings["https_port"]
        self.http_port: int = settings["http_port"]
        self.vip = f"{self.subnet}.100"
        self.directory = ROOT / ".cache/lab" / name
        self.groups = {group: list(data["hosts"]) for group, data in groups.items() if "hosts" in data}
        self.addresses = {
            host: f"{self.subnet}.{variables['lab_octet']}"
            for data in groups.values()
            for host, variables in (data.get("hosts") or {}).items()
            if variables
        }

    @classmethod
    def from_environment(cls) -> Lab:
        """The lab that LAB_NAME names; tests never default to the demo."""
        return cls(os.environ.get("LAB_NAME", "test"))

    @property
    def app_hosts(self) -> list[str]:
        return self.groups["app_replicas"]

    @property
    def lb_hosts(self) -> list[str]:
        return self.groups["nginx_lb"]

    @property
    def pg_hosts(self) -> list[str]:
        return [*self.groups["pg_primary"], *self.groups["pg_replica"]]

    # --- hosts

    def host(self, name: str) -> Any:
        """A testinfra host, over SSH as Ansible reaches it."""
        return testinfra.get_host(
            f"ssh://root@{self.addresses[name]}",
            ssh_identity_file=str(self.directory / "id_ed25519"),
            ssh_config=str(self._ssh_config()),
        )

    def run(self, name: str, command: str) -> str:
        """Standard output of *command* on a host; the test fails if it fails."""
        result = self.host(name).run(command)
        assert result.rc == 0, f"{name}: {command}: {result.stderr}{result.stdout}"
        return str(result.stdout).strip()

    def feed(self, name: str, command: str, text: str) -> str:
        """Standard output of *command* on a host, with *text* as its input, which no list of processes shows."""
        key = str(self.directory / "id_ed25519")
        ssh = ["ssh", "-F", str(self._ssh_config()), "-i", key, f"root@{self.addresses[name]}", command]
        done = subprocess.run(ssh, input=text, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{name}: {command}: {done.stderr}{done.stdout}"
        return done.stdout

    def sql(self, name: str, query: str, database: str = "renfo") -> str:
        """The answer of the instance on a host, asked there as superuser."""
        # The query goes through the environment: no quoting to get wrong.
        quoted = query.replace("'", "'\\''")
        return self.run(name, f"runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1 -d {database} -c '{quoted}'")

    def container(self, name: str) -> str:
        return f"{self.name}-{name}"

    def docker(self, *arguments: str) -> str:
        """Output of the engine's client; for faults that only a power switch can make."""
        return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True, timeout=120).stdout

    def rebuild(self, name: str) -> None:
        """A host as it was before anything was installed on it."""
        self.docker("rm", "--force", "--volumes", self.container(name))
        # The master of the old host's connection would be asked for the new one.
        subprocess.run(
            ["ssh", "-F", str(self._ssh_config()), "-O", "exit", f"root@{self.addresses[name]}"],
            capture_output=True,
            check=False,
        )
        play = self.play("../lab/up.yml")
        assert play.rc == 0, play.output

    def journals(self) -> str:
        """The last words of the units that matter, of all hosts."""
        command = "journalctl -n 25 --no-pager -o short-precise -u 'app@*' -u 'postgresql@*' -u nginx -u keepalived -u glusterd -u 'srv-*' -u 'shared-storage*' -u 'prometheus*' -u stack-metrics; tail -n 15 /var/log/postgresql/*.log 2>/dev/null"

        def ask(name: str) -> str:
            try:
                return f"--- {name}\n{self.host(name).run(command).stdout}"
            except (OSError, RuntimeError) as error:
                return f"--- {name}: {error}"

        with concurrent.futures.ThreadPoolExecutor() as pool:
            return "\n".join(pool.map(ask, self.addresses))

    @functools.cache  # noqa: B019  a lab lives as long as the tests
    def _ssh_config(self) -> Path:
        path = self.directory / "ssh_config"
        # In one step: who is connected to by another thread, or another run, must not read half of it.
        temporary = path.with_name(f".ssh_config.{os.getpid()}.{threading.get_ident()}")
        temporary.write_text(
            "UserKnownHostsFile /dev/null\nStrictHostKeyChecking no\nConnectTimeout 5\nLogLevel ERROR\n"
            "ControlMaster auto\nControlPersist 60\nControlPath ~/.ansible/cp/renfo-test-%C\n"
            "ServerAliveInterval 5\nServerAliveCountMax 3\n"
        )
        temporary.replace(path)
        # Not ~/.ssh, which a user may not have: what we make here, nobody would miss elsewhere.
        (Path.home() / ".ansible/cp").mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    # --- the site

    def request(self, method: str, path: str, at: str | None = None, **options: Any) -> requests.Response:
        """One request to the site, at its virtual address or at one load balancer (a host name)."""
        where = self.addresses[at] if at else self.vip
        with trusting() as session:
            return session.request(method, f"https://{where}{path}", timeout=30, **options)

    def replica(self, name: str, path: str) -> Answer:
        """One request to the replica on an app host: from a load balancer's host, for nobody else is let in."""
        url = f"http://{self.addresses[name]}:8000{path}"
        said = self.host(self.lb_hosts[0]).run(f"curl --silent --show-error --include --max-time 30 '{url}'")
        if said.rc != 0:
            raise ConnectionError(f"{url}: {said.stderr}")
        return Answer.read(said.stdout)

    def write_session(self, note: str = "") -> dict[str, Any]:
        """An acknowledged session."""
        answer = self.request("POST", "/sessions", json={"key": str(uuid.uuid4()), "note": note})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    # --- backups

    def catalogue(self) -> dict[str, Any]:
        """What pgBackRest itself says that it has."""
        return dict(json.loads(self.run("ops1", "runuser -u postgres -- pgbackrest info --output=json"))[0])

    def wait_archived(self, primary: str) -> None:
        """Until the repository has all WAL that was written until now."""
        wanted = self.sql(primary, "SELECT pg_walfile_name(pg_switch_wal() - 1::numeric)")
        deadline = time.monotonic() + 90
        while (there := self.catalogue()["archive"][-1]["max"]) < wanted:
            assert time.monotonic() < deadline, f"archived until {there}, expected {wanted}"
            time.sleep(1)

    # --- playbooks

    def play(
        self,
        playbook: str,
        *arguments: str,
        extra: Mapping[str, Any] | None = None,
        change: Callable[[dict[str, Any]], object] | None = None,
    ) -> Play:
        """Run a playbook of the collection on the lab's inventory.

        *change* edits the groups (``{"pg_primary": {"hosts": {"pg1": {...}}}, ...}``) of a copy of it.
        """
        with inventory(change) as path:
            done = subprocess.run(
                self._command(path, playbook, arguments, extra),
                capture_output=True,
                text=True,
                timeout=900,
                env=self._environment(),
                cwd=ROOT,
                check=False,
            )
        return Play(done.returncode, done.stdout + done.stderr)

    def wait_healthy(self, seconds: float = 120) -> None:
        """Until status.yml finds nothing wrong; the test fails with what it found last."""
        deadline = time.monotonic() + seconds
        while (play := self.play("status.yml")).rc != 0:
            assert time.monotonic() < deadline, play.output
            time.sleep(2)

    def start(self, playbook: str, *arguments: str, extra: Mapping[str, Any] | None = None) -> RunningPlay:
        """The same in the background."""
        return RunningPlay(self._command(INVENTORY, playbook, arguments, extra), self._environment())

    def _command(
        self, path: Path, playbook: str, arguments: Sequence[str], extra: Mapping[str, Any] | None
    ) -> list[str]:
        command = [str(ROOT / ".venv/bin/ansible-playbook"), "-i", str(path)]
        command += [str(ROOT / "playbooks" / playbook), *arguments]
        return command + (["-e", json.dumps(extra)] if extra else [])

    def module(self, host: str, name: str, arguments: Mapping[str, Any], check: bool = False) -> str:
        """What a module of the collection says on one host."""
        command = [str(ROOT / ".venv/bin/ansible"), "-i", str(INVENTORY), host, "-m", f"renfo.redundancy.{name}"]
        command += ["-a", json.dumps(arguments), *(["--check"] if check else [])]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=300, env=self._environment(), cwd=ROOT, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "LAB_NAME": self.name,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            # molecule sets it, and it wins over the line above: a coloured recap reads as an empty one.
            "ANSIBLE_FORCE_COLOR": "0",
        }


@contextlib.contextmanager
def inventory(change: Callable[[dict[str, Any]], object] | None) -> Iterator[Path]:
    """The lab's inventory, or a copy of it beside it with changed groups."""
    if change is None:
        yield INVENTORY
        return
    document = yaml.safe_load((INVENTORY / "hosts.yml").read_text())
    change(document["all"]["children"])
    with tempfile.TemporaryDirectory(prefix=".test-", dir=INVENTORY.parent) as folder:
        copy = Path(folder)
        (copy / "hosts.yml").write_text(yaml.safe_dump(document))
        (copy / "group_vars").symlink_to(INVENTORY / "group_vars")
        (copy / ".secrets").symlink_to(INVENTORY / ".secrets")
        yield copy


def leave(groups: dict[str, Any], *names: str) -> None:
    """Move hosts into the group ``removed``, with their variables."""
    gone: dict[str, Any] = {}
    for data in groups.values():
        for name in names:
            variables = (data.get("hosts") or {}).pop(name, None)
            gone[name] = gone.get(name) or variables
    groups.setdefault("removed", {"hosts": {}})["hosts"] |= gone
    groups["lab"]["children"]["removed"] = {}


def same(values: Sequence[Any]) -> bool:
    """Whether all *values* are the same one."""
    return len(set(values)) == 1
