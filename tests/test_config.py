"""Settings: defaults that work, and a refusal that names the variable."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from aegis.config import ENV_PREFIX, Settings, load_settings
from aegis.errors import ConfigError


def test_defaults_are_those_of_the_specification() -> None:
    settings = load_settings({})
    assert (settings.pool_min_size, settings.pool_max_size, settings.pool_max_idle_s) == (
        2,
        10,
        300,
    )
    assert settings.database_url is None
    assert settings.api_host == "127.0.0.1"


def test_environment_is_read_by_type(tmp_path: Path) -> None:
    settings = load_settings(
        {
            "AEGIS_DATA_DIR": str(tmp_path),
            "AEGIS_POOL_MAX_SIZE": "20",
            "AEGIS_POOL_TIMEOUT_S": "0.5",
            "AEGIS_EMBEDDER": "none",
            "AEGIS_DATABASE_URL": "",
        }
    )
    assert settings.data_dir == tmp_path
    assert (settings.pool_max_size, settings.pool_timeout_s) == (20, 0.5)
    assert settings.embedder == "none"
    assert settings.database_url is None


def test_given_values_win_over_the_environment() -> None:
    assert load_settings({"AEGIS_NAMESPACE": "a"}, namespace="b").namespace == "b"
    assert load_settings({"AEGIS_NAMESPACE": "a"}, namespace=None).namespace == "a"


def test_home_is_expanded() -> None:
    assert load_settings({"AEGIS_DATA_DIR": "~/x"}).data_dir == Path.home() / "x"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("AEGIS_POOL_MAX_SIZE", "many", "AEGIS_POOL_MAX_SIZE is 'many'; it must be a whole number"),
        ("AEGIS_POOL_MAX_SIZE", "0", "AEGIS_POOL_MAX_SIZE is 0"),
        ("AEGIS_POOL_MIN_SIZE", "11", "AEGIS_POOL_MIN_SIZE is 11"),
        ("AEGIS_POOL_TIMEOUT_S", "inf", "AEGIS_POOL_TIMEOUT_S"),
        ("AEGIS_POOL_TIMEOUT_S", "nan", "AEGIS_POOL_TIMEOUT_S"),
        ("AEGIS_EMBEDDER", "magic", "use one of minilm, openai, none"),
        ("AEGIS_API_PORT", "70000", "AEGIS_API_PORT is 70000; use 0 to 65535"),
        ("AEGIS_STATEMENT_TIMEOUT_MS", "-1", "AEGIS_STATEMENT_TIMEOUT_MS must be 0 or more"),
        ("AEGIS_NAMESPACE", "  a", "AEGIS_NAMESPACE"),
    ],
)
def test_bad_value_is_refused_by_name(variable: str, value: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_settings({variable: value})


def test_misspelt_variable_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(
        ConfigError, match="AEGIS_DATABSE_URL is no setting; did you mean AEGIS_DATABASE_URL"
    ):
        load_settings({"AEGIS_DATABSE_URL": "postgresql://u:secret@h/d"})


def test_every_setting_says_what_it_does_and_secrets_are_marked() -> None:
    for field in fields(Settings):
        assert field.metadata["doc"].endswith((".", ")")), field.name
    secrets = {f.name for f in fields(Settings) if f.metadata["secret"]}
    assert {"database_url", "embedding_api_key"} <= secrets


def test_secrets_are_not_shown() -> None:
    settings = load_settings(
        {"AEGIS_DATABASE_URL": "postgresql://u:hunter2@h/d", "AEGIS_EMBEDDING_API_KEY": "sk-1"}
    )
    assert "hunter2" not in repr(settings)
    assert "sk-1" not in repr(settings)
    assert ENV_PREFIX == "AEGIS_"
