"""What visitors of the worst kind ask for: the site goes on for the others, and nothing outside the store is read."""

from __future__ import annotations

import concurrent.futures
import json
import os
import time

from tests.support.lab import Lab
from tests.support.outsider import Outsider

#: What stands in every /etc/passwd.
FOREIGN = "root:x:0"

RAW = """
import json, socket, ssl, sys
address, requests = sys.argv[1], json.loads(sys.argv[2])
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
answers = []
for request in requests:
    with socket.create_connection((address, 443), timeout=20) as plain, context.wrap_socket(plain) as tls:
        answer = b""
        try:
            tls.sendall(request.encode("latin-1"))
            while len(answer) < 1000000 and (part := tls.recv(65536)):
                answer += part
        except OSError as error:
            answer += str(error).encode()
        answers.append(answer.decode("latin-1"))
print(json.dumps(answers))
"""

FLOOD = """
import collections, concurrent.futures, json, socket, ssl, sys, time
address, seconds = sys.argv[1], float(sys.argv[2])
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
until = time.monotonic() + seconds

def ask(_):
    found = collections.Counter()
    while time.monotonic() < until:
        try:
            with socket.create_connection((address, 443), timeout=5) as plain, context.wrap_socket(plain) as tls:
                # Many requests on one connection cost it little and the site much.
                for _ in range(100):
                    tls.sendall(b"GET /sessions HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
                    answer = tls.recv(65536)
                    if not answer or time.monotonic() > until:
                        break
                    found[answer[9:12].decode("latin-1")] += 1
        except OSError:
            found["broken"] += 1
    return found

with concurrent.futures.ThreadPoolExecutor(16) as pool:
    print(json.dumps(sum(pool.map(ask, range(16)), collections.Counter())))
"""

SLOW = """
import json, socket, ssl, sys, time
address, count, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
held = []
for _ in range(count):
    try:
        held.append(context.wrap_socket(socket.create_connection((address, 443), timeout=5)))
        held[-1].sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\nX-Slow: ")
    except OSError:
        pass
until = time.monotonic() + seconds
opened = len(held)
while held and time.monotonic() < until:
    time.sleep(1)
    for tls in list(held):
        try:
            tls.sendall(b"x")
        except OSError:
            held.remove(tls)
print(json.dumps({"opened": opened, "held": len(held)}))
"""


def serves(lab: Lab) -> None:
    """The site does, for somebody else."""
    assert lab.request("GET", "/").status_code == 200
    assert lab.write_session("after bad requests")["id"]


def test_requests_that_are_none(lab: Lab, stranger: Outsider) -> None:
    body = "Host: x\r\nConnection: close\r\n"
    # What is too long fits one record of TLS: who is hung up on with more on the way may not hear the answer.
    requests = {
        "GET / HTTP/1.1\r\n\r\n": "400",  # no host
        f"GET /{'a' * 12000} HTTP/1.1\r\n{body}\r\n": "414",
        f"GET / HTTP/1.1\r\n{body}X-Long: {'a' * 12000}\r\n\r\n": "400",
        f"POST /videos HTTP/1.1\r\n{body}Content-Length: 99000000000\r\n\r\n": "413",
        f"POST /sessions HTTP/1.1\r\n{body}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": "400",
        f"POST /sessions HTTP/1.1\r\n{body}Content-Length: -5\r\n\r\n": "400",
        f"GET / HTTP/1.1\r\n{body}X: a\0b\r\n\r\n": "400",
        f"GET /\0 HTTP/1.1\r\n{body}\r\n": "400",
        "\x16\x03\x01 nonsense\r\n\r\n": "400",
        f"BREW / HTTP/1.1\r\n{body}\r\n": "405",
    }
    answers = json.loads(stranger.python(RAW, lab.vip, json.dumps(list(requests))))
    found = {request[:60]: answer[9:12] for request, answer in zip(requests, answers, strict=True)}
    assert found == {request[:60]: status for request, status in requests.items()}
    serves(lab)


def test_no_path_leads_out_of_the_store(lab: Lab, stranger: Outsider) -> None:
    paths = [
        "/_media/etc/passwd",
        "/_media/../../../etc/passwd",
        "/_media/..%2f..%2f..%2fetc%2fpasswd",
        "/_media/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/_media../etc/passwd",
        "/_media/videos/",
        "//etc/passwd",
        "/..%c0%af..%c0%af..%c0%afetc/passwd",
        "/videos/..%2f..%2f..%2f..%2fetc%2fpasswd/file",
        "/videos/%2e%2e%2f%2e%2e%2fetc%2fpasswd/file",
        "/videos/../../../../etc/passwd",
        "/static/..%2f..%2f..%2fetc%2fpasswd",
        "file:///etc/passwd",
    ]
    requests = [f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" for path in paths]
    answers = json.loads(stranger.python(RAW, lab.vip, json.dumps(requests)))
    found = {path: answer[9:12] for path, answer in zip(paths, answers, strict=True)}
    assert set(found.values()) <= {"400", "404"}, found
    assert not [path for path, answer in zip(paths, answers, strict=True) if FOREIGN in answer]


def test_a_link_in_the_store_is_not_followed(lab: Lab) -> None:
    """Whoever can write to the store could read every file of the load balancers by it."""
    upload = lab.request("POST", "/videos", files={"file": ("link.mp4", os.urandom(1000))}, data={"title": "A link"})
    assert upload.status_code == 201, upload.text
    path = f"/srv/media/videos/{upload.json()['id']}"
    try:
        lab.run("app1", f"ln -sf /etc/passwd {path}")
        for balancer in lab.lb_hosts:
            answer = lab.request("GET", f"/videos/{upload.json()['id']}/file", at=balancer)
            assert answer.status_code in (403, 404), answer.text
            assert FOREIGN not in answer.text
    finally:
        lab.run("app1", f"rm {path}")
        lab.sql("pg1", f"DELETE FROM videos WHERE id = '{upload.json()['id']}'")


def test_a_flood_from_one_address_is_turned_away_and_others_are_served(lab: Lab, stranger: Outsider) -> None:
    with concurrent.futures.ThreadPoolExecutor() as pool:
        flood = pool.submit(stranger.python, FLOOD, lab.vip, "8")
        time.sleep(1)
        for number in range(10):
            assert lab.write_session(f"in a flood {number}")["id"]
            assert lab.request("GET", "/sessions?after=0").status_code == 200
        found = json.loads(flood.result())
    # What it got is the lab's limit (20 a second) and four seconds' worth at once; the rest was told so.
    assert 0 < found.get("200", 0) <= 20 * 12, found
    assert found.get("429", 0) > 0, found
    assert not {status for status in found if status.startswith("5")}, found


def test_slow_headers_hold_nothing_for_long(lab: Lab, stranger: Outsider) -> None:
    found = json.loads(stranger.python(SLOW, lab.vip, "300", "14"))
    assert found["opened"] > 100
    assert found["held"] == 0, found
    serves(lab)
