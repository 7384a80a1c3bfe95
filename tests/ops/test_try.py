import pytest
pytestmark = pytest.mark.servers("18", "16")
async def test_try(db, settings):
    from aegis.ops.health import Health
    r = await Health(db, settings).check()
    for x in r.results:
        print(x.state, x.id, x.observed, "|", x.threshold, x.elapsed_ms)
        for f in x.findings: print("    ", f.object, f.observed, f.fix)
    print(r.elapsed_ms)
