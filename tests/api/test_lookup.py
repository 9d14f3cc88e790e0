"""HMACs that things are found by: one key for the installation, one hash for each way to write an address."""

import asyncio
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.lookup import LookupHash, normal_email
from api.master_keys import MasterKeys
from eventstore.memory.store import MemoryStore

HASH = LookupHash(b"k" * 32)


async def test_one_key_for_all_processes() -> None:
    """Processes that start at once agree on one lookup key, which is stored wrapped; another installation differs."""
    store, keys = MemoryStore(1, lambda: 0), MasterKeys({"m": b"m" * 32})
    hashes = await asyncio.gather(*[LookupHash.load(store, keys) for _ in range(3)])
    assert len({each.email("ada@example.com") for each in hashes}) == 1
    stored = await store.lookup_key(keys.new_data_key("lookup"))
    assert keys.unwrap(stored) not in stored.wrapped
    elsewhere = await LookupHash.load(MemoryStore(1, lambda: 0), keys)
    assert elsewhere.email("ada@example.com") != hashes[0].email("ada@example.com")


@given(st.emails())
def test_one_hash_for_an_address(address: str) -> None:
    """Case and Unicode form do not matter."""
    forms = (address, address.upper(), unicodedata.normalize("NFD", address), unicodedata.normalize("NFKD", address))
    assert len({HASH.email(form) for form in forms}) == 1


@pytest.mark.parametrize(
    "spelling",
    [
        *("bücher.example", "BÜCHER.example", "bu\u0308cher.example", "ｂücher.example", "bücher\u3002example"),
        *("xn--bcher-kva.example", "XN--BCHER-KVA.EXAMPLE"),
    ],
)
def test_one_hash_for_a_domain(spelling: str) -> None:
    """A name with letters beyond ASCII and its form in the DNS are one domain (RFC 5891)."""
    assert HASH.email(f"ada@{spelling}") == HASH.email("ada@bücher.example")


@pytest.mark.parametrize("domain", ["xn--example-.com", "xn--\u00fc.example", "xn--a", "i❤.ws"])
def test_what_is_no_such_domain_stays_as_it_is(domain: str) -> None:
    """Nobody takes another's address by a label that looks encoded and is not."""
    assert normal_email(f"ada@{domain}") == f"ada@{domain}"


@given(st.text(), st.text(), st.from_regex(r"xn--[a-z0-9-]{1,20}", fullmatch=True))
def test_normal_form_of_an_address_is_final(local: str, domain: str, encoded: str) -> None:
    """Also of one whose domain is encoded, or may be."""
    for address in (f"{local}@{domain}", f"{local}@{domain}.{encoded}"):
        assert normal_email(normal_email(address)) == normal_email(address)


@given(st.text())
def test_normal_form_is_final(address: str) -> None:
    """The normal form of a normal form is itself."""
    assert normal_email(normal_email(address)) == normal_email(address)


@given(st.lists(st.binary(max_size=4), max_size=4), st.lists(st.binary(max_size=4), max_size=4))
def test_parts_do_not_blur(one: list[bytes], other: list[bytes]) -> None:
    """No two lists of parts have the same digest, nor has one list under two purposes."""
    assert (HASH.digest("p", *one) == HASH.digest("p", *other)) == (one == other)
    assert HASH.digest("p", *one) != HASH.digest("q", *one)
