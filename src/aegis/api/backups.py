"""`/v1/backups`: what there is, what is an alarm, and the start of another."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from aegis.api.health import CheckResult
from aegis.api.route import Router
from aegis.api.shapes import Answer
from aegis.api.state import ClientOf, KnownParameters, answer
from aegis.ops.backup.models import Level, Verdict
from aegis.ops.health.of_backups import check_backups
from aegis.wire.backups import entry_json

__all__ = ["router"]

router = Router(prefix="/v1/backups", tags=["backups"], dependencies=[KnownParameters])


class CheckAnswer(Answer):
    """One thing that was looked at."""

    name: str
    verdict: Verdict
    detail: str
    seconds: float


class LookAnswer(Answer):
    """The outcome of looking at a backup."""

    verdict: Verdict
    level: Level
    at: datetime
    seconds: float
    checks: list[CheckAnswer]


class CopyAnswer(Answer):
    """A copy elsewhere that was read back and found equal."""

    destination: str
    pushed_at: datetime


class BackupAnswer(Answer):
    """A backup; one whose manifest is damaged has a name, a verdict and the damage."""

    name: str
    verdict: Verdict
    level: Level | None = Field(description="The deepest look that verified it.")
    damage: str | None
    hold: str | None = Field(description="Why it may not be pruned.")
    local: bool
    copies: list[CopyAnswer]
    fast: LookAnswer | None = Field(description="The last time that every byte was read.")
    full: LookAnswer | None = Field(description="The last time that it was restored.")
    number: int | None
    label: str | None = None
    database: str | None = None
    snapshot_at: datetime | None = Field(None, description="What was committed before is in it.")
    finished_at: datetime | None = None
    format: str | None = None
    compression: str | None = None
    encrypted: bool | None = None
    bytes: int | None = None
    tables: int | None = None
    rows: int | None = None
    server_version: str | None = None
    schema_revision: str | None = None
    extensions: dict[str, str] | None = None
    timings: dict[str, float] | None = Field(None, description="Seconds by step.")


class BackupsAnswer(Answer):
    """Backups, newest first."""

    items: list[BackupAnswer]


class DrillAnswer(Answer):
    """A recovery that was timed."""

    backup: str
    started_at: datetime
    verdict: Verdict
    rto_s: float = Field(description="Seconds until Aegis answered.")
    rpo_s: float = Field(description="Seconds of work that would have been lost.")
    source: str
    detail: str
    timings: dict[str, float]


class StatusAnswer(Answer):
    """What the checks of backups say of the folder, and the last drill."""

    checks: list[CheckResult]
    drill: DrillAnswer | None


class Begun(Answer):
    """A backup was started."""

    state: str


@router.get("", response_model=BackupsAnswer)
async def list_backups(client: ClientOf) -> Any:
    """Return every backup, newest first, with its verdict."""
    return answer({"items": [entry_json(entry) for entry in await client.backups.list()]})


@router.get("/status", response_model=StatusAnswer)
async def backup_status(client: ClientOf) -> Any:
    """Return what about the backups is an alarm, and the figures of the last drill."""
    drills = await client.backups.drills()
    return answer(
        {
            "checks": await check_backups(client.backups),
            "drill": drills[-1] if drills else None,
        }
    )


@router.get("/{name}", response_model=BackupAnswer)
async def get_backup(client: ClientOf, name: str) -> Any:
    """Return one backup; `latest` is the newest that did not fail."""
    return answer(entry_json(await client.backups.get(name)))


@router.post("", status_code=202, response_model=Begun)
async def begin_backup(client: ClientOf) -> Any:
    """Start a backup as the settings say; it is listed when it is complete."""
    await client.backups.begin()
    return answer({"state": "started"}, 202)
