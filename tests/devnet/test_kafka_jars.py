"""Kafka's jars are fetched with patience, and taken only if they are what they should be."""

import hashlib
import json
from pathlib import Path

import pytest

from devnet import kafka_jars
from devnet.scratch import ServerUnavailableError


def test_what_cannot_be_fetched_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a network it is tried again, and the error says what the machine must reach; no half of it is left."""
    monkeypatch.setenv("M2_REPO", str(tmp_path / "empty"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setattr(kafka_jars, "PAUSES_S", (0.01,))
    with pytest.raises(ServerUnavailableError, match="Maven's central repository"):
        kafka_jars.fetched(tmp_path)
    assert "trying again" in capsys.readouterr().err
    assert not (tmp_path / "jars").exists()
    assert not (tmp_path / "maven").exists()


def test_other_jars_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is missing, and one with other content, are named."""
    names = ("broker.jar", "clients.jar")
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    listed = "".join(f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n" for name in names)
    (tmp_path / "expected").write_text(listed, "utf-8")
    monkeypatch.setattr(kafka_jars, "_EXPECTED", tmp_path / "expected")
    found = [str(tmp_path / name) for name in names]
    assert kafka_jars._difference(found) == ""
    assert "clients.jar did not come" in kafka_jars._difference(found[:1])
    Path(found[0]).write_bytes(b"something else")
    assert "broker.jar are not what they should be" in kafka_jars._difference(found)


def test_a_list_of_jars_that_was_cut_off_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was killed while it wrote leaves nothing that stops the next one."""
    (tmp_path / "expected").write_text(f"0  {Path(__file__).name}\n", "utf-8")
    monkeypatch.setattr(kafka_jars, "_EXPECTED", tmp_path / "expected")
    monkeypatch.setattr(kafka_jars, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(kafka_jars, "fetched", lambda _cache: [__file__])
    (tmp_path / f"kafka-{kafka_jars.VERSION}.json").write_text('["cut', "utf-8")
    assert kafka_jars.jars() == [__file__]
    monkeypatch.setattr(kafka_jars, "fetched", lambda _cache: pytest.fail("they are there already"))
    assert kafka_jars.jars() == [__file__]
    assert json.loads((tmp_path / f"kafka-{kafka_jars.VERSION}.json").read_text("utf-8")) == [__file__]
