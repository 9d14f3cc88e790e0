"""A chat completion from its body to its answer: the one path that every request takes."""

from typing import TYPE_CHECKING, Any, NamedTuple

from api.call import Reply
from api.gateway.answers import Keeping
from api.gateway.client_watch import ClientGone, ClientWatch
from api.gateway.job import ChatJob
from api.gateway.once import win_or_repeat
from api.gateway.request import ChatRequest, decode_request
from api.gateway.stream import ChatStream
from api.gateway.upstream import Answering
from api.gateway.whole import Whole, charge_whole, read_whole
from api.request_body import Gone

if TYPE_CHECKING:
    from api.call import Call


async def complete(call: "Call[Any, Any]") -> Reply | ChatStream:
    """The whole answer, charged already, or a stream that is charged at its end. A client that leaves ends both.

    Only what an `Idempotency-Key` asks to be kept is read to its end for a client that has left.
    """
    request = decode_request(call.raw_body)
    if call.idempotency_key is not None and not request.stream:
        return await _charged(await _answer_once(call, request))
    try:
        async with ClientWatch(call.services.metering, call.receive):
            if call.idempotency_key is not None:
                answer = await _answer_once(call, request)
            else:
                job = ChatJob(call, request)
                answer = await _answer(job, await job.begin(), None)
    except ClientGone:
        raise Gone from None
    return await _charged(answer)


class _Uncharged(NamedTuple):
    """A whole answer that is not charged yet. It will be, now that it is here, whether its client still is or not."""

    job: ChatJob
    whole: Whole
    keeping: Keeping | None


async def _answer_once(call: "Call[Any, Any]", request: ChatRequest) -> Reply | ChatStream | _Uncharged:
    won = await win_or_repeat(call, request)
    if isinstance(won, Reply):
        return won
    return await _answer(won.job, await won.job.begin_with(won.placed), won.keeping)


async def _answer(job: ChatJob, answering: Answering, keeping: Keeping | None) -> ChatStream | _Uncharged:
    # An open stream would keep them to its end.
    job.call.forget_body()
    job.request.forget_fields()
    if not answering.streaming:
        return _Uncharged(job, await read_whole(job, answering), keeping)
    stream = ChatStream(job, answering, keeping)
    await stream.first()
    return stream


async def _charged(answer: Reply | ChatStream | _Uncharged) -> Reply | ChatStream:
    return await charge_whole(*answer) if isinstance(answer, _Uncharged) else answer
