# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the guard decides, of every case in words and of any case at all."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import jinja2
import pg_guard
import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.topology import SITE_OPTIONS
from hypothesis import given
from hypothesis import strategies as st
from pg_guard import Config, Decision, Member, Role, Running, Seen, Stopped, Upstream, Verdict
from project import ROOT, spec

OURS, THEIRS = "7300000000000000001", "7300000000000000002"
PG1 = Member("pg1", "10.0.0.31", 5432)
PG2 = Member("pg2", "10.0.0.32", 5432)
PG3 = Member("pg3", "10.0.0.33", 5432)
OF_PG1 = Upstream("pg1", "10.0.0.31", 5432)
OF_PG2 = Upstream("pg2", "10.0.0.32", 5432)

CRASHED = Stopped(data=True, standby=False, timeline=3, system_identifier=OURS)
DEAD2, DEAD3 = Seen(PG2, silence="Connection refused"), Seen(PG3, silence="no answer in time")


def primary(peer: Member, timeline: int = 4, system: str = OURS) -> Seen:
    return Seen(peer, Role.PRIMARY, timeline, system)


def standby(peer: Member, timeline: int = 3, follows: Upstream | None = OF_PG1, **more: Any) -> Seen:
    return Seen(peer, Role.STANDBY, timeline, more.pop("system", OURS), follows, **more)


def case(local: dict[str, Any], *seen: Seen, always: bool = False) -> tuple[Stopped, list[Seen], bool]:
    return dataclasses.replace(CRASHED, **local), list(seen), always


@pytest.mark.parametrize(
    ("given", "verdict", "words"),
    [
        pytest.param(case({"data": False}, DEAD2), Verdict.START, ["no data"], id="no data"),
        pytest.param(case({"standby": True}, primary(PG2)), Verdict.START, ["as a standby"], id="a standby"),
        pytest.param(
            case({"standby": True, "fence": "pg2 took over"}, primary(PG2)),
            Verdict.START,
            ["as a standby"],
            id="a standby, fenced as a primary",
        ),
        pytest.param(
            case({"fence": "pg2 took over"}, standby(PG2)), Verdict.FENCED, ["pg2 took over"], id="fence marker"
        ),
        pytest.param(case({"fence": ""}, standby(PG2)), Verdict.FENCED, ["gives no reason"], id="empty fence marker"),
        pytest.param(case({"fence": "pg2 took over"}), Verdict.FENCED, ["pg2 took over"], id="fenced, without peers"),
        pytest.param(
            case({"fence": "pg2 took over", "permission": "site.yml"}, standby(PG2), always=True),
            Verdict.FENCED,
            ["pg2 took over"],
            id="a permission doesn't lift the marker",
        ),
        pytest.param(case({}), Verdict.START, ["no peers"], id="single instance"),
        pytest.param(
            case({"unreadable": "its control file can't be trusted: CRC"}, standby(PG2), always=True),
            Verdict.HOLD,
            ["control file", "CRC"],
            id="broken control file",
        ),
        pytest.param(
            case({}, standby(PG2), DEAD3), Verdict.START, ["pg2 is its standby", "vouches"], id="one standby vouches"
        ),
        pytest.param(
            case({}, DEAD2, standby(PG3)), Verdict.START, ["pg3 is its standby"], id="the other standby vouches"
        ),
        pytest.param(
            case({}, standby(PG2, follows=Upstream("", "10.0.0.31", 5432))),
            Verdict.START,
            ["vouches"],
            id="a standby that follows the address",
        ),
        pytest.param(
            case({}, primary(PG2), standby(PG3)),
            Verdict.FENCED,
            ["pg2 is a primary, on timeline 4, this instance on 3", "took over", "rejoin.yml"],
            id="a new primary, beside a stale standby that vouches",
        ),
        pytest.param(
            case({"permission": "site.yml"}, primary(PG2), DEAD3),
            Verdict.FENCED,
            ["took over"],
            id="a new primary against a permission",
        ),
        pytest.param(
            case({}, primary(PG2, 3), DEAD3),
            Verdict.FENCED,
            ["pg2 is a primary, on timeline 3, this instance on 3", "Only one may be", "status.yml"],
            id="a primary on the same timeline",
        ),
        pytest.param(
            case({}, primary(PG2, 2), DEAD3),
            Verdict.FENCED,
            ["on timeline 2, this instance on 3", "Only one may be"],
            id="a primary on an earlier timeline",
        ),
        pytest.param(
            case({}, DEAD2, standby(PG3, 4, OF_PG2)),
            Verdict.FENCED,
            ["pg3, a standby of pg2, is on timeline 4, this instance on 3", "rejoin.yml"],
            id="a standby of the new primary, which is dead",
        ),
        pytest.param(
            case({}, standby(PG2, 4), standby(PG3)),
            Verdict.FENCED,
            ["pg2, a standby of pg1, is on timeline 4"],
            id="a standby on a later timeline that says it follows this one",
        ),
        pytest.param(
            case({"permission": "site.yml"}, standby(PG2, 4, OF_PG2)),
            Verdict.FENCED,
            ["timeline 4"],
            id="a later timeline against a permission",
        ),
        pytest.param(
            case({}, standby(PG2, 4, None, mute="permission denied"), always=True),
            Verdict.FENCED,
            ["pg2, a standby of an unknown primary, is on timeline 4"],
            id="a standby on a later timeline that is mute otherwise",
        ),
        pytest.param(
            case({"permission": "the plan says start"}, DEAD2, DEAD3),
            Verdict.START,
            ["permitted: the plan says start"],
            id="permitted, with nobody to ask",
        ),
        pytest.param(
            case({"permission": ""}, DEAD2), Verdict.START, ["permitted", "no reason given"], id="an empty permission"
        ),
        pytest.param(
            case({}, DEAD2, DEAD3),
            Verdict.HOLD,
            [
                "pg2 can't be asked (Connection refused), pg3 can't be asked (no answer in time)",
                "failover.yml",
                "site.yml",
                "pg_unattended_start: always",
            ],
            id="nobody to ask",
        ),
        pytest.param(
            case({}, DEAD2, DEAD3, always=True),
            Verdict.START,
            ["WARNING", "nobody vouches", "pg2 can't be asked", "pg_unattended_start: always"],
            id="nobody to ask, and the user wants it to start",
        ),
        pytest.param(
            case({}, standby(PG2, follows=Upstream("pg3", "10.0.0.33", 5432)), DEAD3),
            Verdict.HOLD,
            ["pg2 follows pg3"],
            id="a standby of another one",
        ),
        pytest.param(
            case({}, standby(PG2, follows=Upstream("pg1", "10.0.0.31", 5433))),
            Verdict.HOLD,
            ["pg2 follows pg1"],
            id="a standby of another instance on this host",
        ),
        pytest.param(
            case({}, standby(PG2, follows=None)), Verdict.HOLD, ["pg2 follows nobody"], id="a standby of nobody"
        ),
        pytest.param(
            case({}, standby(PG2, 2)),
            Verdict.HOLD,
            ["pg2 is behind, on timeline 2, this instance on 3"],
            id="a standby that missed a failover",
        ),
        pytest.param(
            case({}, standby(PG2, follows=None, mute="permission denied for function pg_ls_waldir")),
            Verdict.HOLD,
            ["pg2 is a standby and can't say of whom (permission denied for function pg_ls_waldir)"],
            id="a standby that may not say",
        ),
        pytest.param(
            case({}, standby(PG2, system=THEIRS), primary(PG3, 9, THEIRS)),
            Verdict.HOLD,
            [f"pg2 is of another cluster (system identifier {THEIRS})", "pg3 is of another cluster"],
            id="peers of another cluster",
        ),
        pytest.param(
            case({}, standby(PG2), primary(PG3, 9, THEIRS)),
            Verdict.START,
            ["pg2 is its standby"],
            id="a primary of another cluster says nothing",
        ),
    ],
)
def test_before_a_start(given: tuple[Stopped, list[Seen], bool], verdict: Verdict, words: list[str]) -> None:
    decision = pg_guard.decide(PG1, *given)
    assert decision.verdict is verdict, decision
    for word in words:
        assert word in decision.reason
    assert "\n" not in str(decision)


def test_an_exit_code_tells_systemd_whether_to_try_again() -> None:
    assert {verdict.name: verdict.value for verdict in Verdict} == {"START": 0, "FENCED": 1, "HOLD": 255}


TIMELINES = st.integers(1, 5)
SYSTEMS = st.sampled_from([OURS, THEIRS])
UPSTREAMS = st.sampled_from([None, OF_PG1, OF_PG2, Upstream("pg1", "", 5433)])
PEERS = st.sampled_from([PG2, PG3, Member("pg4", "10.0.0.34", 5432)])
SEEN = st.one_of(
    st.builds(Seen, PEERS, silence=st.just("no answer in time")),
    st.builds(Seen, PEERS, st.just(Role.PRIMARY), TIMELINES, SYSTEMS),
    st.builds(Seen, PEERS, st.just(Role.STANDBY), TIMELINES, SYSTEMS, UPSTREAMS),
    st.builds(Seen, PEERS, st.just(Role.STANDBY), TIMELINES, SYSTEMS, mute=st.just("permission denied")),
)
TEXTS = st.one_of(st.none(), st.just(""), st.just("somebody said so"))
STOPPED = st.builds(
    Stopped, st.booleans(), st.booleans(), TIMELINES, st.just(OURS), TEXTS, TEXTS, st.sampled_from(["", "", "", "CRC"])
)
WORLD = st.tuples(STOPPED, st.lists(SEEN, max_size=4), st.booleans())
World = tuple[Stopped, list[Seen], bool]


def would_be_primary(local: Stopped) -> bool:
    return local.data and not local.standby


@given(WORLD)
def test_never_a_primary_beside_or_after_another(world: World) -> None:
    local, seen, _always = world
    ours = [peer for peer in seen if peer.system_identifier == OURS]
    if would_be_primary(local) and any(p.role is Role.PRIMARY or p.timeline > local.timeline for p in ours):
        assert pg_guard.decide(PG1, *world).verdict is not Verdict.START


@given(WORLD)
def test_the_marker_always_wins(world: World) -> None:
    local, _seen, _always = world
    if would_be_primary(local) and local.fence is not None:
        assert pg_guard.decide(PG1, *world).verdict is Verdict.FENCED


@given(WORLD)
def test_a_standby_always_starts(world: World) -> None:
    if not would_be_primary(world[0]):
        assert pg_guard.decide(PG1, *world).verdict is Verdict.START


@given(WORLD)
def test_a_primary_starts_for_a_reason(world: World) -> None:
    local, seen, always = world
    if would_be_primary(local) and pg_guard.decide(PG1, *world).verdict is Verdict.START:
        assert local.fence is None
        assert (
            not seen
            or always
            or local.permission is not None
            or any(
                (p.role, p.timeline, p.system_identifier, p.follows) == (Role.STANDBY, local.timeline, OURS, OF_PG1)
                for p in seen
            )
        )


@given(WORLD)
def test_the_user_decides_only_when_nobody_knows(world: World) -> None:
    local, seen, _always = world
    verdicts = {pg_guard.decide(PG1, local, seen, always).verdict for always in (False, True)}
    assert verdicts in ({Verdict.START}, {Verdict.FENCED}, {Verdict.HOLD}, {Verdict.HOLD, Verdict.START})


@given(WORLD, st.randoms())
def test_the_order_of_the_peers_decides_nothing(world: World, random: Any) -> None:
    local, seen, always = world
    shuffled = random.sample(seen, len(seen))
    assert pg_guard.decide(PG1, *world).verdict is pg_guard.decide(PG1, local, shuffled, always).verdict


@given(WORLD)
def test_another_cluster_is_as_good_as_silence(world: World) -> None:
    local, seen, always = world
    silenced = [Seen(p.peer, silence="no") if p.system_identifier == THEIRS else p for p in seen]
    assert pg_guard.decide(PG1, *world).verdict is pg_guard.decide(PG1, local, silenced, always).verdict


@given(WORLD)
def test_what_is_certain_alone_needs_no_peer(world: World) -> None:
    local, seen, _always = world
    alone = pg_guard.decide_alone(local, len(seen))
    assert alone is None or alone == pg_guard.decide(PG1, *world)


RUNNING = Running(pid=7, role=Role.PRIMARY, timeline=3, system_identifier=OURS, answered=True)


@pytest.mark.parametrize(
    ("own", "seen", "found", "named"),
    [
        pytest.param({}, [DEAD2, primary(PG3)], PG3, [PG3], id="replaced"),
        pytest.param({"answered": False}, [primary(PG3)], PG3, [PG3], id="replaced while it was frozen"),
        pytest.param({}, [primary(PG2), primary(PG3, 5)], PG3, [PG3, PG2], id="replaced twice"),
        pytest.param({}, [primary(PG2, 3)], None, [PG2], id="a primary on the same timeline"),
        pytest.param({}, [primary(PG2, 2)], None, [PG2], id="the one that this one replaced"),
        pytest.param({}, [primary(PG2, 9, THEIRS)], None, [], id="a primary of another cluster"),
        pytest.param(
            {}, [standby(PG2, 4, OF_PG2), DEAD3], None, [], id="a standby proves nothing to a running primary"
        ),
        pytest.param({"role": Role.STANDBY}, [primary(PG2)], None, [], id="a standby has no rival"),
    ],
)
def test_while_it_runs(own: dict[str, Any], seen: list[Seen], found: Member | None, named: list[Member]) -> None:
    running = dataclasses.replace(RUNNING, **own)
    proof = pg_guard.successor(running, seen)
    assert (proof and proof.peer) == found
    assert [rival.peer for rival in pg_guard.rivals(running, seen)] == named


@given(st.lists(SEEN), TIMELINES, st.sampled_from(Role))
def test_a_primary_is_only_stopped_for_a_later_one(seen: list[Seen], timeline: int, role: Role) -> None:
    own = dataclasses.replace(RUNNING, timeline=timeline, role=role)
    later = [p for p in seen if p.role is Role.PRIMARY and p.system_identifier == OURS and p.timeline > timeline]
    assert (pg_guard.successor(own, seen) in later) if later and role is Role.PRIMARY else True
    assert bool(pg_guard.successor(own, seen)) is bool(later and role is Role.PRIMARY)


@pytest.mark.parametrize(
    ("conninfo", "upstream"),
    [
        ("", None),
        ("user=replication port=5432", None),
        ("host=pg1", Upstream("pg1", "", 5432)),
        ("host=pg1 hostaddr=10.0.0.31 port=5433 user=replication", Upstream("pg1", "10.0.0.31", 5433)),
        ("user = 'replication' host = 'pg1' port = '5432'", Upstream("pg1", "", 5432)),
        (r"application_name='it\'s host=pg9' host=pg1", Upstream("pg1", "", 5432)),
        ("hostaddr=10.0.0.31", Upstream("", "10.0.0.31", 5432)),
        ("host=pg1,pg2 port=5432,5432", Upstream("pg1,pg2", "", 0)),
    ],
)
def test_whom_a_standby_follows(conninfo: str, upstream: Upstream | None) -> None:
    assert pg_guard.parse_upstream(conninfo) == upstream


def test_one_of_several_upstreams_is_not_this_member() -> None:
    several = pg_guard.parse_upstream("host=pg1,pg2 hostaddr=10.0.0.31,10.0.0.32 port=5432,5432")
    assert several is not None
    assert not several.is_member(PG1)


# ---- Files -------------------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "PG_VERSION").write_text("17\n")
    return Config(
        me=PG1,
        peers=(PG2, PG3),
        version=17,
        cluster="main",
        data_directory=tmp_path / "data",
        binaries=tmp_path / "bin",
        user="replication",
        passfile="",
        sslmode="disable",
        sslrootcert="",
        state_directory=tmp_path,
        run_directory=tmp_path,
    )


def known(_config: Config) -> tuple[str, int]:
    return OURS, 3


def test_a_signal_file_makes_a_standby(config: Config) -> None:
    assert not pg_guard.read_stopped(config, known).standby
    (config.data_directory / "standby.signal").touch()
    assert pg_guard.read_stopped(config, known).standby


def test_what_was_restored_from_a_backup_will_take_writes(config: Config) -> None:
    (config.data_directory / "recovery.signal").touch()
    assert not pg_guard.read_stopped(config, known).standby


def test_an_empty_folder_is_no_data(config: Config) -> None:
    (config.data_directory / "PG_VERSION").unlink()
    assert not pg_guard.read_stopped(config, known).data
    config.data_directory.rmdir()
    assert not pg_guard.read_stopped(config, known).data


def test_what_stands_beside_the_data(config: Config, tmp_path: Path) -> None:
    assert pg_guard.read_stopped(config, known) == CRASHED
    (tmp_path / "17-main.fenced").write_text("pg2 took over.\n")
    (tmp_path / "17-main.start").write_text("site.yml\n")
    found = pg_guard.read_stopped(config, known)
    assert (found.fence, found.permission) == ("pg2 took over", "site.yml")


@pytest.mark.parametrize(("age", "counts"), [(0, True), (119, True), (121, False), (-121, False)])
def test_a_permission_is_for_now(config: Config, age: float, counts: bool) -> None:
    config.permission_file.write_text("site.yml\n")
    at = time.time() - age
    os.utime(config.permission_file, (at, at))
    assert (pg_guard.read_permission(config) == "site.yml") is counts


def program(config: Config, script: str) -> None:
    config.binaries.mkdir(exist_ok=True)
    path = config.binaries / "pg_controldata"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


CONTROL = """cat <<'END'
Database system identifier:           7300000000000000001
Latest checkpoint's TimeLineID:       {checkpoint}
Min recovery ending loc's timeline:   {recovery}
END"""


@pytest.mark.parametrize(("checkpoint", "recovery", "timeline"), [(3, 0, 3), (3, 4, 4), (3, 2, 3)])
def test_the_timeline_of_a_stopped_instance(config: Config, checkpoint: int, recovery: int, timeline: int) -> None:
    program(config, CONTROL.format(checkpoint=checkpoint, recovery=recovery))
    assert pg_guard.control_data(config) == (OURS, timeline)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        pytest.param("echo 'no such directory' >&2; exit 1", "can't be trusted: no such directory", id="an error"),
        pytest.param("echo 'WARNING: Calculated CRC checksum'; " + CONTROL, "can't be trusted: WARNING", id="broken"),
        pytest.param("echo 'Database system identifier:  73'", "can't be trusted", id="another version"),
        pytest.param("sleep 9", "can't be read", id="a disk that doesn't answer"),
        pytest.param(None, "can't be read", id="no such program"),
    ],
)
def test_a_control_file_that_says_nothing_holds_the_start(config: Config, script: str | None, words: str) -> None:
    if script is not None:
        program(config, script)
    config = dataclasses.replace(config, timeout=0.3)
    local = pg_guard.read_stopped(config)
    assert words in local.unreadable
    assert pg_guard.decide(PG1, local, [standby(PG2)], True).verdict is Verdict.HOLD


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "17-main.fenced"
    for text in ("first", "second"):
        pg_guard.write_durably(path, text)
        assert path.read_text() == f"{text}\n"
    assert [file.name for file in tmp_path.iterdir()] == ["17-main.fenced"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    "text", ["", "\n", "-77\n/data\n", "nonsense\n", "1\n/data\n", "999999999\n/data\n"],
    ids=["empty", "a line", "single-user mode", "nonsense", "somebody else's number", "nobody's number"],
)  # fmt: skip
def test_a_pid_file_alone_is_no_server(tmp_path: Path, text: str) -> None:
    (tmp_path / "postmaster.pid").write_text(text)
    assert pg_guard.running_postmaster(tmp_path) is None


def test_a_server_is_known_by_its_directory(tmp_path: Path) -> None:
    assert pg_guard.running_postmaster(tmp_path) is None
    with subprocess.Popen(["sleep", "60"], cwd=tmp_path) as process:
        lines = [str(process.pid), str(tmp_path), "1", "5432", "/run", "*", "1 1", "stopping"]
        (tmp_path / "postmaster.pid").write_text("\n".join(lines) + "\n")
        assert pg_guard.running_postmaster(tmp_path) == pg_guard.Postmaster(process.pid, "stopping")
        # Of another directory it is not, whatever the file says.
        (tmp_path / "other").mkdir()
        (tmp_path / "postmaster.pid").rename(tmp_path / "other" / "postmaster.pid")
        assert pg_guard.running_postmaster(tmp_path / "other") is None
        assert not pg_guard.end_postmaster(tmp_path / "other", process.pid)
        assert process.poll() is None
        process.kill()


# ---- Configuration and exit codes --------------------------------------------------------------------


def rendered(**changes: Any) -> str:
    """The configuration as the role writes it."""
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    environment.filters["to_json"] = json.dumps
    path = ROOT / "roles/pg_instance/templates/pg_guard.json.j2"
    peers = [{**dataclasses.asdict(peer), "role": "replica", "slot": peer.name} for peer in (PG2, PG3)]
    values = {
        "pg_instance_name": "pg1",
        "pg_instance_address": "10.0.0.31",
        "pg_instance_port": 5432,
        "pg_instance_peers": peers,
        "pg_instance_version": 17,
        "pg_instance_unattended_start": "vouched",
        "__pg_instance_config": "/etc/postgresql/17/main",
        "__pg_instance_data": "/var/lib/postgresql/17/main",
    }
    return environment.from_string(path.read_text()).render({**values, **changes})


def test_the_guard_reads_what_the_role_writes(tmp_path: Path) -> None:
    (tmp_path / "17-main.json").write_text(rendered())
    config = Config.load(tmp_path / "17-main.json")
    assert (config.me, config.peers, config.unattended_start) == (PG1, (PG2, PG3), False)
    assert config.fence_file == Path("/var/lib/postgresql/17-main.fenced")
    assert config.hold_file == Path("/var/lib/postgresql/17-main.held")
    assert config.permission_file == Path("/run/postgresql/17-main.start")
    assert config.binaries == Path("/usr/lib/postgresql/17/bin")
    settings = pg_guard.peer_settings(config, PG2)
    assert (settings["host"], settings["hostaddr"]) == ("pg2", "10.0.0.32")
    assert (settings["sslmode"], settings["user"], settings["dbname"]) == ("verify-full", "replication", "postgres")
    assert settings["passfile"] == "/etc/postgresql/17/main/replication.pgpass"


def test_the_site_offers_the_choice_as_the_role_does() -> None:
    option, site = spec("pg_instance")["pg_instance_unattended_start"], SITE_OPTIONS["pg_unattended_start"]
    assert (site["choices"], site["default"]) == (option["choices"], option["default"])
    assert site["description"] == option["description"].replace("`", "")


@pytest.mark.parametrize("peers", [[], [dataclasses.asdict(PG2)]], ids=["alone", "one peer"])
def test_a_cluster_of_any_size(tmp_path: Path, peers: list[dict[str, Any]]) -> None:
    (tmp_path / "17-main.json").write_text(rendered(pg_instance_peers=peers, pg_instance_unattended_start="always"))
    config = Config.load(tmp_path / "17-main.json")
    assert len(config.peers) == len(peers)
    assert config.unattended_start


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "No such file"),
        ("{", "JSONDecodeError"),
        ("{}", "KeyError"),
        (rendered(pg_instance_unattended_start="sometimes"), "expected vouched or always"),
    ],
    ids=["no file", "half a file", "an empty one", "an unknown choice"],
)
def test_a_guard_that_cannot_work_never_gives_up_for_good(
    tmp_path: Path, text: str | None, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "17-main.json"
    if text is not None:
        path.write_text(text)
    assert pg_guard.main(["boot", "--config", str(path)]) == 255
    assert words in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["boot"], ["stop", "--config", "x"], ["boot", "--config", "x", "--force"]])
def test_a_wrong_command_line_never_gives_up_for_good(arguments: list[str]) -> None:
    assert pg_guard.main(arguments) == 255


def test_the_reason_stays_until_it_starts(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    config.permission_file.write_text("site.yml\n")
    pg_guard.note(config, Decision(Verdict.HOLD, "nobody vouches"))
    assert config.hold_file.read_text() == "nobody vouches\n"
    assert config.permission_file.exists()
    pg_guard.note(config, Decision(Verdict.FENCED, "pg2 took over"))
    assert config.hold_file.read_text() == "pg2 took over\n"
    assert not config.permission_file.exists()
    config.permission_file.write_text("site.yml\n")
    pg_guard.note(config, Decision(Verdict.START, "permitted"))
    assert not config.hold_file.exists()
    assert not config.permission_file.exists()
    pg_guard.note(dataclasses.replace(config, state_directory=Path("/nonexistent")), Decision(Verdict.HOLD, "x"))
    assert "can't be changed" in capsys.readouterr().out
