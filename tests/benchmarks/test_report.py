from __future__ import annotations

import json

import pytest

from benchmarks.report import Grid, Outcome, Report, print_report

GRID = Grid(title="t", columns=("system", "R@5"), rows=[("mem0 [x]", "0.500"), ("late", "failed")])
OUTCOME = Outcome(
    figures={"a.mem0.recall_at_5": 0.5},
    tables=[GRID],
    notes=["read [this]"],
    failures={"late": "open: it ended"},
    versions={"mem0: mem0ai": "2.2.1"},
)


def test_failures_and_notes_stand_beside_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(Report.of("retrieval", OUTCOME), as_json=False)
    printed = " ".join(capsys.readouterr().out.split())
    assert "mem0 [x]" in printed
    assert "late failed: open: it ended" in printed
    assert "- read [this]" in printed
    assert "mem0: mem0ai 2.2.1" in printed


def test_json_has_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(Report.of("retrieval", OUTCOME), as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["figures"] == {"a.mem0.recall_at_5": 0.5}
    assert found["failures"] == {"late": "open: it ended"}
    assert found["notes"] == ["read [this]"]
    assert found["versions"]["mem0: mem0ai"] == "2.2.1"
    assert found["tables"][0]["rows"] == [["mem0 [x]", "0.500"], ["late", "failed"]]


def test_plain_figures_are_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(Report.of("start", {"warm_start_s": 1.25, "rounds": 3}), as_json=False)
    printed = capsys.readouterr().out
    assert "warm_start_s" in printed
    assert "1.250" in printed
