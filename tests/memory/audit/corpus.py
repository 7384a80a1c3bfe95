"""A store as agents leave it: two in a hundred entries worth keeping, the rest loops and noise.

The junk is made from other words than the audit looks for as far as its kind allows: some loops
have openings that nothing lists, some heartbeats no word that names them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from aegis.memory.models import NewEpisode

TOTAL, REAL = 10_134, 203
START = datetime(2026, 1, 1, tzinfo=UTC)

_WHO = [
    "Ann",
    "Bob",
    "Carla",
    "Deniz",
    "Erik",
    "Fatima",
    "Goran",
    "Hanna",
    "Ivan",
    "Julia",
    "Kenji",
    "Lena",
    "Mateo",
    "Nadia",
    "Omar",
]
_WHAT = (
    ("prefers", "window seats on long flights and never checks a bag"),
    ("moved to", "Lisbon last spring because the studio there has north light"),
    ("asked for", "invoices as PDF with the purchase order printed on top"),
    ("is allergic to", "hazelnuts and carries an adrenaline pen since school"),
    ("decided that", "the quarterly review starts with customer letters read aloud"),
    ("reported that", "exports from the ledger lose their trailing zeros in Excel"),
    ("wants", "alerts by telephone at night and by chat during office hours"),
    ("found out that", "the slow query came from a missing index on tenant and day"),
    ("promised", "the migration guide to the partners before the autumn fair"),
    ("taught", "the new colleagues how to read a flame graph without panic"),
    ("refused", "the discount because the supplier had already raised its price"),
    ("remembers", "every birthday in the team and bakes a plum cake for each"),
    ("rewrote", "the parser by hand after the grammar generator choked on emoji"),
    ("keeps", "the spare keys of the server room in the red toolbox downstairs"),
)
_OPENINGS = (
    "I recall that: {}",
    "I remembered that {}",
    "From memory: {}",
    "Recalled memories: {}",
    "Memory: {}",
    "As previously noted, {}",
    "According to my memory, {}",
    "Relevant context: {}",
    "User remembers that {}",
    "Retrieved: {}",
    # Nothing lists these.
    "{} (still true)",
    "Summary: {}",
    "{}",
    "{} {other}",
    "Memory: {} {other}",
)
_BEATS = (
    "Heartbeat {n}: all systems operational",
    "health check passed, status: ok ({n} ms)",
    "No new messages since the last poll, {n} in total",
    "Still alive, uptime {n} minutes",
    "cron tick {n}: nothing to do",
)
_BOILERPLATE = (
    "How can I help you today? Let me know if you need anything else.",
    "As an AI language model, I do not have personal preferences.",
    "You are a helpful assistant that answers briefly. Follow these rules at all times.",
    "I'm sorry, but I can't help with that request.",
    "Sure! Here is what you asked for. Let me know if you have questions.",
)


@dataclass(frozen=True, slots=True)
class Corpus:
    episodes: list[NewEpisode]
    #: Places in `episodes` of those worth keeping.
    real: frozenset[int]


def real_texts() -> list[str]:
    texts = [f"{who} {verb} {what}." for who in _WHO for verb, what in _WHAT]
    # Who differs and nothing else would be said twice; each has something of its own.
    return [
        f"{text[:-1]}, as the notes on {_TOPICS[n % len(_TOPICS)]} {n // len(_TOPICS)} tell."
        for n, text in enumerate(texts[:REAL])
    ]


_TOPICS = [
    "harbour",
    "logistics",
    "glazing",
    "bicycles",
    "payroll",
    "archery",
    "tide-tables",
    "onboarding",
    "beekeeping",
    "typography",
    "soil-samples",
    "catering",
    "fencing",
    "astronomy",
    "bookbinding",
]


def corpus() -> Corpus:
    chance = random.Random(4573)
    real = real_texts()
    entries: list[tuple[str, str, bool]] = [("note", text, True) for text in real]
    while len(entries) < TOTAL:
        draw = chance.random()
        if draw < 0.6:
            text = chance.choice(_OPENINGS).format(chance.choice(real), other=chance.choice(real))
            entries.append(("note", text, False))
        elif draw < 0.8:
            text = chance.choice(_BEATS).format(n=chance.randrange(10_000))
            entries.append(("system", text, False))
        elif draw < 0.95:
            entries.append(("chat", chance.choice(_BOILERPLATE), False))
        else:
            entries.append(("note", chance.choice(("ok", "done", "n/a", "...", "None")), False))
    # What is real comes anywhere; a loop comes after what it repeats.
    places = [(n / len(real) if keep else 1.0, n) for n, (_, _, keep) in enumerate(entries)]
    first = {
        text: place for (place, n), (_, text, _) in zip(places, entries, strict=True) if n < REAL
    }
    keys: list[float] = []
    for (place, _), (_, text, keep) in zip(places, entries, strict=True):
        after = max((p for t, p in first.items() if t in text), default=0.0)
        keys.append(place if keep else after + (1 - after) * chance.random() + 1e-9)
    order = sorted(range(len(entries)), key=lambda n: keys[n])
    episodes = [
        NewEpisode(
            event_type=entries[n][0],
            summary=entries[n][1],
            timestamp=START + timedelta(minutes=place + chance.random() * 5),
        )
        for place, n in enumerate(order)
    ]
    return Corpus(episodes, frozenset(p for p, n in enumerate(order) if entries[n][2]))
