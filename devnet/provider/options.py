"""What the provider can be told: server-wide, by header, and by a directive inside the last user message.

`[[fail=mid-stream]] [[after=3]]` in a message passes through any gateway, headers may not.
"""

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from devnet.provider.errors import ProviderError

INVALID_OPTION = "invalid_provider_option"

Fail = Literal[
    "none",
    "before-first-byte",
    "error-400",
    "error-401",
    "error-429",
    "error-500",
    "error-503",
    "error-in-stream",
    "garbage",
    "hang",
    "hang-mid-stream",
    "mid-stream",
    "no-done",
    "no-usage",
]
Count = Annotated[int, Meta(ge=0, le=10_000_000)]
Number = Annotated[float, Meta(ge=0, le=1e9)]


class ProviderOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set. All but the first four can also be set for one request (`TUNABLE`).

    `latency_ms` is waited before the first byte, headers included. `tokens_per_second` 0 is as fast as
    possible. `completion_tokens` is the length of a text when nothing cuts it. `fail_after_tokens` tells
    where the failures in mid-stream happen. `cached_tokens` is reported as cached; null applies the rule of
    `prompt.PromptCache`.
    """

    models: Annotated[tuple[str, ...], Meta(min_length=1)] = ("fs-basic", "fs-advanced")
    api_key: str = ""
    log_size_max: Count = 1_000
    context_tokens_max: Count = 32_768
    latency_ms: Number = 0.0
    tokens_per_second: Number = 0.0
    completion_tokens: Count = 32
    reasoning_tokens: Count = 0
    cached_tokens: Count | None = None
    cache_min_tokens: Count = 1_024
    retry_after_s: Count = 1
    fail: Fail = "none"
    fail_after_tokens: Count = 3


TUNABLE = ProviderOptions.__struct_fields__[4:]
SHORT = {
    "tokens": "completion_tokens",
    "tps": "tokens_per_second",
    "after": "fail_after_tokens",
    "cached": "cached_tokens",
    "cache_min": "cache_min_tokens",
    "reasoning": "reasoning_tokens",
    "retry_after": "retry_after_s",
}
HEADER_PREFIX = b"x-provider-"
_DIRECTIVE = re.compile(r"\[\[([^\[\]=]{1,40})=([^\[\]]{0,40})\]\]")


def tuned(base: ProviderOptions, headers: Iterable[tuple[bytes, bytes]], text: str) -> ProviderOptions:
    """The options of one request: `base`, then its `X-Provider-*` headers, then the directives in `text`.

    Names that are no option are left alone (brackets occur in prompts); a bad value is a 400 that names it.
    """
    changes = {
        key[len(HEADER_PREFIX) :].decode("latin-1"): value.decode("latin-1")
        for key, value in headers
        if key.startswith(HEADER_PREFIX)
    }
    if "[[" in text:
        changes.update(_DIRECTIVE.findall(text))
    if not changes:
        return base
    named = {_field(name): value.strip() for name, value in changes.items()}
    return changed(base, {name: value for name, value in named.items() if name in TUNABLE})


def changed(base: ProviderOptions, changes: dict[str, Any]) -> ProviderOptions:
    """`base` with `changes`, validated; strings stand for numbers. Raises a 400 `invalid_provider_option`."""
    if not changes:
        return base
    try:
        return msgspec.convert({**msgspec.structs.asdict(base), **changes}, ProviderOptions, strict=False)
    except msgspec.ValidationError as refused:
        raise ProviderError(400, INVALID_OPTION, f"Provider option: {refused}") from refused


def _field(name: str) -> str:
    name = name.strip().lower().replace("-", "_")
    return SHORT.get(name, name)
