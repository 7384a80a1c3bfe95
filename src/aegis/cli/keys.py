"""`aegis keys …`: keys of the API, their quota, and what tiers allow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson, Cursor, Limit, Yes
from aegis.cli.paging import show_page
from aegis.cli.running import confirm, json_object, maybe_time, named, number_or, with_client

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aegis.client import Aegis
    from aegis.keys import ApiKey, IssuedKey

__all__ = ["app"]

app = App("Keys of the API: issue, verify, limit, take back.")

KeyId = Annotated[str, Argument(metavar="KEY_ID", help="Id of the key (`aegis keys list`).")]
Scopes = Annotated[
    list[str] | None, Option("--scope", help="What it may do, such as reports:read; repeatable.")
]
OwnLimits = Annotated[
    str | None,
    Option(help='Own limits, JSON: {"tokens": {"limit": 1000, "window_s": 60}}; @FILE reads one.'),
]
Namespaces = Annotated[
    list[str] | None,
    Option("--namespace", help="Bind it to a namespace of memory; repeatable, default first."),
]
ReadNamespaces = Annotated[
    list[str] | None, Option("--read-namespace", help="The same, for reading alone.")
]


@app.add
def issue(
    customer_id: Annotated[str, Argument(metavar="CUSTOMER", help="Whose key it is.")],
    name: Annotated[str | None, Option(help="What to call it.")] = None,
    environment: Annotated[str, Option("--env", help="live or test.")] = "live",
    tier: Annotated[str, Option(help="free, developer, pro or enterprise.")] = "free",
    scopes: Scopes = None,
    rate_limit: Annotated[int | None, Option(help="Calls a minute; the tier's otherwise.")] = None,
    monthly_quota: Annotated[
        int | None, Option(help="Calls a month; the tier's otherwise.")
    ] = None,
    limits: OwnLimits = None,
    namespaces: Namespaces = None,
    read_namespaces: ReadNamespaces = None,
    expires: Annotated[
        str | None, Option(help="When it ends, such as 2027-01-01T00:00:00+00:00.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Issue a key; it is shown this once, and stored nowhere."""
    arguments: dict[str, Any] = named(
        name=name,
        scopes=scopes,
        rate_limit=rate_limit,
        monthly_quota=monthly_quota,
        limits=json_object("limits", limits),
        namespaces=_bindings(namespaces, read_namespaces),
        expires_at=maybe_time("expires", expires),
    )
    issued = with_client(
        lambda a: a.keys.issue(
            customer_id,
            environment=environment,  # pyright: ignore[reportArgumentType]
            tier=tier,  # pyright: ignore[reportArgumentType]
            **arguments,
        )
    )
    _show_issued(issued, as_json)


@app.add
def list_(
    customer_id: Annotated[str | None, Option("--customer", help="Of this customer.")] = None,
    tier: Annotated[str | None, Option(help="Of this tier.")] = None,
    enabled: Annotated[str | None, Option(help="yes or no.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List keys, newest first."""
    from aegis.cli.keyring import show_keys
    from aegis.wire.cursor import BY_OFFSET

    on = _yes_no("enabled", enabled)
    show_page(
        BY_OFFSET,
        lambda a, offset: a.keys.list(
            customer_id=customer_id, tier=tier, enabled=on, limit=limit, offset=offset
        ),
        show_keys, limit, cursor, as_json,
    )  # fmt: skip


@app.add
def show(key_id: KeyId, as_json: AsJson = False) -> None:
    """Show one key and its quota of this month; never the key itself."""
    from aegis.cli.keyring import show_key
    from aegis.cli.render import show_json
    from aegis.wire.plain import plain

    async def work(client: Aegis) -> tuple[Any, Any]:
        return await client.keys.get(key_id), await client.keys.quota.balance(key_id)

    record, balance = with_client(work)
    found = {**plain(record), "quota": plain(balance)}
    if as_json:
        show_json(found)
    else:
        show_key(found)


@app.add
def rename(
    key_id: KeyId,
    name: Annotated[str, Argument(metavar="NAME", help="What to call it; '' for nothing.")],
    as_json: AsJson = False,
) -> None:
    """Call a key something else."""
    _changed(lambda a: a.keys.rename(key_id, name or None), "Renamed", as_json)


@app.add
def update(
    key_id: KeyId,
    tier: Annotated[str | None, Option(help="free, developer, pro or enterprise.")] = None,
    scopes: Scopes = None,
    rate_limit: Annotated[
        str | None, Option(help="Calls a minute, or `tier` for the tier's.")
    ] = None,
    monthly_quota: Annotated[
        str | None, Option(help="Calls a month, or `tier` for the tier's; holds for this month.")
    ] = None,
    limits: OwnLimits = None,
    as_json: AsJson = False,
) -> None:
    """Change the tier, the scopes (all of them) or the limits of a key."""
    changes: dict[str, Any] = named(tier=tier, scopes=scopes, limits=json_object("limits", limits))
    for field, text in (("rate_limit", rate_limit), ("monthly_quota", monthly_quota)):
        if text is not None:
            changes[field] = number_or("tier", field, text)
    _changed(lambda a: a.keys.update(key_id, **changes), "Changed", as_json)


@app.add
def bind(
    key_id: KeyId,
    namespaces: Namespaces = None,
    read_namespaces: ReadNamespaces = None,
    anywhere: Annotated[bool, Option(help="Let it into any namespace again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bind a key to namespaces of memory, the default one first; those not named are closed."""
    from aegis.errors import InvalidInput

    bindings = _bindings(namespaces, read_namespaces)
    if anywhere == (bindings is not None):
        raise InvalidInput("Name the namespaces with --namespace, or give --anywhere.")
    _changed(lambda a: a.keys.bind(key_id, bindings), "Bound" if bindings else "Freed", as_json)


@app.add
def disable(key_id: KeyId, as_json: AsJson = False) -> None:
    """Switch a key off until it is enabled."""
    _changed(lambda a: a.keys.disable(key_id), "Disabled", as_json)


@app.add
def enable(key_id: KeyId, as_json: AsJson = False) -> None:
    """Switch a key on again."""
    _changed(lambda a: a.keys.enable(key_id), "Enabled", as_json)


@app.add
def expire(
    key_id: KeyId,
    at: Annotated[
        str, Argument(metavar="TIME", help="When it ends, 2027-01-01T00:00:00+00:00, or `never`.")
    ],
    as_json: AsJson = False,
) -> None:
    """Let a key end at a time to come, or never."""
    moment = None if at == "never" else maybe_time("at", at)
    _changed(lambda a: a.keys.expire(key_id, moment), "Its end is set", as_json)


@app.add
def revoke(key_id: KeyId, yes: Yes = False, as_json: AsJson = False) -> None:
    """Take a key back for ever, and what its rotations left working."""
    confirm(f"Key {key_id} will be revoked; that cannot be taken back.", yes=yes)
    _changed(lambda a: a.keys.revoke(key_id), "Revoked", as_json)


@app.add
def rotate(
    key_id: KeyId,
    grace: Annotated[
        int, Option(help="Seconds that the old key goes on working; 0 ends all older ones.")
    ] = 86_400,
    as_json: AsJson = False,
) -> None:
    """Replace a key by a new one, which is shown this once; id, limits and counts stay."""
    _show_issued(with_client(lambda a: a.keys.rotate(key_id, grace_s=grace)), as_json)


@app.add
def verify(
    key: Annotated[str, Argument(metavar="KEY", help="The key; - reads it from standard input.")],
    scope: Annotated[str | None, Option(help="What the call needs.")] = None,
    cost: Annotated[int, Option(help="What it takes; 0 only looks.")] = 1,
    limits: Annotated[
        str | None,
        Option(
            help='Further limits, JSON: [{"name": "t", "limit": 5, "window_s": 1}]; '
            '"shared": true counts all keys of the customer.'
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Decide about a call with a key, and count it; status 5 or 6 where it is refused."""
    import click

    from aegis.cli.keyring import VERDICT_STATUS, show_verification
    from aegis.cli.render import show_json
    from aegis.cli.running import read_text
    from aegis.wire.plain import plain

    given: str = read_text("key", key)
    more: Any = () if limits is None else json_object("limits", limits)
    found = with_client(lambda a: a.keys.verify(given, scope=scope, cost=cost, limits=more))
    if as_json:
        show_json(found)
    else:
        show_verification(plain(found))
    raise click.exceptions.Exit(VERDICT_STATUS[found.code])


@app.add
def grant(
    key_id: KeyId,
    amount: Annotated[int, Argument(metavar="AMOUNT", help="Calls to add to this month.")],
    note: Annotated[str | None, Option(help="Why, for the ledger.")] = None,
    as_json: AsJson = False,
) -> None:
    """Top this month's quota of a key up."""
    from aegis.cli.render import line, show_json

    balance = with_client(lambda a: a.keys.quota.grant(key_id, amount, note=note))
    if as_json:
        show_json(balance)
    else:
        line(f"Granted {amount:,}; {balance.remaining:,} are left of {balance.granted:,}.")


@app.add
def ledger(
    key_id: KeyId, limit: Limit = 50, cursor: Cursor = None, as_json: AsJson = False
) -> None:
    """Show how a key's quota came about, newest first."""
    from aegis.cli.keyring import show_ledger
    from aegis.wire.cursor import BY_OFFSET

    show_page(
        BY_OFFSET,
        lambda a, offset: a.keys.quota.ledger(key_id, limit=limit, offset=offset),
        show_ledger, limit, cursor, as_json,
    )  # fmt: skip


@app.add
def secrets(
    add: Annotated[
        bool, Option(help="Make a new one for new keys; keys that are used move to it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show which server secrets the keys are hashed with; never a secret."""
    from aegis.cli.keyring import show_secrets
    from aegis.cli.render import show_json
    from aegis.wire.plain import plain

    found = with_client(lambda a: a.keys.add_secret() if add else a.keys.secrets())
    if as_json:
        show_json({"items": found})
    else:
        show_secrets(plain(found))


app.add_later("tiers", "aegis.cli.tiers:app")
app.add_later("customers", "aegis.cli.customers:app")


def _changed(work: Callable[[Aegis], Awaitable[ApiKey]], done: str, as_json: bool) -> None:
    from aegis.cli.render import line, show_json

    record = with_client(work)
    if as_json:
        show_json(record)
    else:
        line(f"{done}: key {record.id} ({record.key_prefix}…).")


def _show_issued(issued: IssuedKey, as_json: bool) -> None:
    from aegis.cli.render import line, note, show_json

    if as_json:
        show_json(issued)
        return
    note(f"Key {issued.record.id} of {issued.record.customer_id}. It is shown only now:")
    line(issued.key)


def _bindings(
    namespaces: list[str] | None, read_namespaces: list[str] | None
) -> list[dict[str, Any]] | None:
    bound = [{"namespace": name, "write": True} for name in namespaces or ()]
    bound += [{"namespace": name, "write": False} for name in read_namespaces or ()]
    return bound or None


def _yes_no(name: str, text: str | None) -> bool | None:
    from aegis.errors import InvalidInput

    if text not in (None, "yes", "no"):
        raise InvalidInput(f"{name} is {text!r}; use yes or no.")
    return None if text is None else text == "yes"
