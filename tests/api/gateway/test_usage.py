"""Usage as providers tell it, in buckets that never overlap; and counted where they do not."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from structlog.testing import capture_logs

from api.gateway.usage import MEDIA_TOKENS, estimated, usage_of
from domain.account.usage import Usage

CONTEXT = 32_768
counts = st.integers(0, CONTEXT)


def told(**fields: object) -> Raw:
    """A provider's usage as raw JSON."""
    return Raw(msgspec.json.encode(fields))


@given(counts, counts, counts, counts)
def test_buckets_are_disjoint_and_add_up(prompt: int, completion: int, cached: int, reasoning: int) -> None:
    """What can be true is split without loss; what cannot is treated as not told."""
    usage = usage_of(
        told(
            prompt_tokens=prompt,
            completion_tokens=completion,
            total_tokens=prompt + completion,
            prompt_tokens_details={"cached_tokens": cached},
            completion_tokens_details={"reasoning_tokens": reasoning},
        ),
        context=CONTEXT,
    )
    if cached > prompt or reasoning > completion or prompt + completion == 0:
        assert usage is None
    else:
        assert usage is not None
        assert usage.source == "provider"
        assert (usage.prompt, usage.completion) == (prompt, completion)
        assert (usage.cached, usage.reasoning) == (cached, reasoning)


@given(counts, counts, counts, counts, counts, counts, counts, st.booleans())
def test_every_token_is_in_one_bucket(
    prompt: int, completion: int, cached: int, written: int, heard: int, reasoning: int, spoken: int, beside: bool
) -> None:
    """Whatever a provider tells, the buckets add up to its total, audio and cached tokens included, or it is no usage.

    `beside`: it counts reasoning on top of the completion.
    """
    total = prompt + completion + reasoning * beside
    usage = usage_of(
        told(
            prompt_tokens=prompt,
            completion_tokens=completion,
            total_tokens=total,
            prompt_tokens_details={"cached_tokens": cached, "cache_write_tokens": written, "audio_tokens": heard},
            completion_tokens_details={"reasoning_tokens": reasoning, "audio_tokens": spoken},
        ),
        context=CONTEXT,
    )
    room = completion if beside and reasoning else completion - reasoning
    if cached + written > prompt or heard > prompt or spoken > room or total == 0:
        assert usage is None
        return
    assert usage is not None
    assert usage.prompt + usage.completion == total
    assert (usage.cached, usage.cache_write, usage.reasoning, usage.audio_output) == (
        cached,
        written,
        reasoning,
        spoken,
    )
    assert usage.audio_input == min(heard, prompt - cached - written)
    assert usage.input == prompt - cached - written - usage.audio_input


def test_audio_tokens() -> None:
    """Sound in and out has buckets of its own; sound that was cached is told as both and counts as cached."""
    usage = usage_of(
        told(
            prompt_tokens=100,
            completion_tokens=60,
            prompt_tokens_details={"cached_tokens": 40, "audio_tokens": 90},
            completion_tokens_details={"audio_tokens": 50},
        ),
        context=CONTEXT,
    )
    assert usage == Usage(source="provider", cached=40, audio_input=60, output=10, audio_output=50)


def test_reasoning_beside_the_completion_is_not_lost() -> None:
    """A total that only adds up with the reasoning on top says that it is not part of the completion."""
    usage = usage_of(
        told(
            prompt_tokens=10,
            completion_tokens=5,
            total_tokens=115,
            completion_tokens_details={"reasoning_tokens": 100},
        ),
        context=CONTEXT,
    )
    assert usage == Usage(source="provider", input=10, output=5, reasoning=100)


def test_other_names_of_cached_tokens() -> None:
    """Providers that tell cache hits and cache writes in their own way are billed by them."""
    hit = usage_of(told(prompt_tokens=10, completion_tokens=1, prompt_cache_hit_tokens=4), context=CONTEXT)
    assert hit == Usage(source="provider", input=6, cached=4, output=1)
    details = {"cached_tokens": 2, "cache_write_tokens": 3}
    written = usage_of(told(prompt_tokens=10, completion_tokens=1, prompt_tokens_details=details), context=CONTEXT)
    assert written == Usage(source="provider", input=5, cached=2, cache_write=3, output=1)


def test_what_cannot_be_true_is_not_told() -> None:
    """Negative, absurd, mistyped and missing counts are no counts."""
    for raw in (
        told(prompt_tokens=-1, completion_tokens=1),
        told(prompt_tokens=1, completion_tokens=-1),
        told(prompt_tokens=10**12, completion_tokens=1),
        told(prompt_tokens=1, completion_tokens=10**12),
        told(prompt_tokens="7", completion_tokens=1),
        told(completion_tokens=1),
        told(prompt_tokens=5, completion_tokens=1, prompt_tokens_details={"cached_tokens": 6}),
        told(prompt_tokens=5, completion_tokens=1, prompt_tokens_details={"cached_tokens": -6}),
        told(prompt_tokens=0, completion_tokens=0, total_tokens=0),
        told(prompt_tokens=5, completion_tokens=1.5),
        told(prompt_tokens=1e300, completion_tokens=1),
        Raw(b"null"),
        Raw(b"[]"),
        Raw(),
        None,
    ):
        assert usage_of(raw, context=CONTEXT) is None, raw


def test_nulls_in_details_are_zeros() -> None:
    """Details that are null or missing take nothing away."""
    usage = usage_of(
        told(prompt_tokens=5, completion_tokens=2, prompt_tokens_details=None, completion_tokens_details={}),
        context=CONTEXT,
    )
    assert usage == Usage(source="provider", input=5, output=2)


def test_other_ways_to_write_counts() -> None:
    """Whole floats are counts, and a total of a strange shape takes nothing away from the others."""
    totals: list[object] = ["7", 7.0, None, [], {}]
    for total in totals:
        usage = usage_of(
            told(
                prompt_tokens=5.0,
                completion_tokens=2.0,
                total_tokens=total,
                prompt_tokens_details={"cached_tokens": 3.0},
            ),
            context=CONTEXT,
        )
        assert usage == Usage(source="provider", input=2, cached=3, output=2)
        assert usage is not None
        assert type(usage.input) is type(usage.cached) is type(usage.output) is int


def test_counts_beyond_the_context_are_logged() -> None:
    """Counts that are replaced because the context is stated too small do not vanish without a word."""
    with capture_logs() as logged:
        assert usage_of(told(prompt_tokens=CONTEXT * 3, completion_tokens=1), context=CONTEXT, model="m") is None
    assert [(entry["event"], entry["log_level"], entry["model"]) for entry in logged] == [
        ("usage_not_believed", "warning", "m")
    ]


def test_media_has_a_flat_price_where_nothing_is_told() -> None:
    """An image costs the same by its address and in full, and is not free."""
    by_address = estimated(prompt_bytes=40, chunks=1, text_bytes=4, context=CONTEXT, media=2)
    assert by_address.input == 10 + 2 * MEDIA_TOKENS
    assert estimated(prompt_bytes=40, chunks=1, text_bytes=4, context=1_500, media=2).input == 1_500


@given(st.integers(0, 10**6), st.integers(0, 10**4), st.integers(0, 10**6))
def test_estimates_take_the_larger_count(prompt_bytes: int, chunks: int, text_bytes: int) -> None:
    """Delivered chunks or a quarter of the bytes, whichever is more; the prompt never above the context."""
    usage = estimated(prompt_bytes=prompt_bytes, chunks=chunks, text_bytes=text_bytes, context=CONTEXT)
    assert usage.source == "estimated"
    assert usage.output >= chunks
    assert usage.output * 4 >= text_bytes
    assert usage.input <= CONTEXT


def test_thinking_without_a_name_is_output() -> None:
    """Google's total holds what it charges for thinking, and no other count does; it is charged as output is."""
    usage = usage_of(told(prompt_tokens=20, completion_tokens=198, total_tokens=623), context=CONTEXT)
    assert usage == Usage(source="provider", input=20, output=198, reasoning=405)
    alone = usage_of(told(prompt_tokens=21, total_tokens=81), context=CONTEXT)
    assert alone == Usage(source="provider", input=21, output=60)


def test_a_cache_beside_the_prompt_is_told_by_the_total() -> None:
    """Some count what was read from a cache on top of the prompt: nothing of it is lost, or taken for thinking."""
    raw = told(
        prompt_tokens=10, completion_tokens=5, total_tokens=1_015, prompt_tokens_details={"cached_tokens": 1_000}
    )
    assert usage_of(raw, context=CONTEXT) == Usage(source="provider", input=10, cached=1_000, output=5)


@given(st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.text(max_size=5)))
def test_a_total_that_cannot_be_true_says_nothing(total: object) -> None:
    """The counts stand; a total adds at most what one answer can have."""
    usage = usage_of(told(prompt_tokens=3, completion_tokens=4, total_tokens=total), context=100)
    assert usage is not None
    assert (usage.input, usage.output) == (3, 4)
    assert 0 <= usage.reasoning <= 196
    if usage.reasoning:
        assert usage.prompt + usage.completion == int(total)  # type: ignore[call-overload]  # a number then


def test_sound_is_estimated_as_sound() -> None:
    """A second of it, as it is streamed, is twenty tokens."""
    a_second = 24_000 * 2 * 4 // 3
    usage = estimated(prompt_bytes=4, chunks=1, text_bytes=4, context=CONTEXT, audio_bytes=a_second)
    assert usage == Usage(source="estimated", input=1, output=1, audio_output=20)
