"""`aegis memory consolidate|proposals|audit|quarantine`, as people and programs run them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg

from tests.serving import aegis, answer

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

DISK = ("during the backup", "again during the backup", "during the backup, once more")


def _ask(tmp_path: Path, dsn: str, *words: str) -> subprocess.CompletedProcess[str]:
    return aegis(tmp_path, "memory", *words, database_url=dsn, embedder="none")


def _fill(dsn: str) -> None:
    with psycopg.connect(dsn) as conn:
        for text in (*(f"The disk of db1 filled up {when}." for when in DISK), "ok"):
            conn.execute(
                "INSERT INTO episodic_memory (event_type, summary) VALUES ('error', %s)", (text,)
            )


def test_proposals_are_made_and_decided(tmp_path: Path, dsn: str) -> None:
    _fill(dsn)
    dry = _ask(tmp_path, dsn, "consolidate", "--dry-run")
    assert "4 new episodes in default" in dry.stdout
    assert "1 would be proposed" in dry.stdout
    done: Any = answer(_ask(tmp_path, dsn, "consolidate", "--json"))
    assert len(done["proposed"]) == 1
    number = str(done["proposed"][0])
    again = _ask(tmp_path, dsn, "consolidate")
    assert "Proposed 0, 0 got more evidence" in again.stdout
    listed = _ask(tmp_path, dsn, "proposals", "list")
    assert "seen 3 times" in listed.stdout
    accepted = _ask(tmp_path, dsn, "proposals", "accept", number)
    assert accepted.stdout.startswith(f"Accepted proposal {number} as fact ")
    assert _ask(tmp_path, dsn, "proposals", "accept", number).returncode == 4
    assert "Took back" in _ask(tmp_path, dsn, "proposals", "undo", number).stdout
    page: Any = answer(_ask(tmp_path, dsn, "proposals", "list", "--state", "all", "--json"))
    assert [(p["state"], p["decided_by"]) for p in page["items"]] == [("undone", "cli")]
    shown: Any = answer(_ask(tmp_path, dsn, "proposals", "get", number, "--json"))
    assert shown == page["items"][0]
    refused = _ask(tmp_path, dsn, "proposals", "reject", number)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (4, 1)
    assert _ask(tmp_path, dsn, "proposals", "list").stderr == "No proposal.\n"


def test_an_audit_finds_repairs_and_restores(tmp_path: Path, dsn: str) -> None:
    _fill(dsn)
    found = _ask(tmp_path, dsn, "audit")
    assert found.returncode == 1
    assert "junk_empty  1" in found.stdout
    assert "→ aegis memory audit --repair junk_empty --yes" in found.stdout
    report = _ask(tmp_path, dsn, "audit", "--json")
    assert report.returncode == 1
    assert '"id": "junk_empty"' in report.stdout
    dry = _ask(tmp_path, dsn, "audit", "--repair", "junk_empty")
    assert (dry.returncode, "nothing was changed" in dry.stdout) == (0, True)
    done = _ask(tmp_path, dsn, "audit", "--repair", "junk_empty", "--yes")
    assert "Repaired 1 row." in done.stdout
    assert "aegis memory quarantine restore --kind junk_empty --yes" in done.stdout
    clean = _ask(tmp_path, dsn, "audit")
    assert (clean.returncode, "Nothing was found." in clean.stdout) == (0, True)
    page: Any = answer(_ask(tmp_path, dsn, "quarantine", "list", "--json"))
    (entry,) = page["items"]
    assert (entry["kind"], entry["content"]["summary"]) == ("junk_empty", "ok")
    unsure = _ask(tmp_path, dsn, "quarantine", "restore", "--kind", "junk_empty")
    assert (unsure.returncode, "add --yes" in unsure.stderr) == (2, True)
    assert _ask(tmp_path, dsn, "quarantine", "restore", str(entry["id"])).stdout == "Restored 1.\n"
    assert _ask(tmp_path, dsn, "audit").returncode == 1


def test_open_decisions_are_closed_on_the_operator_s_word(tmp_path: Path, dsn: str) -> None:
    _fill(dsn)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO decision_outcomes (task_context, alternatives, chosen_option, reasoning, "
            "created_at) VALUES ('Where?', '[\"a\"]', 'a', 'r', now() - interval '200 days')"
        )
    words = ("audit", "--repair", "decisions_open", "--way", "close")
    dry = _ask(tmp_path, dsn, *words)
    assert "1  Where? → closed, the outcome is not known" in dry.stdout
    assert "1 row would be repaired; nothing was changed." in dry.stdout
    done = _ask(tmp_path, dsn, *words, "--yes")
    assert "Undo it with aegis memory quarantine restore --kind decisions_open" in done.stdout
    assert _ask(tmp_path, dsn, "decisions", "due").stdout.count("Where?") == 0
    assert _ask(tmp_path, dsn, "quarantine", "restore", "1").stdout == "Restored 1.\n"
    assert _ask(tmp_path, dsn, "decisions", "due").stdout.count("Where?") == 1


def test_what_makes_no_sense_is_refused_in_one_line(tmp_path: Path, dsn: str) -> None:
    for words, said in (
        (("audit", "--repair", "everything"), "use one of junk_empty"),
        (("audit", "--yes"), "--repair"),
        (("audit", "--way", "close"), "--repair"),
        (("audit", "--repair", "junk_empty", "--way", "close"), "one way"),
        (("quarantine", "restore"), "one kind"),
        (("proposals", "list", "--state", "maybe"), "state"),
        (("consolidate", "--since", "yesterday"), "since"),
    ):
        refused = _ask(tmp_path, dsn, *words)
        assert refused.returncode == 2, words
        assert said in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
