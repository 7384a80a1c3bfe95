"""One encrypted value: what comes back, and what never does."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import unicodedata

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import example, given
from hypothesis import strategies as st

from aegis.errors import ConfigError, OpsError
from aegis.security.columns.sealing import MARK, Ring, key_of, normalised

KEY = bytes(range(32))
RING = Ring({"00000001": KEY, "00000002": bytes(32)}, source="the ring")
COLUMN = "billing_accounts.email"
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=300)


@given(
    TEXT, st.text(max_size=40).filter(str.isprintable), st.sampled_from(["00000001", "00000002"])
)
def test_what_is_sealed_comes_back(text: str, row: str, key: str) -> None:
    sealed = RING.seal(key, COLUMN, row, text)
    assert RING.reveal(sealed, COLUMN, row) == text
    assert key_of(sealed) == key
    assert re.fullmatch(r"aegis:v1:[0-9a-f]{8}:[A-Za-z0-9+/=]+", sealed)


def test_a_huge_text_comes_back() -> None:
    text = "é" * 3_000_000
    assert RING.reveal(RING.seal("00000001", COLUMN, "r", text), COLUMN, "r") == text


def test_the_same_text_never_looks_the_same() -> None:
    assert len({RING.seal("00000001", COLUMN, "r", "text") for _ in range(50)}) == 50


@pytest.mark.parametrize(
    ("column", "row", "field"),
    [
        ("billing_accounts.email", "other", ""),
        ("billing_accounts.name", "row", ""),
        ("billing_accounts.email", "row", "name"),
        ("billing_accounts.email", "", "row"),
    ],
)
def test_a_value_that_is_moved_is_refused(column: str, row: str, field: str) -> None:
    sealed = RING.seal("00000001", COLUMN, "row", "a@example.org")
    with pytest.raises(OpsError) as refused:
        RING.reveal(sealed, column, row, field=field)
    assert refused.value.code == "column_damaged"
    assert "a@example.org" not in refused.value.message


def test_every_flipped_bit_is_refused() -> None:
    sealed = RING.seal("00000001", COLUMN, "row", "text")
    head, _, body = sealed.rpartition(":")
    held = base64.b64decode(body)
    for bit in range(len(held) * 8):
        flipped = bytearray(held)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(OpsError):
            RING.reveal(f"{head}:{base64.b64encode(flipped).decode()}", COLUMN, "row")


@given(st.text(max_size=60))
def test_whatever_only_begins_like_one_is_refused_in_one_line(rest: str) -> None:
    with pytest.raises((OpsError, ConfigError)) as refused:
        RING.reveal(MARK + rest, COLUMN, "row")
    assert refused.value.code in ("column_damaged", "column_key_missing")
    assert "\n" not in refused.value.message


def test_another_key_of_the_same_name_is_refused() -> None:
    sealed = RING.seal("00000001", COLUMN, "row", "text")
    with pytest.raises(OpsError):
        Ring({"00000001": bytes(32)}, source="another").reveal(sealed, COLUMN, "row")


def test_a_missing_key_is_named_and_what_is_there() -> None:
    sealed = RING.seal("00000002", COLUMN, "row", "text")
    with pytest.raises(ConfigError, match=r"the key 00000002, and the file has 00000001\.") as lost:
        Ring({"00000001": KEY}, source="the file").reveal(sealed, COLUMN, "row")
    assert lost.value.code == "column_key_missing"


def test_keys_are_derived_as_the_standard_says() -> None:
    info = b"aegis columns v1 search " + COLUMN.encode()
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(KEY)
    assert RING.hash_key("00000001", COLUMN) == derived
    wanted = hmac.new(derived, b"a@example.org", hashlib.sha256).hexdigest()
    assert RING.hash("00000001", COLUMN, " A@Example.org\n") == f"00000001:{wanted}"
    assert RING.hash("00000001", "billing_accounts.name", "a@example.org")[9:] != wanted


@given(TEXT)
@example("W\u030a")
@example("A\u030a")
def test_normalised_texts_stay_as_they_are(text: str) -> None:
    once = normalised(text)
    assert normalised(once) == once
    assert normalised(unicodedata.normalize("NFD", text)) == once
