"""The token, the presence file, cursors and the JSON form."""

from __future__ import annotations

import json
import os
import stat
from base64 import urlsafe_b64encode as b64encode
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.config import load_settings
from aegis.errors import ConfigError, InvalidInput
from aegis.memory import ScorePart
from aegis.wire import cursor as wire_cursor
from aegis.wire.cursor import BY_ID, BY_OFFSET, DUE_DECISIONS, EPISODES, EXECUTIONS, SESSIONS
from aegis.wire.plain import json_text, plain
from aegis.wire.presence import Presence, announce, find_presence, fingerprint
from aegis.wire.token import PREFIX, ensure_token, find_token, token_path

if TYPE_CHECKING:
    from pathlib import Path

PAGINGS = [name for name in wire_cursor.__all__ if name.isupper()]
PRESENCE = Presence(url="http://127.0.0.1:1", pid=1, serves="x")


def test_token_is_made_once_and_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    assert find_token(folder) is None
    with ThreadPoolExecutor(8) as pool:
        tokens = set(pool.map(ensure_token, [folder] * 16))
    assert len(tokens) == 1
    (token,) = tokens
    assert token.startswith(PREFIX)
    assert find_token(folder) == token
    assert stat.S_IMODE(token_path(folder).stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == ["operator-token"]


@pytest.mark.parametrize("content", ["", "short", "aegis_op_", "\xff"])
def test_file_that_holds_no_token_is_refused(tmp_path: Path, content: str) -> None:
    token_path(tmp_path).write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError) as caught:
        ensure_token(tmp_path)
    assert caught.value.code == "token_unreadable"


def test_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(ConfigError):
        ensure_token(tmp_path / "data")


def test_presence_lasts_until_it_is_withdrawn(tmp_path: Path) -> None:
    assert find_presence(tmp_path) is None
    announcement = announce(tmp_path, PRESENCE)
    assert announcement is not None
    assert find_presence(tmp_path) == PRESENCE
    assert announce(tmp_path, PRESENCE) is None
    announcement.withdraw()
    assert find_presence(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"url": 1}'])
def test_presence_without_sense_is_none(tmp_path: Path, content: bytes) -> None:
    announcement = announce(tmp_path, PRESENCE)
    assert announcement is not None
    (tmp_path / "serve.json").write_bytes(content)
    assert find_presence(tmp_path) is None
    announcement.withdraw()


def test_what_a_dead_process_left_is_no_presence(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        announce(tmp_path, PRESENCE)
        os._exit(0)
    os.waitpid(pid, 0)
    assert json.loads((tmp_path / "serve.json").read_text())["pid"] == 1
    assert find_presence(tmp_path) is None
    assert announce(tmp_path, PRESENCE) is not None


def test_fingerprint_tells_apart_what_answers_differently(tmp_path: Path) -> None:
    def of(token: str = "t", **settings: str) -> str:
        return fingerprint(load_settings({}, data_dir=tmp_path, **settings), token)

    ours = of()
    assert ours == of(namespace="another", api_host="localhost")
    url = "postgresql://u:p@h/d"
    others = {of("u"), of(database_url=url), of(embedder="none"), of(embedding_model="m")}
    assert len(others | {ours}) == 5
    assert "u:p" not in of(database_url=url)


@given(st.datetimes(timezones=st.just(UTC)), st.integers(1, 2**31 - 1))
def test_cursor_of_an_episode_comes_back(at: datetime, row_id: int) -> None:
    class Row:
        timestamp = at
        id = row_id

    cursor = EPISODES.page([Row()], 1)["next_cursor"]
    assert cursor is not None
    assert EPISODES.at(cursor) == (at, row_id)
    assert EPISODES.page([Row()], 2)["next_cursor"] is None
    assert EPISODES.page([], 1) == {"items": [], "next_cursor": None}


@given(st.integers(1, 1000), st.integers(1, 5))
def test_cursor_of_an_offset_leads_on(limit: int, pages: int) -> None:
    cursor = None
    for _ in range(pages):
        cursor = BY_OFFSET.page([None] * limit, limit, cursor)["next_cursor"]
    assert BY_OFFSET.at(cursor) == pages * limit
    assert BY_OFFSET.page([], limit, cursor)["next_cursor"] is None
    # All there is, whatever its number.
    assert BY_OFFSET.page([None] * limit, None, cursor)["next_cursor"] is None


def test_cursors_are_written_as_ever() -> None:
    at = datetime(2026, 5, 1, 9, tzinfo=UTC)
    due = SimpleNamespace(id=7, review_at=None, created_at=at)
    session = SimpleNamespace(session_id="s-1", started_at=at)
    pages = [BY_OFFSET.page([None] * 50, 50), BY_ID.page([due], 1), DUE_DECISIONS.page([due], 1),
             SESSIONS.page([session], 1)]  # fmt: skip
    assert [page["next_cursor"] for page in pages] == [
        "NTA",
        "Nw",
        "WyIyMDI2LTA1LTAxVDA5OjAwOjAwKzAwOjAwIiwgN10",
        "WyIyMDI2LTA1LTAxVDA5OjAwOjAwKzAwOjAwIiwgInMtMSJd",
    ]
    assert DUE_DECISIONS.at(pages[2]["next_cursor"]) == (at, 7)
    assert SESSIONS.at(pages[3]["next_cursor"]) == (at, "s-1")


def test_executions_without_a_time_are_the_last_page() -> None:
    assert EXECUTIONS.page([SimpleNamespace(id="x", started_at=None)], 1)["next_cursor"] is None


@pytest.mark.parametrize("name", PAGINGS)
@given(
    st.one_of(
        st.text(max_size=30),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
            lambda inner: st.lists(inner, max_size=3),
        ).map(lambda value: b64encode(json.dumps(value).encode()).decode()),
    )
)
def test_text_that_is_no_cursor_is_refused(name: str, text: str) -> None:
    try:
        getattr(wire_cursor, name).at(text)
    except InvalidInput as error:
        assert error.code == "cursor_invalid"


def test_json_form_keeps_zones_and_nesting(tmp_path: Path) -> None:
    at = datetime(2026, 5, 1, 9, tzinfo=timezone(timedelta(hours=2)))
    value = {"at": at, "part": ScorePart(arm="words", score=1), "path": tmp_path, "n": (1, None)}
    assert plain(value) == {
        "at": "2026-05-01T09:00:00+02:00",
        "part": {"arm": "words", "score": 1, "rank": None, "detail": None},
        "path": str(tmp_path),
        "n": [1, None],
    }
    assert json_text({"x": "—"}) == '{\n  "x": "—"\n}'
