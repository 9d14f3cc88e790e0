"""A price that changes: what was promised with the hold is what is charged, whichever process knows another price."""

import asyncio

import msgspec
from msgspec import structs

from api.llm_models import LlmModels
from devnet.provider import Running
from domain.account.holds import SettleHold
from domain.account.usage import Usage
from domain.envelope import Actor, Envelope, Header
from eventstore import codec
from eventstore.clock import system_clock
from tests.api.gateway.account import BOUND_S, until
from tests.api.gateway.place import models_at, running_place, with_models

FACTOR = 1_000


async def test_a_changed_models_file_changes_no_hold() -> None:
    """Of two processes one has the new file: each charges what its hold says, and a settlement brings no price."""
    started: list[LlmModels] = []

    def models(upstream: Running) -> LlmModels:
        found = models_at(upstream)
        basic = found["fs-basic"]
        assert basic.price is not None
        if started:
            dearer = structs.replace(
                basic.price,
                input=basic.price.input * FACTOR,
                output=basic.price.output * FACTOR,
                cached_input=basic.price.cached_input * FACTOR,
                version="next",
            )
            found = with_models(found, structs.replace(basic, price=dearer))
        started.append(found)
        return found

    async with running_place(models=models, apis=2) as place:
        account = await place.account("1000")
        for api in (0, 1):
            assert (await account.chat("Hello", api=api)).status == 200
        new, old = await account.ended(2)
        assert (old.usage, new.price_version) == (new.usage, "next")
        assert new.cost == old.cost * FACTOR > 0

        # The old process has a request under way; another settles what it knows of it.
        asking = asyncio.create_task(account.chat("Hello [[fail=hang]]", api=0))

        async def is_open() -> bool:
            return any(hold.status == "open" for hold in await account.holds())

        await until(is_open)
        (left,) = [hold for hold in await account.holds() if hold.status == "open"]
        stream = f"account:{account.id}"
        header = Header(
            id="settled-by-another",
            attempt="a",
            stream=stream,
            account=account.id,
            actor=Actor(kind="system", id="test"),
            issued_at=system_clock(),
        )
        usage = Usage(source="provider", input=1_000, output=1_000)
        settle = SettleHold(hold_id=left.id, usage=usage, request_id="r")
        assert b"price" not in codec.encode_command(Envelope(header=header, body=settle))
        commands = place.services.commands
        ack = await commands.send(Envelope(header=header, body=settle))
        outcome = await commands.outcome(ack.shard, header.id, header.attempt, BOUND_S)
        assert outcome is not None
        assert msgspec.json.decode(outcome.data)["cost"] == 5_000
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
