"""The cache of identities: bounded, and honest about what was stamped meanwhile."""

from msgspec import structs

from api.identity.identity_cache import IdentityCache
from tests.api.identity.identity import identity


def test_stamped_while_being_read() -> None:
    """An identity read before a stamp and kept after it is not kept: it may be of before the change."""
    cache = IdentityCache()
    generation = cache.generation
    cache.stamped(["key_1"])
    cache.keep(b"digest", identity("key_1"), generation)
    assert cache.get(b"digest") is None
    cache.keep(b"digest", identity("key_1"), cache.generation)
    assert cache.get(b"digest") is not None


def test_claims_of_cached_tokens_are_bounded() -> None:
    """By their bytes: a few large tokens push out others, and what is too large for the cache is not kept."""
    cache = IdentityCache(claims_bytes_max=100)
    for number in range(10):
        heavy = structs.replace(identity("user_1"), claims_json=b"x" * 30)
        cache.keep(b"%d" % number, heavy, cache.generation)
    assert len(cache) == 3
    cache.keep(b"again", structs.replace(identity("user_1"), claims_json=b"x" * 90), cache.generation)
    assert (len(cache), cache.get(b"again") is not None) == (1, True)
    cache.keep(b"huge", structs.replace(identity("user_1"), claims_json=b"x" * 101), cache.generation)
    assert (len(cache), cache._of, cache._claims_bytes) == (0, {}, 0)
    cache.keep(b"small", identity("user_1"), cache.generation)
    cache.clear()
    assert cache._claims_bytes == 0


def test_cache_is_bounded_and_leaves_nothing_behind() -> None:
    """The least recently used goes first, and no index outlives its entries."""
    cache = IdentityCache(cached_max=3)
    for number in range(5):
        cache.keep(b"%d" % number, identity(f"key_{number}", "user_1"), cache.generation)
        cache.get(b"0")
    assert len(cache) == 3
    assert cache.get(b"0") is not None
    assert cache.get(b"1") is None
    cache.stamped(["user_1"])
    assert (len(cache), cache._of) == (0, {})
