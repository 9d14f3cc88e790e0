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
    admitted, refused = limiter.take(allowance), limiter.take(allowance)
    for verdict in (admitted, refused):
        headers = dict(verdict_headers(allowance, verdict))
        assert headers[b"x-ratelimit-reset"] == b"60"
        assert re.findall(rb"t=(\d+)", headers[b"ratelimit"]) == [b"60"]
    assert admitted.refused is None
    assert refused.refused is not None
    wait_s = int(refusal_of(refused.refused).headers["Retry-After"])
    assert wait_s == math.ceil(661.0 - now_s)
    now_s += wait_s
    assert limiter.take(allowance).refused is None
