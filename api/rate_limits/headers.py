"""What answers say about limits: the widespread `X-RateLimit-*`, and the fields of the IETF's draft.

`RateLimit-Policy` and `RateLimit` are lists of structured fields as in draft-ietf-httpapi-ratelimit-headers-10: `q` is
the quota, `w` the window in seconds, `r` what remains, `t` the seconds until there is more. `X-RateLimit-*` speak of
the one limit with the least left; `X-RateLimit-Reset` is seconds too, not a time of day. Both are never more than the
window: the slice by which a request may count longer is what `Retry-After` alone tells.
"""

import math
from collections.abc import Iterable

from api.answer import Header
from api.errors import ApiError, declare
from api.rate_limits.limiter import State, Verdict
from api.rate_limits.rules import Allowance
from eventstore.rates import DAY_S

declare(
    "rate_limited",
    "too_many",
    "Too many requests.",
    "Wait for the seconds in Retry-After; `limit_name` says which limit, `limit` how much it allows in `window_s`.",
)

NAMES = {
    "account-minute": "requests a minute of the account's plan",
    "account-day": "requests a day of the account's plan",
    "scope-minute": "requests a minute with this scope of the account's plan",
    "key-minute": "requests a minute of this API key",
    "key-day": "requests a day of this API key",
    "address-minute": "requests a minute of one address without credentials",
}


def rate_headers(allowance: Allowance, states: Iterable[State], tightest: State | None) -> list[Header]:
    """The headers of an answer; none where there is no limit."""
    if tightest is None:
        return []
    fields, warnings = [], []
    for each in states:
        fields.append(b"%b;r=%d;t=%d" % (each.rule.field, each.remaining, _reset_s(each)))
        if each.remaining * 5 <= each.limit and each.rule.window_s == DAY_S:
            warnings.append(_warning(each))
    return [
        (b"x-ratelimit-limit", b"%d" % tightest.limit),
        (b"x-ratelimit-remaining", b"%d" % tightest.remaining),
        (b"x-ratelimit-reset", b"%d" % _reset_s(tightest)),
        (b"ratelimit-policy", allowance.policy),
        (b"ratelimit", b", ".join(fields)),
        *warnings,
    ]


def _reset_s(state: State) -> int:
    """In how many seconds there is more, as clients expect it of a window of this length."""
    return min(math.ceil(state.frees_in_s), state.rule.window_s)


def _warning(state: State) -> Header:
    """`X-Quota-Warning` of a day's requests (see `api.quotas.warnings`); of a minute's there is no use in it."""
    used, reset_s = state.limit - state.remaining, _reset_s(state)
    value = b"%b;used=%d;limit=%d;reset=%d" % (state.rule.field, used, state.limit, reset_s)
    return (b"x-quota-warning", value)


def verdict_headers(allowance: Allowance, verdict: Verdict) -> list[Header]:
    """The headers of a decision: of the limit that refused, or else the one with the least left."""
    tightest = verdict.refused
    if tightest is None:
        for state in verdict.states:
            if tightest is None or state.remaining < tightest.remaining:
                tightest = state
    return rate_headers(allowance, verdict.states, tightest)


def refusal_of(state: State) -> ApiError:
    """429 with which limit it is, and when to come again."""
    wait_s, name = max(math.ceil(state.frees_in_s), 1), state.rule.name
    return ApiError(
        "rate_limited",
        f"Too many requests: {state.limit} {NAMES[name]}. Try again in {wait_s} s.",
        headers={"Retry-After": str(wait_s)},
        limit_name=name,
        limit=state.limit,
        window_s=state.rule.window_s,
        reset_s=wait_s,
    )
