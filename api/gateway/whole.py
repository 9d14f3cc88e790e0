"""Answers that are not streamed: read whole, charged, and then sent, byte for byte what the provider sent."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from api.call import Reply
from api.errors import ApiError, declare
from api.gateway.answers import Keeping, Kept
from api.gateway.chunk import Sound, arguments_size, function_size
from api.gateway.job import ChatJob
from api.gateway.settlement import cost_headers
from api.gateway.upstream import Answering
from api.gateway.upstream_errors import told_in_answer
from api.gateway.usage import ABSENT, given
from api.llm_models import Deployment
from domain.account.usage import Usage

declare(
    "settlement_unknown",
    "unavailable",
    "The charge could not be written, so the answer is withheld; what was charged all the same is given back.",
    "Try again after the seconds in Retry-After; `command_id` names the request's hold.",
)


class Whole(Struct, frozen=True, kw_only=True):
    """A provider's whole answer, and what it used."""

    body: bytes
    media_type: str
    usage: Usage


async def read_whole(job: ChatJob, answering: Answering) -> Whole:
    """The answer that a provider has begun; when it breaks off, nothing is delivered and nothing charged."""
    try:
        body = await answering.read()
        return Whole(body=body, media_type=answering.media_type, usage=_usage_in(job, body, answering.deployment))
    except ApiError as error:
        answering.close()
        await job.hold.release(error.code)
        raise
    except BaseException:
        job.hold.drop("client_gone")
        raise
    finally:
        answering.close()


async def charge_whole(job: ChatJob, whole: Whole, keeping: Keeping | None) -> Reply:
    """Charges an answer and then sends it. 503 `settlement_unknown` withholds it: then all is given back.

    But not of an answer that was kept: another request under its key may have been given it already. That one stays
    charged, and the repeat gets it.
    """
    kept = False
    if keeping is not None:
        try:
            kept = await keeping.keep(_kept(job, whole))
        except BaseException:
            job.hold.drop("client_gone")
            raise
    settlement = await job.hold.settle(whole.usage, request_id=job.call.request_id)
    if settlement is None:
        if kept:
            job.hold.settle_later(whole.usage, request_id=job.call.request_id)
        else:
            job.hold.drop("settlement_unknown")
        raise ApiError(
            "settlement_unknown",
            headers={"Retry-After": "5"},
            command_id=job.hold.public_id,
            hold_id=job.hold.id,
        )
    headers = {**cost_headers(settlement), **job.warnings(settlement.remaining)}
    return Reply(status=200, body=whole.body, headers=headers, media_type=whole.media_type)


def _kept(job: ChatJob, whole: Whole) -> Kept:
    reckoned = job.hold.reckoned(whole.usage)
    return Kept(media_type=whole.media_type, body=whole.body, cost=reckoned.cost, remaining=reckoned.remaining)


class _Completion(Struct, frozen=True, kw_only=True):
    choices: Raw = ABSENT
    usage: Raw = ABSENT
    error: Raw = ABSENT
    object: Any = None
    service_tier: Raw = ABSENT


class _Message(Struct, frozen=True, kw_only=True):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: Raw = ABSENT
    function_call: Raw = ABSENT
    audio: Sound | None = None


class _Choice(Struct, frozen=True, kw_only=True):
    message: _Message


_completions = msgspec.json.Decoder(_Completion)
_choices = msgspec.json.Decoder(list[_Choice])


def _usage_in(job: ChatJob, body: bytes, deployment: Deployment) -> Usage:
    """Of a whole answer; `ApiError` if it is no completion."""
    try:
        completion = _completions.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise ApiError("upstream_error", "The provider's answer is not a completion.") from None
    if given(completion.error) or completion.object == "error":
        raise told_in_answer(Raw(body), deployment)
    if not bytes(completion.choices).startswith(b"["):
        raise ApiError("upstream_error", "The provider's answer is not a completion.")
    job.hold.served(completion.service_tier)
    told = job.told(completion.usage)
    if told is not None and told.completion:
        return told
    size = text_bytes(completion.choices)
    if told is not None and not size:
        return told  # else there is text of which the provider tells nothing
    return job.estimated(chunks=1 if size else 0, text_bytes=size)


def text_bytes(choices: Raw) -> int:
    """Bytes of text and of called functions in all choices; all of them where they have a shape of their own."""
    try:
        found = _choices.decode(choices)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return memoryview(choices).nbytes
    size = 0
    for choice in found:
        message = choice.message
        texts = [message.content, message.refusal, message.reasoning_content, message.reasoning]
        texts += [message.audio.transcript] if message.audio is not None else []
        size += sum(len(text.encode()) for text in texts if text)
        size += arguments_size(message.tool_calls) if given(message.tool_calls) else 0
        size += function_size(message.function_call) if given(message.function_call) else 0
    return size
