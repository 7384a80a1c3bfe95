"""What an attacker sends, or a program that went wrong: refused, and never in the way of others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.db.rows import value
from tests.serving import serving
from tests.trouble.refusal import refused, run

if TYPE_CHECKING:
    from pathlib import Path


def deep(levels: int) -> str:
    return '{"a":' + "[" * levels + "]" * levels + "}"


@pytest.mark.parametrize(
    "details",
    [deep(120), deep(800), deep(100_000), '{"a": "\\u0000"}', '{"a": NaN}', '{"\\ud800": 1}'],
    ids=["deep", "deeper", "deepest", "nul", "nan", "surrogate"],
)
def test_details_that_could_not_be_read_again_are_refused(
    tmp_path: Path, dsn: str, details: str
) -> None:
    file = tmp_path / "details.json"
    file.write_text(details)
    refused(
        tmp_path,
        "memory",
        "record",
        "note",
        "x",
        "--details",
        f"@{file}",
        status=2,
        code="invalid_input",
        database_url=dsn,
    )
    assert value(dsn, "SELECT count(*) FROM episodic_memory") == 0


def test_text_that_only_looks_like_an_escape_is_kept(tmp_path: Path, dsn: str) -> None:
    details = json.dumps({"regex": "\\u0000", "nested": [[[]]]})
    done = run(
        tmp_path, "memory", "record", "note", "x", "--details", details, "--json", database_url=dsn
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["details"] == json.loads(details)


def test_attacks_over_http_are_refused_and_others_go_on(tmp_path: Path, dsn: str) -> None:
    place = "/v1/memory/episodes"
    good = {"event_type": "note", "summary": "x'; DROP TABLE episodic_memory; --"}
    with serving(tmp_path, database_url=dsn, embedder="none") as served, served.http() as http:
        assert http.post(place, json=good).status_code == 201
        start = '{"event_type": "note", "summary": "x", "metadata": '
        for body, status in (
            (start + deep(120) + "}", 400),
            (start + deep(800) + "}", 400),
            (start + deep(100_000) + "}", 400),
            (start + '{"a": "\\u0000"}}', 422),
            ('{"event_type": "note", "summary": "a\\u0000b"}', 422),
            ('{"event_type": "note", "summary": "' + "a" * 5_000_000 + '"}', 413),
            ("{", 400),
            ("[]", 422),
        ):
            refusal = http.post(
                place, content=body.encode(), headers={"Content-Type": "application/json"}
            )
            assert refusal.status_code == status, refusal.text
            assert refusal.headers["content-type"] == "application/problem+json"
            assert refusal.json()["code"]
        for headers in ({"Authorization": "Bearer wrong"}, {"Authorization": ""}):
            assert http.get(place, headers=headers).status_code == 401
        assert http.get(place, headers={"Host": "evil.example"}).status_code == 421
        for query in ("%_\\ & | ! :* <-> (((", "' OR 1=1 --", "x" * 10_000):
            answer = http.post("/v1/memory/recall", json={"query": query})
            assert answer.status_code == 200, answer.text
        items = http.get(place).json()["items"]
        assert [item["summary"] for item in items] == [good["summary"]]


def test_namespaces_never_meet(tmp_path: Path, dsn: str) -> None:
    def ask(*arguments: str) -> str:
        done = run(tmp_path, *arguments, "--json", database_url=dsn)
        assert done.returncode == 0, done.stderr
        return done.stdout

    row = json.loads(ask("memory", "record", "note", "theirs", "--namespace", "them"))["id"]
    fact = json.loads(ask("memory", "facts", "record", "hull", "is red", "--namespace", "them"))[
        "id"
    ]
    for command in (
        ("memory", "get", str(row)),
        ("memory", "update", str(row), "--summary", "mine"),
        ("memory", "delete", str(row), "--yes"),
        ("memory", "facts", "get", str(fact)),
        ("memory", "facts", "delete", str(fact), "--yes"),
    ):
        refused(tmp_path, *command, status=3, code="not_found", database_url=dsn)
    assert json.loads(ask("memory", "recall", "theirs"))["results"] == []
    with serving(tmp_path, database_url=dsn, embedder="none") as served, served.http() as http:
        for path in (f"/v1/memory/episodes/{row}", f"/v1/memory/facts/{fact}"):
            assert http.get(path).status_code == 404
            assert http.delete(path).status_code == 404
            assert http.get(path, params={"namespace": "them"}).status_code == 200
    assert json.loads(ask("memory", "get", str(row), "--namespace", "them"))["summary"] == "theirs"
