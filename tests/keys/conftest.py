"""Keys on a database of the test's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aegis.keys import Keys

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database


@pytest.fixture
def keys(db: Database, settings: Settings) -> Keys:
    return Keys(db, settings)
