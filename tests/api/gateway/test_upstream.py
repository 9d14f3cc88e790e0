"""The provider's side of a call: other deployments, other people's errors."""

from msgspec import structs

from api.llm_models import LlmModels
from devnet.provider import ProviderOptions, Running
from tests.api.gateway.place import models_at, running_place, with_models


async def test_a_fallback_takes_over_before_the_first_byte() -> None:
    """A deployment that cannot be reached costs a moment, not the request."""

    def with_dead_first(provider: Running) -> LlmModels:
        models = models_at(provider)
        basic = models["fs-basic"]
        dead = structs.replace(basic.deployments[0], base_url="http://127.0.0.1:9")
        return with_models(models, structs.replace(basic, deployments=(dead, *basic.deployments)))

    async with running_place(models=with_dead_first) as place:
        account = await place.account()
        answer = await account.chat("Hello")
        assert answer.status == 200
        assert place.provider.ledger.counts.completed == 1


async def test_the_providers_key_is_never_told() -> None:
    """A provider that repeats its key in an error does not reach the client with it."""
    async with running_place(
        provider=ProviderOptions(api_key="sk-upstream-secret"),
        models=lambda provider: models_at(provider, api_key="sk-upstream-wrong"),
    ) as place:
        account = await place.account()
        answer = await account.chat("Hello")
        assert (answer.status, answer.error["code"]) == (502, "upstream_error")
        assert b"sk-upstream" not in answer.body


async def test_calls_before_the_first_byte_are_bounded() -> None:
    """A provider that always fails is called a few times, never for ever."""
    async with running_place() as place:
        account = await place.account()
        assert (await account.chat("Hello [[fail=error-500]]")).status == 502
        assert place.provider.ledger.counts.started == 2
