"""When a memory expires."""

from __future__ import annotations

import contextlib
import typing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.errors import InvalidInput
from aegis.memory import NewEpisode, NewFact
from aegis.memory.retention import archive, erasure, expiry
from aegis.memory.retention.expiry import Policy, parse_ttl, policy_for, with_expiry

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def policy(event_type: str = "", importance: str = "", ttl_s: int = 60) -> Policy:
    return Policy(
        namespace="n",
        event_type=event_type,
        importance=importance,
        ttl_s=ttl_s,
        action="delete",
        set_at=NOW,
    )


@pytest.mark.parametrize(
    ("text", "ttl"),
    [
        ("90s", timedelta(seconds=90)),
        (" 5 m ", timedelta(minutes=5)),
        ("36h", timedelta(hours=36)),
        ("30d", timedelta(days=30)),
        ("2w", timedelta(weeks=2)),
        ("1y", timedelta(days=365.25)),
        (timedelta(seconds=1), timedelta(seconds=1)),
    ],
)
def test_ttl_is_a_number_and_a_unit(text: Any, ttl: timedelta) -> None:
    assert parse_ttl("ttl", text) == ttl


@pytest.mark.parametrize(
    "text",
    ["", "30", "d", "0d", "-1d", "1.5d", "30 days", "101y", "9" * 12 + "y", None, 30, "١d" * 9,
     timedelta(0), timedelta.max],
)  # fmt: skip
def test_what_is_no_ttl_is_refused(text: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^ttl is "):
        parse_ttl("ttl", text)


@given(st.text(max_size=20))
def test_any_text_is_a_ttl_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidInput):
        assert timedelta(0) < parse_ttl("ttl", text) <= timedelta(days=36_525)


def test_ttl_counts_from_now_and_excludes_expires_at() -> None:
    item = with_expiry(NewEpisode(event_type="a", summary="b", ttl="1d"), (), NOW)
    assert (item.expires_at, item.ttl) == (NOW + timedelta(days=1), None)
    with pytest.raises(InvalidInput, match="both given"):
        with_expiry(NewFact(concept="a", content="b", ttl="1d", expires_at=NOW), (), NOW)


def test_the_policy_that_says_most_decides_and_the_recorder_before_it() -> None:
    policies = [policy(ttl_s=1), policy(importance="low", ttl_s=2), policy("note", ttl_s=3),
                policy("note", "low", ttl_s=4)]  # fmt: skip
    seconds = {
        (event_type, importance): found.ttl_s
        for event_type in ("note", "error")
        for importance in ("low", "high")
        if (found := policy_for(policies, event_type=event_type, importance=importance))
    }
    assert seconds == {
        ("note", "low"): 4,
        ("note", "high"): 3,
        ("error", "low"): 2,
        ("error", "high"): 1,
    }
    own = NewEpisode(event_type="note", summary="b", expires_at=NOW)
    assert with_expiry(own, policies, NOW).expires_at == NOW
    old = NewEpisode(event_type="note", summary="b", created_at=NOW - timedelta(days=1))
    assert with_expiry(old, policies, NOW).expires_at == NOW - timedelta(days=1, seconds=-3)


@pytest.mark.parametrize(
    ("names", "literal"),
    [(expiry.ACTIONS, expiry.Action), (archive.KINDS, archive.ArchiveKind)],
)
def test_tuple_of_choices_equals_its_literal(names: tuple[str, ...], literal: Any) -> None:
    assert names == typing.get_args(literal)


def test_states_are_those_of_the_schema() -> None:
    assert typing.get_args(erasure.ErasureState) == ("running", "complete")
