"""`aegis memory`: what people and programs see of episodes."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import psycopg
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Shell


def record(aegis: Shell, *more: str) -> int:
    done = aegis("memory", "record", "note", "The cat sat on the mat.", "--json", *more)
    assert done.status == 0, done.err
    return done.json["id"]


def test_recorded_episode_is_shown_as_it_was_given(aegis: Shell) -> None:
    given = aegis(
        *("memory", "record", "error", "Deploy failed", "--at", "2026-05-01T09:00:00+02:00"),
        *("--importance", "high", "--tag", "deploy", "--tag", "prod", "--decision", "roll back"),
        *("--details", '{"exit": 3}', "--session", "s-1", "--source-id", "k", "--json"),
    ).json
    shown = aegis("memory", "get", str(given["id"]), "--json").json
    assert shown == given
    assert shown["timestamp"] == "2026-05-01T07:00:00+00:00"
    assert (shown["tags"], shown["details"]) == (["deploy", "prod"], {"exit": 3})


def test_people_are_told_what_was_recorded(aegis: Shell) -> None:
    done = aegis("memory", "record", "note", "x", "--at", "2026-05-01T09:00:00+00:00")
    assert done.out == "Recorded episode 1 (note, 2026-05-01T09:00Z).\n"
    assert aegis("memory", "get", "1").out.startswith(
        "id                1\nnamespace         default\n"
    )


def test_summary_and_details_come_from_standard_input_and_files(
    aegis: Shell, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setattr("sys.stdin", io.StringIO("from a pipe\n"))
    (tmp_path / "d.json").write_text('{"from": "a file"}')
    made = aegis("memory", "record", "note", "-", "--details", f"@{tmp_path}/d.json", "--json").json
    assert (made["summary"], made["details"]) == ("from a pipe", {"from": "a file"})


def test_list_pages_through_everything(aegis: Shell) -> None:
    made = {record(aegis) for _ in range(5)}
    first = aegis("memory", "list", "-n", "3", "--json").json
    rest = aegis("memory", "list", "-n", "3", "--cursor", first["next_cursor"], "--json").json
    assert {e["id"] for e in first["items"] + rest["items"]} == made
    assert rest["next_cursor"] is None


def test_table_has_a_row_an_episode_and_no_escape_codes(aegis: Shell) -> None:
    record(aegis, "--importance", "critical")
    done = aegis("memory", "list", "-n", "1")
    assert "\x1b" not in done.out
    assert [word for word in ("note", "critical", "The cat sat") if word not in done.out] == []
    assert done.err.startswith("More: --cursor ")


def test_empty_answers_say_so_and_leave_standard_output_empty(aegis: Shell) -> None:
    for command in (("list",), ("recall", "anything"), ("facts", "list"), ("decisions", "list")):
        done = aegis("memory", *command)
        assert (done.status, done.out) == (0, "")
        assert done.err


def test_recall_shows_rank_score_and_reasons(aegis: Shell) -> None:
    found = record(aegis, "--tag", "pets")
    aegis("memory", "record", "note", "Lunch was good.")
    shown = aegis("memory", "recall", "where is the cat", "-k", "1").out.splitlines()
    assert shown[0].startswith("1  ")
    assert [w for w in ("note", "#pets", f"id {found}") if w not in shown[0]] == []
    assert shown[1] == "   The cat sat on the mat."
    assert "words" in shown[2]


def test_recall_answers_programs_with_everything(aegis: Shell) -> None:
    found = record(aegis)
    answer = aegis("memory", "recall", "cat", "--json").json
    assert [hit["episode"]["id"] for hit in answer["results"]] == [found]
    assert set(answer["results"][0]) == {"episode", "score", "parts", "why"}


def test_recall_says_why_in_a_sentence(aegis: Shell) -> None:
    record(aegis, "--at", "2026-05-03T09:00:00+00:00")
    shown = aegis("memory", "recall", "cat", "--why").out.splitlines()
    assert shown[2].strip() == (
        "Found by its words (rank 1: cat); from 2026-05-03, importance medium."
    )


def test_context_is_text_for_a_prompt(aegis: Shell) -> None:
    found = record(aegis, "--at", "2026-05-03T09:00:00+00:00")
    done = aegis("memory", "context", "cat", "--budget", "100")
    assert done.out == f"[e{found} 2026-05-03 note] The cat sat on the mat.\n"
    assert " of 100 tokens, 1 memories" in done.err
    block = aegis("memory", "context", "cat", "--json").json
    assert set(block) == {"text", "tokens", "budget_tokens", "ids", "left_out", "warnings"}
    none = aegis("memory", "context", "submarine")
    assert (none.status, none.out) == (0, "")
    assert aegis("memory", "context", "cat", "--budget", "0").status == 2


def test_update_changes_what_is_named(aegis: Shell) -> None:
    made = record(aegis, "--tag", "a")
    changed = aegis("memory", "update", str(made), "--importance", "low", "--json").json
    assert (changed["importance"], changed["tags"]) == ("low", ["a"])
    assert aegis("memory", "update", str(made)).status == 2


def test_delete_wants_to_be_told_twice(aegis: Shell) -> None:
    made = str(record(aegis))
    refused = aegis("memory", "delete", made)
    assert (refused.status, refused.out) == (2, "")
    assert f"Episode {made} will be deleted: The cat sat on the mat." in refused.err
    assert "[confirmation_needed]" in refused.err
    assert aegis("memory", "get", made).status == 0
    assert aegis("memory", "delete", made, "--yes").out == f"Deleted episode {made}.\n"
    assert aegis("memory", "get", made).status == 3


def test_namespaces_never_meet(aegis: Shell) -> None:
    made = record(aegis, "--namespace", "other")
    assert aegis("memory", "get", str(made)).status == 3
    assert aegis("memory", "get", str(made), "--namespace", "other").status == 0


def test_export_is_imported_elsewhere(aegis: Shell, tmp_path: Path) -> None:
    record(aegis, "--tag", "pets")
    assert aegis("memory", "export", str(tmp_path / "m.jsonl")).status == 0
    target = ("--namespace", "copy")
    first = aegis("memory", "import", "jsonl", str(tmp_path / "m.jsonl"), *target, "--json").json
    assert (first["recorded"], first["broken_count"]) == (1, 0)
    again = aegis("memory", "import", "jsonl", str(tmp_path / "m.jsonl"), *target, "--json").json
    assert (again["recorded"], again["skipped"]) == (0, 1)
    (copy,) = aegis("memory", "list", *target, "--json").json["items"]
    assert copy["tags"] == ["pets"]


def test_export_to_standard_output_is_jsonl(aegis: Shell) -> None:
    record(aegis)
    lines = aegis("memory", "export", "-").out.splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["header", "episode"]


def test_broken_line_is_named_and_what_came_before_is_kept(aegis: Shell, tmp_path: Path) -> None:
    file = tmp_path / "m.jsonl"
    good = {"event_type": "note", "summary": "fine"}
    file.write_text(f"{json.dumps(good)}\n{{broken\n{json.dumps(good)}\n")
    done = aegis("memory", "import", "jsonl", str(file))
    assert done.status == 2
    assert "line 2" in done.err
    assert "[import_broken]" in done.err
    assert len(aegis("memory", "list", "--json").json["items"]) == 1
    skipped = aegis("memory", "import", "jsonl", str(file), "--skip-broken")
    assert skipped.status == 0
    assert "1 broken" in skipped.out


def test_facts_live_their_life(aegis: Shell) -> None:
    made = aegis("memory", "facts", "record", "tea", "no sugar", "--json").json
    number = str(made["id"])
    assert aegis("memory", "facts", "get", number, "--json").json == made
    changed = aegis("memory", "facts", "update", number, "--confidence", "0.5", "--json").json
    assert changed["confidence"] == 0.5
    (hit,) = aegis("memory", "facts", "recall", "sugar", "--json").json["results"]
    assert hit["fact"]["id"] == made["id"]
    assert "no sugar" in aegis("memory", "facts", "recall", "sugar").out
    assert "no sugar" in aegis("memory", "facts", "list").out
    assert aegis("memory", "facts", "delete", number, "--yes", "--json").json == {
        "deleted": made["id"]
    }


def test_decisions_live_their_life(aegis: Shell) -> None:
    made = aegis(
        *("memory", "decisions", "record", "Which queue?", "-o", "postgres", "-o", "redis"),
        *("--choose", "postgres", "--because", "one server to back up", "--json"),
    ).json
    number = str(made["id"])
    resolve = ("memory", "decisions", "resolve", number)
    resolved = aegis(*resolve, "success", "--lessons", "keep it simple", "--json").json
    assert resolved["outcome_status"] == "success"
    assert aegis(*resolve, "failure").status == 4
    shown = aegis("memory", "decisions", "recall", "which queue").out
    assert [w for w in ("success", "chose postgres", "keep it simple") if w not in shown] == []
    assert "postgres" in aegis("memory", "decisions", "list", "--outcome", "success").out
    assert aegis("memory", "decisions", "delete", number, "--yes").status == 0


def test_decisions_teach(aegis: Shell) -> None:
    cause = record(aegis)
    made = aegis(
        *("memory", "decisions", "record", "Which queue?", "-o", "postgres", "-o", "redis"),
        *("--choose", "postgres", "--because", "x", "--led-by", f"{cause}:trigger"),
        *("--confidence", "0.9", "--review-at", "2026-01-01T00:00:00+00:00", "--json"),
    ).json
    number = str(made["id"])
    shown = aegis("memory", "decisions", "get", number, "--json").json
    assert shown["confidence"] == 0.9
    assert shown["episodes"] == [{"episode_id": cause, "role": "trigger"}]
    assert "Which queue?" in aegis("memory", "decisions", "due").out
    aegis("memory", "decisions", "resolve", number, "failure", "--lessons", "measure first")
    assert aegis("memory", "decisions", "due").err == "No decision is due.\n"

    ask = ("memory", "decisions", "advise", "which queue?", "--option", "Postgres", "-o", "kafka")
    out = aegis(*ask).out
    told = ["1 similar decision", "Postgres", "kafka", "0.00 (0.00-0.79)", "measure first"]
    told += ["Weighted by similarity: Postgres 0.00 (sample 1.0)"]
    assert [word for word in (*told, f"{number} (") if word not in out] == []
    assert [r["failure"] for r in aegis(*ask, "--json").json["options"]] == [1, 0]
    out = aegis("memory", "decisions", "calibration").out
    told = ["0.90 to 1.00", "Brier score 0.810", "calibration error 0.900", "·" * 18 + "│·"]
    assert [word for word in told if word not in out] == []


def test_decisions_that_teach_nothing_yet_say_so(aegis: Shell) -> None:
    for command in (("advise", "which queue?"), ("calibration",), ("due",)):
        done = aegis("memory", "decisions", *command)
        assert (done.status, done.out) == (0, "")
        assert done.err.startswith("No ")


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (("--confidence", "nan"), "confidence is nan"),
        (("--led-by", "x"), "episodes[0].episode_id is 'x'"),
        (("--led-by", "1:boss"), "episodes[0].role is 'boss'"),
        (("--review-at", "soon"), "review_at is 'soon'"),
    ],
)
def test_what_a_decision_cannot_say_is_refused(
    aegis: Shell, option: tuple[str, str], says: str
) -> None:
    words = ("Which queue?", "-o", "a", "--choose", "a", "--because", "x")
    done = aegis("memory", "decisions", "record", *words, *option)
    assert done.status != 0
    assert says in done.err


def test_deeply_nested_details_are_shown_in_every_read(aegis: Shell, dsn: str) -> None:
    nested = '{"a":' * 5000 + "1" + "}" * 5000
    with psycopg.connect(dsn) as conn:
        conn.execute(
            """
            INSERT INTO episodic_memory (event_type, summary, details)
            VALUES ('note', 'deep', %s)
            """,
            (nested,),
        )
    stored = {"unparsed": nested.replace(":", ": ")}
    assert aegis("memory", "get", "1", "--json").json["details"] == stored
    assert aegis("memory", "list", "--json").json["items"][0]["details"] == stored
    found = aegis("memory", "recall", "deep", "--json").json["results"]
    assert found[0]["episode"]["details"] == stored
    assert aegis("memory", "get", "1").status == 0


def test_facts_learn_and_steps_are_undone(aegis: Shell) -> None:
    facts = ("memory", "facts")
    paris = aegis(
        *facts, "record", "Ann", "lives in Paris", "--valid-from", "2020-01-01T00:00:00Z", "--json"
    ).json
    refused = aegis(*facts, "record", "Ann", "lives in Rome", "--on-conflict", "refuse")
    assert refused.status != 0
    assert "contradicts fact" in refused.err
    rome = aegis(*facts, "record", "Ann", "lives in Rome", "--json").json
    assert [f["id"] for f in aegis(*facts, "list", "--json").json["items"]] == [rome["id"]]
    then = ("--valid-at", "2021-01-01T00:00:00Z", "--json")
    assert [f["id"] for f in aegis(*facts, "list", *then).json["items"]] == [paris["id"]]
    long_ago = ("--as-of", "2021-01-01T00:00:00Z", "--json")
    assert aegis(*facts, "list", *long_ago).json["items"] == []
    number = str(paris["id"])
    ended, created = aegis(*facts, "history", number, "--json").json["items"]
    assert (ended["action"], ended["actor"], created["action"]) == ("superseded", "cli", "created")
    assert "superseded" in aegis(*facts, "history", number).out
    assert "lives in Paris" in aegis(*facts, "sources", number).out
    assert aegis(*facts, "undo", number, "--step", str(ended["id"]), "--json").json == paris
    assert len(aegis(*facts, "list", "--json").json["items"]) == 2
