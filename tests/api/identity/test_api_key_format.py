"""The format of API keys: ours are recognised, mistyped ones refused, secrets nowhere but in the key."""

import string
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.identity.api_key_format import ApiKeyFormat, base62

FORMAT = ApiKeyFormat({"p1": b"p" * 32})
TEXT = FORMAT.make("key_" + "0" * 32, "live").text
"""One key for all examples of a property: a secret that differs each time would make them impossible to repeat."""
IDS = st.binary(min_size=16, max_size=16).map(lambda raw: f"key_{raw.hex()}")
MODES = st.sampled_from(["live", "test"])


@given(IDS, st.booleans())
def test_round_trip(key_id: str, live: bool) -> None:
    """A key names its mode and id, matches its own digest, and shows neither secret nor digest in its hint."""
    key = FORMAT.make(key_id, "live" if live else "test")
    parsed = FORMAT.parse(key.text)
    assert parsed is not None
    assert (parsed.key_id, parsed.mode) == (key_id, "live" if live else "test")
    assert key.text.startswith("fs_live_" if live else "fs_test_")
    assert FORMAT.matches(key.text, key.digest)
    secret = key.text.rpartition("_")[2][:43]
    assert secret not in key.digest + key.hint
    assert len(set(secret) & set(key.hint)) <= len(key.hint)


@given(st.data())
def test_one_wrong_character_is_noticed(data: st.DataObject) -> None:
    """A key with any one character mistyped, or two neighbours swapped, is refused without a look-up."""
    text = TEXT
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from(string.ascii_letters + string.digits).filter(lambda char: char != text[at]))
    assert FORMAT.parse(text[:at] + other + text[at + 1 :]) is None
    swapped = text[:at] + text[at : at + 2][::-1] + text[at + 2 :]
    assert swapped == text or FORMAT.parse(swapped) is None
    assert FORMAT.parse(text[:at]) is None
    assert FORMAT.parse(text + other) is None


@given(st.text())
def test_foreign_text_is_no_key(text: str) -> None:
    """Text that we did not make is no key, whatever it begins with."""
    assert FORMAT.parse(text) is None
    assert FORMAT.parse(f"fs_live_{text}") is None
    assert FORMAT.looks_like_key(f"fs_{text}")
    assert not FORMAT.looks_like_key("eyJhbGciOiJIUzI1NiJ9")


def test_secrets_differ() -> None:
    """The same id gets another secret each time."""
    assert len({FORMAT.make("key_" + "0" * 32, "live").text for _ in range(100)}) == 100


def test_another_key_does_not_match() -> None:
    """A well-formed key with another secret does not match the digest."""
    one, other = (FORMAT.make("key_" + "0" * 32, "live") for _ in range(2))
    assert not FORMAT.matches(other.text, one.digest)
    assert not FORMAT.matches(one.text, "")
    assert not FORMAT.matches(one.text, one.digest.partition(":")[2])


def test_peppers_rotate() -> None:
    """A digest made with an older pepper matches as long as that pepper is configured."""
    key = FORMAT.make("key_" + "0" * 32, "live")
    assert ApiKeyFormat({"p2": b"q" * 32, "p1": b"p" * 32}).matches(key.text, key.digest)
    assert not ApiKeyFormat({"p2": b"q" * 32}).matches(key.text, key.digest)


def test_brand() -> None:
    """An operator's brand takes the place of ours."""
    branded = ApiKeyFormat({"p1": b"p" * 32}, brand="acme")
    key = branded.make("key_" + "0" * 32, "test")
    assert key.text.startswith("acme_test_")
    assert branded.parse(key.text) is not None
    assert FORMAT.parse(key.text) is None


@given(st.integers(0, 62**6 - 1))
def test_base62_is_fixed_width_and_reversible(number: int) -> None:
    """Base62 has a fixed width and loses nothing."""
    digits = base62(number, 6)
    alphabet = string.digits + string.ascii_uppercase + string.ascii_lowercase
    assert len(digits) == 6
    assert sum(alphabet.index(digit) * 62**place for place, digit in enumerate(reversed(digits))) == number


def test_checksum_is_crc32() -> None:
    """Scanners can check a key by its CRC-32."""
    text = FORMAT.make("key_" + "0" * 32, "live").text
    assert base62(zlib.crc32(text[:-6].encode()), 6) == text[-6:]


@pytest.mark.parametrize("key_id", ["key_", "key_xyz", "user_" + "0" * 32, "key_" + "0" * 31])
def test_ids_have_their_form(key_id: str) -> None:
    """A key is made for nothing but the id of a key."""
    with pytest.raises(ValueError, match="32 hexadecimal digits"):
        FORMAT.make(key_id, "live")


@pytest.mark.parametrize("brand", ["", "x", "Ab", "a_b", "1ab", "a" * 17])
def test_brands_have_their_form(brand: str) -> None:
    """A brand that would make keys ambiguous is refused."""
    with pytest.raises(ValueError, match="brand"):
        ApiKeyFormat({"p1": b"p" * 32}, brand=brand)
