"""What changed, in words: changes by type, their diffs, how important they are."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from aegis.intel.models import NewChange
from aegis.intel.noise import Rules, masked, tagged
from aegis.intel.ordering import moved, moving
from aegis.intel.prices import MONEY, Price, read_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from aegis.intel.models import Importance, Reading

__all__ = ["changes_between", "page_change", "unified", "visual_change", "word_diff"]

#: A price that moved by this part of itself is critical.
_CRITICAL_MOVE = 0.25
_MOST_DIFF = 200_000
_MOST_WORDS = 20_000
_QUOTED = 160


def changes_between(
    old: Reading, new: Reading, rules: Rules, *, page_type: str | None
) -> list[NewChange]:
    """Return the changes from one reading to another, without noise, the most important first."""
    before, after = _without_noise(old, new, rules)
    found: list[NewChange] = []
    price = _price_change(before["p"], after["p"])
    if price is not None:
        found.append(price)
    content = _content_change(before["x"], after["x"], page_type, priced=price is not None)
    if content is not None:
        found.append(content)
    if before["t"] != after["t"]:
        found.append(_title_change(before["t"], after["t"]))
    structure = _structure_change(before["o"], after["o"], old.outline, new.outline)
    if structure is None:
        structure = _order_change(before["x"], after["x"])
    if structure is not None:
        found.append(structure)
    return found


def page_change(kind: Any, url: str, page_type: str | None, *, title: str = "") -> NewChange:
    """Return the change that a page is: `new_page` or `removed_page`."""
    what = "" if page_type in (None, "other") else f"{page_type} "
    named = f" “{title[:_QUOTED]}”" if title else ""
    new = kind == "new_page"
    return NewChange(
        change_type=kind,
        old_value=None if new else url,
        new_value=url if new else None,
        diff=f"+{url}" if new else f"-{url}",
        word_diff=f"{{+{url}+}}" if new else f"[-{url}-]",
        importance="high" if page_type == "pricing" else "medium",
        summary=f"{'New' if new else 'Removed'} {what}page{named}: {url}",
    )


def visual_change(share: float, old: str | None, new: str | None) -> NewChange:
    """Return the change that a picture is; `share` is the part of it that differs."""
    return NewChange(
        change_type="visual",
        old_value=old,
        new_value=new,
        diff=f"-{old or ''}\n+{new or ''}",
        word_diff=f"[-{old or ''}-] {{+{new or ''}+}}",
        importance="medium" if share >= 0.3 else "low",
        summary=f"{share:.0%} of the page looks different.",
        details={"share": round(share, 4)},
    )


def unified(old: Sequence[str], new: Sequence[str]) -> str:
    """Return the unified diff of lines, with two lines around each difference."""
    text = "\n".join(difflib.unified_diff(old, new, "before", "after", n=2, lineterm=""))
    return text if len(text) <= _MOST_DIFF else text[:_MOST_DIFF] + "\n…"


def word_diff(old: Sequence[str], new: Sequence[str]) -> str:
    """Return the lines that differ, word by word: `[-old-]` and `{+new+}`."""
    parts: list[str] = []
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag != "equal":
            parts.append(_words("\n".join(old[a:b]), "\n".join(new[c:d])))
    return "\n".join(parts)[:_MOST_DIFF]


def _words(old: str, new: str) -> str:
    first, second = re.findall(r"\S+|\n", old), re.findall(r"\S+|\n", new)
    if len(first) + len(second) > _MOST_WORDS:
        return f"[-{old}-]\n{{+{new}+}}"
    shown: list[str] = []
    matcher = difflib.SequenceMatcher(None, first, second, autojunk=False)
    for tag, a, b, c, d in matcher.get_opcodes():
        gone, come = " ".join(first[a:b]).strip(" "), " ".join(second[c:d]).strip(" ")
        if tag == "equal":
            shown.append(gone)
            continue
        if gone:
            shown.append(f"[-{gone}-]")
        if come:
            shown.append(f"{{+{come}+}}")
    return " ".join(shown).replace(" \n ", "\n")


def _without_noise(
    old: Reading, new: Reading, rules: Rules
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return the lines of both by tag; where they differ in noise alone, both have the old one."""
    first, second = masked(tagged(old), rules), masked(tagged(new), rules)
    loose = _loose_in_both(first, second, rules)
    # What may stand anywhere stays where it was in both: before the line that followed it.
    fixed, leading = _with_leading(first, loose)
    come, _ = _with_leading(second, loose)
    before: dict[str, list[str]] = {tag: [] for tag in "txpo"}
    after: dict[str, list[str]] = {tag: [] for tag in "txpo"}

    def put(where: dict[str, list[str]], lines: Iterable[str]) -> None:
        for line in lines:
            where[line[0]].append(line[2:])

    bare_old, bare_new = [m for m, _ in fixed], [m for m, _ in come]
    matcher = difflib.SequenceMatcher(None, bare_old, bare_new, autojunk=False)
    for tag, a, b, c, d in matcher.get_opcodes():
        for at in range(a, b):
            put(before, [*leading[at], fixed[at][1]])
            put(after, [*leading[at], fixed[at][1]] if tag == "equal" else leading[at])
        if tag != "equal":
            put(after, (line for _, line in come[c:d]))
    put(before, leading[len(fixed)])
    put(after, leading[len(fixed)])
    return before, after


def _loose_in_both(
    first: Sequence[tuple[str, str]], second: Sequence[tuple[str, str]], rules: Rules
) -> Counter[str]:
    """Return how often both say each line that may stand anywhere."""
    if not rules.moves:
        return Counter()
    counts = [
        Counter(bare for bare, _ in lines if moving(bare, rules.moves)) for lines in (first, second)
    ]
    return counts[0] & counts[1]


def _with_leading(
    lines: Sequence[tuple[str, str]], loose: Counter[str]
) -> tuple[list[tuple[str, str]], list[list[str]]]:
    """Return lines without the loose ones, and those that stood before each of them, or last."""
    left = Counter(loose)
    fixed: list[tuple[str, str]] = []
    leading: list[list[str]] = [[]]
    for bare, line in lines:
        if left[bare] > 0:
            left[bare] -= 1
            leading[-1].append(line)
        else:
            fixed.append((bare, line))
            leading.append([])
    return fixed, leading


def _price_change(old: list[str], new: list[str]) -> NewChange | None:
    if sorted(old) == sorted(new):
        return None
    moves = list(_moves(_prices(old), _prices(new)))
    if not moves:
        return None
    return NewChange(
        change_type="price",
        old_value="\n".join(old),
        new_value="\n".join(new),
        diff=unified(old, new),
        word_diff=word_diff(old, new),
        importance=_price_importance(moves),
        summary=" ".join(_say_move(move) for move in moves[:8])
        + (f" And {len(moves) - 8} more." if len(moves) > 8 else ""),
        details={"prices": moves[:100]},
    )


def _prices(lines: Sequence[str]) -> dict[tuple[str, str, str], list[Price]]:
    found: dict[tuple[str, str, str], list[Price]] = {}
    for line in lines:
        price = read_line(line)
        if price is not None:
            found.setdefault((price.plan, price.period, price.currency), []).append(price)
    return found


def _moves(
    old: dict[tuple[str, str, str], list[Price]], new: dict[tuple[str, str, str], list[Price]]
) -> Iterator[dict[str, Any]]:
    """Yield what moved: amounts of a plan, then a plan's period or currency, then plans."""
    gone = [p for key, prices in old.items() for p in prices if p not in new.get(key, [])]
    come = [p for key, prices in new.items() for p in prices if p not in old.get(key, [])]
    keys: tuple[Callable[[Price], tuple[object, ...]], ...] = (
        lambda price: (price.plan, price.period, price.currency),
        lambda price: (price.plan,),
        lambda price: (price.amount, price.currency, price.period),
    )
    for key in keys:
        for price in list(gone):
            match = next((other for other in come if key(other) == key(price)), None)
            if match is not None:
                gone.remove(price)
                come.remove(match)
                yield {"old": _shown(price), "new": _shown(match)}
    for price in gone:
        yield {"old": _shown(price), "new": None}
    for price in come:
        yield {"old": None, "new": _shown(price)}


def _shown(price: Price) -> dict[str, str]:
    return {
        "plan": price.plan,
        "amount": f"{price.amount:f}",
        "currency": price.currency,
        "period": price.period,
    }


def _price_importance(moves: Sequence[dict[str, Any]]) -> Importance:
    for move in moves:
        if move["old"] is None or move["new"] is None:
            continue
        old, new = float(move["old"]["amount"]), float(move["new"]["amount"])
        if abs(new - old) >= _CRITICAL_MOVE * max(old, 0.01):
            return "critical"
    return "high"


def _say_move(move: dict[str, Any]) -> str:
    old, new = move["old"], move["new"]
    plan = (new or old)["plan"] or "A price"
    if new is None:
        return f"{plan}: {_say(old)} is gone."
    if old is None:
        return f"{plan}: new at {_say(new)}."
    if old["plan"] != new["plan"]:
        return f"{old['plan'] or 'What costs'} is now called {plan}, {_say(new)}."
    was, now = float(old["amount"]), float(new["amount"])
    percent = f" ({(now - was) / was:+.0%})" if was and old["currency"] == new["currency"] else ""
    return f"{plan}: {_say(old)} → {_say(new)}{percent}."


def _say(price: dict[str, str]) -> str:
    period = f"/{price['period']}" if price["period"] else ""
    return f"{price['amount']} {price['currency']}".strip() + period


def _content_change(
    old: list[str], new: list[str], page_type: str | None, *, priced: bool
) -> NewChange | None:
    added, removed = _only(new, old), _only(old, new)
    if sorted(old) == sorted(new) or (priced and _says_prices_alone(added, removed)):
        return None
    size = max(1, sum(map(len, old)), sum(map(len, new)))
    share = max(sum(map(len, added)), sum(map(len, removed))) / size
    return NewChange(
        change_type="content",
        old_value="\n".join(old),
        new_value="\n".join(new),
        diff=unified(old, new),
        word_diff=word_diff(old, new),
        importance=_content_importance(share, page_type),
        summary=_say_content(added, removed),
        details={"added": len(added), "removed": len(removed), "share": round(share, 4)},
    )


def _says_prices_alone(added: Sequence[str], removed: Sequence[str]) -> bool:
    """Return whether lines differ in amounts alone; they are told as prices already."""
    if not all(MONEY.search(line) for line in (*added, *removed)):
        return False
    come, gone = ([MONEY.sub("¤", line) for line in lines] for lines in (added, removed))
    return not come or not gone or come == gone


def _only(lines: Sequence[str], others: Sequence[str]) -> list[str]:
    known = set(others)
    return [line for line in lines if line not in known]


def _content_importance(share: float, page_type: str | None) -> Importance:
    if page_type in ("pricing", "features"):
        return "high" if share >= 0.3 else "medium"
    return "medium" if share >= 0.3 or page_type == "homepage" else "low"


def _say_content(added: Sequence[str], removed: Sequence[str]) -> str:
    if not added and not removed:
        return "The same lines, some of them more or less often."
    parts: list[str] = []
    for lines, verb in ((added, "added"), (removed, "removed")):
        if lines:
            count = "1 line" if len(lines) == 1 else f"{len(lines)} lines"
            parts.append(f"{count} {verb}: “{_quote(max(lines[:20], key=len))}”")
    return "; ".join(parts) + "."


def _quote(line: str) -> str:
    return line if len(line) <= _QUOTED else line[: _QUOTED - 1].rstrip() + "…"


def _title_change(old: list[str], new: list[str]) -> NewChange:
    before, after = (lines[0] if lines else "" for lines in (old, new))
    return NewChange(
        change_type="title",
        old_value=before,
        new_value=after,
        diff=unified(old, new),
        word_diff=word_diff(old, new),
        importance="medium",
        summary=f"The title was “{_quote(before)}” and is “{_quote(after)}”.",
    )


def _structure_change(
    old: list[str], new: list[str], whole_old: Sequence[str], whole_new: Sequence[str]
) -> NewChange | None:
    """Return a change of navigation or forms, or of two kinds of section and more."""
    added, removed = _only(new, whole_old), _only(old, whole_new)
    named = [line for line in (*added, *removed) if line.startswith(("nav: ", "form "))]
    if not named and len(added) + len(removed) < 2:
        return None
    parts = [
        f"{verb} {', '.join(f'“{_quote(line)}”' for line in lines[:6])}"
        for verb, lines in (("new:", added), ("gone:", removed))
        if lines
    ]
    return NewChange(
        change_type="structure",
        old_value="\n".join(old),
        new_value="\n".join(new),
        diff=unified(old, new),
        word_diff=word_diff(old, new),
        importance="medium" if named else "low",
        summary="Parts of the page: " + "; ".join(parts) + ".",
    )


def _order_change(old: list[str], new: list[str]) -> NewChange | None:
    """Return the change that the same lines in another order are, as of a ranking."""
    if old == new or sorted(old) != sorted(new):
        return None
    elsewhere = moved(old, new)
    shown = sorted(elsewhere, key=new.index)
    named = ", ".join(f"“{_quote(line)}”" for line in shown[:3])
    more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""
    return NewChange(
        change_type="structure",
        old_value="\n".join(old),
        new_value="\n".join(new),
        diff=unified(old, new),
        word_diff=word_diff(old, new),
        importance="low",
        summary=f"The same lines in another order: {named}{more} stand elsewhere.",
        details={"moved": len(shown)},
    )
