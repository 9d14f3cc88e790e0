"""API keys: made within the plan's limit, changed, and revoked for good."""

from domain.account.api_keys import ApiKeyCreated, ApiKeyRevoked, ApiKeyUpdated, RevokeApiKey, UpdateApiKey
from domain.instant import SECOND
from tests.domain.account.asking import account, create_key
from tests.domain.scenario import T0, of_type


def test_a_key_is_made() -> None:
    """The event carries what authentication needs and no secret."""
    scenario = account()
    created = of_type(scenario.when(create_key("key_1")), ApiKeyCreated)[0]
    assert (created.key_id, created.created_at, created.scopes) == ("key_1", T0, ("read", "write"))
    assert not hasattr(created, "secret_sealed")
    assert create_key("key_1").secret() == "sealed"
    assert scenario.answer == {"key_id": "key_1"}


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
        ApiKeyUpdated(key_id="key_1", name="other", scopes=("read", "write"))
    ]
    assert scenario.when(UpdateApiKey(key_id="key_1", scopes=("read",))) == [
        ApiKeyUpdated(key_id="key_1", name="other", scopes=("read",))
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


def test_replay_is_the_live_state() -> None:
    """Keys survive their bytes, sets and tuples included."""
    scenario = account()
    scenario.when(create_key("key_1"))
    scenario.when(create_key("key_2"))
    scenario.when(UpdateApiKey(key_id="key_2", name="n"))
    scenario.when(RevokeApiKey(key_id="key_1"))
    assert scenario.replayed() == scenario.state == scenario.snapshot()
