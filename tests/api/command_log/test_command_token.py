"""The public id of a command."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.command_log.command_token import CommandToken, verify
from api.lookup import LookupHash

LOOKUP = LookupHash(b"k" * 32)
OWNERS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
TOKENS = st.builds(
    CommandToken,
    shard=st.integers(0, 2**16 - 1),
    offset=st.none() | st.integers(0, 2**62),
    command_id=st.uuids().map(str),
    attempt=st.uuids().map(lambda each: each.hex),
    owner=OWNERS,
)


@given(TOKENS)
def test_comes_back_as_it_was_signed(token: CommandToken) -> None:
    """A public id tells exactly what it was made of."""
    assert verify(LOOKUP, token.sign(LOOKUP)) == token


@given(TOKENS, st.data())
def test_no_change_survives(token: CommandToken, data: st.DataObject) -> None:
    """A public id with any character changed is none."""
    text = token.sign(LOOKUP)
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("ABCxyz019-_").filter(lambda each: each != text[place]))
    changed = text[:place] + other + text[place + 1 :]
    found = verify(LOOKUP, changed)
    # The last digit of base64 may hold bits that mean nothing.
    assert found is None or (found == token and place == len(text) - 1)


@pytest.mark.parametrize(
    "text", ["", "cmd_", "cmd_!!!!", "cmd_AAAA", "cmd_" + "A" * 5_000, "key_x", "cmd_ä", "cmd_\ud800"]
)
def test_other_texts_are_none(text: str) -> None:
    """Nothing but a signed id is one, and nothing else is an error."""
    assert verify(LOOKUP, text) is None


def test_another_installation_signs_otherwise() -> None:
    """A public id is worthless under another lookup key."""
    token = CommandToken(shard=1, offset=None, command_id=str(uuid.uuid4()), attempt=uuid.uuid4().hex, owner="user_1")
    assert verify(LookupHash(b"x" * 32), token.sign(LOOKUP)) is None
