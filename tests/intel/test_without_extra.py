"""Where the packages that read websites are not installed, everything else works all the same."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from aegis.client import Aegis
from aegis.errors import ConfigError
from aegis.intel.robots import read_rules
from aegis.mcp.server import server_of
from aegis.worker.kinds import kinds_of

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database

PACKAGES = ("protego", "selectolax", "selectolax.lexbor", "trafilatura")


async def test_workers_and_agents_are_served_and_websites_are_refused_with_what_to_do(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("aegis.intel")]:
        monkeypatch.delitem(sys.modules, name)
    for name in PACKAGES:
        # As Python does for what is not there.
        monkeypatch.setitem(sys.modules, name, None)
    client = Aegis(db, None, settings)
    assert "intel" in {kind.name for kind in kinds_of(client, client.functions)}
    assert await server_of(client).list_tools()
    with pytest.raises(ConfigError, match="aegis-core\\[intel\\]") as refused:
        read_rules(None, status=404, user_agent="AegisBot")
    assert refused.value.code == "extra_missing"
