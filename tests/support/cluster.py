"""The database cluster of the lab as tests see it: who is what, and faults that a host can have."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.support.lab import ROOT, Lab

SAMPLES = "/var/tmp/sampler.jsonl"


class Cluster:
    """The PostgreSQL members of a lab."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.hosts = lab.pg_hosts

    def ask(self, host: str, query: str) -> str | None:
        """The answer of one instance; None if it gives none."""
        command = f'timeout 5 runuser -u postgres -- psql -XAtq -d postgres -c "{query}"'
        with contextlib.suppress(Exception):
            result = self.lab.host(host).run(command)
            if result.rc == 0:
                return str(result.stdout).strip()
        return None

    def roles(self) -> dict[str, str | None]:
        """``primary``, ``standby``, or None, by host."""
        words = {"f": "primary", "t": "standby"}
        with concurrent.futures.ThreadPoolExecutor() as pool:
            answers = pool.map(lambda host: self.ask(host, "SELECT pg_is_in_recovery()"), self.hosts)
        return {host: words.get(answer or "") for host, answer in zip(self.hosts, answers, strict=True)}

    def primary(self) -> str:
        """The only primary; the test fails if there is none that answers in time, or more than one."""
        deadline = time.monotonic() + 20
        while True:
            found = [host for host, role in self.roles().items() if role == "primary"]
            assert len(found) < 2, f"primaries: {found}"
            if found:
                return found[0]
            assert time.monotonic() < deadline, "no primary"
            time.sleep(0.5)

    def back_home(self) -> None:
        """The roles that the inventory names, for the tests that come after."""
        declared = self.lab.groups["pg_primary"][0]
        if self.primary() != declared:
            self.lab.play("rejoin.yml")
            play = self.lab.play("switchover.yml", extra={"switchover_to": declared})
            assert play.rc == 0, play.output
        self.wait_whole()

    def standbys(self) -> list[str]:
        primary = self.primary()
        return [host for host in self.hosts if host != primary]

    def streaming(self) -> set[str]:
        """The standbys that stream from the primary."""
        answer = self.ask(self.primary(), "SELECT application_name FROM pg_stat_replication WHERE state = 'streaming'")
        return set((answer or "").split())

    def wait_whole(self, seconds: float = 60.0) -> None:
        """Until one primary serves and every other member streams from it."""
        wait(lambda: self.streaming() == set(self.standbys()), seconds, lambda: f"{self.roles()}")

    def idle_slots(self) -> dict[str, str]:
        """Slots that nobody uses, and that hold back WAL, by host."""
        query = "SELECT slot_name FROM pg_replication_slots WHERE NOT active"
        return {host: slots for host in self.hosts if (slots := self.ask(host, query))}

    def wait_up(self, host: str) -> None:
        """Until the host itself answers."""
        wait(lambda: bool(self.lab.host(host).run("true").rc == 0), 60, lambda: f"{host} doesn't answer")

    def version(self) -> str:
        return self.lab.run(self.hosts[-1], "ls /etc/postgresql | tail -1")

    def unit(self) -> str:
        return f"postgresql@{self.version()}-main.service"

    def _override(self) -> str:
        """The file in which a test changes what systemd does with the server."""
        return f"/etc/systemd/system/{self.unit()}.d/zz-test.conf"

    # --- faults, and their end

    def crash_for_good(self, host: str) -> None:
        """``kill -9`` of the server, and nothing that starts it again."""
        override = self._override()
        self.lab.run(
            host,
            f"mkdir -p $(dirname {override}) && printf '[Service]\\nRestart=no\\n' > {override}"
            f" && systemctl daemon-reload && pkill -9 -u postgres -x postgres",
        )

    def allow_restart(self, host: str) -> None:
        self.lab.run(
            host,
            f"rm -f {self._override()} && systemctl daemon-reload && systemctl restart --no-block {self.unit()}",
        )

    def power_off(self, *hosts: str) -> None:
        self.lab.docker("kill", *(self.lab.container(host) for host in hosts))

    def power_on(self, *hosts: str) -> None:
        self.lab.docker("start", *(self.lab.container(host) for host in hosts))

    def freeze(self, host: str) -> None:
        self.lab.docker("pause", self.lab.container(host))

    def thaw(self, host: str) -> None:
        self.lab.docker("unpause", self.lab.container(host))

    def cut_off(self, host: str) -> None:
        """A black hole both ways: packets vanish, nobody is told."""
        self._drop(host, "iif lo accept; drop", "oif lo accept; drop")

    def cut_between(self, host: str, other: str) -> None:
        """The same between two hosts only."""
        address = self.lab.addresses[other]
        self._drop(host, f"ip saddr {address} drop", f"ip daddr {address} drop")

    def _drop(self, host: str, incoming: str, outgoing: str) -> None:
        rules = f"table inet test {{ chain in {{ type filter hook input priority -300; {incoming}; }}\n"
        rules += f"chain out {{ type filter hook output priority -300; {outgoing}; }}\n}}"
        self.lab.docker("exec", self.lab.container(host), "sh", "-c", f"printf '%s' '{rules}' | nft -f -")

    def connect(self, host: str) -> None:
        self.lab.docker("exec", self.lab.container(host), "nft", "delete", "table", "inet", "test")

    # --- the guard

    def disarm(self, host: str) -> None:
        """Nothing on this host keeps PostgreSQL from starting as a second primary."""
        drop_in = self._override()
        self.lab.run(
            host,
            f"systemctl disable --now -q {self.watch()}; mkdir -p $(dirname {drop_in});"
            f" printf '[Service]\\nExecCondition=\\n' > {drop_in}; systemctl daemon-reload",
        )

    def arm(self, host: str) -> None:
        drop_in = self._override()
        self.lab.run(host, f"rm -f {drop_in}; systemctl daemon-reload; systemctl enable --now -q {self.watch()}")

    def watch(self) -> str:
        return f"pg-guard@{self.version()}-main.service"

    # --- who accepted writes, and when

    @contextlib.contextmanager
    def sampled(self, hosts: Sequence[str] = ()) -> Iterator[Callable[[], list[tuple[float, str, int]]]]:
        """Sample on every member whether it accepts writes; gives a function that returns what was seen so far."""
        script = (Path(ROOT) / "plugins/module_utils/drill_sampler.py").read_text()
        sampled = hosts or self.hosts
        for host in sampled:
            self.lab.run(host, f"cat > /usr/local/sbin/sampler.py <<'EOF'\n{script}\nEOF")
            self._sample(host)
        try:
            yield lambda: self._samples(sampled)
        finally:
            for host in sampled:
                # A host that a failed test left down must not hide what failed.
                with contextlib.suppress(RuntimeError):
                    self.lab.host(host).run(
                        "systemctl disable sampler; systemctl stop sampler; rm -f /etc/systemd/system/sampler.service"
                    )

    def _sample(self, host: str) -> None:
        """A unit, so that it samples again after a reboot."""
        unit = f"[Service]\\nExecStart=/usr/bin/python3 /usr/local/sbin/sampler.py {SAMPLES} {time.time() + 3600}\\nRestart=always\\n"
        unit += "[Install]\\nWantedBy=multi-user.target\\n"
        self.lab.run(
            host,
            f"rm -f {SAMPLES}; printf '{unit}' > /etc/systemd/system/sampler.service && systemctl daemon-reload"
            " && systemctl enable -q sampler && systemctl restart sampler",
        )

    def _samples(self, hosts: Sequence[str]) -> list[tuple[float, str, int]]:
        """Every write that one of *hosts* accepted: when, by whom, on which timeline."""
        samples = []
        for host in hosts:
            for line in self.lab.run(host, f"cat {SAMPLES} 2>/dev/null || true").splitlines():
                seen: dict[str, Any] = json.loads(line)
                samples.append((seen["at"], host, seen["timeline"]))
        return sorted(samples)


def overlaps(samples: list[tuple[float, str, int]]) -> list[str]:
    """Where an instance accepted a write after one on a later timeline had."""
    found, latest = [], (0, "")
    for at, host, timeline in samples:
        if timeline < latest[0]:
            found.append(
                f"{host} accepted a write on timeline {timeline} at {at:.3f}, after {latest[1]} on {latest[0]}"
            )
        latest = max(latest, (timeline, host))
    return found


def wait(condition: Callable[[], bool], seconds: float, found: Callable[[], str]) -> None:
    """Until *condition* holds; the test fails with what was *found* last."""
    deadline = time.monotonic() + seconds
    while True:
        # A host that doesn't answer yet is an error of the connection to it (requests' errors are OSErrors).
        with contextlib.suppress(AssertionError, RuntimeError, OSError):
            if condition():
                return
        assert time.monotonic() < deadline, f"not within {seconds} s: {found()}"
        time.sleep(0.5)
