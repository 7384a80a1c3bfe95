"""Keys: who may call, how often, and how much a month.

Owns `api_keys` with `api_key_old_hashes`, `api_key_secrets` and `api_tiers`, and what is counted:
`api_key_meters`, `api_key_limits` and `api_quota_ledger`; of all keys of a customer together
`api_customers`, `api_customer_limits` and `api_customer_ledger`. Invariant: no call is admitted
above a limit, whatever the number of processes, and none above a quota without a row of overage; a
key itself is stored nowhere.
"""

from aegis.keys.models import (
    ApiKey,
    Balance,
    Binding,
    Customer,
    CustomerEntry,
    IssuedKey,
    LedgerEntry,
    Limit,
    LimitState,
    QuotaState,
    SecretInUse,
    Tier,
    Verification,
)
from aegis.keys.service import Keys

__all__ = [
    "ApiKey",
    "Balance",
    "Binding",
    "Customer",
    "CustomerEntry",
    "IssuedKey",
    "Keys",
    "LedgerEntry",
    "Limit",
    "LimitState",
    "QuotaState",
    "SecretInUse",
    "Tier",
    "Verification",
]
