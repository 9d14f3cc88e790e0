"""What an open stream keeps in memory does not depend on what was asked."""

import gc

import pytest

from api.call import Call
from api.gateway.request import ChatRequest
from tests.api.gateway.place import Place

MARK = "remember me"


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "one"}])
async def test_an_open_stream_keeps_nothing_of_its_request(place: Place, headers: dict[str, str]) -> None:
    """The body goes as soon as the provider has begun to answer, and what is charged later is the same."""
    account = await place.account()
    stream = await account.client().chat.completions.create(
        model="fs-basic",
        messages=[{"role": "user", "content": "[[tokens=1000]] [[tps=20]]" + MARK * 400}],
        stream=True,
        extra_headers=headers,
    )
    async for _ in stream:
        break
    objects = gc.get_objects()
    # Others of earlier tests may live on somewhere; they have other texts.
    requests = [each.fields for each in objects if isinstance(each, ChatRequest)]
    bodies = [each.raw_body for each in objects if isinstance(each, Call)]
    del objects
    assert {} in requests
    assert b"" in bodies
    assert not [raw for fields in requests for raw in fields.values() if MARK.encode() in bytes(raw)]
    assert not [body for body in bodies if MARK.encode() in body]
    await stream.close()
    (hold,) = await account.ended()
    assert hold.usage is not None
    assert hold.usage.source == "estimated"
    assert hold.usage.prompt > 900
