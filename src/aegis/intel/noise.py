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
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from aegis.intel.prices import MONEY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aegis.intel.models import Reading

__all__ = [
    "Rules",
    "alike",
    "learn_flaps",
    "learn_masks",
    "masked",
    "read_rules",
    "rested",
    "tagged",
]

_MOST_RULES = 300
#: Checks after which lines that no longer come and go are compared again.
_REST = 14
#: Of a page's lines, the part that may come and go; beyond it the page is another page.
_MOST_FLAPPING = 0.4
#: Lines beside which a small page may flap as a whole.
_FEW = 3
_MONTHS = (
    r"jan\w*|feb\w*|mar\w*|mär\w*|apr\w*|may|mai|mayo|maggio|jun\w*|jul\w*|aug\w*|août|ago\w*|"
    r"sep\w*|oct\w*|okt\w*|ott\w*|nov\w*|dec\w*|dez\w*|dic\w*|déc\w*|fév\w*|juin|juil\w*|"
    r"ene\w*|gen\w*|giu\w*|lug\w*"
)
_DATE = (
    rf"(?:\d{{4}}-\d\d-\d\d|\d{{1,2}}[./]\d{{1,2}}[./]\d{{2,4}}|\d{{1,2}}\.?\s+(?:de\s+)?(?:{_MONTHS})"
    rf"\.?(?:\s+(?:de\s+)?\d{{4}})?|(?:{_MONTHS})\.?\s+\d{{1,2}}(?:st|nd|rd|th)?(?:,?\s+\d{{4}})?|"
    r"\d{4}年\d{1,2}月\d{1,2}日)"
)
#: Masked everywhere: clocks, "three minutes ago", ids, the year of a copyright, and the date of
#: the last update. Other dates are news.
_GENERIC: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), mark)
    for pattern, mark in (
        (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?\b", "⟨time⟩"),
        (
            r"\b\d{1,2}:\d\d(?::\d\d)?\s?(?:[ap]\.?m\.?)?(?:\s?(?:UTC|GMT|CES?T|[EP][SD]T))?\b",
            "⟨time⟩",
        ),
        (
            r"\b(?:\d+|an?|one)\s+(?:sec(?:ond)?|min(?:ute)?|hour|hr|day|week|month|year)s?\s+ago\b",
            "⟨ago⟩",
        ),
        (r"\b(?:just now|yesterday|today|gerade eben|gestern|heute|hier|ayer|hoy)\b", "⟨ago⟩"),
        (
            r"\bvor\s+\S+\s+(?:sekunden?|minuten?|stunden?|tag(?:en)?|wochen?|monat(?:en)?|jahr(?:en)?)\b",
            "⟨ago⟩",
        ),
        (
            r"\bil y a\s+\S+\s+(?:secondes?|minutes?|heures?|jours?|semaines?|mois|ans?)\b",
            "⟨ago⟩",
        ),
        (
            r"\bhace\s+\S+\s+(?:segundos?|minutos?|horas?|d[ií]as?|semanas?|mes(?:es)?|años?)\b",
            "⟨ago⟩",
        ),
        (r"\b\d+\s*(?:秒|分|時間|日)前", "⟨ago⟩"),
        (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "⟨id⟩"),
        (r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{12,}\b", "⟨id⟩"),
        (r"(©|\(c\)|copyright)\s*(?:\d{4}\s*[-–]\s*)?\d{4}", "⟨year⟩"),
        (
            rf"\b((?:last |zuletzt |dernière )?(?:updated|modified|reviewed|checked|aktualisiert|"
            rf"geändert|mise? à jour|actualizad[oa]|aggiornato|atualizado|stand|更新日?)"
            rf"(?:\s+(?:on|am|le|el|il|em|the))?\s*[:：]?\s*){_DATE}",
            r"\1⟨date⟩",
        ),
    )
)
_NUMBER = "⟨#⟩"
_DIGITS = re.compile(r"\d[\d.,]*")
_VOLATILE = re.compile(r"\d|^[A-Za-z0-9_-]{16,}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What was learned of one page."""

    #: The tag and the words of a line; None is a word that changes, `⟨#⟩` in one a number.
    masks: tuple[tuple[str | None, ...], ...] = ()
    #: Lines that come and go.
    flaps: frozenset[str] = field(default_factory=frozenset[str])
    #: Fetches from which noise alone is still to be learned.
    learning: int = 0
    #: Checks in a row in which the same flapping lines were shown, and a mark of which.
    quiet: int = 0
    shown: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the form in which they are stored."""
        return {
            "masks": [list(mask) for mask in self.masks],
            "flaps": sorted(self.flaps),
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
    flaps = frozenset(line for line in _list(stored.get("flaps")) if isinstance(line, str))
    learning, quiet, shown = (stored.get(name) for name in ("learning", "quiet", "shown"))
    return Rules(
        masks=tuple(masks[:_MOST_RULES]),
        flaps=flaps,
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
        bare = line if line.startswith("p") else _without_times(line)
        if line not in rules.flaps and bare not in rules.flaps:
            found.append((_mask(bare, by_length) if by_length else bare, line))
    return found


def alike(first: Reading, second: Reading, rules: Rules) -> bool:
    """Return whether two readings say the same but for noise."""
    return _bare(first, rules) == _bare(second, rules)


def learn_masks(first: Reading, second: Reading, rules: Rules) -> Rules:
    """Return rules with which numbers and ids that differ between two fetches are masked."""
    old, new = _bare(first, rules), _bare(second, rules)
    masks = dict.fromkeys(rules.masks)
    for tag, a, b, c, d in _opcodes(old, new):
        if tag != "replace" or b - a != d - c:
            continue
        for before, after in zip(old[a:b], new[c:d], strict=True):
            mask = _template(before, after)
            if mask is not None:
                masks[mask] = None
    return replace(rules, masks=tuple(masks)[-_MOST_RULES:])


def learn_flaps(readings: Sequence[Reading], rules: Rules, *, turns: int = 1) -> Rules | None:
    """Return rules without the lines that came or went `turns` times in fetches of one page.

    None where they differ in so much that nothing is to be learned: one is an error page, or the
    page is random.
    """
    seen = [set(_bare(reading, rules)) for reading in readings]
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

    Lines that came and went while a site was being changed are not noise for ever: when the same
    ones were shown for `_REST` checks, all are compared again.
    """
    if not rules.flaps:
        return rules
    shown = rules.shown
    if newest is not None:
        bare = (_without_times(line) if line[0] != "p" else line for line in tagged(newest))
        there = "\n".join(sorted(rules.flaps.intersection(bare)))
        shown = hashlib.sha256(there.encode(errors="replace")).hexdigest()[:16]
    quiet = rules.quiet + 1 if shown == rules.shown else 0
    if quiet >= _REST:
        return replace(rules, flaps=frozenset(), quiet=0, shown="")
    return replace(rules, quiet=quiet, shown=shown)


def _turns(line: str, seen: Sequence[set[str]]) -> int:
    """Return how often a line came or went."""
    there = [line in lines for lines in seen]
    return sum(one != other for one, other in itertools.pairwise(there))


def _says(lines: set[str]) -> bool:
    return any(line.startswith(("x", "p")) for line in lines)


def _bare(reading: Reading, rules: Rules) -> list[str]:
    return [line for line, _ in masked(tagged(reading), rules)]


def _without_times(line: str) -> str:
    if not any(character.isdigit() for character in line) and len(line) > 60:
        return line
    for pattern, mark in _GENERIC:
        line = pattern.sub(mark, line)
    return line


def _mask(line: str, by_length: Mapping[int, Sequence[tuple[str | None, ...]]]) -> str:
    words = _split(line)
    for mask in by_length.get(len(words), ()):
        if all(_fits(known, word) for known, word in zip(mask, words, strict=True)):
            return " ".join("⟨…⟩" if known is None else known for known in mask)
    return line


def _fits(known: str | None, word: str) -> bool:
    return known is None or known == word or (_NUMBER in known and known == _numbers(word))


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
    return tuple(mask) if says else None


def _changes(word: str) -> bool:
    return bool(_VOLATILE.search(word)) or word.startswith("⟨")


def _price_words(line: str) -> Iterable[int]:
    # Word 0 is the tag.
    text = line[2:]
    for match in MONEY.finditer(text):
        first = 1 + text.count(" ", 0, match.start())
        yield from range(first, 2 + text.count(" ", 0, match.end()))


def _opcodes(old: list[str], new: list[str]) -> Any:
    return difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []
