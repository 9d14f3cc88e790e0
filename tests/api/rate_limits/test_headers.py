"""What headers say of a limit's window."""

import math
import re

import pytest

from api.rate_limits.headers import refusal_of, verdict_headers
from api.rate_limits.limiter import RateLimiter
from api.rate_limits.rules import address_allowance


@pytest.mark.parametrize("into_slice_s", [0.0, 0.25, 0.999])
def test_the_reset_is_never_more_than_the_window(into_slice_s: float) -> None:
    """A request counts for up to a slice more than a minute: `Retry-After` alone says so, and heeding it is enough."""
    now_s = 600.0 + into_slice_s
    limiter, allowance = RateLimiter(clock=lambda: now_s), address_allowance("digest", 1)
    for remaining in (0, -1):
        verdict = limiter.take(allowance)
        headers = dict(verdict_headers(allowance, verdict))
        assert (verdict.refused is not None) == (remaining < 0)
        assert headers[b"x-ratelimit-reset"] == b"60"
        assert re.findall(rb"t=(\d+)", headers[b"ratelimit"]) == [b"60"]
    assert verdict.refused is not None
    wait_s = int(refusal_of(verdict.refused).headers["Retry-After"])
    assert wait_s == math.ceil(661.0 - now_s)
    now_s += wait_s
    assert limiter.take(allowance).refused is None
