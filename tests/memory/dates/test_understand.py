"""What times a sentence names, for sentences that name one, several and none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.memory.dates import names_time, understand
from aegis.memory.dates.words import Words

#: A Wednesday.
ASKED = datetime(2024, 6, 19, 15, 30, tzinfo=UTC)

_WORDS = [
    "last",
    "next",
    "this",
    "past",
    "previous",
    "before",
    "after",
    "since",
    "until",
    "by",
    "between",
    "and",
    "from",
    "to",
    "in",
    "on",
    "the",
    "of",
    "a",
    "early",
    "late",
    "mid",
    "end",
    "beginning",
    "first",
    "third",
    "couple",
    "few",
    "two",
    "3",
    "10",
    "31",
    "2023",
    "1999",
    "9999",
    "1/2/2023",
    "2023-05-07",
    "2023-02-30",
    "day",
    "days",
    "week",
    "weeks",
    "weekend",
    "month",
    "months",
    "quarter",
    "year",
    "years",
    "hours",
    "ago",
    "earlier",
    "than",
    "Monday",
    "Tuesday",
    "May",
    "may",
    "march",
    "June",
    "December",
    "fall",
    "summer",
    "winter",
    "Christmas",
    "Easter",
    "New",
    "Year's",
    "Eve",
    "Q3",
    "H1",
    "half",
    "yesterday",
    "today",
    "morning",
    "night",
    "7th",
    "30",
    "February",
    "s",
    ",",
    ".",
    "-",
    "/",
    "?",
]


def first(text: str, asked: datetime = ASKED) -> str:
    """Return the likeliest time of `text` as people read it, without its words."""
    spans = understand(text, asked)
    return str(spans[0]).split(" (")[0] if spans else ""


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("What did I say yesterday?", "2024-06-18"),
        ("the day before yesterday", "2024-06-17"),
        ("What do I have to do today?", "2024-06-19"),
        ("What did we fix this morning?", "2024-06-19 05:00 to 2024-06-19 12:00"),
        ("What broke last night?", "2024-06-18 18:00 to 2024-06-19 06:00"),
        ("yesterday evening", "2024-06-18 17:00 to 2024-06-19 00:00"),
        ("three days ago", "2024-06-16"),
        ("What happened two weeks ago?", "2024-06-02 to 2024-06-08"),
        ("a couple of weeks ago", "2024-06-02 to 2024-06-08"),
        ("Where did she live 4 years ago?", "2020-01-01 to 2020-12-31"),
        ("Who called an hour ago?", "2024-06-19 13:30 to 2024-06-19 15:30"),
        ("Did I meet Ann two weeks before?", "2024-06-02 to 2024-06-08"),
        ("in the last two weeks", "2024-06-05 15:30 to 2024-06-19 15:30"),
        ("last week", "2024-06-10 to 2024-06-16"),
        ("next week", "2024-06-24 to 2024-06-30"),
        ("last weekend", "2024-06-15 to 2024-06-16"),
        ("this month", "2024-06-01 to 2024-06-30"),
        ("last quarter", "2024-01-01 to 2024-03-31"),
        ("last year", "2023-01-01 to 2023-12-31"),
        ("last Tuesday", "2024-06-18"),
        ("next Wednesday", "2024-06-26"),
        ("this Friday", "2024-06-21"),
        ("on Monday", "2024-06-17"),
        ("last May", "2024-05-01 to 2024-05-31"),
        ("last July", "2023-07-01 to 2023-07-31"),
        ("last summer", "2023-06-01 to 2023-08-31"),
        ("last Christmas", "2023-12-25"),
        ("Easter 2023", "2023-04-09"),
        ("Thanksgiving 2023", "2023-11-23"),
        ("on New Year's Eve", "2023-12-31"),
        ("on 7 May 2023", "2023-05-07"),
        ("on 1 February, 2023", "2023-02-01"),
        ("on the 7th of May, 2023", "2023-05-07"),
        ("May 7th, 2023", "2023-05-07"),
        ("Oct. 13 2023", "2023-10-13"),
        ("2023-05-07", "2023-05-07"),
        ("2023/05/07", "2023-05-07"),
        ("in 2023-05", "2023-05-01 to 2023-05-31"),
        ("on 7.5.2023", "2023-05-07"),
        ("on 25/12/2023", "2023-12-25"),
        ("on 31 April 2023", "2023-04-01 to 2023-04-30"),
        ("in July 2023", "2023-07-01 to 2023-07-31"),
        ("in june", "2024-06-01 to 2024-06-30"),
        ("in July", "2023-07-01 to 2023-07-31"),
        ("in the summer of 2022", "2022-06-01 to 2022-08-31"),
        ("in winter 2022", "2022-12-01 to 2023-02-28"),
        ("What were the costs in Q3?", "2023-07-01 to 2023-09-30"),
        ("the third quarter of 2022", "2022-07-01 to 2022-09-30"),
        ("the first half of 2022", "2022-01-01 to 2022-06-30"),
        ("early June 2023", "2023-06-01 to 2023-06-10"),
        ("at the end of 2022", "2022-09-01 08:00 to 2023-01-01 00:00"),
        ("the first week of June 2023", "2023-06-01 to 2023-06-07"),
        ("in 2019", "2019-01-01 to 2019-12-31"),
        ("in the 1990s", "1990-01-01 to 1999-12-31"),
        ("the week of 12 June", "2024-06-10 to 2024-06-16"),
        ("the weekend of 12 June 2023", "2023-06-17 to 2023-06-18"),
        ("last weekend before April 10, 2023", "2023-04-08 to 2023-04-09"),
        ("the week before August 3, 2023", "2023-07-27 to 2023-08-02"),
        ("two weeks before August 11, 2023", "2023-07-25 to 2023-07-31"),
        ("two days after Christmas 2023", "2023-12-27"),
        ("the day after 28 February 2024", "2024-02-29"),
        ("between March and June", "2024-03-01 to 2024-06-30"),
        ("between March and June 2023", "2023-03-01 to 2023-06-30"),
        ("between December and February", "2023-12-01 to 2024-02-29"),
        ("from 3 May 2023 to 5 May 2023", "2023-05-03 to 2023-05-05"),
        ("before Christmas 2023", "2022-12-24 to 2023-12-24"),
        ("since May", "2024-05-01 00:00 to 2024-06-19 15:30"),
        ("after 1 June 2024", "2024-06-02 00:00 to 2024-06-19 15:30"),
        ("by 5 July 2023", "2022-07-04 to 2023-07-05"),
    ],
)
def test_a_time_is_understood_from_the_moment_of_asking(text: str, means: str) -> None:
    assert first(text) == means


@pytest.mark.parametrize(
    "text",
    [
        "What does Anna like to drink?",
        "What may I do about it?",
        "You may 2 of them take",
        "They march 3 miles",
        "What did April say to June?",
        "Who won in the last minute?",
        "the last week of the trip",
        "My spring mattress and the fall of the wall",
        "the first half of the match",
        "room 2023-A, version 1.2.3, port 5432",
        "2023-02-30",
        "Was haben wir letzten Mai gemacht?",
        "去年五月我们做了什么？",
        "",
    ],
)
def test_what_names_no_time_is_left_alone(text: str) -> None:
    assert understand(text, ASKED) == []


def test_a_name_without_a_year_is_every_years_and_the_last_one_first() -> None:
    spans = understand("in June", ASKED)
    assert [s.since.year for s in spans] == [2024, *range(2023, 2014, -1), 2025]
    assert [s.certainty for s in spans] == sorted((s.certainty for s in spans), reverse=True)
    assert spans[0].certainty > spans[1].certainty


def test_a_date_that_reads_two_ways_is_told_both_ways() -> None:
    spans = understand("on 5/6/2023", ASKED)
    assert {(s.since.month, s.since.day) for s in spans} == {(5, 6), (6, 5)}
    assert {s.certainty for s in spans} == {0.5}


def test_a_year_in_passing_is_less_certain_than_one_that_is_asked_about() -> None:
    (passing,) = understand("What did Joe say about the 2019 trip?", ASKED)
    (meant,) = understand("What did Joe say in 2019?", ASKED)
    assert passing.certainty < 0.5 < meant.certainty


def test_several_times_are_all_told() -> None:
    spans = understand("Was it on 3 May 2023 or on 4 May 2023?", ASKED)
    assert [str(s) for s in spans] == ["2023-05-03 (3 May 2023)", "2023-05-04 (4 May 2023)"]


def test_days_are_those_of_the_zone_of_asking() -> None:
    zone = timezone(timedelta(hours=10))
    (span,) = understand("yesterday", datetime(2024, 6, 19, 1, 0, tzinfo=zone))
    assert span.since == datetime(2024, 6, 18, tzinfo=zone)


def test_only_the_beginning_of_a_long_text_is_read() -> None:
    assert understand("word " * 1000 + "yesterday", ASKED) == []


def test_what_names_a_time_is_never_passed_over_by_the_quick_look() -> None:
    for word in _WORDS:
        for text in (word, f"on {word} 2023", f"last {word}"):
            assert names_time(text) or not understand(text, ASKED)


_ASKED = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=14))]))
_TEXTS = st.text(max_size=300) | st.lists(st.sampled_from(_WORDS), max_size=40).map(" ".join)


@given(_TEXTS, _ASKED)
def test_any_text_is_read_and_what_is_told_holds_together(text: str, asked: datetime) -> None:
    for span in understand(text, asked):
        assert span.since < span.until
        assert 0 < span.certainty <= 1
        assert span.since.tzinfo is asked.tzinfo
        assert str(span).endswith(f"({span.words})")


@given(st.lists(st.sampled_from(_WORDS), min_size=1, max_size=400).map(" ".join))
def test_the_time_it_takes_grows_with_the_text_and_nothing_else(text: str) -> None:
    looked = 0
    plain_at = Words.at

    def at(self: Words, place: int) -> str:
        nonlocal looked
        looked += 1
        return plain_at(self, place)

    with patch.object(Words, "at", at):
        understand(text, ASKED)
    # Numbers and signs beside the words are words of their own.
    assert looked <= 600 * (len(text.split()) * 5 + 1)
