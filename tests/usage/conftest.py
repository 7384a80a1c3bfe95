"""Usage and keys on a database of the test's own, and how events look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aegis.keys import Keys
from aegis.usage import Usage

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database


@pytest.fixture
def keys(db: Database, settings: Settings) -> Keys:
    return Keys(db, settings)


@pytest.fixture
def usage(db: Database, settings: Settings) -> Usage:
    return Usage(db, settings)


def event(event_id: str = "e1", **fields: Any) -> dict[str, Any]:
    """Return an event as a sender writes it."""
    return {
        "event_id": event_id,
        "customer_id": "acme",
        "endpoint": "/v1/things/{id}",
        "method": "GET",
        "status_code": 200,
        **fields,
    }
