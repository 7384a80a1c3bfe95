"""A Parquet file is imported whole, or told in one line what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aegis.errors import ConfigError, InvalidInput
from aegis.memory import Memory, NewEpisode
from aegis.memory.exporting import export_file
from aegis.memory.importing import import_path
from aegis.memory.importing import parquet as reader

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
async def exported(plain_memory: Memory, tmp_path: Path) -> Path:
    """An export of a few memories."""
    await plain_memory.record_many(
        [NewEpisode(event_type="note", summary=f"text {n} " * 20) for n in range(700)]
    )
    await plain_memory.facts.record("tea", "no sugar")
    path = tmp_path / "x.parquet"
    await export_file(plain_memory, path, format="parquet")
    return path


async def refused(memory: Memory, path: Path) -> str:
    elsewhere = Memory(memory.database, None, namespace="elsewhere")
    with pytest.raises(InvalidInput) as found:
        await import_path(elsewhere, "parquet", path)
    assert "\n" not in found.value.message
    assert str(path) in found.value.message
    assert await elsewhere.count() == 0, "nothing is half imported"
    return found.value.message


async def test_file_cut_anywhere_imports_nothing(plain_memory: Memory, exported: Path) -> None:
    whole = exported.read_bytes()
    for length in (0, 3, 4, 100, len(whole) // 2, len(whole) - 9, len(whole) - 1):
        exported.write_bytes(whole[:length])
        assert "cannot be read as Parquet" in await refused(plain_memory, exported)


async def test_bent_page_imports_nothing(plain_memory: Memory, exported: Path) -> None:
    whole = bytearray(exported.read_bytes())
    at = whole.index(b"\x28\xb5\x2f\xfd", 20)  # where a compressed page begins
    whole[at + 5 : at + 40] = bytes(35)
    exported.write_bytes(whole)
    await refused(plain_memory, exported)


def write(path: Path, table: Any) -> None:
    pq.write_table(table, path)


async def test_file_of_another_program_is_told_so(plain_memory: Memory, tmp_path: Path) -> None:
    write(tmp_path / "x.parquet", pa.table({"text": ["a"]}))
    assert "no export of Aegis" in await refused(plain_memory, tmp_path / "x.parquet")


async def test_columns_of_another_type_or_missing_are_named(
    plain_memory: Memory, exported: Path
) -> None:
    table = pq.read_table(exported)
    write(exported, table.drop_columns(["summary"]))
    assert "no column summary" in await refused(plain_memory, exported)
    at = table.schema.get_field_index("timestamp")
    texts = pa.array(["x"] * table.num_rows)
    write(exported, table.set_column(at, "timestamp", texts))
    assert "column timestamp is string" in await refused(plain_memory, exported)


async def test_header_of_a_later_version_is_refused(plain_memory: Memory, exported: Path) -> None:
    table = pq.read_table(exported)
    for header in (b"{", b"[]", b'{"format":"aegis-memory","version":99}', b'{"format":"x"}'):
        write(exported, table.replace_schema_metadata({b"aegis": header}))
        await refused(plain_memory, exported)


async def test_row_group_of_a_hostile_size_is_not_unpacked(
    plain_memory: Memory, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_GROUP_BYTES", 1_000)
    assert "bytes" in await refused(plain_memory, exported)


async def test_broken_row_ends_the_import_or_is_passed_over(
    plain_memory: Memory, exported: Path
) -> None:
    table = pq.read_table(exported)
    rows = table.to_pylist()
    rows[600]["kind"] = "spell"
    rows[601]["details"] = "{not json"
    write(exported, pa.Table.from_pylist(rows, schema=table.schema))
    elsewhere = Memory(plain_memory.database, None, namespace="elsewhere")
    with pytest.raises(InvalidInput, match=r"row 601: its kind is 'spell'"):
        await import_path(elsewhere, "parquet", exported)
    assert await elsewhere.count() == 600
    report = await import_path(elsewhere, "parquet", exported, skip_broken=True)
    assert (report.broken_count, report.skipped, report.recorded) == (2, 600, 99)


async def test_missing_file_and_missing_extra_are_told(
    plain_memory: Memory, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    with pytest.raises(InvalidInput, match="nothing at"):
        await import_path(plain_memory, "parquet", exported.with_name("y.parquet"))
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ConfigError, match="aegis-core"):
        await import_path(plain_memory, "parquet", exported)
    with pytest.raises(ConfigError, match="aegis-core"):
        await export_file(plain_memory, exported, format="parquet")
    assert exported.stat().st_size > 1_000, "the file that was there is untouched"
