# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import datetime
import http.server
import json
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils import stack_host
from ansible_collections.renfo.redundancy.plugins.module_utils.stack_host import (
    ProbeError,
    Question,
    addresses,
    at_once,
    certificate,
    gluster,
    mount,
    ready,
    run,
    units,
)

NOW = datetime.datetime(2026, 11, 23, 12, 0, tzinfo=datetime.UTC)


class Host:
    """Answers commands by their first words; anything else is not installed."""

    def __init__(self, **answers: str | ProbeError | list[str]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def __call__(self, argv: Sequence[str], timeout: float) -> str:
        self.asked.append(" ".join(argv))
        answer = self.answers.get(argv[0], ProbeError(f"{argv[0]}: No such file or directory"))
        if isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, ProbeError):
            raise answer
        return answer


# --- commands -------------------------------------------------------------------------------


def test_a_command_gives_its_output() -> None:
    assert run(["echo", "here"], 5) == "here\n"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        pytest.param(["/no/such/program"], "/no/such/program: No such file", id="not installed"),
        pytest.param(["sh", "-c", "echo torn >&2; exit 3"], "sh failed: torn", id="fails with words"),
        pytest.param(["false"], "false failed: exit code 1", id="fails without"),
        pytest.param(["sleep", "60"], "sleep did not answer within 0.1 s", id="hangs"),
    ],
)
def test_a_command_without_answer_says_why(argv: list[str], words: str) -> None:
    with pytest.raises(ProbeError, match=words):
        run(argv, 0.1)


def test_questions_are_asked_at_the_same_time_and_given_up_on() -> None:
    began = time.monotonic()

    answers = at_once(
        {
            "quick": Question(lambda: 1, None),
            "slow": Question(lambda: time.sleep(0.2) or 2, None),
            "as slow": Question(lambda: time.sleep(0.2) or 3, None),
            "hangs": Question(lambda: time.sleep(60), "no answer"),
        },
        0.5,
    )

    assert answers == {"quick": 1, "slow": 2, "as slow": 3, "hangs": "no answer"}
    assert time.monotonic() - began < 2


# --- units ----------------------------------------------------------------------------------

SHOWN = """\
MainPID=0
LoadState=loaded
ActiveState=active
SubState=running
ActiveEnterTimestamp=@1795403400

MainPID=0
LoadState=loaded
ActiveState=active
SubState=exited
ActiveEnterTimestamp=@1795403400

MainPID=0
LoadState=not-found
ActiveState=inactive
SubState=dead
ActiveEnterTimestamp=

MainPID=0
LoadState=loaded
ActiveState=failed
SubState=failed
ActiveEnterTimestamp=
"""


def test_units_in_the_order_asked() -> None:
    found = units(["a.service", "b.service", "c.service", "d.service"], Host(systemctl=SHOWN))

    assert [(unit["running"], unit["active"]) for unit in found.values()] == [
        (True, "active"),
        (False, "active"),
        (False, "absent"),
        (False, "failed"),
    ]
    assert found["a.service"]["since"] == "2026-11-23T03:10:00Z"
    assert found["d.service"]["since"] is None


def test_where_a_process_runs_is_asked_of_its_owner_if_it_must_be(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> str:
        raise PermissionError(path)

    monkeypatch.setattr("os.readlink", refuse)
    host = Host(systemctl="MainPID=1\nActiveState=active\nSubState=running\n", setpriv="/srv/app/releases/r1\n")

    assert units(["app@1.service"], host)["app@1.service"]["running_in"] == "/srv/app/releases/r1"
    assert host.asked[1] == "setpriv --reuid=0 --regid=0 --clear-groups readlink /proc/1/cwd"


def test_without_systemd_nothing_is_known_of_a_unit() -> None:
    found = units(["a.service"], Host())

    assert (found["a.service"]["running"], found["a.service"]["active"]) == (False, "unknown")
    assert "systemctl" in found["a.service"]["error"]


# --- readiness ------------------------------------------------------------------------------


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/slow":
            time.sleep(1)
        code = int(self.path[1:]) if self.path[1:].isdigit() else 200
        body = b'{"ready": true}' + b" " * 2000
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the output of the tests clean."""


@pytest.fixture
def site() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_ready_service_whatever_the_proxy(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    answer = ready(f"{site}/200", 3)

    assert (answer["ok"], answer["status"], answer["error"]) == (True, 200, "")
    assert answer["body"].startswith('{"ready": true}')
    assert len(answer["body"]) == stack_host.EXCERPT
    assert answer["ms"] >= 0


def test_a_service_that_says_it_is_not_ready(site: str) -> None:
    answer = ready(f"{site}/503", 3)

    assert (answer["ok"], answer["status"]) == (False, 503)
    assert answer["body"].startswith('{"ready": true}')


@pytest.mark.parametrize(
    ("url", "words"),
    [
        pytest.param("http://127.0.0.1:1/", "refused", id="nobody listens"),
        pytest.param("{site}/slow", "timed out", id="too slow"),
        pytest.param("nonsense", "unknown url type", id="no URL"),
    ],
)
def test_a_service_without_answer_says_why(url: str, words: str, site: str) -> None:
    answer = ready(url.format(site=site), 0.2)

    assert (answer["ok"], answer["status"]) == (False, None)
    assert words in answer["error"]


# --- addresses ------------------------------------------------------------------------------

INTERFACES = json.dumps(
    [{"ifname": "lo"}, {"ifname": "eth0", "addr_info": [{"local": "192.0.2.100"}, {"local": "2001:db8::64"}, {}]}]
)


def test_addresses_that_are_held_and_not() -> None:
    assert addresses(["192.0.2.100", "192.0.2.10", "2001:db8:0::64"], Host(ip=INTERFACES)) == {
        "192.0.2.100": True,
        "192.0.2.10": False,
        "2001:db8:0::64": True,
    }


@pytest.mark.parametrize("host", [Host(), Host(ip="garbage")], ids=["no ip command", "no JSON"])
def test_an_address_that_nobody_can_tell_about(host: Host) -> None:
    assert addresses(["192.0.2.100"], host) == {"192.0.2.100": None}


# --- certificates ---------------------------------------------------------------------------


def test_days_that_a_certificate_has_left() -> None:
    host = Host(openssl="notAfter=Dec 14 11:00:00 2026 GMT\n")

    assert certificate("/etc/x.crt", NOW, host) == {"not_after": "2026-12-14T11:00:00Z", "days": 20, "error": ""}


def test_a_certificate_that_ended() -> None:
    assert certificate("/etc/x.crt", NOW, Host(openssl="notAfter=Nov 23 11:59:59 2026 GMT"))["days"] == -1


@pytest.mark.parametrize(
    ("path", "host", "words"),
    [
        pytest.param("/no/such.crt", Host(), "there is no such file", id="missing"),
        pytest.param("/etc/passwd", Host(), "openssl: No such file", id="no openssl"),
        pytest.param("/etc/passwd", Host(openssl="notAfter=soon"), "expected a date", id="no date"),
    ],
)
def test_a_certificate_that_cannot_be_read_says_why(path: str, host: Host, words: str) -> None:
    found = certificate(path, NOW, host)

    assert found["days"] is None
    assert words in found["error"]


# --- mounts ---------------------------------------------------------------------------------

MOUNTINFO = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
40 22 0:33 / /srv/media rw,relatime shared:9 - fuse.glusterfs 192.0.2.21:/media rw
41 22 0:34 / /srv/my\\040media rw - nfs4 192.0.2.9:/x rw
"""


@pytest.mark.parametrize(("path", "kind"), [("/srv/media", "fuse.glusterfs"), ("/srv/my media", "nfs4")])
def test_a_store_that_answers(path: str, kind: str) -> None:
    assert mount(path, MOUNTINFO, 3, Host(stat="4096 100 60\n")) == {
        "mounted": True,
        "type": kind,
        "answers": True,
        "total_bytes": 409600,
        "free_bytes": 245760,
        "error": "",
    }


def test_a_directory_below_which_nothing_is_mounted_is_never_touched() -> None:
    host = Host(stat="4096 100 60\n")

    found = mount("/srv", MOUNTINFO, 3, host)

    assert (found["mounted"], found["error"], host.asked) == (False, "nothing is mounted there", [])


def test_a_stalled_store_is_mounted_and_does_not_answer() -> None:
    found = mount("/srv/media", MOUNTINFO, 3, Host(stat=ProbeError("stat did not answer within 3 s")))

    assert (found["mounted"], found["answers"], found["free_bytes"]) == (True, False, None)
    assert found["error"] == "stat did not answer within 3 s"


# --- gluster --------------------------------------------------------------------------------

BRICK = "<node><hostname>192.0.2.21</hostname><path>/srv/brick</path><status>1</status></node>"
STATUS = f"<cliOutput><opRet>0</opRet><volStatus><volumes><volume>{BRICK}</volume></volumes></volStatus></cliOutput>"
HEAL = (
    "<cliOutput><healInfo><bricks><brick><name>192.0.2.21:/srv/brick</name>"
    "<totalNumberOfEntries>2</totalNumberOfEntries></brick></bricks></healInfo><opRet>0</opRet></cliOutput>"
)
TAKEN = "<cliOutput><opRet>-1</opRet><opErrstr>Another transaction is in progress for media.</opErrstr></cliOutput>"
UNKNOWN = "<cliOutput><opRet>-1</opRet><opErrstr>Volume media does not exist</opErrstr></cliOutput>"


def quick(seconds: float) -> None:
    """Don't wait."""


def test_bricks_and_what_they_have_to_heal() -> None:
    assert gluster("media", 5, Host(gluster=[STATUS, HEAL])) == {
        "answered": True,
        "bricks": [{"name": "192.0.2.21:/srv/brick", "online": True, "to_heal": 2}],
        "error": "",
    }


def test_whoever_finds_the_lock_taken_asks_again() -> None:
    host = Host(gluster=[TAKEN, TAKEN, STATUS, HEAL])

    assert gluster("media", 5, host, quick)["answered"]
    assert len(host.asked) == 4


def test_a_lock_that_stays_taken() -> None:
    found = gluster("media", 0.05, Host(gluster=TAKEN), quick)

    assert (found["answered"], found["error"]) == (False, "Another transaction is in progress for media.")


def test_bricks_without_a_word_on_healing() -> None:
    found = gluster("media", 5, Host(gluster=[STATUS, UNKNOWN]))

    assert (found["answered"], found["bricks"][0]["to_heal"]) == (True, None)
    assert found["error"] == "Volume media does not exist"


@pytest.mark.parametrize(
    ("host", "words"),
    [
        pytest.param(Host(), "gluster: No such file", id="not installed"),
        pytest.param(Host(gluster=UNKNOWN), "Volume media does not exist", id="no such volume"),
        pytest.param(Host(gluster="Connection failed."), "syntax error", id="no XML"),
    ],
)
def test_no_bricks_with_the_reason(host: Host, words: str) -> None:
    found = gluster("media", 5, host)

    assert (found["answered"], found["bricks"]) == (False, [])
    assert words in found["error"]
