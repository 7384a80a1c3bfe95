"""Texts of strangers: places, addresses, questions, and what must not run. Pure."""

from __future__ import annotations

import pytest

from aegis.research import texts


@pytest.mark.parametrize(
    ("index", "char"), [(0, 0), (1, 1), (2, 1), (3, 2), (7, 3), (8, None), (-1, None), (True, None)]
)
def test_bytes_become_characters(index: int, char: int | None) -> None:
    # One byte, two bytes, four bytes.
    assert texts.char_index("aé🚀".encode(), index) == char


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://a.example/x/", "http://www.A.example/x"),
        ("https://a.example:443/x?utm_source=y&b=1", "https://a.example/x?b=1#part"),
    ],
)
def test_spellings_of_one_address_are_one(one: str, other: str) -> None:
    assert texts.url_key(one) == texts.url_key(other)


def test_addresses_that_differ_stay_different() -> None:
    keys = {
        texts.url_key(u)
        for u in ("https://a.example/x", "https://a.example/y", "https://a.example/x?p=2",
                  "https://a.example:8443/x", "https://b.example/x")
    }  # fmt: skip
    assert len(keys) == 5


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "//a.example", "https://", "https://a b", "http://[x", 7, None]
)
def test_what_is_no_address_of_the_web_is_none(url: object) -> None:
    assert texts.web_url(url) is None


def test_addresses_are_found_without_the_marks_around_them() -> None:
    text = "See (https://a.example/x_(y)), **https://b.example/z**. [t](https://c.example/q)!"
    found = texts.find_urls(text)
    assert [u for u, _, _ in found] == [
        "https://a.example/x_(y)",
        "https://b.example/z",
        "https://c.example/q",
    ]
    assert all(text[start:end] == url for url, start, end in found)


def test_a_question_is_the_same_in_any_dress() -> None:
    assert texts.query_key("What IS  it?") == texts.query_key("what is it")
    assert texts.query_key("C++ or C?") != texts.query_key("C or C?")
    assert texts.numbers_of("In 2025, 3.5 of 10") == texts.numbers_of("10 in 2025: 3.5")


@pytest.mark.parametrize(
    "harm",
    [
        "<img src=x onerror=alert(1)>",
        "</details><script>",
        "![a](https://evil.example/?q=1)",
        "[a](javascript:alert(1))",
        "[a]( data:text/html,x)",
        "[a](<vbscript:x>)",
        "[a]: javascript:alert(1)",
    ],
)
def test_markdown_neither_runs_nor_loads(harm: str) -> None:
    quiet = texts.quiet_markdown(f"Before {harm} after")
    assert "![" not in quiet
    assert not any(f"<{begin}" in quiet for begin in ("img", "/", "script", "details"))
    for scheme in ("javascript:", "data:", "vbscript:"):
        assert scheme not in quiet.replace(f"unsafe:{scheme}", "")


def test_usual_markdown_stays_as_it_is() -> None:
    text = "# A\n\n- [b](https://b.example) and 1 < 2, `c`\n\n| d | e |\n|---|---|\n"
    assert texts.quiet_markdown(text) == text
