"""How many tokens a text is for a language model, estimated on the high side. Pure.

No tokenizer is at hand for every model, and a budget that is overrun is worse than one that is
not used up, so each run of characters counts for what the less thrifty of the usual vocabularies
(BERT's WordPiece and byte-pair encodings of 100,000 entries) make of it. Additive over lines:
a text is its lines and one for each line end.

- a word of ASCII letters: 1 up to 5 letters, 1 more for every 2 that follow; one that nobody
  could pronounce, or in capitals or mixed case, 2 for every 3 letters
- digits: 2 for every 3
- letters of other alphabets: 2 for every 3 where they are Latin, otherwise 1 each
- Han and Kana 1 each and 1 more for every 3 in a row; a Hangul syllable 2
- any other sign 1, outside ASCII and general punctuation 2, an emoji 3
- white space between words nothing, a run of more than one 1, each line end 1
"""

from __future__ import annotations

import re

__all__ = ["estimate_tokens"]

_RUNS = re.compile(
    r"(?P<word>[A-Za-z]+)"
    r"|(?P<digits>[0-9]+)"
    r"|(?P<lines>[ \t]*\n\s*)"
    r"|(?P<space>\s+)"
    r"|(?P<han>[\u2e80-\u2fff\u3005-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+)"
    r"|(?P<hangul>[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]+)"
    r"|(?P<latin>[A-Za-z\u00aa-\u024f\u1e00-\u1eff]+)"
    r"|(?P<general>[\x00-\x7f\u2000-\u206f])"
    r"|(?P<other>[^\W\d_]+)"
    r"|(?P<wide>[\U00010000-\U0010ffff])"
    r"|(?P<sign>.)",
    re.DOTALL,
)
#: No vowel in a word, or a row of consonants that few languages have.
_UNSPEAKABLE = re.compile(r"[^aeiouy]{4}|\A[^aeiouy]{3,}\Z", re.IGNORECASE)
_SHORT_WORD = 5


def estimate_tokens(text: str) -> int:
    """Return about how many tokens `text` is, rather too many than too few."""
    total = 0
    for run in _RUNS.finditer(text):
        kind, part = run.lastgroup, run[0]
        length = len(part)
        if kind == "word":
            total += _word(part)
        elif kind in ("digits", "latin"):
            total += _two_thirds(length)
        elif kind == "lines":
            total += part.count("\n") + (length > part.count("\n"))
        elif kind == "space":
            total += length > 1
        elif kind == "han":
            total += length + -(-length // 3)
        elif kind == "hangul":
            total += 2 * length
        elif kind == "wide":
            total += 3 * length
        elif kind == "other":
            # Letters outside the basic plane are bytes to most vocabularies.
            total += sum(1 if character < "\U00010000" else 3 for character in part)
        else:
            total += 2 if kind == "sign" else 1
    return total


def _word(part: str) -> int:
    length = len(part)
    if not (part.islower() or part.istitle()) or _UNSPEAKABLE.search(part):
        return _two_thirds(length)
    return 1 if length <= _SHORT_WORD else 1 + -(-(length - _SHORT_WORD) // 2)


def _two_thirds(length: int) -> int:
    return -(-2 * length // 3)
