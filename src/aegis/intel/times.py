"""What changes by itself on anybody's page: clocks, "3 minutes ago", ids, dates of updates."""

from __future__ import annotations

import re

__all__ = ["without_times"]

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
_UPDATED = (
    r"updated|modified|reviewed|checked|aktualisiert|geändert|mise? à jour|actualizad[oa]|"
    r"aggiornato|atualizado|stand|更新日?"
)
#: Masked everywhere: clocks, "three minutes ago", ids, the year of a copyright, and the date of
#: the last update. Other dates are news. The third is in every text that the first matches: one
#: look for all of them spares most lines the rest.
_GENERIC: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), mark, hint)
    for pattern, mark, hint in (
        (
            r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?\b",
            "⟨time⟩",
            r"\d:\d",
        ),
        (
            r"\b\d{1,2}:\d\d(?::\d\d)?\s?(?:[ap]\.?m\.?)?(?:\s?(?:UTC|GMT|CES?T|[EP][SD]T))?\b",
            "⟨time⟩",
            r"\d:\d",
        ),
        (
            r"\b(?:\d+|an?|one)\s+(?:sec(?:ond)?|min(?:ute)?|hour|hr|day|week|month|year)s?\s+ago\b",
            "⟨ago⟩",
            r"\sago\b",
        ),
        (
            r"\b(?:just now|yesterday|today|gerade eben|gestern|heute|hier|ayer|hoy)\b",
            "⟨ago⟩",
            r"just now|yesterday|today|gerade|gestern|heute|\bhier|\bayer|\bhoy",
        ),
        (
            r"\bvor\s+\S+\s+(?:sekunden?|minuten?|stunden?|tag(?:en)?|wochen?|monat(?:en)?|jahr(?:en)?)\b",
            "⟨ago⟩",
            r"\bvor\s",
        ),
        (
            r"\bil y a\s+\S+\s+(?:secondes?|minutes?|heures?|jours?|semaines?|mois|ans?)\b",
            "⟨ago⟩",
            r"\bil y a\s",
        ),
        (
            r"\bhace\s+\S+\s+(?:segundos?|minutos?|horas?|d[ií]as?|semanas?|mes(?:es)?|años?)\b",
            "⟨ago⟩",
            r"\bhace\s",
        ),
        (r"\b\d+\s+\w+\s+(?:temu|fa|geleden)\b", "⟨ago⟩", r"\s(?:temu|fa|geleden)\b"),
        (r"\b\d+\s*(?:秒|分|時間|日)前", "⟨ago⟩", "前"),
        (
            r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b",
            "⟨id⟩",
            "[0-9a-f]{12}",
        ),
        (r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{12,}\b", "⟨id⟩", "[0-9a-f]{12}"),
        (r"\b\d{16,}\b", "⟨id⟩", r"\d{16}"),
        (
            r"(©|\(c\)|copyright)\s*(?:\d{4}\s*[-–]\s*)?\d{4}",
            "⟨year⟩",
            r"©|\(c\)|copyright",
        ),
        (
            rf"\b((?:last |zuletzt |dernière )?(?:{_UPDATED})"
            rf"(?:\s+(?:on|am|le|el|il|em|the))?\s*[:：]?\s*){_DATE}",
            r"\1⟨date⟩",
            _UPDATED,
        ),
    )
)
_HINTS = re.compile("|".join(dict.fromkeys(hint for _, _, hint in _GENERIC)), re.IGNORECASE)


def without_times(line: str) -> str:
    """Return a line with marks instead of times and ids."""
    if not any(character.isdigit() for character in line) and len(line) > 60:
        return line
    if not _HINTS.search(line):
        return line
    for pattern, mark, _ in _GENERIC:
        line = pattern.sub(mark, line)
    return line
