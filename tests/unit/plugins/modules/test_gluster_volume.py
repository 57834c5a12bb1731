# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import gluster_says
import pytest
from ansible_collections.renfo.redundancy.plugins.modules import gluster_volume

SERVERS = ("10.0.0.21", "10.0.0.22", "10.0.0.23")
BRICK = "/srv/gluster/media/brick"
BRICKS = [f"{server}:{BRICK}" for server in SERVERS]
ADDRESSES = """\
1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever
46: eth0    inet 10.0.0.21/24 brd 10.0.0.255 scope global eth0\\       valid_lft forever preferred_lft forever
"""


class Ended(Exception):
    """The module called exit_json or fail_json."""


class Server:
    """A module on a host with a gluster command line that keeps what it is told."""

    def __init__(self, installed: bool = True, check_mode: bool = False, late: int = 0, **params: Any) -> None:
        self.params = {
            "name": "media",
            "servers": list(SERVERS),
            "brick": BRICK,
            "arbiter": False,
            "options": {"network.ping-timeout": 2},
            "removed": [],
            "returned": [],
            "timeout": 30,
            **params,
        }
        self.check_mode = check_mode
        self.installed = installed
        self.late = late
        self.peers: list[str] = []
        self.bricks: list[str] = []
        self.status = "Created"
        self.options: dict[str, str] = {}
        self.broken: dict[str, str] = {}
        self.waiting = 0  # entries in the index of every brick
        self.strangers = 0  # so many times the servers don't know each other yet
        self.changes: list[str] = []
        self.result: dict[str, Any] = {}

    def get_bin_path(self, name: str) -> str | None:
        assert name == "gluster"
        return "/usr/sbin/gluster" if self.installed else None

    def run_command(self, argv: list[str]) -> tuple[int, str, str]:
        if argv[0] == "ip":
            return 0, ADDRESSES, ""
        assert argv[:2] == ["gluster", "--mode=script"]
        words = argv[2:]
        if words[:2] == ["volume", "create"] and self.strangers > 0:
            self.strangers -= 1
            return (
                1,
                "",
                "volume create: media: failed: Staging failed on 10.0.0.22. Error: Host 10.0.0.23 not connected",
            )
        for command, error in self.broken.items():
            if " ".join(words).startswith(command):
                return 1, "", f"{error}\n"
        return 0, self._answer(words), ""

    def _answer(self, words: list[str]) -> str:
        match words:
            case ["peer", "status", "--xml"]:
                self.late -= 1
                return gluster_says.peer_status(*((peer, self.late < 0, 3) for peer in self.peers))
            case ["volume", "info", "--xml"]:
                if not self.bricks:
                    return gluster_says.NO_VOLUMES
                return gluster_says.volume_info("media", self.bricks, self.status, options=self.options)
            case ["peer", "probe", address]:
                self.peers.append(address)
            case ["volume", "create", "media", *rest]:
                self.bricks = [word for word in rest if ":" in word]
            case ["volume", "set", "media", name, value]:
                self.options[name] = value
            case ["volume", "status", "media", "--xml"]:
                return gluster_says.volume_status([(*brick.split(":"), True) for brick in self.bricks])
            case ["volume", "heal", "media", "info", "summary", "--xml"]:
                return gluster_says.heal_summary(dict.fromkeys(self.bricks, 0))
            case ["volume", "heal", "media", "statistics", "heal-count"]:
                return "".join(f"Brick {brick}\nNumber of entries: {self.waiting}\n\n" for brick in self.bricks)
            case ["volume", "replace-brick", "media", old, new, "commit", "force"]:
                self.bricks = [new if brick == old else brick for brick in self.bricks]
            case ["peer", "detach", address]:
                self.peers.remove(address)
            case ["volume", "start", "media"]:
                self.status = "Started"
            case _:
                raise AssertionError(words)
        self.changes.append(" ".join(words))
        return ""

    def exit_json(self, **result: Any) -> None:
        self.result = result
        raise Ended

    def fail_json(self, **result: Any) -> None:
        self.result = {"failed": True, **result}
        raise Ended


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(gluster_volume.time, "sleep", lambda seconds: None)

    def run(server: Server) -> dict[str, Any]:
        monkeypatch.setattr(gluster_volume, "AnsibleModule", lambda **_arguments: server)
        with pytest.raises(Ended):
            gluster_volume.main()
        return server.result

    return run


ACTIONS = [
    "gluster peer probe 10.0.0.22",
    "gluster peer probe 10.0.0.23",
    f"gluster volume create media replica 3 transport tcp {' '.join(BRICKS)} force",
    "gluster volume set media network.ping-timeout 2",
    "gluster volume start media",
]


def test_check_then_apply_then_again(run: Any) -> None:
    server = Server(check_mode=True)
    planned = run(server)
    assert planned["changed"]
    assert planned["actions"] == ACTIONS
    assert server.changes == []

    server.check_mode = False
    applied = run(server)
    assert applied == planned
    assert [f"gluster {change}" for change in server.changes] == ACTIONS

    again = run(server)
    assert again == {"changed": False, "actions": [], "leaving": [], "diff": {"before": "", "after": ""}}


def test_check_mode_on_a_host_that_has_no_gluster_yet(run: Any) -> None:
    assert run(Server(installed=False, check_mode=True))["actions"] == ACTIONS


def test_servers_that_take_their_time(run: Any) -> None:
    server = Server(late=4)
    assert run(server)["changed"]
    assert server.status == "Started"


def test_servers_that_do_not_know_each_other_yet(run: Any) -> None:
    server = Server()
    server.strangers = 2
    assert run(server)["changed"]
    assert server.bricks == BRICKS
    stuck = Server(timeout=0)
    stuck.strangers = 9
    assert "not connected" in run(stuck)["msg"]


def test_servers_that_never_join(run: Any) -> None:
    server = Server(late=1000, timeout=0)
    result = run(server)
    assert result["failed"]
    assert result["msg"].startswith("10.0.0.22, 10.0.0.23 did not join the pool within 0 s. ")
    assert "start glusterd there (systemctl start glusterd), then run this again" in result["msg"]
    assert server.bricks == []


def test_interrupted_after_the_volume_was_created(run: Any) -> None:
    server = Server()
    server.broken = {"volume start": "volume start: media: failed: Commit failed"}
    result = run(server)
    assert result["failed"]
    assert result["msg"] == "gluster volume start media failed: volume start: media: failed: Commit failed"

    server.broken = {}
    assert run(server)["actions"] == ["gluster volume start media"]


def test_a_daemon_that_is_down(run: Any) -> None:
    server = Server()
    server.broken = {"peer status": "Connection failed. Please check if gluster daemon is operational."}
    assert run(server)["msg"].endswith("Connection failed. Please check if gluster daemon is operational.")


def test_a_volume_with_other_bricks_is_left_alone(run: Any) -> None:
    server = Server()
    server.bricks = [*BRICKS[:2], f"10.0.0.99:{BRICK}"]
    server.peers = list(SERVERS[1:])
    result = run(server)
    assert "Put the host at 10.0.0.99 back into shared_storage" in result["msg"]
    assert server.changes == []


def test_a_server_is_replaced_and_leaves(run: Any) -> None:
    server = Server(servers=[*SERVERS[:2], "10.0.0.24"], removed=[SERVERS[2]])
    server.bricks, server.peers, server.status = list(BRICKS), list(SERVERS[1:]), "Started"
    server.options = {"network.ping-timeout": "2"}
    assert run(server)["changed"]
    assert server.changes == [
        "peer probe 10.0.0.24",
        f"volume replace-brick media {BRICKS[2]} 10.0.0.24:{BRICK} commit force",
    ]
    server.waiting = 3
    waiting = run(server)
    assert (waiting["actions"], waiting["leaving"]) == ([], [SERVERS[2]])
    server.waiting = 0
    detached = run(server)
    assert (detached["actions"], detached["leaving"]) == (["gluster peer detach 10.0.0.23"], [])
    assert run(server)["actions"] == []
    assert server.peers == ["10.0.0.22", "10.0.0.24"]
