"""Who is spoken of."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.errors import InvalidInput
from aegis.memory.retention.subject import Subject


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Alice Smith", "ALICE   smith's car"),
        ("Alice Smith", "met alice\nsmith."),
        ("Alice Smith", {"a": [{"b": "by Alice Smith"}]}),
        ("Alice Smith", {"Alice Smith": 1}),
        ("José", "JOSE\u0301 was here"),
        ("Straße", "STRASSE 5"),
        ("alice@example.com", "<alice@example.com>"),
        ("愛麗絲", "昨天愛麗絲來了"),
        ("O'Brien", "Mr. O'Brien"),
        ("Ａlice", "alice"),
    ],
)
def test_name_is_found_however_it_is_written(name: str, value: Any) -> None:
    subject = Subject([name])
    assert subject.is_in(value)
    assert subject.is_in_json(json.dumps(value))


@pytest.mark.parametrize("value", ["annual", "Joanne", "ann_1", {"a": "annex"}, 5, None, ["an n"]])
def test_name_is_a_whole_word(value: Any) -> None:
    assert not Subject(["Ann"]).is_in(value)


@pytest.mark.parametrize("names", [[], [""], ["a"], [" - "], ["x" * 201], ["ok name"] * 101])
def test_names_that_tell_nothing_are_refused(names: list[str]) -> None:
    with pytest.raises(InvalidInput):
        Subject(names)


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=2, max_size=12),
    st.sampled_from(["{}", "- {}.", "({})", '"{}"']),
    st.sampled_from([str, str.upper, str.lower, str.title]),
)
def test_the_search_in_sql_never_misses_what_the_text_says(name: str, frame: str, way: Any) -> None:
    try:
        subject = Subject([name])
    except InvalidInput:
        return
    document = json.dumps({"summary": frame.format(way(name))}, ensure_ascii=False)
    if subject.is_in_json(document):
        text = re.sub("[ßẞ]", "ss", unicodedata.normalize("NFKC", document))
        lowered = "".join(c.lower() if c.isascii() else c for c in text)
        assert any(pattern.strip("%") in lowered for pattern in subject.patterns())
