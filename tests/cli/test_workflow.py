"""`aegis workflow …`: save, look, run to the end, follow, answer, mend."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Shell

TEXT = """
name: hello
description: Says hello.
required: [name]
start: say
nodes:
  say: {type: set, params: {value: "hello {{ input.name }}"}}
  more: {type: decision}
  broken: {type: task, params: {function: no.such.task}, retry: {attempts: 1}}
edges:
  - {from: say, to: more}
  - {from: more, to: broken, when: input.name == "nobody"}
  - {from: more, to: end}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "hello.yaml"
    text = TEXT.replace("edges:", '  end: {type: set, params: {value: "{{ nodes.say }}"}}\nedges:')
    path.write_text(text)
    return str(path)


def test_a_workflow_is_saved_shown_drawn_and_put_away(aegis: Shell, file: str) -> None:
    assert "4 node(s)" in aegis("workflow", "save", file, "--check").out
    assert aegis("workflow", "list", "--json").json == {"items": []}
    saved = aegis("workflow", "save", file, "--json").json
    assert saved == {"name": "hello", "version": 1, "new": True}
    assert "says the same" in aegis("workflow", "save", file).out
    assert "hello" in aegis("workflow", "list").out
    shown = aegis("workflow", "show", "hello")
    assert "type: decision" in shown.out
    exported = aegis("workflow", "export", "hello", "--json").json
    assert exported["graph"]["start"] == "say"
    assert aegis("workflow", "graph", "hello").out.startswith("flowchart TD")
    changed = shown.out.replace("Says hello.", "Says it again.")
    Path(file).write_text(changed)
    assert aegis("workflow", "save", file, "--json").json["version"] == 2
    assert "+description: Says it again." in aegis("workflow", "diff", "hello", "1").out
    versions = aegis("workflow", "versions", "hello", "--json").json["items"]
    assert [item["version"] for item in versions] == [2, 1]
    assert aegis("workflow", "archive", "hello").status == 0
    assert aegis("workflow", "list", "--json").json == {"items": []}
    assert aegis("workflow", "activate", "hello").status == 0
    assert aegis("workflow", "delete", "hello").status == 2
    assert aegis("workflow", "delete", "hello", "--yes").status == 0
    assert aegis("workflow", "show", "hello").status == 3


def test_what_is_wrong_is_one_line_and_nothing_is_saved(aegis: Shell, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("name: x\nstart: a\nnodes: {a: {type: htp}}\n")
    outcome = aegis("workflow", "save", str(wrong))
    assert outcome.status == 2
    assert (
        "node a, type: 'htp' is not known; did you mean http? [workflow_invalid]"
        in (" ".join(outcome.err.split()))
        or "node a, type" in outcome.err
    )
    assert len(outcome.err.splitlines()) == 1
    assert aegis("workflow", "save", str(tmp_path / "gone.yaml")).status == 2
    assert aegis("workflow", "save").status == 2
    assert aegis("workflow", "save", "--example", "gone").status == 3


def test_an_execution_is_run_here_where_no_worker_lives(aegis: Shell, file: str) -> None:
    aegis("workflow", "save", file)
    done = aegis("workflow", "run", "hello", "--set", "name=Ada", "--wait")
    assert done.status == 0, done.err
    assert "it is run here" in done.err
    assert [line.split()[1] for line in done.out.splitlines()] == ["say", "more", "end"]
    (item,) = aegis("workflow", "executions", "--json").json["items"]
    assert item["status"] == "completed"
    shown = aegis("workflow", "status", item["id"])
    assert "output: hello Ada" in shown.out
    assert aegis("workflow", "status", item["id"], "--json").json["output"] == "hello Ada"
    steps = aegis("workflow", "history", item["id"], "--json").json["items"]
    assert [step["node"] for step in steps] == ["say", "more", "end"]
    watched = aegis("workflow", "watch", item["id"], "--json").out.splitlines()
    assert json.loads(watched[-1])["execution"]["status"] == "completed"
    drawn = aegis("workflow", "graph", "hello", "--execution", item["id"]).out
    assert "classDef completed" in drawn


def test_a_failed_execution_ends_with_1_and_can_be_retried(aegis: Shell, file: str) -> None:
    aegis("workflow", "save", file)
    failed = aegis("workflow", "run", "hello", "--input", '{"name": "nobody"}', "--wait")
    assert failed.status == 1
    assert "no.such.task" in failed.err
    (item,) = aegis("workflow", "executions", "--status", "failed", "--json").json["items"]
    assert "is running at broken" in aegis("workflow", "retry", item["id"]).err
    assert "is interrupted" in aegis("workflow", "pause", item["id"]).err
    assert "is running" in aegis("workflow", "resume", item["id"], "--set", "name=Ada").err
    assert aegis("workflow", "cancel", item["id"]).status == 2
    assert "is failed" in aegis("workflow", "cancel", item["id"], "--yes").err
    forked = aegis("workflow", "fork", item["id"], "1", "--set", "name=Eve").out.strip()
    assert forked != item["id"]
    assert aegis("workflow", "signal", forked, "word", "--payload", "[1]").status == 0
    assert aegis("workflow", "approve", forked, "say").status == 4


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("run", "nothing"), 3),
        (("run", "hello"), 2),
        (("run", "hello", "--set", "name"), 2),
        (("run", "hello", "--input", "[1]"), 2),
        (("run", "hello", "--set", "name=x", "--priority", "99"), 2),
        (("status", "nonsense"), 2),
        (("status", "00000000-0000-0000-0000-000000000000"), 3),
        (("executions", "--status", "lost"), 2),
        (("executions", "--cursor", "x"), 2),
    ],
)
def test_what_cannot_be_ends_with_its_status(
    aegis: Shell, file: str, arguments: tuple[str, ...], status: int
) -> None:
    aegis("workflow", "save", file)
    outcome = aegis("workflow", *arguments)
    assert outcome.status == status, outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_types_and_examples_are_listed_without_a_database(
    aegis: Shell, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("AEGIS_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    names = {item["type"] for item in aegis("workflow", "types", "--json").json["items"]}
    assert {"http", "sql", "approval", "fan_out"} <= names
    assert "memory_record" in aegis("workflow", "types").out
    assert "release-watch" in aegis("workflow", "examples").out


def test_a_role_that_reads_is_made_and_shown_once(aegis: Shell) -> None:
    assert aegis("workflow", "reader").status == 2
    made = aegis("workflow", "reader", "--role", "cli_reader", "--yes")
    assert made.status == 0, made.err
    assert made.out.startswith("AEGIS_WORKFLOWS_SQL_URL=")
    assert "cli_reader" in made.out
    assert aegis("workflow", "reader", "--table", "gone", "--yes").status == 2
