"""Passwords: what is stored verifies, nothing tells users apart by time, the pool is bounded."""

import asyncio
import base64
import hashlib
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.errors import ApiError
from api.identity import passwords as passwords_module
from api.identity.passwords import ITERATIONS, ITERATIONS_IMPORTED, Passwords, check_password, parse_stored

PASSWORD = "correct horse battery staple"


@pytest.fixture
def cheap() -> Iterator[Passwords]:
    """Passwords that cost next to nothing."""
    made = Passwords(iterations=10, threads=2)
    yield made
    made.close()


def imported(password: str, *, encode: str = "hex") -> str:
    """`salt$hash` as the older system made it."""
    salt = b"0123456789abcdef"
    key = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 100_000, 32)
    match encode:
        case "hex":
            return f"{salt.hex()}${key.hex()}"
        case "base64":
            return f"{base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"
        case _:
            urlsafe = [base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (salt, key)]
            return "$".join(urlsafe)


async def test_round_trip(cheap: Passwords) -> None:
    """The right password verifies, any other does not, and the hash carries its parameters."""
    stored = await cheap.hash(PASSWORD)
    assert stored.startswith("pbkdf2-sha256$10$")
    assert (await cheap.verify(PASSWORD, stored)).ok
    assert not (await cheap.verify(PASSWORD + " ", stored)).ok
    assert not (await cheap.verify("", stored)).ok


async def test_salts_differ(cheap: Passwords) -> None:
    """Two users with one password have two hashes."""
    assert await cheap.hash(PASSWORD) != await cheap.hash(PASSWORD)


@pytest.mark.parametrize("encode", ["hex", "base64", "urlsafe"])
async def test_imported_hash_verifies_and_is_outdated(encode: str) -> None:
    """`salt$hash` of 100,000 iterations verifies and asks to be made anew; a wrong password does neither."""
    made = Passwords(iterations=100_001)
    try:
        right = await made.verify(PASSWORD, imported(PASSWORD, encode=encode))
        wrong = await made.verify("wrong", imported(PASSWORD, encode=encode))
    finally:
        made.close()
    assert (right.ok, right.outdated) == (True, True)
    assert (wrong.ok, wrong.outdated) == (False, False)


async def test_lower_cost_is_outdated(cheap: Passwords) -> None:
    """A hash of a lower cost than the current one asks to be made anew; one of the current cost does not."""
    stored = await cheap.hash(PASSWORD)
    costlier = Passwords(iterations=11)
    try:
        assert (await costlier.verify(PASSWORD, stored)).outdated
        assert not (await cheap.verify(PASSWORD, stored)).outdated
    finally:
        costlier.close()


async def test_same_cost_for_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown user, a wrong password, and a wrong password against an old hash take one derivation's iterations."""
    made = Passwords(iterations=1_000, threads=1)
    older = Passwords(iterations=10, threads=1)
    counted: list[int] = []
    derive = passwords_module.derive

    def counting(password: bytes, salt: bytes, iterations: int, padding: int) -> bytes:
        counted.append(iterations + padding)
        return derive(password, salt, iterations, padding)

    try:
        current, old = await made.hash(PASSWORD), await older.hash(PASSWORD)
        monkeypatch.setattr(passwords_module, "derive", counting)
        for stored in (None, current, old):
            assert not (await made.verify("wrong password", stored)).ok
    finally:
        made.close()
        older.close()
    assert counted == [1_000, 1_000, 1_000]


async def test_unknown_user_is_never_right(cheap: Passwords) -> None:
    """Without a stored hash no password is right."""
    assert not (await cheap.verify(PASSWORD, None)).ok


async def test_full_pool_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past its bound the pool says 503 `busy` at once, and takes work again when some is done."""
    go = threading.Event()
    derive = passwords_module.derive

    def waiting(password: bytes, salt: bytes, iterations: int, padding: int) -> bytes:
        assert go.wait(30)
        return derive(password, salt, iterations, padding)

    monkeypatch.setattr(passwords_module, "derive", waiting)
    made = Passwords(iterations=1, threads=1, waiting_max=1)
    try:
        tasks = [asyncio.create_task(made.hash(PASSWORD)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(ApiError) as refused:
            await made.hash(PASSWORD)
        assert (refused.value.code, refused.value.status) == ("busy", 503)
        go.set()
        await asyncio.gather(*tasks)
        await made.hash(PASSWORD)
    finally:
        go.set()
        made.close()


async def test_every_place_is_given_back() -> None:
    """However quickly a derivation ends, its place in the pool is free again."""
    made = Passwords(iterations=1, threads=1, waiting_max=0)
    try:
        for _ in range(500):
            await made.hash(PASSWORD)
            async with asyncio.timeout(10):
                while made._taken:
                    await asyncio.sleep(0)
    finally:
        made.close()


async def test_hashing_does_not_block_the_loop() -> None:
    """While a password is hashed at full cost the event loop goes on."""
    made = Passwords(threads=1)
    try:
        task = asyncio.create_task(made.hash(PASSWORD))
        turns = 0
        while not task.done():
            turns += 1
            await asyncio.sleep(0)
        assert turns > 100
        assert f"${ITERATIONS}$" in task.result()
    finally:
        made.close()


@settings(max_examples=50)
@given(st.text(min_size=8, max_size=60))
def test_unicode_forms_are_one_password(password: str) -> None:
    """A password typed in another Unicode form is the same password."""

    async def scenario() -> None:
        made = Passwords(iterations=1, threads=1)
        try:
            stored = await made.hash(unicodedata.normalize("NFC", password))
            assert (await made.verify(unicodedata.normalize("NFD", password), stored)).ok
        finally:
            made.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("password", ["12345678", "ünïcödé!", "🔑" * 8, " " * 8, "x" * 1024])
def test_acceptable(password: str) -> None:
    """Eight characters of any kind will do."""
    check_password(password)


@pytest.mark.parametrize("password", ["", "1234567", "🔑" * 7, "x" * 1025, "é" * 513, "with \0 in it", "lone \ud800!"])
def test_unacceptable(password: str) -> None:
    """Too short, too long, NUL and lone surrogates are 400 and the message does not quote the password."""
    with pytest.raises(ApiError) as refused:
        check_password(password, param="new_password")
    assert (refused.value.code, refused.value.status) == ("invalid_password", 400)
    assert refused.value.param == "new_password"
    assert not password or password not in refused.value.message


@given(st.text())
def test_damaged_hash_is_named_and_not_quoted(stored: str) -> None:
    """Whatever text is stored in place of a hash: it parses, or a `ValueError` that does not quote it."""
    with suppress(ValueError):
        parse_stored(stored)
    with pytest.raises(ValueError, match=r"^(a|not a) stored password hash") as refused:
        parse_stored(f"secret{stored}")
    assert "secret" not in str(refused.value)


def test_imported_cost() -> None:
    """The older system's cost is 100,000 iterations."""
    assert parse_stored(imported(PASSWORD)).iterations == ITERATIONS_IMPORTED == 100_000
