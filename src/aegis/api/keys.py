"""`/v1/keys`."""

from __future__ import annotations

from typing import Any

from aegis.api import key_answers as answers
from aegis.api.key_bodies import (
    CustomerChanges,
    ExpiryBody,
    GrantBody,
    IssueBody,
    KeyChanges,
    RotateBody,
    TierChanges,
    VerifyBody,
)
from aegis.api.route import Router
from aegis.api.state import KeysOf, KnownParameters, answer
from aegis.wire.cursor import BY_OFFSET

__all__ = ["router"]

router = Router(prefix="/v1/keys", tags=["keys"], dependencies=[KnownParameters])


@router.post("/verify", response_model=answers.Verification)
async def verify_key(keys: KeysOf, body: VerifyBody) -> Any:
    """Decide about a call with a key and count it if it is accepted; 200 whatever `code` says."""
    limits = [limit.given() for limit in body.limits]
    found = await keys.verify(body.key, scope=body.scope, cost=body.cost, limits=limits)
    return answer(found)


@router.post("", status_code=201, response_model=answers.IssuedKey)
async def issue_key(keys: KeysOf, body: IssueBody) -> Any:
    """Issue a key; `key` in the answer is shown this once."""
    return answer(await keys.issue(**body.given()), 201)


@router.get("", response_model=answers.KeyPage)
async def list_keys(
    keys: KeysOf,
    limit: int = 50,
    cursor: str | None = None,
    customer_id: str | None = None,
    tier: str | None = None,
    enabled: bool | None = None,
) -> Any:
    """List keys, newest first; `next_cursor` leads to the next page."""
    rows = await keys.list(
        customer_id=customer_id,
        tier=tier,
        enabled=enabled,
        limit=limit,
        offset=BY_OFFSET.at(cursor),
    )
    return answer(BY_OFFSET.page(rows, limit, cursor))


@router.get("/tiers", response_model=answers.Tiers)
async def list_tiers(keys: KeysOf) -> Any:
    """List what tiers allow and cost."""
    return answer({"items": await keys.tiers.list()})


@router.patch("/tiers/{name}", response_model=answers.Tier)
async def set_tier(keys: KeysOf, name: str, body: TierChanges) -> Any:
    """Change what a tier allows or costs; keys without limits of their own follow."""
    return answer(await keys.tiers.set(name, **body.given()))


@router.get("/customers", response_model=answers.CustomerPage)
async def list_customers(keys: KeysOf, limit: int = 50, cursor: str | None = None) -> Any:
    """List customers whose keys share limits, by name."""
    rows = await keys.customers.list(limit=limit, offset=BY_OFFSET.at(cursor))
    return answer(BY_OFFSET.page(rows, limit, cursor))


@router.get("/customers/{customer_id}", response_model=answers.Customer)
async def get_customer(keys: KeysOf, customer_id: str) -> Any:
    """Return what a customer's keys share."""
    return answer(await keys.customers.get(customer_id))


@router.patch("/customers/{customer_id}", response_model=answers.Customer)
async def set_customer(keys: KeysOf, customer_id: str, body: CustomerChanges) -> Any:
    """Set limits that all keys of a customer share; a new quota holds for this month too."""
    return answer(await keys.customers.set(customer_id, **body.given()))


@router.post("/customers/{customer_id}/grants", status_code=201, response_model=answers.Customer)
async def grant_customer(keys: KeysOf, customer_id: str, body: GrantBody) -> Any:
    """Top this month's shared quota up."""
    return answer(await keys.customers.grant(customer_id, **body.given()), 201)


@router.get("/customers/{customer_id}/ledger", response_model=answers.CustomerLedgerPage)
async def list_customer_ledger(
    keys: KeysOf, customer_id: str, limit: int = 50, cursor: str | None = None
) -> Any:
    """List the entries of a customer's ledger, newest first."""
    rows = await keys.customers.ledger(customer_id, limit=limit, offset=BY_OFFSET.at(cursor))
    return answer(BY_OFFSET.page(rows, limit, cursor))


@router.get("/{key_id}", response_model=answers.ApiKey)
async def get_key(keys: KeysOf, key_id: str) -> Any:
    """Return one key, without the key itself."""
    return answer(await keys.get(key_id))


@router.patch("/{key_id}", response_model=answers.ApiKey)
async def update_key(keys: KeysOf, key_id: str, body: KeyChanges) -> Any:
    """Change fields of a key; a new quota holds for this month too."""
    return answer(await keys.update(key_id, **body.given()))


@router.post("/{key_id}/disable", response_model=answers.ApiKey)
async def disable_key(keys: KeysOf, key_id: str) -> Any:
    """Switch a key off until it is enabled."""
    return answer(await keys.disable(key_id))


@router.post("/{key_id}/enable", response_model=answers.ApiKey)
async def enable_key(keys: KeysOf, key_id: str) -> Any:
    """Switch a key on again; 409 if it was revoked."""
    return answer(await keys.enable(key_id))


@router.post("/{key_id}/expire", response_model=answers.ApiKey)
async def expire_key(keys: KeysOf, key_id: str, body: ExpiryBody) -> Any:
    """Let a key end at a time to come, or never."""
    return answer(await keys.expire(key_id, body.expires_at))


@router.post("/{key_id}/revoke", response_model=answers.ApiKey)
async def revoke_key(keys: KeysOf, key_id: str) -> Any:
    """Take a key back for ever."""
    return answer(await keys.revoke(key_id))


@router.post("/{key_id}/rotate", response_model=answers.IssuedKey)
async def rotate_key(keys: KeysOf, key_id: str, body: RotateBody) -> Any:
    """Replace a key by a new one, shown this once; the old one works for `grace_s` more."""
    return answer(await keys.rotate(key_id, **body.given()))


@router.get("/{key_id}/balance", response_model=answers.Balance)
async def get_balance(keys: KeysOf, key_id: str) -> Any:
    """Return a key's quota of this month."""
    return answer(await keys.quota.balance(key_id))


@router.post("/{key_id}/grants", status_code=201, response_model=answers.Balance)
async def grant_quota(keys: KeysOf, key_id: str, body: GrantBody) -> Any:
    """Top this month's quota up."""
    return answer(await keys.quota.grant(key_id, **body.given()), 201)


@router.get("/{key_id}/ledger", response_model=answers.LedgerPage)
async def list_ledger(keys: KeysOf, key_id: str, limit: int = 50, cursor: str | None = None) -> Any:
    """List the entries of a key's ledger, newest first."""
    rows = await keys.quota.ledger(key_id, limit=limit, offset=BY_OFFSET.at(cursor))
    return answer(BY_OFFSET.page(rows, limit, cursor))
