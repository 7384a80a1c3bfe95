"""JSON values read one at a time are those that `json` reads at once, however they are cut."""

from __future__ import annotations

import io
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.errors import InvalidInput
from aegis.memory.importing import values

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.text(st.sampled_from('\\"\n🐘\x00{}[],'), max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


class Dripping(io.BytesIO):
    """A file that gives a few bytes at a time, whatever is asked for."""

    def __init__(self, data: bytes, most: int) -> None:
        super().__init__(data)
        self._most = most

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or self._most, self._most))


def read(data: bytes, most: int = 2**20) -> list[Any]:
    return [value.content for value in values.read_values(Dripping(data, most))]


@given(st.lists(JSON, max_size=5), st.integers(1, 9), st.booleans(), st.sampled_from([None, 1]))
def test_list_is_read_as_json_reads_it(
    content: list[Any], most: int, ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(content, ensure_ascii=ascii_only, indent=indent)
    data = text.encode(errors="surrogatepass" if ascii_only else "replace")
    assert read(data, most) == json.loads(data)


@given(st.lists(JSON, min_size=1, max_size=4), st.integers(1, 9), st.sampled_from([" ", "\n\r\n"]))
def test_values_that_follow_one_another_are_read_in_order(
    content: list[Any], most: int, between: str
) -> None:
    text = between.join(json.dumps({"v": value}) for value in content)
    assert read(b"\xef\xbb\xbf" + text.encode(), most) == [{"v": value} for value in content]


@pytest.mark.parametrize(
    ("data", "count", "reason"),
    [
        (b"", 0, "empty"),
        (b" \n", 0, "empty"),
        (b"[1, 2", 2, "ends in the list"),
        (b'[{"a": 1}, {"a": ', 1, "not JSON"),
        (b'[{"a": 1}, {"a": "cut', 1, "not JSON"),
        (b'[{"a": 1} {"a": 2}]', 1, "'{' where the list goes on"),
        (b"[1, ]", 1, "not JSON"),
        (b"[1, x]", 1, "not JSON"),
        (b"[1] [2]", 1, "follows the end"),
        (b'[1, "\xff"]', 0, "not UTF-8"),
        (b'[1, "' + b"x" * 100_000 + b'\xff"]', 1, "not UTF-8"),
        (b"[1, " + b"[" * 200_000, 1, "nested too deeply"),
        (b'[1, {"a": "\\q"}' + b" " * 100 + b"]", 1, "escape"),
    ],
)
@pytest.mark.parametrize("most", [1_000, 2**20])
def test_what_is_broken_is_said_after_what_is_whole(
    data: bytes, count: int, reason: str, most: int
) -> None:
    reader = values.read_values(Dripping(data, most))
    found = 0
    with pytest.raises(InvalidInput, match=reason):
        for value in reader:
            found = value.number
    assert found in ({count} if b"\xff" not in data else {0, 1})


def test_value_beyond_the_limit_is_refused_before_it_is_all_in_memory() -> None:
    taken = 0

    class Endless(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            nonlocal taken
            assert size is not None
            start = b'[1, "' if taken == 0 else b""
            taken += size
            return start + b"x" * (size - len(start))

    reader = values.read_values(Endless(), max_characters=2**20)
    assert next(reader).content == 1
    with pytest.raises(InvalidInput, match="longer than 1,048,576 characters"):
        next(reader)
    assert taken <= 4 * 2**20


def test_blanks_without_end_take_no_memory() -> None:
    asked: list[int] = []

    class Blank(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            asked.append(size)
            return b" " * size if len(asked) < 200 else b""

    with pytest.raises(InvalidInput, match="empty"):
        list(values.read_values(Blank()))
    # As much is asked for as is kept: a reader that kept blanks would ask for ever more.
    assert set(asked) == {2**18}


def test_number_without_end_spoils_itself_only() -> None:
    data = b'[{"n": ' + b"7" * 100_000 + b'}, {"n": 1}]'
    assert read(data) == [{"n": math.inf}, {"n": 1}]
