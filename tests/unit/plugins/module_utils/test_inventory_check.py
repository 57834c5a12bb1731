# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.renfo.redundancy.plugins.module_utils.inventory_check import (
    Spec,
    missing_names,
    unknown_names,
    wrong_values,
)
from hypothesis import given
from hypothesis import strategies as st

SPEC: Spec = {
    "pg_port": {"type": "int", "default": 5432},
    "pg_synchronous": {"type": "str", "choices": ["any_1", "off"]},
    "site_name": {
        "type": "str",
        "required": True,
        "description": "Public name of the site: browsers ask for it. And so on.",
    },
    "nginx_lb_https_port": {"type": "int", "default": 443},
    "nginx_lb_groups": {"type": "list", "elements": "str", "default": []},
    "pg_instance_peers": {
        "type": "list",
        "elements": "dict",
        "options": {"name": {"type": "str", "required": True}, "port": {"type": "int", "required": True}},
    },
    "pg_replication_password": {"type": "str", "no_log": True},
}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        pytest.param(
            "nginx_lb_htps_port",
            "lb1: nginx_lb_htps_port is not a variable of this collection. Did you mean nginx_lb_https_port?",
            id="a letter is missing",
        ),
        pytest.param(
            "site_xyzzy_plugh",
            "lb1: site_xyzzy_plugh is not a variable of this collection. "
            "Remove it, or see the role's README for what there is.",
            id="nothing is near",
        ),
    ],
)
def test_a_mistyped_name(name: str, sentence: str) -> None:
    assert list(unknown_names("lb1", [name, "pg_port"], SPEC)) == [sentence]


@pytest.mark.parametrize(
    "name", ["ansible_host", "lab_name", "postgres_version", "my_site_name", "__pg_instance_config"]
)
def test_variables_of_others_are_left_alone(name: str) -> None:
    assert list(unknown_names("lb1", [name], SPEC)) == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        pytest.param(
            "pg_port", "five", ["pg1: argument 'pg_port' is of type", "convert to int"], id="a number in words"
        ),
        pytest.param(
            "pg_synchronous",
            "any_2",
            ["pg1: value of pg_synchronous must be one of: any_1, off", "any_2"],
            id="no such choice",
        ),
        pytest.param(
            "nginx_lb_groups",
            {"a": 1},
            ["pg1: argument 'nginx_lb_groups' is of type", "convert to list"],
            id="a dictionary for a list",
        ),
        pytest.param(
            "site_name",
            [],
            ["pg1: site_name is a list, expected a single value. Remove the brackets or the dash."],
            id="an empty list for a text",
        ),
        pytest.param(
            "site_name",
            {"a": "b"},
            ["pg1: site_name is a dictionary, expected a single value."],
            id="a dictionary for a text",
        ),
        pytest.param(
            "pg_instance_peers",
            [{"name": "pg2", "port": "x"}],
            ["pg1: ", "'port'", "convert to int"],
            id="a wrong value further in",
        ),
        pytest.param(
            "pg_instance_peers",
            [{"name": "pg2", "prot": 1}],
            ["pg1: ", "prot", "name, port"],
            id="an unknown key further in",
        ),
    ],
)
def test_a_mistyped_value(name: str, value: Any, said: list[str]) -> None:
    problems = list(wrong_values("pg1", {name: value}, SPEC))
    assert len(problems) == 1
    for words in said:
        assert words in problems[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("pg_port", "5433", id="a number in quotes"),
        pytest.param("pg_synchronous", False, id="a bare off, which YAML reads as false"),
        pytest.param("pg_port", None, id="nothing at all"),
        pytest.param("nginx_lb_groups", ["media"], id="a list"),
        pytest.param("pg_instance_peers", [{"name": "pg2"}], id="what the playbook may still add"),
        pytest.param("not_ours", [], id="a variable without a spec"),
    ],
)
def test_good_values(name: str, value: Any) -> None:
    assert list(wrong_values("pg1", {name: value}, SPEC)) == []


def test_a_secret_is_not_repeated() -> None:
    (problem,) = wrong_values("pg1", {"pg_replication_password": ["hunter2"]}, SPEC)
    assert "hunter2" not in problem


def test_what_nobody_gives_is_asked_for() -> None:
    assert list(missing_names("pg1", {}, SPEC, [])) == [
        "pg1: site_name is not set. Public name of the site: browsers ask for it."
    ]
    assert list(missing_names("pg1", {"site_name": "shop.example"}, SPEC, [])) == []
    assert list(missing_names("pg1", {}, SPEC, ["site_name"])) == []


def test_a_description_in_paragraphs() -> None:
    spec = {"a": {"required": True, "description": ["First one. More.", "Second."]}}
    assert list(missing_names("pg1", {}, spec, [])) == ["pg1: a is not set. First one."]


@given(
    st.dictionaries(
        st.sampled_from(sorted(SPEC)),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
        ),
    )
)
def test_whatever_is_given_gets_an_answer(variables: dict[str, Any]) -> None:
    assert all(problem.startswith("pg1: ") for problem in wrong_values("pg1", variables, SPEC))
