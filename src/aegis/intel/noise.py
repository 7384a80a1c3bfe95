"""What changes by itself: times and ids that everybody has, and what was learned of one page.

A reading becomes tagged lines (`t` title, `x` text, `p` prices, `o` outline). Two fetches of a page
soon after one another should be alike; where they are not, that is noise: a number that counts
becomes a mask of its line, a line that comes and goes is left out. A price is never masked: an
experiment shows two of them, and a third is news.
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from aegis.intel.ordering import ANYWHERE, arranged, moved, moving
from aegis.intel.prices import MONEY
from aegis.intel.times import without_times

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aegis.intel.models import Reading

__all__ = [
    "Rules",
    "alike",
    "learn_flaps",
    "learn_masks",
    "learn_moves",
    "masked",
    "only_ordered",
    "read_rules",
    "rested",
    "tagged",
]

_MOST_RULES = 300
#: Lines of each side of which every pair is looked at.
_MOST_LOOSE = 40
#: Checks after which lines that no longer come and go are compared again.
_REST = 14
#: Of a page's lines, the part that may come and go; beyond it the page is another page.
_MOST_FLAPPING = 0.4
#: Lines beside which a small page may flap as a whole.
_FEW = 3
_NUMBER = "⟨#⟩"
_DIGITS = re.compile(r"\d[\d.,]*")
#: A line that is a number, or an id, and nothing else.
_ALONE = re.compile(r"⟨#(\d{1,3})⟩")
_ID = re.compile(r"⟨id⟩|(?=[^\d]*\d)[A-Za-z0-9_-]{16,}")
_ANY_ID = "⟨id…⟩"
_VOLATILE = re.compile(r"\d|^[A-Za-z0-9_-]{16,}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What was learned of one page."""

    #: The tag and the words of a line; None is a word that changes, `⟨#⟩` in one a number.
    masks: tuple[tuple[str | None, ...], ...] = ()
    #: Lines that come and go.
    flaps: frozenset[str] = field(default_factory=frozenset[str])
    #: Lines that may stand anywhere.
    moves: frozenset[str] = field(default_factory=frozenset[str])
    #: Fetches from which noise alone is still to be learned.
    learning: int = 0
    #: Checks in a row in which the same flapping lines were shown, and those that move in the same
    #: order, and a mark of them.
    quiet: int = 0
    shown: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the form in which they are stored."""
        return {
            "masks": [list(mask) for mask in self.masks],
            "flaps": sorted(self.flaps),
            "moves": sorted(self.moves),
            "learning": self.learning,
            "quiet": self.quiet,
            "shown": self.shown,
        }


def read_rules(stored: Mapping[str, Any]) -> Rules:
    """Return stored rules; what is no rule is left out: anybody may have written to the row."""
    masks: list[tuple[str | None, ...]] = []
    for mask in _list(stored.get("masks")):
        words = _list(mask)
        if words and all(word is None or isinstance(word, str) for word in words):
            masks.append(tuple(words))
    flaps, moves = (
        frozenset(line for line in _list(stored.get(name)) if isinstance(line, str))
        for name in ("flaps", "moves")
    )
    learning, quiet, shown = (stored.get(name) for name in ("learning", "quiet", "shown"))
    return Rules(
        masks=tuple(masks[:_MOST_RULES]),
        flaps=flaps,
        moves=moves,
        learning=learning if isinstance(learning, int) and 0 <= learning <= 10 else 0,
        quiet=quiet if isinstance(quiet, int) and 0 <= quiet <= _REST else 0,
        shown=shown if isinstance(shown, str) else "",
    )


def tagged(reading: Reading) -> list[str]:
    """Return everything that a reading says, a line each, told apart by its first letter."""
    return [
        f"t\t{reading.title}",
        *(f"x\t{line}" for line in reading.text),
        *(f"p\t{line}" for line in reading.prices),
        *(f"o\t{line}" for line in reading.outline),
    ]


def masked(lines: Iterable[str], rules: Rules) -> list[tuple[str, str]]:
    """Return lines without their noise, each with the line that it was; flapping ones are out."""
    by_length: dict[int, list[tuple[str | None, ...]]] = {}
    for mask in rules.masks:
        by_length.setdefault(len(mask), []).append(mask)
    found: list[tuple[str, str]] = []
    for line in lines:
        bare = line if line.startswith("p") else without_times(line)
        if line not in rules.flaps and bare not in rules.flaps:
            found.append((_mask(bare, by_length) if by_length else bare, line))
    return found


def alike(first: Reading, second: Reading, rules: Rules) -> bool:
    """Return whether two readings say the same but for noise."""
    old, new = _between(tagged(first), tagged(second))
    # Most pages differ in a line or two, and to look at no other is quick.
    if len(old) == len(new) and all(
        one == other or _bare([one], rules) == _bare([other], rules)
        for one, other in zip(old, new, strict=True)
    ):
        return True
    return arranged(_bare(old, rules), rules.moves) == arranged(_bare(new, rules), rules.moves)


def only_ordered(first: Reading, second: Reading, rules: Rules) -> bool:
    """Return whether two readings say the same lines but for noise, in whichever order."""
    old, new = _between(tagged(first), tagged(second))
    return Counter(_bare(old, rules)) == Counter(_bare(new, rules))


def learn_moves(first: Reading, second: Reading, rules: Rules) -> Rules:
    """Return rules in which what stands elsewhere in the second of two fetches may do so."""
    found = rules.moves | moved(
        arranged(_bare(tagged(first), rules), rules.moves),
        arranged(_bare(tagged(second), rules), rules.moves),
    )
    if len(found) > _MOST_RULES:
        found = frozenset({ANYWHERE})
    return rules if found == rules.moves else replace(rules, moves=found, quiet=0)


def learn_masks(first: Reading, second: Reading, rules: Rules) -> Rules:
    """Return rules with which numbers and ids that differ between two fetches are masked."""
    old = arranged(_bare(tagged(first), rules), rules.moves)
    new = arranged(_bare(tagged(second), rules), rules.moves)
    masks = dict.fromkeys(rules.masks)
    for before, after in _pairs(old, new) if not rules.moves else _loose_pairs(old, new):
        mask = _template(before, after)
        if mask is not None:
            masks[mask] = None
    return replace(rules, masks=tuple(masks)[-_MOST_RULES:])


def learn_flaps(readings: Sequence[Reading], rules: Rules, *, turns: int = 1) -> Rules | None:
    """Return rules without the lines that came or went `turns` times in fetches of one page.

    None where they differ in so much that nothing is to be learned: one is an error page, or the
    page is random.
    """
    seen = [set(_bare(tagged(reading), rules)) for reading in readings]
    always, ever = set(seen[0]), set(seen[0])
    for lines in seen[1:]:
        always &= lines
        ever |= lines
    flapping = {line for line in ever - always if _turns(line, seen) >= turns}
    least = min(len(lines) for lines in seen)
    if len(flapping) > max(_FEW, _MOST_FLAPPING * 2 * least) or not _says(always):
        return None
    flaps = rules.flaps | flapping
    if len(flaps) > 10 * _MOST_RULES:
        return None
    return replace(rules, flaps=flaps, quiet=0)


def rested(rules: Rules, newest: Reading | None) -> Rules:
    """Return rules after a check without a difference; None is the same document as before.

    Lines that came and went, or moved, while a site was being changed are not noise for ever: when
    the same ones were shown for `_REST` checks, all are compared again.
    """
    if not rules.flaps and not rules.moves:
        return rules
    shown = rules.shown
    if newest is not None:
        there = _shown_of(newest, rules)
        shown = hashlib.sha256(there.encode(errors="replace")).hexdigest()[:16]
    quiet = rules.quiet + 1 if shown == rules.shown else 0
    if quiet >= _REST:
        return replace(rules, flaps=frozenset(), moves=frozenset(), quiet=0, shown="")
    return replace(rules, quiet=quiet, shown=shown)


def _shown_of(newest: Reading, rules: Rules) -> str:
    """Return the lines that come and go, and those that move in their order."""
    lines = tagged(newest)
    there: list[str] = []
    if rules.flaps:
        bare = (without_times(line) if line[0] != "p" else line for line in lines)
        there += sorted(rules.flaps.intersection(bare))
    if rules.moves:
        there += [line for line in _bare(lines, rules) if moving(line, rules.moves)]
    return "\n".join(there)


def _turns(line: str, seen: Sequence[set[str]]) -> int:
    """Return how often a line came or went."""
    there = [line in lines for lines in seen]
    return sum(one != other for one, other in itertools.pairwise(there))


def _says(lines: set[str]) -> bool:
    return any(line.startswith(("x", "p")) for line in lines)


def _bare(lines: Iterable[str], rules: Rules) -> list[str]:
    return [line for line, _ in masked(lines, rules)]


def _between(old: list[str], new: list[str]) -> tuple[list[str], list[str]]:
    """Return what is left of both without the lines that they begin and end with alike."""
    most = min(len(old), len(new))
    begin = 0
    while begin < most and old[begin] == new[begin]:
        begin += 1
    end = 0
    while end < most - begin and old[-1 - end] == new[-1 - end]:
        end += 1
    return old[begin : len(old) - end], new[begin : len(new) - end]


def _mask(line: str, by_length: Mapping[int, Sequence[tuple[str | None, ...]]]) -> str:
    words = _split(line)
    for mask in by_length.get(len(words), ()):
        if all(_fits(known, word) for known, word in zip(mask, words, strict=True)):
            return " ".join("⟨…⟩" if known is None else known for known in mask)
    return line


def _fits(known: str | None, word: str) -> bool:
    if known is None or known == word:
        return True
    if known == _ANY_ID:
        return bool(_ID.fullmatch(word))
    alone = _ALONE.fullmatch(known)
    if alone is not None:
        return bool(_DIGITS.fullmatch(word)) and _size(word) >= int(alone[1])
    return _NUMBER in known and known == _numbers(word)


def _numbers(word: str) -> str:
    return _DIGITS.sub(_NUMBER, word)


def _split(line: str) -> list[str]:
    """Return the tag and the words of a line."""
    return [line[:1], *line[2:].split(" ")]


def _template(before: str, after: str) -> tuple[str | None, ...] | None:
    if before[0] != after[0] or before[0] == "p":
        return None
    old, new = _split(before), _split(after)
    if len(old) != len(new):
        return None
    price = {*_price_words(before), *_price_words(after)}
    mask: list[str | None] = []
    for at, (one, other) in enumerate(zip(old, new, strict=True)):
        if one == other:
            mask.append(one)
        elif at in price:
            return None
        elif _numbers(one) == _numbers(other):
            mask.append(_numbers(one))
        elif _changes(one) and _changes(other):
            mask.append(None)
        else:
            return None
    # What is masked as a whole would mask every line of its length.
    says = any(word and word.strip(_NUMBER) for word in mask[1:])
    return tuple(mask) if says else _alone(old, new)


def _alone(old: list[str], new: list[str]) -> tuple[str, str] | None:
    """Return the mask of a line that is a number or an id and nothing else.

    Numbers of fewer digits are not masked with it: beside a counter, "49" is still news.
    """
    if len(old) != 2:
        return None
    tag, one = old
    other = new[1]
    if _ID.fullmatch(one) and _ID.fullmatch(other):
        return tag, _ANY_ID
    if _DIGITS.fullmatch(one) and _DIGITS.fullmatch(other):
        return tag, f"⟨#{min(_size(one), _size(other))}⟩"
    return None


def _size(number: str) -> int:
    return sum(character.isdigit() for character in number)


def _changes(word: str) -> bool:
    return bool(_VOLATILE.search(word)) or word.startswith("⟨")


def _price_words(line: str) -> Iterable[int]:
    # Word 0 is the tag.
    text = line[2:]
    for match in MONEY.finditer(text):
        first = 1 + text.count(" ", 0, match.start())
        yield from range(first, 2 + text.count(" ", 0, match.end()))


def _pairs(old: list[str], new: list[str]) -> Iterable[tuple[str, str]]:
    """Yield the lines that stand where another one stood."""
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag == "replace" and b - a == d - c:
            yield from zip(old[a:b], new[c:d], strict=True)


def _loose_pairs(old: list[str], new: list[str]) -> Iterable[tuple[str, str]]:
    """Yield lines that are in one alone with the first of the other's that is like them."""
    before, after = Counter(old), Counter(new)
    come = list((after - before).elements())[:_MOST_LOOSE]
    for line in list((before - after).elements())[:_MOST_LOOSE]:
        like = next((other for other in come if _template(line, other) is not None), None)
        if like is not None:
            come.remove(like)
            yield line, like


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []
