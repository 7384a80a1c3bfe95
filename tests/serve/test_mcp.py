"""MCP beside the HTTP face: loaded when it is first asked for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.serving import serving

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


def test_it_is_loaded_with_its_first_request(tmp_path: Path, dsn: str) -> None:
    accept = {"Accept": "application/json, text/event-stream"}
    with serving(tmp_path, database_url=dsn, embedder="none") as served, served.http() as http:
        http.timeout = 120

        def loaded() -> bool:
            # The library of MCP brings this one, which nothing else loads by itself.
            return "cryptography" in Path(f"/proc/{served.process.pid}/maps").read_text()

        assert http.get("/readyz").status_code == 200
        assert http.get("/mcp").status_code == 405
        assert not loaded()
        with ThreadPoolExecutor() as pool:
            posts = [
                pool.submit(http.post, "/mcp", json=INITIALIZE, headers=accept) for _ in range(4)
            ]
            answers = [post.result().json() for post in posts]
        assert [one["result"]["serverInfo"]["name"] for one in answers] == ["aegis"] * 4
        assert loaded()
