"""What one text says of its worth: what is quick finds what is thorough."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.memory import junk

PATTERN = junk._BOILERPLATE  # pyright: ignore[reportPrivateUsage]
WORDS = junk._BOILERPLATE_WORDS  # pyright: ignore[reportPrivateUsage]


@given(st.from_regex(PATTERN, alphabet=st.characters(max_codepoint=127)))
@settings(max_examples=300)
def test_whatever_the_pattern_finds_has_one_of_the_words(text: str) -> None:
    lower = text.lower()
    assert any(word in lower for word in WORDS)


def test_boilerplate_is_found_in_any_case_and_beside_other_scripts() -> None:
    for text in (
        "AS AN AI LANGUAGE MODEL, I cannot know. How can I help you?",
        "I'm an AI. – Let me know if you have questions.",
        "Sure, here is what you asked for.",
    ):
        assert junk.noise(text) == "boilerplate"
    assert junk.noise("Ann measured the assistant's desk and wrote the plan of the house.") is None
