"""What memory refuses, and that the message names field and value."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.errors import InvalidInput
from aegis.memory import NewDecision, NewEpisode, NewFact, validate

BAD_EPISODES: list[tuple[dict[str, Any], str]] = [
    ({"importance": "urgent"}, "importance is 'urgent'; use one of low, medium, high, critical"),
    ({"summary": ""}, "summary is empty"),
    ({"summary": "   "}, "summary is empty"),
    ({"summary": 7}, "summary is 7; it must be text"),
    ({"summary": "a\x00b"}, "summary contains a NUL"),
    ({"summary": "half \ud83d"}, "surrogate"),
    ({"event_type": "x" * 101}, "event_type has 101 characters"),
    ({"tags": "work"}, "tags is 'work'; give a list"),
    ({"tags": ["ok", ""]}, r"tags\[1\] is empty"),
    ({"tags": [1]}, r"tags\[0\] is 1"),
    ({"details": [1, 2]}, r"details is \[1, 2\]; it must be a JSON object"),
    ({"context": {"x": float("nan")}}, "context cannot be stored as JSON"),
    ({"metadata": {"x": object()}}, "metadata cannot be stored as JSON"),
    ({"metadata": {"x": "\x00"}}, "metadata contains a NUL"),
    ({"timestamp": datetime(2026, 5, 1, 9)}, "no time zone; add one"),  # noqa: DTZ001
    ({"timestamp": "yesterday"}, "timestamp is 'yesterday'; it must be a time"),
    ({"related_memories": [0]}, "related_memories is 0"),
    ({"related_memories": [2**31]}, "ids are whole numbers"),
    ({"namespace": " a"}, "namespace is ' a'"),
    ({"namespace": "a\nb"}, "namespace is"),
    ({"embedding": [0.1, float("nan")]}, r"embedding\[1\] is nan"),
    ({"embedding": []}, "embedding must be a list of 1 to"),
    ({"embedding": [0.1, "x"]}, r"embedding\[1\] is 'x'"),
]


@pytest.mark.parametrize(("fields", "message"), BAD_EPISODES)
def test_bad_episode_is_refused_by_name_and_value(fields: dict[str, Any], message: str) -> None:
    values: dict[str, Any] = {"event_type": "note", "summary": "fine", **fields}
    with pytest.raises(InvalidInput, match=message):
        validate.check_episode(NewEpisode(**values))


def test_vector_of_the_wrong_length_says_both_lengths() -> None:
    with pytest.raises(InvalidInput, match="has 3 numbers; this model's vectors have 384"):
        validate.check_vector("embedding", [1.0, 2.0, 3.0], dimensions=384)


@pytest.mark.parametrize("confidence", [-0.1, 1.1, float("nan"), "high", True])
def test_confidence_outside_its_range_is_refused(confidence: Any) -> None:
    with pytest.raises(InvalidInput, match="confidence is"):
        validate.check_fact(NewFact(concept="a", content="b", confidence=confidence))


BAD_DECISIONS: list[tuple[dict[str, Any], str]] = [
    ({"alternatives": []}, "alternatives is empty"),
    ({"alternatives": "a, b"}, "give a list"),
    ({"alternatives": [{"cost": 3}]}, r"alternatives\[0\]"),
    ({"chosen_option": "c"}, r"chosen_option is 'c', which is not among the alternatives \(a, b\)"),
    ({"reasoning": ""}, "reasoning is empty"),
]


@pytest.mark.parametrize(("fields", "message"), BAD_DECISIONS)
def test_bad_decision_is_refused(fields: dict[str, Any], message: str) -> None:
    values: dict[str, Any] = {
        "task_context": "t",
        "alternatives": ["a", {"name": "b"}],
        "chosen_option": "b",
        "reasoning": "r",
        **fields,
    }
    with pytest.raises(InvalidInput, match=message):
        validate.check_decision(NewDecision(**values))


@pytest.mark.parametrize(
    "text",
    [
        "2026-05-01T00:00:00+16:00",
        "2026-05-01T00:00:00-23:59",
        "2026-05-01T00:00:00+01:00:00.5",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
    ],
)
def test_time_that_the_database_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="since is "):
        validate.parse_time("since", text)


def test_time_without_a_zone_is_refused_with_the_mend() -> None:
    with pytest.raises(InvalidInput, match=r"add one, such as 2026-05-01T09:00:00\+00:00"):
        validate.parse_time("since", "2026-05-01T09:00:00")


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_with_a_zone_reads_back(moment: datetime) -> None:
    assert validate.parse_time("since", moment.isoformat()) == moment


@given(st.text(max_size=300), st.text(max_size=120))
def test_every_text_is_accepted_or_refused_never_something_else(summary: str, kind: str) -> None:
    try:
        validate.check_episode(NewEpisode(event_type=kind, summary=summary))
    except InvalidInput as error:
        assert "\n" not in error.message
