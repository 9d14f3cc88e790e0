"""What a call used: the provider's own counts where they can be true, else counted from what was delivered.

Providers agree on `prompt_tokens` and `completion_tokens` and on little else: where cached tokens are told, and whether
reasoning is part of the completion. The buckets here never overlap (`domain.account.usage.Usage`).
"""

import msgspec
from msgspec import Raw, Struct

from domain.account.usage import Usage

BYTES_PER_TOKEN = 4
"""Of text in most languages; used only where the provider tells nothing."""
SLACK = 2
"""Counts above so many contexts are absurd. A context stated too small by an operator is no reason to doubt."""


class PromptDetails(Struct, frozen=True, kw_only=True):
    """OpenAI's `prompt_tokens_details`; `cache_write_tokens` is what some providers add."""

    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class CompletionDetails(Struct, frozen=True, kw_only=True):
    """OpenAI's `completion_tokens_details`."""

    reasoning_tokens: int | None = None


class ProviderUsage(Struct, frozen=True, kw_only=True):
    """`usage` as OpenAI-compatible providers send it."""

    prompt_tokens: int
    completion_tokens: int = 0
    total_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    prompt_cache_hit_tokens: int | None = None
    """The cached part, where there are no details."""


_decoder = msgspec.json.Decoder(ProviderUsage)

ABSENT = Raw()
"""The default of a raw field that may be missing; msgspec has no optional ones."""


def given(raw: Raw | None) -> bool:
    """Whether a raw field is there and not null."""
    return bool(raw) and bytes(raw) != b"null"  # type: ignore[arg-type]  # not None, as it is true


def usage_of(raw: Raw | None, *, context: int, n: int = 1) -> Usage | None:
    """The buckets of a provider's `usage`; `None` if there is none, or none that can be true.

    Negative counts, more cached than prompt tokens, counts beyond all bounds: no counts at all.
    """
    if raw is None or not given(raw):
        return None
    try:
        told = _decoder.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return None
    buckets = _buckets(told)
    bound = context * SLACK
    if buckets.prompt > bound or buckets.completion > bound * n:
        return None
    counts = (buckets.input, buckets.cached, buckets.cache_write, buckets.output, buckets.reasoning)
    return None if min(counts) < 0 else buckets


def _buckets(told: ProviderUsage) -> Usage:
    prompt, completion = told.prompt_tokens_details, told.completion_tokens_details
    cached = ((prompt.cached_tokens if prompt else None) or told.prompt_cache_hit_tokens) or 0
    written = (prompt.cache_write_tokens if prompt else None) or 0
    reasoning = (completion.reasoning_tokens if completion else None) or 0
    output = told.completion_tokens - reasoning
    if reasoning and told.total_tokens == told.prompt_tokens + told.completion_tokens + reasoning:
        output = told.completion_tokens  # this provider counts reasoning beside the completion
    return Usage(
        source="provider",
        input=told.prompt_tokens - cached - written,
        cached=cached,
        cache_write=written,
        output=output,
        reasoning=reasoning,
    )


def estimated(*, prompt_bytes: int, chunks: int, text_bytes: int, context: int) -> Usage:
    """Counted from what was delivered: a chunk is at least a token, four bytes are about one."""
    return Usage(
        source="estimated",
        input=min(-(-prompt_bytes // BYTES_PER_TOKEN), context),
        output=max(chunks, -(-text_bytes // BYTES_PER_TOKEN)),
    )
