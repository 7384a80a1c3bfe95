"""`/v1/alerts`: what is wrong, who is told, and what people do about it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import Field

from aegis.alerts.models import (
    ALERT_STATES,
    DELIVERY_STATES,
    AlertState,
    ChannelKind,
    Condition,
    ConditionState,
    DeliveryState,
    EventKind,
    Severity,
)
from aegis.alerts.service import OPEN
from aegis.api.route import Router
from aegis.api.schemas import OptionalTime
from aegis.api.shapes import Answer, Body
from aegis.api.state import ClientOf, KnownParameters, answer

__all__ = ["router"]

router = Router(prefix="/v1/alerts", tags=["alerts"], dependencies=[KnownParameters])
StateText = Annotated[
    list[str] | None, Query(json_schema_extra={"items": {"enum": list(ALERT_STATES)}})
]
DeliveryStateText = Annotated[
    list[str] | None, Query(json_schema_extra={"items": {"enum": list(DELIVERY_STATES)}})
]


class AlertAnswer(Answer):
    """A condition that was bad, from the first observation until it was over."""

    id: int
    source: str
    condition_id: str
    labels: dict[str, str]
    group_key: str
    title: str
    state: AlertState
    severity: Severity
    condition_state: ConditionState
    observed: str | None
    threshold: str | None
    advice: str | None
    link: str | None
    rule: str
    hold_s: float
    lasting: bool
    began_at: datetime
    created_at: datetime
    observed_at: datetime
    unknown_since: datetime | None
    fired_at: datetime | None
    cleared_at: datetime | None
    resolved_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    note: str | None
    marked_false_at: datetime | None
    escalated_at: datetime | None
    told_at: datetime | None


class AlertList(Answer):
    """A page of alerts, the newest first."""

    items: list[AlertAnswer]
    #: `before` of the next page; null at the end.
    next_before: int | None


class AlertEventAnswer(Answer):
    """One thing that happened to an alert."""

    id: int
    alert_id: int
    at: datetime
    kind: EventKind
    by: str | None
    text: str | None


class AlertEventList(Answer):
    """What happened, the newest first."""

    items: list[AlertEventAnswer]


class SilenceAnswer(Answer):
    """Alerts that nobody is told of for a time."""

    id: int
    source: str
    condition: str
    labels: dict[str, str]
    until: datetime
    reason: str | None
    created_by: str | None
    created_at: datetime
    ended_at: datetime | None


class SilenceList(Answer):
    """Silences in force."""

    items: list[SilenceAnswer]


class ChannelAnswer(Answer):
    """A way to people, without its address."""

    name: str
    kind: ChannelKind
    shown: str
    least_severity: Severity
    quiet_from: int | None
    quiet_until: int | None
    quiet: str | None
    seen_at: datetime
    sent_at: datetime | None
    failed_at: datetime | None
    last_error: str | None
    failures: int


class ChannelList(Answer):
    """Channels that any process has named."""

    items: list[ChannelAnswer]


class AlertDeliveryAnswer(Answer):
    """One message to one channel."""

    id: int
    delivery_id: str
    channel: str
    group_key: str
    state: DeliveryState
    entries: list[dict[str, Any]]
    attempts: int
    next_at: datetime
    last_error: str | None
    created_at: datetime
    sent_at: datetime | None


class AlertDeliveryList(Answer):
    """Messages, the newest first."""

    items: list[AlertDeliveryAnswer]


class RetriedDeliveries(Answer):
    """How many messages will be tried again."""

    retried: int


class ObservedAnswer(Answer):
    """What an observation changed."""

    conditions: int
    fired: list[int]
    worsened: list[int]
    recovered: list[int]
    silenced: int


class ConditionBody(Body):
    """One thing that was looked at, and how it stands."""

    id: str
    state: str = Field(json_schema_extra={"enum": ["ok", "warning", "critical", "unknown"]})
    title: str
    observed: str | None = None
    threshold: str | None = None
    advice: str | None = None
    link: str | None = None
    labels: dict[str, str] = {}  # noqa: RUF012 (pydantic copies it)
    since: OptionalTime = None
    hold_s: float | None = None
    group: str | None = None


class ObservationBody(Body):
    """What a source saw."""

    source: str
    conditions: list[ConditionBody]
    complete: bool = Field(False, description="What is not named is good.")
    lasting: bool = Field(False, description="Bad until the source says otherwise.")


class MarkBody(Body):
    """What somebody has to say to an alert."""

    by: str | None = None
    note: str | None = None


class RetryBody(Body):
    """Which messages that were given up to try again; all of them where nothing is named."""

    id: int | None = None
    channel: str | None = None


class SilenceBody(Body):
    """Which alerts to keep quiet, and how long."""

    source: str = "*"
    condition: str = "*"
    labels: dict[str, str] = {}  # noqa: RUF012 (pydantic copies it)
    until: OptionalTime = None
    seconds: float | None = None
    reason: str | None = None
    by: str | None = None


@router.get("", response_model=AlertList)
async def list_alerts(
    client: ClientOf,
    state: StateText = None,
    source: str | None = None,
    before: int | None = None,
    limit: int = 50,
) -> Any:
    """Return alerts, the newest first; those that are not over unless `state` says so."""
    items = await client.alerts.list(
        states=OPEN if state is None else state, source=source, before=before, limit=limit
    )
    more = items[-1].id if len(items) == limit else None
    return answer({"items": items, "next_before": more})


@router.post("/observations", response_model=ObservedAnswer)
async def observe_conditions(client: ClientOf, body: ObservationBody) -> Any:
    """Take in what another program saw: its alerts fire, get worse, and are over."""
    given: list[Condition] = []
    for one in body.conditions:
        fields: dict[str, Any] = {**one.model_dump(), "source": body.source}
        given.append(Condition(**fields))
    return answer(
        await client.alerts.observe(
            body.source, given, complete=body.complete, lasting=body.lasting
        )
    )


@router.get("/history", response_model=AlertEventList)
async def list_alert_events(
    client: ClientOf, alert_id: int | None = None, before: int | None = None, limit: int = 100
) -> Any:
    """Return what happened, to one alert or to all, the newest first."""
    return answer({"items": await client.alerts.history(alert_id, before=before, limit=limit)})


@router.get("/silences", response_model=SilenceList)
async def list_alert_silences(client: ClientOf) -> Any:
    """Return the silences in force."""
    return answer({"items": await client.alerts.silences()})


@router.post("/silences", status_code=201, response_model=SilenceAnswer)
async def silence_alerts(client: ClientOf, body: SilenceBody) -> Any:
    """Tell nobody of some alerts for a time; they are listed all the same."""
    made = await client.alerts.silence(
        source=body.source,
        condition=body.condition,
        labels=body.labels,
        until=body.until,
        seconds=body.seconds,
        reason=body.reason,
        by=body.by,
    )
    return answer(made, 201)


@router.delete("/silences/{silence_id}", status_code=204)
async def unsilence_alerts(client: ClientOf, silence_id: int) -> None:
    """End a silence now; what still fires is told then."""
    await client.alerts.unsilence(silence_id)


@router.get("/channels", response_model=ChannelList)
async def list_alert_channels(client: ClientOf) -> Any:
    """Return the channels that any process has named, and how they fare."""
    return answer({"items": await client.alerts.channels.list()})


@router.get("/deliveries", response_model=AlertDeliveryList)
async def list_alert_deliveries(
    client: ClientOf,
    state: DeliveryStateText = None,
    channel: str | None = None,
    limit: int = 50,
) -> Any:
    """Return messages, the newest first; those that were given up are `dead`."""
    found = await client.alerts.channels.deliveries(
        states=DELIVERY_STATES if state is None else state, channel=channel, limit=limit
    )
    return answer({"items": found})


@router.post("/deliveries/retry", response_model=RetriedDeliveries)
async def retry_alert_deliveries(client: ClientOf, body: RetryBody) -> Any:
    """Send messages that were given up again: one, those of a channel, or all."""
    retried = await client.alerts.channels.retry(body.id, channel=body.channel)
    return answer({"retried": retried})


@router.get("/{alert_id}", response_model=AlertAnswer)
async def get_alert(client: ClientOf, alert_id: int) -> Any:
    """Return an alert."""
    return answer(await client.alerts.get(alert_id))


@router.post("/{alert_id}/ack", response_model=AlertAnswer)
async def acknowledge_alert(client: ClientOf, alert_id: int, body: MarkBody) -> Any:
    """Take an alert on: nobody is told again until it gets worse or is over."""
    return answer(await client.alerts.acknowledge(alert_id, by=body.by, note=body.note))


@router.post("/{alert_id}/false", response_model=AlertAnswer)
async def mark_alert_false(client: ClientOf, alert_id: int, body: MarkBody) -> Any:
    """Say that an alert was none: it is over, and the same is kept quiet for two weeks."""
    return answer(await client.alerts.mark_false(alert_id, by=body.by, note=body.note))
