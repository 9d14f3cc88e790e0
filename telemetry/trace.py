"""W3C trace context (https://www.w3.org/TR/trace-context/): taken from the client, or made, and passed on."""

import random
import re

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)

_ids = random.Random()  # noqa: S311  # ids that tell requests apart; nothing depends on their being secret


def parse(header: str | None) -> str | None:
    """The `traceparent` as version 00, or `None` where it is absent or malformed and must be ignored.

    A later version may carry more behind the four fields (section 4 of the specification); that is dropped.
    """
    if header is None or len(header) > 256:  # noqa: PLR2004  # bounds the match, whatever a client sends
        return None
    match = _TRACEPARENT.fullmatch(header.strip())
    if match is None or match[1] == "ff" or (match[1] == "00" and match[5]):
        return None
    if set(match[2]) == {"0"} or set(match[3]) == {"0"}:
        return None
    return f"00-{match[2]}-{match[3]}-{match[4]}"


def new() -> str:
    """A sampled `traceparent` with random ids."""
    raw = f"{_ids.getrandbits(192):048x}"
    return f"00-{raw[:32]}-{raw[32:]}-01"
