"""Rules about the source that no linter of ours knows."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.rules.source import ROOT, SOURCE, modules, tracked_files

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
#: Where SQL may stand. Elsewhere a driver is not even imported.
SQL_PLACES = re.compile(r"^(db/|ops/|(?:[a-z]+/)+store(\.py|/))")
#: May decide about a transaction: the pool itself, and what runs outside any.
COMMIT_PLACES = re.compile(r"^(db/|ops/)")
BANNED_NAMES = {"utils", "common", "helpers", "manager", "base", "data", "misc", "util"}


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lines_of_sql(node: ast.AST) -> int:
    """Count the lines of multi-line texts: SQL and docstrings do not make a function hard."""
    return sum(
        (text.end_lineno or text.lineno) - text.lineno
        for text in ast.walk(node)
        if isinstance(text, ast.Constant) and isinstance(text.value, str)
    )


def test_every_file_fits_a_few_screens() -> None:
    long = {
        path.relative_to(ROOT).as_posix(): count
        for path in tracked_files()
        if path.suffix == ".py" and (count := len(path.read_text().splitlines())) > MAX_FILE_LINES
    }
    assert long == {}


def test_every_function_fits_a_screen() -> None:
    long = {
        f"{name}:{function.name}": length
        for name, tree in modules().items()
        for function in functions(tree)
        if (
            length := (function.end_lineno or 0) - function.lineno + 1 - lines_of_sql(function)
            - len(function.args.kwonlyargs) * 2
        )
        > MAX_FUNCTION_LINES
    }  # fmt: skip
    assert long == {}


def test_sql_is_spoken_only_where_it_lives() -> None:
    speakers = {
        name
        for name, tree in modules().items()
        if not SQL_PLACES.match(name)
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        and any(
            alias.startswith(("psycopg", "sqlalchemy"))
            for alias in (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else [a.name for a in node.names]
            )
        )
    }
    assert speakers == set()


def test_nobody_commits_but_the_database_layer() -> None:
    callers = {
        f"{name}:{node.lineno}"
        for name, tree in modules().items()
        if not COMMIT_PLACES.match(name)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("commit", "rollback", "set_autocommit")
    }
    assert callers == set()


def test_errors_are_swallowed_only_at_the_outermost_edge() -> None:
    edges = re.compile(r"^(cli/main|cli/hook|api/(errors|door)|mcp/|worker|serve)")
    broad = {
        f"{name}:{handler.lineno}"
        for name, tree in modules().items()
        if not edges.match(name)
        for handler in ast.walk(tree)
        if isinstance(handler, ast.ExceptHandler)
        and (
            handler.type is None
            or (isinstance(handler.type, ast.Name) and handler.type.id == "Exception")
        )
    }
    assert broad == set()


def test_modules_are_named_after_things() -> None:
    stems = {path.stem for path in SOURCE.rglob("*") if path.suffix == ".py" or path.is_dir()}
    assert stems & BANNED_NAMES == set()


def test_public_functions_and_classes_say_what_they_do() -> None:
    silent = {
        f"{name}:{node.name}"
        for name, tree in modules().items()
        if "/versions/" not in name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and ast.get_docstring(node) is None
    }
    assert silent == set()


def test_every_module_says_what_it_is() -> None:
    assert {name for name, tree in modules().items() if not ast.get_docstring(tree)} == set()


def test_only_configuration_reads_the_environment() -> None:
    readers = {
        name
        for name, tree in modules().items()
        if name not in ("config.py",)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in ("environ", "getenv")
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    }
    # Child processes get a small environment, or ours with a password added; NO_COLOR is the
    # terminal's business.
    assert readers <= {
        "cli/hook.py",
        "cli/render.py",
        "db/cluster.py",
        "db/dump.py",
        "db/shell.py",
        "memory/importing/git.py",
    }


#: Spelt in pieces, so that this file does not name what it looks for.
FOREIGN = [
    "/" + "work/",
    r"\.\./" + "shared",
    "py" + r"pi\.org",
    "python" + "hosted",
    "registry." + "npmjs",
    "deb." + "debian",
]


@pytest.mark.parametrize("word", FOREIGN)
def test_project_speaks_of_itself_alone(word: str) -> None:
    pattern = re.compile(word)
    found = {
        path.relative_to(ROOT).as_posix()
        for path in tracked_files()
        if path.suffix not in (".png", ".gz", ".json.gz")
        and pattern.search(path.read_text(errors="replace"))
    }
    assert found == set()


def test_locks_hold_pinned_versions_and_nothing_else() -> None:
    for lock in ("requirements.lock", "requirements-dev.lock"):
        for line in (ROOT / lock).read_text().splitlines():
            assert re.fullmatch(r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==[A-Za-z0-9.]+", line), line


HEAVY = ["fastapi", "sqlalchemy", "alembic", "numpy", "onnxruntime", "psycopg", "mcp", "uvicorn"]


def test_command_line_starts_without_what_it_does_not_need() -> None:
    code = "import sys, aegis, aegis.cli.main; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert set(HEAVY) & set(loaded) == set()


#: What `aegis up` holds from its start is what most of its requests need; the rest comes with the
#: first request, schedule or node that needs it.
NOT_AT_START = [
    "alembic", "apprise", "asyncssh", "boto3", "botocore", "cel", "cryptography", "docker",
    "httpcore2", "httpx2", "lxml", "mcp", "mcp_types", "playwright", "pyarrow", "rich",
    "selectolax", "sqlalchemy", "stripe", "trafilatura", "yaml",
]  # fmt: skip


def test_serving_starts_without_what_is_not_asked_for() -> None:
    parts = ["background", "database", "process", "telemetry", "web", "working"]
    names = ", ".join(f"aegis.serve.{part}" for part in parts)
    # With the routes, as `aegis up` has them.
    code = f"import sys, {names}; aegis.api.app._application(aegis.api.app._routes())"
    code += "; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert {"fastapi", "uvicorn", "psycopg"} <= set(loaded)
    assert set(NOT_AT_START) & set(loaded) == set()


def test_no_merge_was_left_half_done() -> None:
    marks = ("<" * 7 + " ", ">" * 7 + " ")
    found = {
        f"{path.relative_to(ROOT).as_posix()}:{number}"
        for path in tracked_files()
        if path.suffix in (".md", ".py", ".toml", ".sql", "")
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if line.startswith(marks)
    }
    assert found == set()
