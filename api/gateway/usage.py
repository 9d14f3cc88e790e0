"""What a call used: the provider's own counts where they can be true, else counted from what was delivered.

Providers agree on `prompt_tokens` and `completion_tokens` and on little else: where cached tokens are told, and whether
reasoning is part of the completion. The buckets here never overlap (`domain.account.usage.Usage`).
"""

from typing import Any, TypeAlias

import msgspec
from msgspec import Raw, Struct

from domain.account.usage import TOKENS_MAX, Usage
from telemetry import logs

BYTES_PER_TOKEN = 4
"""Of text in most languages; used only where the provider tells nothing."""
BYTES_PER_AUDIO_TOKEN = 3_200
"""Of streamed sound as it is sent: a twentieth of a second of 24,000 samples a second, in base64."""
SLACK = 2
"""Counts above so many contexts are absurd. A context stated too small by an operator is no reason to doubt."""
MEDIA_TOKENS = 1_000
"""Of an image, sound or file, whose bytes say nothing; used only where the provider tells nothing. About the price of a
large image with the providers that publish it."""

Count: TypeAlias = int | float
"""Some providers write 3.0."""


class PromptDetails(Struct, frozen=True, kw_only=True):
    """OpenAI's `prompt_tokens_details`; `cache_write_tokens` is what some providers add."""

    cached_tokens: Count | None = None
    audio_tokens: Count | None = None
    cache_write_tokens: Count | None = None


class CompletionDetails(Struct, frozen=True, kw_only=True):
    """OpenAI's `completion_tokens_details`."""

    reasoning_tokens: Count | None = None
    audio_tokens: Count | None = None


class ProviderUsage(Struct, frozen=True, kw_only=True):
    """`usage` as OpenAI-compatible providers send it."""

    prompt_tokens: Count
    completion_tokens: Count = 0
    total_tokens: Any = None
    """A help only, where it can be true: it tells what is counted beside the others."""
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    prompt_cache_hit_tokens: Count | None = None
    """The cached part, where there are no details."""


_decoder = msgspec.json.Decoder(ProviderUsage)

ABSENT = Raw()
"""The default of a raw field that may be missing; msgspec has no optional ones."""


def given(raw: Raw | None) -> bool:
    """Whether a raw field is there and not null."""
    return bool(raw) and bytes(raw) != b"null"  # type: ignore[arg-type]  # not None, as it is true


def usage_of(raw: Raw | None, *, context: int, n: int = 1, model: str = "") -> Usage | None:
    """The buckets of a provider's `usage`; `None` if there is none, or none that can be true.

    Negative counts, more cached than prompt tokens, no tokens at all, counts beyond all bounds: no counts at all. Audio
    that was cached is told twice, as either, by some: it counts as cached, so that no token does twice. Counts beyond
    all bounds are logged with `model`, whose context may be stated wrong.
    """
    if raw is None or not given(raw):
        return None
    bound = min(context * SLACK, TOKENS_MAX)
    try:
        buckets = _buckets(_decoder.decode(raw), min(bound * n, TOKENS_MAX))
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None
    if buckets.prompt > bound or buckets.completion > min(bound * n, TOKENS_MAX):
        logs.get().warning(
            "usage_not_believed",
            model=model,
            context=context,
            prompt_tokens=buckets.prompt,
            completion_tokens=buckets.completion,
        )
        return None
    least = min(buckets.input, buckets.cached, buckets.cache_write, buckets.audio_input)
    least = min(least, buckets.output, buckets.reasoning, buckets.audio_output)
    return None if least < 0 or buckets.prompt + buckets.completion == 0 else buckets


def _whole(count: Count | None) -> int:
    """The count, of which `None` is 0; `ValueError` for half a token."""
    if isinstance(count, float) and not count.is_integer():
        raise ValueError("half a token")
    return int(count or 0)


def _beside(total: Any, counted: int, most: int) -> int:
    """How many tokens a total has that are in no count; 0 where it cannot be true."""
    if isinstance(total, bool) or not isinstance(total, Count) or not 0 < total - counted <= most:
        return 0
    return int(total) - counted


def _buckets(told: ProviderUsage, most: int) -> Usage:
    """The total tells what lies beside prompt and completion: reasoning, what a cache has done, or what is not named.

    The last is thinking that a provider charges for and has no name for in OpenAI's shape, such as Google's.
    """
    prompt, completion = told.prompt_tokens_details, told.completion_tokens_details
    cached = _whole((prompt.cached_tokens if prompt else None) or told.prompt_cache_hit_tokens)
    written = _whole(prompt.cache_write_tokens if prompt else None)
    reasoning = _whole(completion.reasoning_tokens if completion else None)
    heard = _whole(prompt.audio_tokens if prompt else None)
    spoken = _whole(completion.audio_tokens if completion else None)
    sent, answered = _whole(told.prompt_tokens), _whole(told.completion_tokens)
    if 0 < heard <= sent:
        heard = max(min(heard, sent - cached - written), 0)
    beside = _beside(told.total_tokens, sent + answered, most)
    fresh, output = sent - cached - written - heard, answered - reasoning - spoken
    if beside and beside == reasoning:
        output = answered - spoken
    elif beside and beside == cached + written:
        fresh = sent - heard
    elif answered == 0:
        output += beside
    elif answered + beside <= most:
        reasoning += beside
    return Usage(
        source="provider",
        input=fresh,
        cached=cached,
        cache_write=written,
        output=output,
        reasoning=reasoning,
        audio_input=heard,
        audio_output=spoken,
    )


def estimated(
    *, prompt_bytes: int, chunks: int, text_bytes: int, context: int, media: int = 0, audio_bytes: int = 0
) -> Usage:
    """Counted from what was delivered: a chunk is at least a token, four bytes are about one, `media` is flat."""
    return Usage(
        source="estimated",
        input=min(-(-prompt_bytes // BYTES_PER_TOKEN) + media * MEDIA_TOKENS, context),
        output=max(chunks, -(-text_bytes // BYTES_PER_TOKEN)),
        audio_output=-(-audio_bytes // BYTES_PER_AUDIO_TOKEN),
    )
