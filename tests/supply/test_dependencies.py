"""The check of what is installed: each fault is made, seen, and gone again."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PathDistribution
from typing import TYPE_CHECKING, Any

import pytest

from tools import dependencies, licences
from tools.installed import ROOT, Recorded, distributions, read_lock, records
from tools.vulnerabilities import CANARY, audit

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from importlib.metadata import Distribution
    from pathlib import Path

#: Hash of b"content", as RECORD has it.
CONTENT = "7XACtDnprIRfIjV9giusFERzD722AW0-yUMil7nsn3M"


def _package(
    folder: Path, name: str = "sample", version: str = "1.0", **fields: str
) -> Distribution:
    """Make an installed package of one module."""
    (folder / f"{name}.py").write_bytes(b"content")
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(exist_ok=True)
    lines = [f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}"]
    lines += [f"{field.replace('_', '-')}: {value}" for field, value in fields.items()]
    (info / "METADATA").write_text("\n".join(lines) + "\n\n")
    (info / "RECORD").write_text(
        f"{name}.py,sha256={CONTENT},7\n{name}-{version}.dist-info/RECORD,,\n"
        f"__pycache__/{name}.cpython-311.pyc,,\n"
    )
    return PathDistribution(info)


def test_this_environment_is_as_the_locks_say() -> None:
    installed = distributions()
    locks = {n: read_lock(ROOT / n) for n in ("requirements.lock", "requirements-dev.lock")}
    assert dependencies.unlike_locks(installed, locks) == []
    assert dependencies.strangers(installed, locks) == []


def test_this_environments_licences_are_taken() -> None:
    locked = {n: d for n, d in distributions().items() if n != "aegis-core"}
    assert licences.refused(locked) == []


def test_another_version_a_missing_and_a_strange_package_are_named(tmp_path: Path) -> None:
    installed = {"sample": _package(tmp_path), "stranger": _package(tmp_path, "stranger")}
    locks = {"the.lock": {"sample": "1.1", "gone": "2.0"}}
    assert dependencies.unlike_locks(installed, locks) == [
        "gone 2.0 of the.lock is not installed",
        "sample is 1.0, the.lock says 1.1",
    ]
    assert dependencies.strangers(installed, locks) == ["stranger is in no lock"]


def _changed(sample: Distribution, *, full: bool) -> list[str]:
    return dependencies.changed_files(records(sample), full=full)


def test_files_are_compared_by_size_and_in_full_by_hash(tmp_path: Path) -> None:
    sample = _package(tmp_path)
    assert (_changed(sample, full=False), _changed(sample, full=True)) == ([], [])
    (tmp_path / "sample.py").write_bytes(b"CONTENT")
    assert _changed(sample, full=False) == []
    (found,) = _changed(sample, full=True)
    assert found.endswith("sample.py is not what the package brought")
    (tmp_path / "sample.py").write_bytes(b"more than that")
    (found,) = _changed(sample, full=False)
    assert found.endswith("has 14 bytes, not 7")
    (tmp_path / "sample.py").unlink()
    (found,) = _changed(sample, full=False)
    assert "cannot be read" in found


def test_a_weak_hash_proves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    weak = Recorded(package="p", path=path, algorithm="md5", digest="x", size=7)
    (found,) = dependencies.changed_files([weak], full=True)
    assert found.endswith("is noted with md5, which proves nothing")


def test_what_runs_at_every_start_is_of_a_package(tmp_path: Path) -> None:
    installed = {"sample": _package(tmp_path)}
    assert dependencies.unlisted_starters(installed, set()) == []
    (tmp_path / "evil.pth").write_text("import os")
    assert dependencies.unlisted_starters(installed, set()) == [
        "evil.pth runs at every start and is of no package"
    ]
    assert dependencies.unlisted_starters(installed, {tmp_path / "evil.pth"}) == []


@pytest.mark.parametrize(
    ("expression", "taken"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("MIT AND GPL-3.0-only", False),
        ("MIT OR GPL-3.0-only", True),
        ("MPL-2.0 AND (Apache-2.0 OR GPL-3.0-only)", True),
        ("(MIT OR Apache-2.0) AND AGPL-3.0-only", False),
        ("MPL-1.1 OR GPL-2.0-only OR LGPL-2.1-or-later", True),
        ("none named", False),
        ("", False),
        ("(MIT", False),
        ("MIT AND", False),
    ],
)
def test_expressions_of_licences(expression: str, taken: bool) -> None:
    assert licences.is_taken(expression) is taken


def test_licences_are_read_where_packages_name_them(tmp_path: Path) -> None:
    def of(**fields: str) -> str:
        return licences.licence_of("sample", _package(tmp_path, **fields))

    assert of(License_Expression="MIT") == "MIT"
    assert of(Classifier="License :: OSI Approved :: Apache Software License") == "Apache-2.0"
    assert of(License="BSD") == "BSD-3-Clause"
    assert of() == "none named"
    assert licences.refused({"sample": _package(tmp_path, License="Proprietary")}) == [
        "sample is under 'Proprietary'"
    ]


@contextmanager
def _service(answer: Callable[[str, str], Any]) -> Generator[str]:
    """Serve OSV's question on loopback; `answer(name, version)` is its JSON, None for an error."""

    class Asked(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found = answer(body["package"]["name"], body["version"])
            self.send_response(500 if found is None else 200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Asked)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
    finally:
        server.shutdown()
        server.server_close()


def _vulnerable(name: str) -> Any:
    entry = {
        "id": "PYSEC-2019-217",
        "summary": "Sandbox escape",
        "details": "More.",
        "published": "2019-04-07T00:29:00Z",
        "affected": [
            {
                "package": {"name": name, "ecosystem": "PyPI"},
                "ranges": [
                    {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "9.9"}]}
                ],
            }
        ],
    }
    return {"vulns": [entry]}


def test_a_vulnerable_version_is_found_and_a_good_one_is_none() -> None:
    bad = {CANARY, ("sample", "1.0")}
    with _service(lambda n, v: _vulnerable(n) if (n, v) in bad else {}) as url:
        found = audit({"sample": "1.0", "other": "2.0"}, osv_url=url)
        good = audit({"other": "2.0"}, osv_url=url)
    assert found.state == "found"
    assert found.text == "✗ sample 1.0: PYSEC-2019-217, mended in 9.9"
    assert (good.state, good.text) == ("none known", "No known vulnerability in 1 packages.")


def test_a_service_that_knows_nothing_has_not_checked() -> None:
    with _service(lambda name, version: {}) as url:
        outcome = audit({"other": "2.0"}, osv_url=url)
    assert outcome.state == "could not check"
    assert "knows nothing of jinja2 2.10" in outcome.text


def test_a_service_that_fails_or_is_not_there_has_not_checked() -> None:
    with _service(lambda name, version: None) as url:
        assert audit({"other": "2.0"}, osv_url=url).state == "could not check"
    # Nobody listens there any more.
    outcome = audit({"other": "2.0"}, osv_url=url)
    assert outcome.state == "could not check"
    assert outcome.text.startswith("? Vulnerabilities: could not check: ")


def test_the_command_ends_with_what_was_found_and_says_when_nobody_could_look(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def call(*arguments: str) -> tuple[int, str]:
        status = dependencies.main(["--audit", *arguments])
        return status, capsys.readouterr().out

    def answer(name: str, version: str) -> Any:
        return _vulnerable(name) if (name, version) == CANARY else {}

    with _service(answer) as url:
        status, said = call("--strict", "--osv-url", url)
    assert (status, "No known vulnerability in" in said) == (0, True)
    # Offline: nothing is wrong with what is here, and nobody could look further.
    status, said = call("--osv-url", url)
    assert (status, "could not check" in said) == (0, True)
    status, said = call("--strict", "--osv-url", url)
    assert (status, "could not check" in said) == (3, True)
    known = next(iter(read_lock(ROOT / "requirements.lock")))
    with _service(lambda n, v: _vulnerable(n) if n == known else answer(n, v)) as url:
        status, said = call("--osv-url", url)
    assert (status, f"✗ {known} " in said) == (1, True)
