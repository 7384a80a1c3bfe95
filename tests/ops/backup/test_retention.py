"""What may go, whatever the clock says; pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.ops.backup.retention import Candidate, ages, choose
from aegis.ops.health.backup_facts import facts_of_folder
from aegis.ops.health.of_backups import judge_backups

if TYPE_CHECKING:
    from aegis.ops.backup.service import Backups

NOW = datetime(2026, 6, 30, 3, tzinfo=UTC)
KEEP = timedelta(days=14)
DAY = timedelta(days=1)


def _nightly(count: int) -> list[Candidate]:
    """Return a verified backup a night, oldest first."""
    return [
        Candidate(
            name=f"b{number:03}",
            number=number,
            at=NOW - (count - number) * DAY,
            verdict="verified",
            level="fast",
        )
        for number in range(1, count + 1)
    ]


def _gone(found: list[Candidate], at_least: int = 3) -> list[str]:
    return [c.name for c in choose(found, keep=KEEP, at_least=at_least) if c.goes]


def test_a_backup_a_night_leaves_two_weeks() -> None:
    assert _gone(_nightly(30)) == [f"b{n:03}" for n in range(15, 0, -1)]
    assert _gone(_nightly(15)) == []
    assert _gone([]) == []


@pytest.mark.parametrize("jump", [30, -30, 3650])
def test_a_clock_that_jumps_deletes_nothing_that_is_valid(jump: int) -> None:
    fortnight = _nightly(14)
    made = Candidate(name="b015", number=15, at=NOW + jump * DAY, verdict="verified", level="fast")
    # Its own backup, under the wrong clock: a day more has passed, or two.
    assert set(_gone([*fortnight, made])) <= {"b001", "b002"}
    # And the right clock again.
    after = Candidate(name="b016", number=16, at=NOW + DAY, verdict="verified", level="fast")
    assert set(_gone([*fortnight, made, after])) <= {"b001", "b002", "b003", "b004"}


def test_of_two_backups_a_month_apart_none_goes_for_the_clock_may_have_made_the_month() -> None:
    two = _nightly(2)
    jumped = Candidate(name="j", number=3, at=NOW + 30 * DAY, verdict="verified", level="fast")
    assert _gone([two[0], jumped], at_least=1) == []
    assert _gone([*two, jumped], at_least=1) == []


def test_the_last_verified_one_stays_however_old_it_is() -> None:
    bad = [
        Candidate(name=c.name, number=c.number, at=c.at, verdict="failed", level=None)
        for c in _nightly(60)[1:]
    ]
    good = _nightly(60)[:1]
    gone = _gone([*good, *bad])
    assert "b001" not in gone
    assert "b002" in gone
    reason = {c.name: c.reason for c in choose([*good, *bad], keep=KEEP, at_least=3)}
    assert reason["b001"] in ("the last verified one", "one of the 3 that are always kept")


def test_the_last_one_that_was_restored_stays_too() -> None:
    found = _nightly(60)
    found[0] = Candidate(name="b001", number=1, at=found[0].at, verdict="verified", level="full")
    assert "b001" not in _gone(found)
    assert "b002" in _gone(found)


def test_failed_ones_do_not_count_as_kept() -> None:
    # Yearly backups: all but the newest are old; of the good ones three stay.
    found = [
        Candidate(
            name=f"y{n}", number=n, at=NOW - (10 - n) * 365 * DAY,
            verdict="failed" if n in (8, 9) else "verified",
            level=None if n in (8, 9) else "fast",
        )
        for n in range(1, 11)
    ]  # fmt: skip
    kept = {c.name for c in choose(found, keep=KEEP, at_least=3) if not c.goes}
    assert {"y10", "y7", "y6"} <= kept
    assert "y5" not in kept
    assert "y8" not in kept


def test_what_is_held_or_needed_stays_with_its_reason() -> None:
    found = _nightly(40)
    found[0] = Candidate(
        name="b001", number=1, at=found[0].at, verdict="verified", level="fast", hold="audit"
    )
    found[1] = Candidate(
        name="b002", number=2, at=found[1].at, verdict="verified", level="fast", needed="no copy"
    )
    reasons = {c.name: c.reason for c in choose(found, keep=KEEP, at_least=3) if not c.goes}
    assert reasons["b001"] == "held: audit"
    assert reasons["b002"] == "no copy"


@given(
    st.lists(
        st.tuples(
            st.integers(-4000, 4000),
            st.sampled_from(["verified", "failed", "not_verified"]),
            st.booleans(),
        ),
        min_size=1,
        max_size=40,
    ),
    st.integers(1, 5),
)
def test_whatever_the_clocks_said_a_verified_one_stays(
    made: list[tuple[int, Any, bool]], at_least: int
) -> None:
    found = [
        Candidate(
            name=str(n),
            number=n,
            at=NOW + days * DAY,
            verdict=verdict,
            level=("full" if full else "fast") if verdict == "verified" else None,
        )
        for n, (days, verdict, full) in enumerate(made)
    ]
    choices = choose(found, keep=KEEP, at_least=at_least)
    kept = {c.name for c in choices if not c.goes}
    newest = next((c.name for c in reversed(found) if c.verdict == "verified"), None)
    assert newest is None or newest in kept
    good = [c.name for c in found if c.verdict != "failed"]
    assert set(good[-at_least:]) <= kept
    assert kept
    old = ages(sorted(found, key=lambda c: c.number, reverse=True))
    assert all(age >= timedelta() for age in old.values())


async def test_checks_of_the_folder_say_what_is_an_alarm(backups: Backups) -> None:
    def states(now: datetime) -> dict[str, str]:
        facts = facts_of_folder(backups.catalogue.entries(), backups.catalogue.drills())
        return {one.id: one.state for one in judge_backups(facts, backups.settings, now)}

    now = datetime.now(UTC)
    assert states(now) == {
        "backup-age": "critical",
        "backup-verdict": "unknown",
        "backup-count": "critical",
        "backup-proof": "warning",
        "backup-copies": "warning",
        "backup-drill": "warning",
        "backup-recovery": "unknown",
    }
    entry = await backups.create()
    now = datetime.now(UTC)
    assert states(now)["backup-age"] == states(now)["backup-verdict"] == "ok"
    assert states(now)["backup-count"] == "warning"
    assert states(now + timedelta(hours=27))["backup-age"] == "warning"
    assert states(now + timedelta(hours=60))["backup-age"] == "critical"
    assert states(now - timedelta(hours=60))["backup-age"] == "warning"
    assert states(now)["backup-copies"] == states(now)["backup-proof"] == "warning"
    (entry.path / "database.dump").write_bytes(b"")
    await backups.verify(entry.name)
    assert states(now)["backup-verdict"] == states(now)["backup-age"] == "critical"
    assert states(now)["backup-count"] == "critical"


async def test_pruning_removes_what_it_announced_and_nothing_that_is_read(
    backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from aegis.ops.backup.sealed import write_sealed

    entries = [await backups.create() for _ in range(6)]
    for number, entry in enumerate(entries):
        assert entry.manifest is not None
        old = replace(entry.manifest, snapshot_at=datetime.now(UTC) - (200 - 40 * number) * DAY)
        write_sealed(entry.path / "manifest.json", old)
    await backups.hold(entries[1].name, "for the audit")
    plan = {item.choice.name: item.choice.goes for item in await backups.plan_prune()}
    assert [plan[e.name] for e in entries] == [True, False, True, False, False, False]
    assert len(await backups.list()) == 6
    with backups.catalogue.in_use(entries[0]):
        await backups.prune()
    left = [e.name for e in await backups.list()]
    assert entries[0].name in left
    assert entries[2].name not in left
    await backups.prune()
    assert [e.name for e in reversed(await backups.list())] == [
        entries[n].name for n in (1, 3, 4, 5)
    ]
    await backups.hold(entries[1].name, None)
    await backups.prune()
    assert len(await backups.list()) == 3
