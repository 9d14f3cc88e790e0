"""Identities made by hand."""

from api.identity.identity_cache import Identity


def identity(*principals: str) -> Identity:
    """An identity of some principals."""
    return Identity(
        principals=principals,
        user_id="u",
        account_id="a",
        key_id=None,
        role="user",
        scopes=frozenset(),
        mode="live",
        expires_at=None,
    )
