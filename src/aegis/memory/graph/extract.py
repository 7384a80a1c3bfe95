"""Entities of a text by rules. Pure; precision before recall.

Surprises: every pattern is bounded, so that a hostile text costs no more than a long one, and what
one rule has taken is blanked for those after it: the host in an address is no file, the digits of a
commit are no ticket. A capitalised full name is only a candidate (`sure` is False): whether it
recurs, the memory has to say.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aegis.memory.graph import words
from aegis.memory.graph.names import clean_name, name_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from aegis.memory.graph.models import EntityKind

__all__ = ["MAX_ENTITIES", "MAX_TEXT", "Found", "extract"]

#: Characters of a text that are read; what a memory is about stands before them.
MAX_TEXT = 20_000
#: Entities of one text; a list of ten thousand files is about none of them.
MAX_ENTITIES = 64
#: As long as the longest name that is kept is worth matching.
_MAX_URL = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An entity that a text mentions."""

    kind: EntityKind
    #: As it is written.
    name: str
    #: As it is compared.
    key: str
    #: Whether the text alone says so; otherwise it counts once it recurs.
    sure: bool = True


_URL = re.compile(r"\bhttps?://[^\s<>\"'`|\\^{}\[\]]{1,2000}")
_EMAIL = re.compile(
    r"(?<![\w.+-])[A-Za-z0-9][\w.+-]{0,63}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,4}(?![\w@-])",
    re.ASCII,
)
_REPOSITORY_URL = re.compile(
    r"^https?://(?:www\.)?(?:github|gitlab|bitbucket|codeberg)\.(?:com|org)"
    r"/([\w.-]{1,60})/([\w.-]{1,80})",
    re.ASCII | re.IGNORECASE,
)
_REPOSITORY_TICKET = re.compile(
    r"(?<![\w/.#-])([A-Za-z][\w-]{0,38}/[\w.-]{1,60})#(\d{1,6})(?!\w)", re.ASCII
)
_COMMIT = re.compile(r"(?<![\w/.-])[0-9a-f]{40}(?![\w-])", re.ASCII)
_SHORT_COMMIT = re.compile(
    r"(?<!\w)(?:commit|commits|sha|rev|revision|revert|reverted|reverts|cherry-pick|cherry-picked|"
    r"bisected to)[ :]{1,2}[`(]?([0-9a-f]{7,16})(?![\w-])",
    re.ASCII | re.IGNORECASE,
)
_IPV4 = re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)", re.ASCII)
_IPV6 = re.compile(r"(?<![\w:.])[0-9a-fA-F:]{6,39}(?![\w:])", re.ASCII)
_HOST = re.compile(
    r"(?<![\w.@/-])(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,5}[a-z]{2,12}(?![\w@/-]|\.\w)",
    re.ASCII | re.IGNORECASE,
)
_PATH = re.compile(
    r"(?<![\w./~:\\-])(?:~|\.{1,2}|[\w.@-]{1,80})?(?:/[\w.@+-]{1,80}){1,20}/?(?![\w/])", re.ASCII
)
_WINDOWS_PATH = re.compile(
    r"(?<![\w\\])[A-Za-z]:\\(?:[\w.@+ -]{1,80}\\){0,20}[\w.@+-]{1,80}", re.ASCII
)
_FILE = re.compile(r"(?<![\w./@\\-])[\w-][\w.-]{0,79}\.[A-Za-z0-9]{1,8}(?![\w/@(-]|\.\w)", re.ASCII)
_TICKET = re.compile(r"(?<![\w/.#-])([A-Z][A-Z0-9]{1,9})-(\d{1,6})(?![\w-]|\.\d)", re.ASCII)
_NUMBER = re.compile(r"(?<![\w&/#])#(\d{1,6})(?![\w-])", re.ASCII)
_HANDLE = re.compile(r"(?<![\w@./`])@([A-Za-z][\w-]{1,38})(?![\w@/.(-]|:/)", re.ASCII)
_HANDLE_AT_END = re.compile(r"(?<![\w@./`])@([A-Za-z][\w-]{1,38})(?=\.(?:\s|$))", re.ASCII)
_SPEAKER = re.compile(
    r"^[ \t>*-]{0,4}([^\W\d_][\w'’-]{1,29}(?: [^\W\d_][\w'’.-]{0,29}){0,2})\*{0,2}:(?=\s)",
    re.MULTILINE,
)
_PROJECT = re.compile(
    r"(?<!\w)(?:[Pp]roject|[Rr]epo|[Rr]epository)\s{1,2}(?:(?:called|named)\s)?([`\"“']?)"
    r"([A-Za-z][\w.-]{1,60})([`\"”']?)",
    re.ASCII,
)
_ORGANISATION = re.compile(
    r"(?<![\w-])((?:[A-Z][\w&.-]{0,30}\s){1,4}(?:Inc|GmbH|Ltd|LLC|Corp|Corporation|AG|plc|B\.V)"
    r"(?!\w)\.?)"
)
_FULL_NAME = re.compile(
    r"(?<![\w'’-])[^\W\d_a-z][^\W\d_]{1,20}(?:-[^\W\d_]{2,20})?"
    r"(?: [^\W\d_a-z](?:[^\W\d_]{1,24}|\.)(?:-[^\W\d_]{2,20})?){1,2}(?![\w-])"
)


class _Reader:
    """The text that is left, and what was found in it."""

    def __init__(self, text: str) -> None:
        self.text = text[:MAX_TEXT]
        self.found: dict[tuple[str, str], Found] = {}

    def take(self, pattern: re.Pattern[str], accept: Callable[[re.Match[str]], bool]) -> None:
        """Blank every match that `accept` takes."""

        def replace(match: re.Match[str]) -> str:
            # A mark that no pattern matches, and no word goes on across.
            return "\x00" * len(match[0]) if accept(match) else match[0]

        self.text = pattern.sub(replace, self.text)

    def add(self, kind: EntityKind, name: str, *, sure: bool = True) -> bool:
        """Note an entity; False where the name says nothing."""
        name = clean_name(name)
        key = name_key(kind, name)
        if not key:
            return False
        known = self.found.get((kind, key))
        # A candidate that is written twice recurs.
        sure = sure or known is not None
        if known is None or (sure and not known.sure):
            shown = name if known is None else known.name
            self.found[kind, key] = Found(kind=kind, name=shown, key=key, sure=sure)
        return True


def extract(text: str) -> list[Found]:
    """Return the entities that a text mentions, at most `MAX_ENTITIES`, each once."""
    reader = _Reader(text)
    reader.take(_URL, lambda m: _url(reader, m[0]))
    reader.take(_EMAIL, lambda m: _email(reader, m[0]))
    reader.take(_COMMIT, lambda m: not m[0].isdigit() and reader.add("commit", m[0]))
    reader.take(_SHORT_COMMIT, lambda m: _short_commit(reader, m[1]))
    reader.take(_REPOSITORY_TICKET, lambda m: _repository_ticket(reader, m))
    reader.take(_IPV4, lambda m: _address(reader, m[0]))
    reader.take(_IPV6, lambda m: m[0].count(":") > 1 and _address(reader, m[0]))
    reader.take(_WINDOWS_PATH, lambda m: reader.add("file", m[0]))
    reader.take(_PATH, lambda m: _path(reader, m[0]))
    reader.take(_FILE, lambda m: _file(reader, m[0]))
    reader.take(_HOST, lambda m: _host(reader, m[0]))
    reader.take(_TICKET, lambda m: m[1] not in words.NO_TRACKERS and reader.add("ticket", m[0]))
    reader.take(_NUMBER, lambda m: reader.add("ticket", m[0]))
    for pattern in (_HANDLE, _HANDLE_AT_END):
        reader.take(pattern, lambda m: _handle(reader, m[1]))
    reader.take(_PROJECT, lambda m: _project(reader, m))
    reader.take(_ORGANISATION, lambda m: _organisation(reader, m[1]))
    reader.take(_SPEAKER, lambda m: _speaker(reader, m[1]))
    reader.take(_FULL_NAME, lambda m: _full_name(reader, m[0]))
    return list(reader.found.values())[:MAX_ENTITIES]


def _url(reader: _Reader, url: str) -> bool:
    # Brackets and marks of the sentence around it are not of it.
    while url and url[-1] in ".,;:!?)'*_":
        if url[-1] == ")" and url.count("(", 0, _MAX_URL) >= url.count(")", 0, _MAX_URL):
            break
        url = url[:-1]
    host = re.split(r"[/?#]", url.split("://", 1)[1], maxsplit=1)[0]
    # What stands before an @ may be a password.
    secret, _, rest = host.rpartition("@")
    if secret:
        url = url.replace(f"{secret}@", "", 1)
        host = rest
    if not host or len(url) > _MAX_URL:
        return True
    reader.add("url", url.split("#", 1)[0])
    repository = _REPOSITORY_URL.match(url)
    if repository is not None:
        reader.add("project", f"{repository[1]}/{repository[2].removesuffix('.git')}")
    elif not host.startswith("["):
        name = host.split(":")[0]
        if not _address(reader, name):
            _host(reader, name)
    return True


def _email(reader: _Reader, address: str) -> bool:
    return not address.startswith(("git@", "noreply@")) and reader.add("email", address)


def _short_commit(reader: _Reader, text: str) -> bool:
    mixed = any(c.isdigit() for c in text) and any(c.isalpha() for c in text)
    return mixed and reader.add("commit", text)


def _repository_ticket(reader: _Reader, match: re.Match[str]) -> bool:
    reader.add("project", match[1])
    return reader.add("ticket", f"{match[1]}#{match[2]}")


def _address(reader: _Reader, text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    # 0.0.0.0 and the like are no hosts; 1.2.3.4 as a version cannot be told from one.
    return not address.is_unspecified and not address.is_multicast and reader.add("host", text)


def _host(reader: _Reader, text: str) -> bool:
    name = text.lower()
    return name.rpartition(".")[2] in words.TOP_DOMAINS and reader.add("host", name)


def _path(reader: _Reader, text: str) -> bool:
    text = text.rstrip("/.")
    parts = [part for part in text.split("/") if part]
    rooted = text.startswith(("/", "~/", "./", "../"))
    named = bool(parts) and _has_extension(parts[-1])
    # `and/or`, `1/2` and `client/server` are no paths; `/etc/hosts` and `src/app.py` are.
    if not parts or not any(any(c.isalpha() for c in part) for part in parts):
        return False
    if named or (rooted and len(parts) > 1 and not text.startswith("//")):
        return reader.add("file", text)
    # What is left alone would be read as a host or a file in pieces.
    return False


def _file(reader: _Reader, text: str) -> bool:
    # Blanked all the same: what is no file is no host either.
    if text.lower() in words.NO_FILES:
        return True
    return _has_extension(text) and any(c.isalpha() for c in text) and reader.add("file", text)


def _has_extension(name: str) -> bool:
    stem, dot, extension = name.rpartition(".")
    return bool(dot and stem) and extension.lower() in words.EXTENSIONS


def _handle(reader: _Reader, name: str) -> bool:
    return name.lower() not in words.NO_HANDLES and reader.add("person", f"@{name}")


def _project(reader: _Reader, match: re.Match[str]) -> bool:
    name = match[2].rstrip(".-")
    quoted = bool(match[1] and match[3])
    # "the project is", "project Manager": a name has more to it than a capital.
    marked = any(c in "-_" or c.isdigit() for c in name) or any(c.isupper() for c in name[1:])
    capital = name[:1].isupper() and name.lower() not in words.NO_PROJECTS
    return (quoted or marked or capital) and reader.add("project", name)


def _organisation(reader: _Reader, name: str) -> bool:
    first, _, rest = name.partition(" ")
    if first.lower() in words.NO_FIRST_NAMES:
        name = rest
    return " " in name.strip() and reader.add("organisation", name.rstrip("."))


def _speaker(reader: _Reader, name: str) -> bool:
    parts = name.split()
    if any(not part[0].isupper() or part.isupper() for part in parts):
        return False
    if any(part.lower().rstrip(".") in words.NO_SPEAKERS for part in parts):
        return False
    return reader.add("person", name)


def _full_name(reader: _Reader, name: str) -> bool:
    parts = name.split()
    while parts and parts[0].lower() in words.NO_FIRST_NAMES:
        parts = parts[1:]
    wrong = any(part.lower() in words.NO_NAMES for part in parts)
    shaped = all(part[1:].islower() or part.endswith(".") or "-" in part for part in parts)
    if len(parts) < 2 or wrong or not shaped or parts[-1].endswith("."):
        return False
    return reader.add("person", " ".join(parts), sure=False)
