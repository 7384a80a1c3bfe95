"""Lines that are a number or an id and nothing else, and differ in each fetch."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, cast

import pytest

from aegis.intel.noise import Rules, masked
from tests.intel.test_corpus import Follower

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.intel.corpus import Case

WORDS = "".join(
    f"<p>Part {n} says what parts of other pages say, and goes on.</p>" for n in range(9)
)
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


class Page:
    """A page with a line of its own that is another one in each fetch."""

    def __init__(self, noise: Callable[[random.Random], str]) -> None:
        self.noise = noise
        self.rng = random.Random(7)
        self.page_type = "features"
        self.seats = "49"
        self.words = WORDS

    def serve(self) -> str:
        line = self.noise(self.rng)
        return (
            f"<html><body><main><h1>Acme</h1><div>{line}</div><div>visitors</div>{self.words}"
            f"<div>{self.seats}</div><div>seats</div></main></body></html>"
        )


NOISES: dict[str, Callable[[random.Random], str]] = {
    "counter": lambda rng: f"{rng.randrange(10_000, 99_999):,}",
    "digits": lambda rng: f"{rng.randrange(10**31, 10**32)}",
    "hexadecimal": lambda rng: f"{rng.randrange(1_000):032x}",
    "token": lambda rng: "".join(rng.choices(LETTERS, k=24)) + "7",
}


@pytest.mark.parametrize("name", NOISES)
def test_they_are_noise_and_what_stands_beside_them_is_still_news(name: str) -> None:
    page = Page(NOISES[name])
    follower = Follower(cast("Case", page))
    for _ in range(40):
        follower.check()
    assert follower.told == []
    assert follower.pending == []
    # Fewer digits than the counter has.
    page.seats = "99"
    for _ in range(12):
        follower.check()
    (change,) = follower.told
    assert "-49" in change.diff.splitlines()
    page.words = WORDS.replace("Part 3 says", "Part 3 no longer says")
    for _ in range(12):
        follower.check()
    assert len(follower.told) == 2


def test_a_mask_of_a_number_alone_spares_words_and_smaller_numbers() -> None:
    rules = Rules(masks=(("x", "⟨#5⟩"), ("x", "⟨id…⟩")))
    lines = [
        "x\t12,345",
        "x\t1234",
        "x\tvisitors",
        "x\tk3Jd8sLq2Mn4Pz7Xw1",
        "x\tProduction-Servers",
    ]
    left = [bare for bare, _ in masked(lines, rules)]
    assert left == [
        "x ⟨#5⟩", "x\t1234", "x\tvisitors", "x ⟨id…⟩", "x\tProduction-Servers",
    ]  # fmt: skip
