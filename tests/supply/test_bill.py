"""The bill of materials is valid, complete, the same every time, and of no machine."""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tools import bill
from tools.installed import ROOT, name_of, read_lock

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return bill.bills()


def test_each_is_valid_by_its_schema(made: dict[str, str]) -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert {name: validator.validate_str(text) for name, text in made.items()} == {
        "sbom-core.json": None,
        "sbom-all.json": None,
    }
    # A validator that takes anything would say the same.
    assert validator.validate_str('{"bomFormat": "CycloneDX"}') is not None


def test_the_same_bytes_come_out_again(made: dict[str, str]) -> None:
    assert bill.bills() == made


def test_versions_are_those_of_the_locks_and_every_package_is_named_once(
    made: dict[str, str],
) -> None:
    core: Any = json.loads(made["sbom-core.json"])
    every: Any = json.loads(made["sbom-all.json"])
    core_lock = read_lock(ROOT / "requirements.lock")
    lock = read_lock(ROOT / "requirements-dev.lock") | core_lock
    for document, known in ((core, core_lock), (every, lock)):
        named = [(name_of(c["name"]), c["version"]) for c in document["components"]]
        assert named == sorted(set(named))
        assert {name: known.get(name) for name, _ in named} == dict(named)
        assert all(c["purl"] == f"pkg:pypi/{name_of(c['name'])}@{c['version']}"
                   for c in document["components"])  # fmt: skip
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    direct = {name_of(re.split(r"[<>=]", text)[0]) for text in project["dependencies"]}
    assert direct <= {name_of(c["name"]) for c in core["components"]}
    names = {name_of(c["name"]) for c in every["components"]}
    assert {"cryptography", "boto3", "stripe", "playwright"} <= names
    assert not names & {"pytest", "ruff", "pyright", "cyclonedx-bom", "hatchling"}


def test_dependencies_lead_to_components_and_all_are_reached(made: dict[str, str]) -> None:
    for text in made.values():
        document: Any = json.loads(text)
        needs = {d["ref"]: d.get("dependsOn", []) for d in document["dependencies"]}
        refs = {c["bom-ref"] for c in document["components"]}
        assert set(needs) == refs | {"aegis-core"}
        waiting, reached = ["aegis-core"], {"aegis-core"}
        while waiting:
            for ref in needs[waiting.pop()]:
                if ref not in reached:
                    reached.add(ref)
                    waiting.append(ref)
        assert reached == refs | {"aegis-core"}


def test_nothing_is_of_this_machine_or_this_moment(made: dict[str, str]) -> None:
    for text in made.values():
        assert str(ROOT) not in text
        assert "file://" not in text
        document: Any = json.loads(text)
        assert "serialNumber" not in document
        assert "timestamp" not in document["metadata"]


def test_the_command_names_what_it_wrote_and_what_is_in_no_bill(
    made: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bill.main([str(tmp_path)]) == 0
    said = capsys.readouterr().out
    for name, text in made.items():
        assert (tmp_path / name).read_text() == text
        assert f"{name}: {len(json.loads(text)['components'])} components" in said
    assert ("in no bill" in said) is bool(bill.left_out())
    every = {name_of(c["name"]) for c in json.loads(made["sbom-all.json"])["components"]}
    assert not every & set(bill.left_out())


def test_what_is_not_as_locked_is_no_bill(
    made: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = json.loads(made["sbom-all.json"])
    other["components"][0]["version"] = "0.0.1"
    name = other["components"][0]["name"]
    monkeypatch.setattr(bill, "bills", lambda: {**made, "sbom-all.json": json.dumps(other)})
    assert bill.main([str(tmp_path / "build")]) == 1
    assert f"✗ {name} is 0.0.1, the locks say " in capsys.readouterr().out
    assert not (tmp_path / "build").exists()
