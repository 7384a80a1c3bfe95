"""`aegis security encrypt`: columns whose values are encrypted before they are written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson, Yes
from aegis.cli.running import confirm, with_client

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aegis.client import Aegis
    from aegis.security.columns.models import ColumnPlan

__all__ = ["app"]

app = App("Encrypt chosen columns, change their key, and see that everything decrypts.")

Names = Annotated[
    str | None,
    Argument(metavar="[TABLE.COLUMN,…]", help="Columns as `list` shows them, set off by commas."),
]
All = Annotated[bool, Option("--all", help="All columns.")]
DryRun = Annotated[bool, Option("--dry-run", help="Show the plan and do nothing.")]

_VERBS: Final = {"encrypt": "encrypted", "decrypt": "decrypted", "rotate": "encrypted anew"}


@app.add
def list_(as_json: AsJson = False) -> None:
    """Show which columns may be encrypted, which are, and whether their keys are here."""
    from aegis.cli.render import line, show_json, table
    from aegis.wire.plain import plain

    async def work(client: Aegis) -> dict[str, Any]:
        found = await client.encryption.list()
        keys = client.encryption.keys
        return {"keys": keys.ring().ids, "keys_in": keys.source, "columns": found}

    shown: dict[str, Any] = plain(with_client(work))
    if as_json:
        show_json(shown)
        return
    table(
        ["column", "state", "key", "search", "copied to"],
        [
            [
                c["column"],
                c["state"] or "clear",
                _keys(c),
                "equality" if c["searchable"] else "",
                ", ".join(c["copies"]),
            ]
            for c in shown["columns"]
        ],
        wide="copied to",
        empty="No column may be encrypted.",
    )
    line(f"Keys in {shown['keys_in']}: {', '.join(shown['keys']) or 'none yet'}.")


@app.add
def enable(
    columns: Names = None,
    all_columns: All = False,
    rewrite: Annotated[
        bool,
        Option("--rewrite", help="Then write the tables anew, which locks them: no clear value is "
               "left in their files."),
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Encrypt columns, and those that hold copies of them; cut off, it goes on when repeated."""
    from aegis.cli.render import note
    from aegis.security.columns.catalogue import CATALOGUE

    names = [entry.name for entry in CATALOGUE] if all_columns else _given(columns)
    if not _agreed("enable", names, dry_run=dry_run, yes=yes, as_json=as_json):
        return
    done = _run(
        "Encrypting", lambda client, tell: client.encryption.enable(*names, on_progress=tell)
    )
    left: Sequence[str] = []
    if rewrite:
        left = with_client(lambda client: client.encryption.rewrite())
    source = with_client(_source)
    _show_done(done, "encrypted", as_json)
    note(
        f"The keys are in {source}. Keep a copy where neither the database nor its backups are: "
        "without the keys nobody can read these columns."
    )
    if not rewrite:
        note(
            "Clear values of before are still in free space of the tables' files; `aegis security "
            "encrypt rewrite` writes the tables anew."
        )
    _tell_left(left)
    note("Backups and archived logs from before hold clear values, too, until they are pruned.")


@app.add
def disable(
    columns: Names = None,
    all_columns: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Decrypt columns; cut off, it goes on when it is repeated."""
    names = [] if all_columns else _given(columns)
    if not _agreed(
        "disable", names, dry_run=dry_run, yes=yes, as_json=as_json, all_columns=all_columns
    ):
        return
    done = _run(
        "Decrypting",
        lambda client, tell: client.encryption.disable(
            *names, all_columns=all_columns, on_progress=tell
        ),
    )
    _show_done(done, "decrypted", as_json)


@app.add
def rotate(dry_run: DryRun = False, yes: Yes = False, as_json: AsJson = False) -> None:
    """Encrypt everything by a new key; the old one stays in the ring until it is retired."""
    from aegis.cli.render import note

    if not _agreed("rotate", [], dry_run=dry_run, yes=yes, as_json=as_json):
        return
    done = _run("Rotating", lambda client, tell: client.encryption.rotate(on_progress=tell))
    source = with_client(_source)
    _show_done(done, "encrypted anew", as_json)
    note(
        f"Keep a copy of the new key ({source}), and of the old one as long as backups from before "
        "are kept; `aegis security encrypt retire KEY` takes it out here."
    )


@app.add
def verify(as_json: AsJson = False) -> None:
    """Decrypt every value and count what is clear or does not decrypt; status 1 if any is."""
    import click

    from aegis.cli.render import line, show_json, table
    from aegis.wire.plain import plain

    found = _run("Verifying", lambda client, tell: client.encryption.verify(on_progress=tell))
    good = all(one.good for one in found)
    if as_json:
        show_json({"good": good, "columns": plain(found)})
    else:
        table(
            ["column", "state", "decrypted, by key", "clear", "damaged"],
            [
                [
                    one.column,
                    one.state,
                    ", ".join(f"{count:,} {key}" for key, count in one.by_key.items()) or "none",
                    f"{one.clear:,}",
                    f"{one.damaged:,}",
                ]
                for one in found
            ],
            wide="decrypted, by key",
            empty="No column is encrypted.",
        )
        for one in found:
            for example in one.examples:
                line(f"{one.column} {example.row!r}: {example.why}")
    if not good:
        raise click.exceptions.Exit(1)


@app.add
def rewrite(yes: Yes = False, as_json: AsJson = False) -> None:
    """Write the tables of encrypted columns anew, so that no clear value is left in their files."""
    from aegis.cli.render import line, show_json

    confirm("Each table is locked while it is written; nobody can read or write it.", yes=yes)
    left = with_client(lambda client: client.encryption.rewrite())
    if as_json:
        show_json({"left": left})
    else:
        line("Written anew." if not left else "Written anew, but for what follows.")
    _tell_left(left)


@app.add
def retire(
    key: Annotated[str, Argument(metavar="KEY", help="Its id, as `list` shows it.")],
    yes: Yes = False,
) -> None:
    """Take a key that no value uses out of the file; backups from before need it all the same."""
    from aegis.cli.render import line

    confirm(
        f"The key {key} is deleted. Backups that were made before the rotation cannot be read "
        "without it.",
        yes=yes,
    )
    with_client(lambda client: client.encryption.retire(key))
    line(f"The key {key} is gone.")


@app.add
def hash_(
    column: Annotated[str, Argument(metavar="TABLE.COLUMN", help="As `list` shows it.")],
    show_key: Annotated[
        bool, Option("--key", help="The key for aegis_column_hash(text, key) in SQL instead.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Read a text from standard input, and show what the column's hash is for it."""
    import sys

    from aegis.cli.render import line, show_json

    if show_key:
        key_id, secret = with_client(lambda client: client.encryption.hash_key(column))
        if as_json:
            show_json({"key_id": key_id, "key": secret.hex()})
        else:
            line(f"{key_id} \\x{secret.hex()}")
        return
    text = sys.stdin.read().strip()
    hashes = with_client(lambda client: client.encryption.hashes(column, text))
    if as_json:
        show_json({"hashes": hashes})
    else:
        for value in hashes:
            line(value)


@app.add
def key() -> None:
    """Print a new key for AEGIS_COLUMN_KEYS; without that setting a file is kept for you."""
    from aegis.cli.render import line
    from aegis.keyring import new_key

    line(new_key())


def _given(columns: str | None) -> list[str]:
    from aegis.errors import InvalidInput

    names = [name.strip() for name in (columns or "").split(",") if name.strip()]
    if not names:
        raise InvalidInput("No column was named; name some, or use --all.")
    return names


def _agreed(
    action: str,
    names: Sequence[str],
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    all_columns: bool = False,
) -> bool:
    """Show what would be done and return whether to do it."""
    from aegis.cli.render import line, show_json
    from aegis.wire.plain import plain

    plans = with_client(
        lambda client: client.encryption.plan(action, names, all_columns=all_columns)
    )
    if dry_run:
        if as_json:
            show_json({"plan": plain(plans)})
        else:
            line(_told(plans))
        return False
    confirm(_told(plans), yes=yes)
    return True


def _told(plans: Sequence[ColumnPlan]) -> str:
    if not plans:
        return "No column is encrypted: there is nothing to do."
    return "\n".join(
        f"{plan.column}: {plan.values:,} value(s) to be {_VERBS[plan.action]}"
        if plan.action in _VERBS
        else f"{plan.column}: is clear already"
        for plan in plans
    )


def _run(what: str, work: Callable[[Aegis, Callable[[str, int], None]], Awaitable[Any]]) -> Any:
    from aegis.cli.progress import counting

    with counting(what) as show:
        return with_client(lambda client: work(client, lambda _, count: show(count)))


async def _source(client: Aegis) -> str:
    return client.encryption.keys.source


def _show_done(done: int, what: str, as_json: bool) -> None:
    from aegis.cli.render import line, show_json

    if as_json:
        show_json({"changed": done})
    else:
        line(f"{done:,} values {what}.")


def _tell_left(left: Sequence[str]) -> None:
    from aegis.cli.render import note

    for table in left:
        note(f"{table} was not written anew: only its owner or a superuser may do that.")


def _keys(column: dict[str, Any]) -> str:
    keys = [column["key_id"], *column["older_keys"]] if column["key_id"] else []
    return ", ".join(f"{k} (missing)" if k in column["missing_keys"] else k for k in keys)
