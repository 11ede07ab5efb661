"""What an operator can get wrong is said when the service starts, with the remedy."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.video.config import ServiceConfig, hash_key
from services.video.ledger.tables import LedgerUnavailable
from sora_core.errors import ConfigError, MissingObject, StorageError

# Ray Serve's own models use what pydantic deprecates; it is imported when a test runs, so that this covers it.
pytestmark = pytest.mark.filterwarnings("ignore:Using extra keyword arguments on `Field`")


def build(config: ServiceConfig) -> Any:
    from services.video.app import build as build_application

    return build_application(config)


def config(folder: Path, **changes: Any) -> ServiceConfig:
    (folder / "run").mkdir(exist_ok=True)
    (folder / "run" / "meta.json").write_text("{}")
    values = {"checkpoint": f"{folder}/run", "output": f"{folder}/out", "ledger": f"sqlite:///{folder}/ledger.db"}
    return ServiceConfig.model_validate(values | changes)


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SORA_API_KEYS", "ann=sk-1, bob=sk-2")


def test_a_config_that_can_work_becomes_an_application(tmp_path: Path) -> None:
    from ray.serve import Application

    assert isinstance(build(config(tmp_path)), Application)


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingObject, match="nowhere"):
        build(config(tmp_path, checkpoint=f"{tmp_path}/nowhere"))


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file/out"):
        build(config(tmp_path, output=f"{tmp_path}/file/out"))


def test_a_ledger_that_does_not_answer_is_named(tmp_path: Path, unused_port: int) -> None:
    with pytest.raises(LedgerUnavailable, match=str(unused_port)):
        build(config(tmp_path, ledger=f"postgresql://sora@127.0.0.1:{unused_port}/sora"))


@pytest.mark.parametrize("ledger", ["sqlite:///relative.db", "sqlite://", "ledger.db"])
def test_a_ledger_that_replicas_would_not_share_is_refused(tmp_path: Path, ledger: str) -> None:
    with pytest.raises(ValidationError, match="sqlite:////absolute"):
        config(tmp_path, ledger=ledger)


def test_an_unknown_key_of_the_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="leese_s"):
        config(tmp_path, sampler={"leese_s": 3})


def test_a_service_without_a_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SORA_API_KEYS")
    with pytest.raises(ConfigError, match="SORA_API_KEYS=owner=key"):
        build(config(tmp_path))


@pytest.mark.parametrize("value", ["sk-1", "=sk-1", "ann=", "ann=sk-1,oops"])
def test_keys_that_cannot_be_read_are_refused_without_being_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("SORA_API_KEYS", value)
    with pytest.raises(ConfigError, match="write ann=sk-1,bob=sk-2") as raised:
        config(tmp_path).with_environment_keys()
    assert "oops" not in str(raised.value)


def test_keys_leave_the_environment_hashed_and_join_those_of_the_config(tmp_path: Path) -> None:
    resolved = config(tmp_path, api={"keys": {"eve": hash_key("sk-3")}}).with_environment_keys()
    assert resolved.api.keys == {"ann": hash_key("sk-1"), "bob": hash_key("sk-2"), "eve": hash_key("sk-3")}
    assert "sk-1" not in resolved.model_dump_json()
