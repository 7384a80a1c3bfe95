"""Forgetting over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.api import retention_shapes as shapes

if TYPE_CHECKING:
    import httpx2

    from aegis.db import Database

MEMORY = "/v1/memory"


async def test_memory_is_forgotten_and_brought_back(http: httpx2.AsyncClient, db: Database) -> None:
    body = {"event_type": "note", "summary": "an old tale", "importance": "low"}
    made = (await http.post(f"{MEMORY}/episodes", json=body)).json()
    async with db.transaction() as conn:
        await conn.execute(
            "UPDATE episodic_memory SET timestamp = '2001-01-01', created_at = '2001-01-01'"
        )
    plan = shapes.ForgetPlan.model_validate((await http.get(f"{MEMORY}/forget")).json())
    assert [faded.id for faded in plan.sample] == [made["id"]]
    report = (await http.post(f"{MEMORY}/forget", json={})).json()
    (archive,) = shapes.ForgetReport.model_validate(report).archives
    assert (await http.get(f"{MEMORY}/episodes/{made['id']}")).status_code == 404
    listed = await http.get(f"{MEMORY}/archives", params={"memory_id": made["id"]})
    assert shapes.Archives.model_validate(listed.json()).items == [archive]
    checks = (await http.post(f"{MEMORY}/archives/{archive.id}/verify")).json()
    assert shapes.ArchiveChecks.model_validate(checks).items[0].ok
    back = await http.post(f"{MEMORY}/archives/{archive.id}/restore", json={"ids": [made["id"]]})
    assert shapes.Restored.model_validate(back.json()).restored == 1
    assert (await http.get(f"{MEMORY}/episodes/{made['id']}")).status_code == 200


async def test_times_to_live_policies_and_holds(http: httpx2.AsyncClient) -> None:
    policy = {"ttl": "30d", "event_type": "log"}
    done = (await http.put(f"{MEMORY}/policies", json=policy)).json()
    assert shapes.PolicySet.model_validate(done).policy.ttl_s == 30 * 86_400
    body = {"event_type": "log", "summary": "x"}
    episode = (await http.post(f"{MEMORY}/episodes", json=body)).json()
    assert episode["expires_at"] > episode["created_at"]
    batch = {"episodes": [{"event_type": "note", "summary": "y", "ttl": "1d"}]}
    assert (await http.post(f"{MEMORY}/episodes/batch", json=batch)).status_code == 201
    place = f"{MEMORY}/holds/{episode['id']}"
    held = (await http.put(place, json={"reason": "a dispute"})).json()
    assert shapes.Hold.model_validate(held).reason == "a dispute"
    listed = (await http.get(f"{MEMORY}/holds")).json()
    assert len(shapes.Holds.model_validate(listed).items) == 1
    assert (await http.delete(place)).status_code == 204
    assert (await http.delete(place)).status_code == 404
    changed = {"expires_at": "2001-01-01T00:00:00Z"}
    await http.patch(f"{MEMORY}/episodes/{episode['id']}", json=changed)
    swept = (await http.post(f"{MEMORY}/sweep", json={"everywhere": True})).json()
    assert shapes.SweepReport.model_validate(swept).deleted == 1
    params = {"event_type": "log"}
    assert (await http.delete(f"{MEMORY}/policies", params=params)).status_code == 204
    assert (await http.get(f"{MEMORY}/policies")).json() == {"items": []}
    wrong = await http.put(f"{MEMORY}/policies", json={"ttl": "soon"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid_input")


async def test_subject_is_erased_and_the_proof_verified(http: httpx2.AsyncClient) -> None:
    body = {"event_type": "note", "summary": "Ada Smith was here"}
    await http.post(f"{MEMORY}/episodes", json=body)
    subject = {"subject": "Ada Smith", "aliases": ["ada@example.com"]}
    plan = (await http.post(f"{MEMORY}/erasures/plan", json=subject)).json()
    assert shapes.ErasurePlan.model_validate(plan).rows == {"episodic_memory": 1}
    made = await http.post(f"{MEMORY}/erasures", json=subject)
    proof = shapes.Erasure.model_validate(made.json())
    assert (made.status_code, proof.counts["episodic_memory"]) == (201, 1)
    place = f"{MEMORY}/erasures/{proof.id}"
    assert shapes.Erasure.model_validate((await http.get(place)).json()) == proof
    listed = (await http.get(f"{MEMORY}/erasures")).json()
    assert [e.id for e in shapes.Erasures.model_validate(listed).items] == [proof.id]
    check = (await http.post(f"{place}/verify", json=subject)).json()
    assert shapes.ErasureCheck.model_validate(check).ok
    other = await http.post(f"{place}/verify", json={"subject": "Ada Smith"})
    assert (other.status_code, other.json()["code"]) == (422, "erasure_subject")
