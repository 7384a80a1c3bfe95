"""What a key is made of: form, checksum, hashes."""

from __future__ import annotations

import hashlib
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.errors import ConfigError
from aegis.keys.secret import (
    PATTERN,
    Secret,
    hashes_of,
    is_one_of,
    is_well_formed,
    make_key,
    old_form_hashes_of,
    parse_secrets,
    prefix_of,
)

ALPHABET = string.digits + string.ascii_letters
RANDOM = st.binary(min_size=32, max_size=32)


@given(RANDOM, st.sampled_from(["live", "test"]))
def test_key_has_the_published_form(random: bytes, environment: str) -> None:
    key = make_key(environment, random)  # pyright: ignore[reportArgumentType]
    assert re.fullmatch(PATTERN, key)
    assert is_well_formed(key)
    assert key.startswith(f"aegis_{environment}_")
    assert len(prefix_of(key)) <= 20


@given(RANDOM, st.data())
def test_one_wrong_character_is_seen(random: bytes, data: st.DataObject) -> None:
    key = make_key("live", random)
    place = data.draw(st.integers(len("aegis_live_"), len(key) - 1))
    wrong = data.draw(st.sampled_from(ALPHABET).filter(lambda c: c != key[place]))
    assert not is_well_formed(key[:place] + wrong + key[place + 1 :])


@given(RANDOM, st.data())
def test_two_neighbours_swapped_are_seen(random: bytes, data: st.DataObject) -> None:
    key = make_key("test", random)
    at = data.draw(st.integers(len("aegis_test_"), len(key) - 2))
    swapped = key[:at] + key[at + 1] + key[at] + key[at + 2 :]
    assert is_well_formed(swapped) == (swapped == key)


def test_anything_else_is_no_key() -> None:
    key = make_key("live", bytes(range(32)))
    assert is_well_formed(key)
    for text in (
        key[:-1],
        key + "0",
        key + "\n",
        " " + key,
        key.upper(),
        key.replace("live", "test"),
        key[:20] + "é" + key[21:],
        "",
    ):
        assert not is_well_formed(text), text


def test_different_randomness_makes_different_keys() -> None:
    low, high = make_key("live", bytes(32)), make_key("live", b"\xff" * 32)
    assert low[11:54] == "0" * 43
    assert low != high
    with pytest.raises(ValueError, match="32 random bytes"):
        make_key("live", b"short")


def test_stored_hash_names_its_secret_and_needs_it() -> None:
    one, other = Secret(b"a" * 32), Secret(b"b" * 32)
    assert one.hash("k") == Secret(b"a" * 32).hash("k")
    assert one.hash("k").startswith(f"hmac-sha256:{one.id}:")
    assert one.hash("k")[-64:] != other.hash("k")[-64:]
    assert hashes_of("k", [one, other]) == [other.hash("k"), one.hash("k")]
    digest = hashlib.sha256(b"k").hexdigest()
    assert old_form_hashes_of("k", []) == [digest, digest.upper()]
    assert old_form_hashes_of("k", [one])[0].startswith(f"hmac-sha256-old:{one.id}:")
    assert is_one_of(one.hash("k"), hashes_of("k", [one, other]))
    assert not is_one_of(one.hash("k"), hashes_of("other", [one, other]))


def test_secret_is_in_no_repr() -> None:
    assert "sesame" not in repr(Secret(b"sesame" * 8))


def test_secrets_of_a_setting_are_read_in_order_and_once() -> None:
    text = f"{'a' * 32},{'b' * 40}\n {'a' * 32} "
    assert [s.value for s in parse_secrets(text, source="X")] == [b"a" * 32, b"b" * 40]


@pytest.mark.parametrize(("text", "why"), [("", "no secret"), ("tooshort", "of 8 characters"),
                                           ("é" * 40, "ASCII")])  # fmt: skip
def test_unfit_secrets_are_refused_without_being_told(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as refused:
        parse_secrets(text, source="AEGIS_KEY_SECRET")
    assert "AEGIS_KEY_SECRET" in refused.value.message
    assert not text or text not in refused.value.message
