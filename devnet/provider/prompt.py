"""Tokens of a prompt, and which of them a provider's prompt cache would serve.

The tokenizer: a token is four characters, the last one may be shorter: n characters are ceil(n / 4) tokens.
"""

import hashlib
from collections import OrderedDict

import msgspec

from devnet.provider.chat_request import ChatRequest, Message

TOKEN_CHARS = 4
MESSAGE_TOKENS = 3
REPLY_TOKENS = 3
IMAGE_TOKENS = 85
CACHE_STEP = 128


def tokens_of(text: str) -> list[str]:
    """The tokens of `text`; joined they are `text` again."""
    return [text[i : i + TOKEN_CHARS] for i in range(0, len(text), TOKEN_CHARS)]


def count(text: str) -> int:
    """How many tokens `text` has, without making them."""
    return (len(text) + TOKEN_CHARS - 1) // TOKEN_CHARS


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """A counted prompt: `digest` identifies it, `prefixes` are (digest, tokens) after each message."""

    digest: str
    tokens: int
    prefixes: list[tuple[bytes, int]]


def measured(request: ChatRequest) -> Prompt:
    """Count a prompt.

    Each message costs 3 tokens, and those of its text, name and tool calls; an image or other part 85;
    tools the tokens of their compact JSON; the opening of the reply 3.
    """
    digest = hashlib.blake2b(request.model.encode(), digest_size=16)
    tokens = 0
    if request.tools:
        tools = msgspec.json.encode(request.tools)
        digest.update(tools)
        tokens = count(tools.decode())
    prefixes = []
    for message in request.messages:
        text = message.text()
        extra = _extra(message) if message.content.__class__ is not str or message.tool_calls else ""
        digest.update(f"\0{message.role}\0{message.name}\0{text}{extra}".encode())
        tokens += MESSAGE_TOKENS + count(text) + (count(message.name) if message.name else 0)
        tokens += _extra_tokens(message) if extra else 0
        prefixes.append((digest.digest(), tokens))
    return Prompt(digest=digest.hexdigest(), tokens=tokens + REPLY_TOKENS, prefixes=prefixes)


def _extra(message: Message) -> str:
    """What besides its text tells a message from another, for the digest only."""
    parts = [part.type for part in message.content] if isinstance(message.content, list) else []
    return f"\0{parts}\0{message.tool_calls}"


def _extra_tokens(message: Message) -> int:
    parts = message.content if isinstance(message.content, list) else []
    calls = [call.function for call in message.tool_calls or () if call.function]
    images = sum(IMAGE_TOKENS for part in parts if part.type not in {"text", "refusal"})
    return images + sum(count(call.name) + count(call.arguments) for call in calls)


class PromptCache:
    """Which prompts began alike: the `size_max` most recently used prefixes of whole messages.

    The rule, OpenAI's with whole messages: cached are the tokens of the longest list of leading messages
    (with tools and model) that an earlier request began with, if they are at least `min_tokens` (1,024 unless
    told), rounded down to 128 (below 128 nothing is rounded). So a repeated request may report more cached
    tokens than the first; nothing else in it differs.
    """

    def __init__(self, size_max: int = 10_000) -> None:
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._size_max = size_max

    def cached(self, prompt: Prompt, min_tokens: int) -> int:
        """The cached tokens of `prompt`, which is remembered from now on."""
        if prompt.tokens < min_tokens:
            return 0
        found = next((tokens for key, tokens in reversed(prompt.prefixes) if key in self._seen), 0)
        for key, _ in prompt.prefixes:
            self._seen[key] = None
            self._seen.move_to_end(key)
        while len(self._seen) > self._size_max:
            self._seen.popitem(last=False)
        if found < min_tokens:
            return 0
        return found - found % CACHE_STEP if min_tokens >= CACHE_STEP else found
