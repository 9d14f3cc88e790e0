"""API keys: made within the plan's limit, changed, and revoked for good."""

import pytest
from msgspec import json

from domain.account.account import AGGREGATE
from domain.account.api_key_limits import REQUESTS_MAX, CreditLimit, KeyLimits, RateLimit
from domain.account.api_keys import (
    ApiKeyCreated,
    ApiKeyRevoked,
    ApiKeyRotated,
    ApiKeyUpdated,
    KeyDigest,
    RevokeApiKey,
    RotateApiKey,
    UpdateApiKey,
)
from domain.instant import DAY, SECOND, Instant
from domain.money import AMOUNT_MAX
from tests.domain.account.asking import account, create_key
from tests.domain.scenario import T0, of_type


def test_a_key_is_made() -> None:
    """The event carries what authentication needs and no secret."""
    scenario = account()
    created = of_type(scenario.when(create_key("key_1")), ApiKeyCreated)[0]
    assert (created.key_id, created.created_at, created.scopes) == ("key_1", T0, ("read", "write"))
    assert not hasattr(created, "secret_sealed")
    assert create_key("key_1").secret() == "sealed"
    assert scenario.answer == {"key_id": "key_1", "hint": "fs_live_…abcd"}


def test_the_same_key_again_changes_nothing() -> None:
    """Applied twice is applied once, also at the limit."""
    scenario = account()
    scenario.when(create_key("key_1", keys_max=1))
    assert scenario.when(create_key("key_1", keys_max=1)) == []


def test_the_plan_bounds_how_many_work() -> None:
    """Revoked and expired keys do not count."""
    scenario = account()
    scenario.when(create_key("key_1"))
    scenario.when(create_key("key_2", expires_at=T0 + SECOND))
    refusal = scenario.refused(create_key("key_3"))
    assert (refusal.code, refusal.detail) == ("api_key_limit", {"limit": 2})
    scenario.when(create_key("key_3"), at=T0 + SECOND)
    scenario.when(RevokeApiKey(key_id="key_1"))
    scenario.when(create_key("key_4"))
    scenario.when(create_key("key_5", keys_max=None))


def test_a_key_must_end_in_the_future() -> None:
    """One that has run out already is refused."""
    assert account().refused(create_key("key_1", expires_at=T0)).code == "invalid_expiry"


def test_a_change_says_how_it_is_now() -> None:
    """What is left out stays; no change is no event."""
    scenario = account()
    scenario.when(create_key("key_1"))
    assert scenario.when(UpdateApiKey(key_id="key_1", name="other")) == [
        ApiKeyUpdated(key_id="key_1", name="other", scopes=("read", "write"), expires_at=None)
    ]
    assert scenario.when(UpdateApiKey(key_id="key_1", scopes=("read",))) == [
        ApiKeyUpdated(key_id="key_1", name="other", scopes=("read",), expires_at=None)
    ]
    assert scenario.when(UpdateApiKey(key_id="key_1", name="other")) == []


def test_a_revoked_key_stays_revoked() -> None:
    """It cannot be changed or made again; revoking it again is no news."""
    scenario = account()
    scenario.when(create_key("key_1"))
    assert scenario.when(RevokeApiKey(key_id="key_1")) == [ApiKeyRevoked(key_id="key_1", revoked_at=T0)]
    assert scenario.when(RevokeApiKey(key_id="key_1")) == []
    assert scenario.refused(UpdateApiKey(key_id="key_1", name="n")).code == "api_key_revoked"
    assert scenario.refused(create_key("key_1")).code == "api_key_revoked"


def test_a_key_of_nobody_is_not_found() -> None:
    """Neither changed nor revoked."""
    assert account().refused(UpdateApiKey(key_id="key_9")).code == "api_key_not_found"
    assert account().refused(RevokeApiKey(key_id="key_9")).code == "api_key_not_found"


def rotate(digest: str, overlap_s: int = 60) -> RotateApiKey:
    """Gives key_1 a new secret."""
    return RotateApiKey(key_id="key_1", digest=digest, hint=f"hint {digest}", overlap_s=overlap_s, secret_sealed="s")


def test_limits_are_replaced_as_a_whole_and_taken_away_by_null() -> None:
    """Each of the two alone; what is left out stays."""
    scenario = account()
    scenario.when(create_key("key_1", limits=KeyLimits(requests_per_minute=5, requests_per_day=9)))
    changes: tuple[tuple[UpdateApiKey, KeyLimits], ...] = (
        (
            UpdateApiKey(key_id="key_1", credit_limit=CreditLimit(amount=7, period="day")),
            KeyLimits(requests_per_minute=5, requests_per_day=9, credit_limit=7, credit_period="day"),
        ),
        (
            UpdateApiKey(key_id="key_1", rate_limit=RateLimit(requests_per_day=3)),
            KeyLimits(requests_per_day=3, credit_limit=7, credit_period="day"),
        ),
        (UpdateApiKey(key_id="key_1", credit_limit=None), KeyLimits(requests_per_day=3)),
        (UpdateApiKey(key_id="key_1", rate_limit=None), KeyLimits()),
    )
    for command, limits in changes:
        assert of_type(scenario.when(command), ApiKeyUpdated)[0].limits == limits
        assert scenario.answer["limits"] == limits
    assert scenario.replayed() == scenario.state == scenario.snapshot()


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (KeyLimits(requests_per_minute=0), "invalid_limit"),
        (KeyLimits(requests_per_day=REQUESTS_MAX + 1), "invalid_limit"),
        (KeyLimits(credit_limit=-1), "invalid_amount"),
        (KeyLimits(credit_limit=AMOUNT_MAX + 1), "invalid_amount"),
    ],
)
def test_limits_that_are_none(limits: KeyLimits, code: str) -> None:
    """Refused in a new key and in a change."""
    assert account().refused(create_key("key_1", limits=limits)).code == code
    scenario = account()
    scenario.when(create_key("key_1"))
    rates = RateLimit(requests_per_minute=limits.requests_per_minute, requests_per_day=limits.requests_per_day)
    credit = None if limits.credit_limit is None else CreditLimit(amount=limits.credit_limit, period="total")
    assert scenario.refused(UpdateApiKey(key_id="key_1", rate_limit=rates, credit_limit=credit)).code == code


def test_an_end_is_moved_and_taken_away() -> None:
    """Into the future only; a key that has run out does not come back, since it stopped counting against the plan."""
    scenario = account()
    scenario.when(create_key("key_1"))
    assert scenario.refused(UpdateApiKey(key_id="key_1", expires_at=T0)).code == "invalid_expiry"
    assert of_type(scenario.when(UpdateApiKey(key_id="key_1", expires_at=T0 + SECOND)), ApiKeyUpdated)
    assert of_type(scenario.when(UpdateApiKey(key_id="key_1", expires_at=None)), ApiKeyUpdated)[0].expires_at is None
    scenario.when(UpdateApiKey(key_id="key_1", expires_at=T0 + SECOND))
    gone = T0 + SECOND
    assert scenario.refused(UpdateApiKey(key_id="key_1", expires_at=None), at=gone).code == "api_key_expired"
    assert scenario.refused(rotate("d2"), at=gone).code == "api_key_expired"
    assert of_type(scenario.when(UpdateApiKey(key_id="key_1", name="other"), at=gone), ApiKeyUpdated)


def test_a_change_from_before_there_were_limits() -> None:
    """It leaves the key's end as it was, and there were no limits."""
    scenario = account()
    scenario.when(create_key("key_1", expires_at=T0 + SECOND))
    stored = b'{"type": "api_key.updated", "key_id": "key_1", "name": "n", "scopes": ["read"]}'
    state = AGGREGATE.evolve(scenario.state, json.decode(stored, type=ApiKeyUpdated))
    key = state.api_keys.active["key_1"]
    assert (key.name, key.scopes, key.expires_at, key.limits) == ("n", ("read",), T0 + SECOND, KeyLimits())


@pytest.mark.parametrize(("overlap_s", "until"), [(0, None), (60, T0 + 60 * SECOND), (30 * 86_400, T0 + 30 * DAY)])
def test_a_rotation_leaves_the_old_secret_for_a_while(overlap_s: int, until: Instant | None) -> None:
    """The event lists every secret that works, the newest first; with no overlap that is the new one alone."""
    scenario = account()
    scenario.when(create_key("key_1"))
    rotated = of_type(scenario.when(rotate("d2", overlap_s)), ApiKeyRotated)[0]
    old = () if until is None else (KeyDigest(digest="digest", until=until),)
    assert rotated == ApiKeyRotated(
        key_id="key_1", digests=(KeyDigest(digest="d2", until=None), *old), hint="hint d2", rotated_at=T0
    )
    assert (scenario.answer["hint"], scenario.answer["old_secret_expires_at"]) == ("hint d2", until)
    assert scenario.when(rotate("d2", overlap_s)) == []
    assert scenario.replayed() == scenario.state == scenario.snapshot()


def test_a_rotation_during_the_overlap_ends_the_oldest_secret() -> None:
    """There are never more than two."""
    scenario = account()
    scenario.when(create_key("key_1"))
    scenario.when(rotate("d2"))
    rotated = of_type(scenario.when(rotate("d3")), ApiKeyRotated)[0]
    assert [each.digest for each in rotated.digests] == ["d3", "d2"]


def test_an_old_secret_ends_with_its_key() -> None:
    """However long the overlap."""
    scenario = account()
    scenario.when(create_key("key_1", expires_at=T0 + SECOND))
    assert of_type(scenario.when(rotate("d2")), ApiKeyRotated)[0].digests[1].until == T0 + SECOND


def test_a_rotation_that_cannot_be() -> None:
    """Of no key, of a revoked one, with an overlap out of range."""
    scenario = account()
    assert scenario.refused(rotate("d2")).code == "api_key_not_found"
    scenario.when(create_key("key_1"))
    assert scenario.refused(rotate("d2", -1)).code == "invalid_overlap"
    assert scenario.refused(rotate("d2", 30 * 86_400 + 1)).code == "invalid_overlap"
    scenario.when(RevokeApiKey(key_id="key_1"))
    assert scenario.refused(rotate("d2")).code == "api_key_revoked"


def test_replay_is_the_live_state() -> None:
    """Keys survive their bytes, sets and tuples included."""
    scenario = account()
    scenario.when(create_key("key_1"))
    scenario.when(create_key("key_2"))
    scenario.when(UpdateApiKey(key_id="key_2", name="n"))
    scenario.when(RevokeApiKey(key_id="key_1"))
    assert scenario.replayed() == scenario.state == scenario.snapshot()
