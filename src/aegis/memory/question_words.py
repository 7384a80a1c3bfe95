"""Which words of a question are used, what each tells apart, and how far each is looked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.memory.ranking import idf_of_shares

if TYPE_CHECKING:
    from aegis.memory.store.search import QuestionFacts

__all__ = ["plan_words"]

#: The words that tell most apart are enough; each costs a look at every candidate.
_MAX_WORDS = 24
#: Postings that are read in a large namespace, in all: the rarest words first.
_POSTINGS = 300
#: Share of a word that the sample of a large namespace did not list.
_RARE_SHARE = 0.0004


def plan_words(facts: QuestionFacts, *, small: bool) -> tuple[list[str], list[float], list[int]]:
    """Return the words to use, what each tells apart, and how many postings to read of each.

    In a small namespace all are read. In a large one the rarest words find the candidates, and
    the others only count in them: they are in so many memories that they find nothing.
    """
    shares = [_RARE_SHARE if share is None else share for share in facts.shares]
    order = sorted(range(len(shares)), key=lambda i: (shares[i], facts.words[i]))[:_MAX_WORDS]
    words = [facts.words[i] for i in order]
    idf = idf_of_shares([shares[i] for i in order], facts.episodes)
    if small:
        return words, idf, [facts.episodes + 1] * len(words)
    caps: list[int] = []
    left = _POSTINGS
    for i in order:
        expected = max(1, round(shares[i] * facts.episodes))
        # The rarest word is read whatever it costs, up to the limit.
        caps.append(left if left >= expected or not caps else 0)
        left = max(0, left - expected)
    return words, idf, caps
