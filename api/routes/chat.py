"""`POST /v1/chat/completions`: OpenAI's chat completions, metered."""

from typing import Any

from msgspec import Struct

from api.call import Call, Reply
from api.gateway.completion import complete
from api.gateway.request import ChatBody
from api.gateway.stream import ChatStream
from api.route import Route, Stream, needs

BODY_BYTES_MAX = 8 * 1024 * 1024


class ChatCompletion(Struct, frozen=True, kw_only=True):
    """The provider's answer, byte for byte."""

    choices: list[dict[str, Any]]
    id: str | None = None
    object: str | None = None
    created: int | None = None
    model: str | None = None
    usage: dict[str, Any] | None = None


async def create_chat_completion(call: Call[None, None]) -> Reply | ChatStream:
    """Holds what the request can cost, calls the provider, charges what it used."""
    return await complete(call)


ROUTES = (
    Route(
        method="POST",
        path="/v1/chat/completions",
        handler=create_chat_completion,
        summary="Create a chat completion",
        description=(
            "OpenAI's request and answer. Credits for what the request can cost at most are held, and what it used is"
            " charged. A stream tells its cost in a comment before `data: [DONE]`. With an `Idempotency-Key` the answer"
            " is kept for 24 hours: a repeat gets the same one and is not charged again."
        ),
        tag="chat",
        access=needs("models:invoke", project=True),
        body=ChatBody,
        answers={
            200: (ChatCompletion, Stream(media_type="text/event-stream", description="Chunks, with `stream: true`.")),
        },
        errors=(
            "missing_required_parameter",
            "invalid_type",
            "invalid_value",
            "model_not_found",
            "model_unpriced",
            "audio_unpriced",
            "parameter_unpriced",
            "insufficient_credits",
            "key_credit_limit_exceeded",
            "debt_outstanding",
            "feature_not_in_plan",
            "messages_quota_exceeded",
            "in_progress",
            "answer_lost",
            "answer_too_large",
            "hold_undecided",
            "settlement_unknown",
            "metering_overloaded",
            "upstream_rejected",
            "upstream_rate_limited",
            "upstream_error",
            "upstream_unavailable",
            "upstream_timeout",
        ),
        write=True,
        raw=True,
        body_bytes_max=BODY_BYTES_MAX,
        example={"model": "fs-basic", "messages": [{"role": "user", "content": "Say hello."}]},
        response_headers=("X-Credits-Cost", "X-Credits-Remaining", "X-Settlement", "X-Subscription-Status"),
    ),
)
