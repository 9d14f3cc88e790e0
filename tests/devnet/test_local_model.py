"""The real language model: starts, talks through the official SDK, tells its usage, stops."""

import importlib.util
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

from devnet.child import is_running
from devnet.local_model import LocalModel, local_model, model_file, start_local_model
from devnet.scratch import ServerStartError, ServerUnavailableError

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalModel]:
    """One model for all tests of this file."""
    with local_model(log=tmp_path_factory.mktemp("local-model") / "log") as running:
        yield running


@pytest.fixture
def client(model: LocalModel) -> Iterator[OpenAI]:
    """The official SDK with only the address changed."""
    with OpenAI(base_url=model.base_url, api_key="any", max_retries=0, timeout=60) as client:
        yield client


def test_it_holds_a_conversation_and_tells_its_usage(client: OpenAI, model: LocalModel) -> None:
    """Two turns are answered; tokens are reported, and the second turn's prompt is the longer one."""
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello to Ada."}]
    first = client.chat.completions.create(model=model.model, messages=messages, max_tokens=16)
    assert first.choices[0].message.content
    assert first.usage is not None
    assert 0 < first.usage.completion_tokens <= 16
    assert first.usage.total_tokens == first.usage.prompt_tokens + first.usage.completion_tokens
    messages += [
        {"role": "assistant", "content": first.choices[0].message.content},
        {"role": "user", "content": "And to Grace."},
    ]
    second = client.chat.completions.create(model=model.model, messages=messages, max_tokens=16)
    assert second.usage is not None
    assert second.usage.prompt_tokens > first.usage.prompt_tokens


def test_it_streams_with_usage(client: OpenAI, model: LocalModel) -> None:
    """The text comes in several chunks, and the last chunk tells the usage when asked."""
    chunks = list(
        client.chat.completions.create(
            model=model.model,
            messages=[{"role": "user", "content": "Count to five."}],
            max_tokens=16,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert sum(bool(chunk.choices and chunk.choices[0].delta.content) for chunk in chunks) > 1
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.prompt_tokens > 0
    assert 0 < usage.completion_tokens <= 16


def test_its_model_is_listed(client: OpenAI, model: LocalModel) -> None:
    """The list has the one model under our name for it."""
    assert [each.id for each in client.models.list()] == [model.model]


def test_a_taken_port_is_said_at_once() -> None:
    """Nothing is started beside a server that listens already."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ServerUnavailableError, match="taken"):
        start_local_model(port=taken.getsockname()[1])


def test_a_start_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    """The wait is bounded, and nothing is left running."""
    with pytest.raises(ServerStartError, match="did not answer within"):
        start_local_model(log=tmp_path / "log", timeout_s=0)


def test_a_missing_extra_is_said_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the packages the error tells what to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ServerUnavailableError, match="requirements-model"):
        model_file()


def test_stopping_ends_the_process_and_may_be_repeated(tmp_path: Path) -> None:
    """After `stop` the child is gone, and a second `stop` does nothing."""
    running = start_local_model(log=tmp_path / "log")
    running.stop()
    assert not is_running(running.process.pid)
    running.stop()
