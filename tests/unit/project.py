"""The files of the project, as tests of its structure read them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if (path / "tasks").is_dir())
Task = dict[str, Any]


class _Loader(yaml.SafeLoader):
    """Knows Ansible's own tags; their content is text."""


for _tag in ("!vault", "!unsafe"):
    _Loader.add_constructor(_tag, lambda loader, node: loader.construct_scalar(node))


def load(path: Path) -> Any:
    """The YAML document in *path*, None for an empty one."""
    return yaml.load(path.read_text(encoding="utf-8"), _Loader)


def spec(role: str) -> dict[str, dict[str, Any]]:
    """Options of a role, from its argument spec."""
    options: dict[str, dict[str, Any]] = load(ROOT / "roles" / role / "meta/argument_specs.yml")["argument_specs"][
        "main"
    ]["options"]
    return options


def variables(role: str, folder: str) -> dict[str, Any]:
    """What the role's ``defaults`` or ``vars`` define."""
    found: dict[str, Any] = {}
    for path in sorted((ROOT / "roles" / role / folder).glob("*.yml")):
        found |= load(path) or {}
    return found


def sources(role: str) -> list[Path]:
    """Every file of a role that can mention a variable."""
    folders = ("tasks", "handlers", "templates", "vars", "defaults", "files")
    return sorted(path for folder in folders for path in (ROOT / "roles" / role / folder).rglob("*") if path.is_file())


def code(path: Path) -> str:
    """The text of *path* without what stands in lines of comment."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"\{#.*?#\}", "", text, flags=re.DOTALL)
    return "\n".join("" if line.lstrip().startswith("#") else line for line in text.split("\n"))


def tasks_of(document: Any) -> Iterator[Task]:
    """Every task of a list of tasks or plays, blocks taken apart. A block itself is no task."""
    for item in document or []:
        inner = [
            key for key in ("block", "rescue", "always", "pre_tasks", "tasks", "post_tasks", "handlers") if key in item
        ]
        for key in inner:
            yield from tasks_of(item[key])
        if not inner and "hosts" not in item and "ansible.builtin.import_playbook" not in item:
            yield item


def task_files(role: str) -> list[Path]:
    """The task and handler files of a role."""
    return [path for path in sources(role) if path.parent.name in ("tasks", "handlers")]


def role_calls(play: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Roles that a play runs, without the collection's name, with the variables it gives them."""
    for item in play.get("roles", []):
        call = {"role": item} if isinstance(item, str) else item
        yield call["role"].rpartition(".")[2], call.get("vars", {})
    for task in tasks_of([play]):
        for verb in ("import_role", "include_role"):
            if f"ansible.builtin.{verb}" in task:
                yield task[f"ansible.builtin.{verb}"]["name"].rpartition(".")[2], task.get("vars", {})
