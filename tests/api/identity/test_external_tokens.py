"""Tokens of identity providers: the good ones say who it is, and every other one is a 401, never anything else."""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import jwt
import msgspec
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.identity.external_tokens import ExternalToken, ExternalTokens
from api.identity.issuers import Algorithm, Issuer, Issuers
from api.identity.tokens import TokenRefused
from devnet.issuer import AUDIENCE, DevIssuer, IssuerOptions, TokenRequest, running
from domain.instant import SECOND, Instant

NOW_S = 1_800_000_000
LEEWAY_S = 30
GOOD: dict[str, Any] = {"iat": NOW_S, "exp": NOW_S + 600}

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Site:
    """Issuers of each algorithm, and one process that takes their tokens."""

    def __init__(self, servers: dict[Algorithm, DevIssuer], tokens: ExternalTokens) -> None:
        self.servers = servers
        self.rsa = servers["RS256"]
        self.tokens = tokens

    async def verified(self, text: str, *, now: Instant = NOW_S * SECOND) -> ExternalToken:
        """What a token says that must be good."""
        token = await self.tokens.verify(text, lambda: now)
        assert token is not None
        return token

    async def refused(self, text: str, *, now: Instant = NOW_S * SECOND) -> TokenRefused | None:
        """The refusal of a token that must be bad; `None` where it is not even an issuer's."""
        try:
            token = await self.tokens.verify(text, lambda: now)
        except TokenRefused as refused:
            return refused
        assert token is None, token
        return None


def issuer_of(server: DevIssuer, **changed: Any) -> Issuer:
    """How a server's tokens are taken."""
    known = {
        "name": server.algorithm,
        "iss": server.url,
        "jwks_url": server.jwks_url,
        "audience": AUDIENCE,
        "algorithm": server.algorithm,
        "leeway_s": LEEWAY_S,
        "max_role": "developer",
    }
    return msgspec.convert(known | changed, Issuer)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def there() -> AsyncIterator[Site]:
    """One for all tests of this module."""
    async with (
        running(IssuerOptions(algorithm="RS256")) as rsa_issuer,
        running(IssuerOptions(algorithm="ES256")) as ec_issuer,
        running(IssuerOptions(algorithm="EdDSA")) as ed_issuer,
        aiohttp.ClientSession() as http,
    ):
        servers: dict[Algorithm, DevIssuer] = {each.algorithm: each for each in (rsa_issuer, ec_issuer, ed_issuer)}
        issuers = Issuers({each.url: issuer_of(each) for each in servers.values()})
        tokens = ExternalTokens(issuers, http, removed=lambda _ids: None)
        tokens.start()
        try:
            yield Site(servers, tokens)
        finally:
            await tokens.stop()


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_good_token_says_who_it_is(there: Site, algorithm: Algorithm) -> None:
    """In each algorithm; what has no meaning here is kept."""
    server = there.servers[algorithm]
    extra = {"email": "ada@example.com", "groups": ["a", {"b": 1.5}], "name": "Ada \u200f Lovelace"}
    token = await there.verified(server.token("ada", role="developer", project_id="p", **GOOD, **extra))
    assert (token.issuer.iss, token.subject, token.role, token.project_id) == (server.url, "ada", "developer", "p")
    assert (token.issued_at, token.expires_at) == (NOW_S * SECOND, (NOW_S + 600 + LEEWAY_S) * SECOND)
    assert json.loads(token.claims_json) == extra


async def test_a_role_is_capped(there: Site) -> None:
    """Nobody becomes an admin by a provider's word unless the operator said so."""
    for said, acts in (("user", "user"), ("developer", "developer"), ("admin", "developer")):
        assert (await there.verified(there.rsa.token("ada", role=said, **GOOD))).role == acts


async def test_audiences(there: Site) -> None:
    """One of several is enough (RFC 7519, 4.1.3)."""
    good: list[object] = [AUDIENCE, [AUDIENCE], ["other", AUDIENCE]]
    for audience in good:
        await there.verified(there.rsa.token("ada", **GOOD, aud=audience))
    bad: list[object] = [None, "", "other", [], ["other"], [[AUDIENCE]], {AUDIENCE: 1}, [AUDIENCE, 1], [AUDIENCE] * 101]
    for audience in bad:
        assert await there.refused(there.rsa.token("ada", **GOOD, aud=audience)) is not None


async def test_times_at_the_edges_of_the_leeway(there: Site) -> None:
    """To the microsecond: `exp` is the first instant that is too late, `nbf` the first that is not too early."""
    ends = there.rsa.token("ada", iat=NOW_S, exp=NOW_S)
    edge = (NOW_S + LEEWAY_S) * SECOND
    await there.verified(ends, now=edge - 1)
    refusal = await there.refused(ends, now=edge)
    assert refusal is not None
    assert refusal.expired
    for claim in ("nbf", "iat"):
        begins = there.rsa.token("ada", **{"iat": NOW_S, "exp": NOW_S + 600} | {claim: NOW_S})
        edge = (NOW_S - LEEWAY_S) * SECOND
        await there.verified(begins, now=edge)
        refusal = await there.refused(begins, now=edge - 1)
        assert refusal is not None
        assert not refusal.expired
    halves = there.rsa.token("ada", iat=NOW_S - 0.5, exp=NOW_S + 0.5)
    await there.verified(halves, now=(NOW_S + LEEWAY_S) * SECOND + SECOND // 2 - 1)
    assert await there.refused(halves, now=(NOW_S + LEEWAY_S) * SECOND + SECOND // 2) is not None


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", ["1800000600", True, -1, 10**12, 1e300, [1], {}, "", 1.7e308])
async def test_times_that_are_none(there: Site, name: str, value: object) -> None:
    """A number of seconds, and nothing else."""
    assert await there.refused(there.rsa.token("ada", **GOOD | {name: value})) is not None


async def test_what_a_token_must_say(there: Site) -> None:
    """`exp`, `sub`, `project_id` and `role`; `iat` may be missing."""
    await there.verified(there.rsa.token("ada", exp=NOW_S + 1, iat=None))
    for name in ("exp", "sub", "project_id", "role", "aud"):
        refusal = await there.refused(there.rsa.token("ada", **GOOD | {name: None}))
        assert refusal is not None, name
    assert await there.refused(there.rsa.token("ada", **GOOD, iss=None)) is None
    for name, values in {
        "sub": ["", "s" * 256, 7, ["ada"], {"a": 1}, True],
        "project_id": ["", "p" * 129, 7, ["p"], False],
        "role": [
            "",
            "root",
            "Admin",
            "admin ",
            7,
            [],
            ["root"],
            ["admin", 7],
            [["admin"]],
            1_001 * ["admin"],
            {"admin": True},
        ],
    }.items():
        for value in values:
            assert await there.refused(there.rsa.token("ada", **GOOD | {name: value})) is not None, (name, value)


def b64(value: bytes) -> str:
    """As in a token."""
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def assembled(header: object, claims: object, signature: bytes = b"x" * 256) -> str:
    """A token of any parts; bytes are taken as they are."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)]
    return ".".join([*map(b64, parts), b64(signature)])


def re_signed(server: DevIssuer, header: bytes | dict[str, Any], claims: bytes | dict[str, Any]) -> str:
    """A token with any header and claims, byte for byte, and a good signature of the issuer's over them."""
    unsigned = assembled(header, claims).rpartition(".")[0]
    key = server.keys.current
    algorithm = jwt.get_algorithm_by_name(key.algorithm)
    return f"{unsigned}.{b64(algorithm.sign(unsigned.encode(), key.private))}"


async def test_no_algorithm_but_the_issuers(there: Site) -> None:
    """`none`, a secret that is the public key in any of its forms, and the other algorithms."""
    server, kid = there.rsa, there.rsa.keys.current.kid
    claims = server.claims(TokenRequest(sub="ada", claims=GOOD))
    for name in ("none", "None", "NONE", "", None, 7):
        assert await there.refused(assembled({"alg": name, "kid": kid}, claims)) is not None
        unsigned = assembled({"alg": name, "kid": kid}, claims).rpartition(".")[0]
        assert await there.refused(f"{unsigned}.") is None, "an empty signature is no token"
    public = server.keys.current.private.public_key()
    secrets = [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        json.dumps(server.keys.current.public_jwk()).encode(),
        server.keys.current.public_jwk()["n"].encode(),
    ]
    for secret in secrets:
        for name in ("HS256", "RS256"):
            unsigned = assembled({"alg": name, "kid": kid}, claims).rpartition(".")[0]
            mac = hmac.new(secret, unsigned.encode(), hashlib.sha256).digest()
            assert await there.refused(f"{unsigned}.{b64(mac)}") is not None
    for name in ("RS384", "RS512", "PS256"):
        text = jwt.encode(claims, server.keys.current.private, algorithm=name, headers={"kid": kid})
        assert await there.refused(text) is not None
    for name in ("none", "HS256", "ES256", "EdDSA", "rs256", "RS512", None):
        assert await there.refused(re_signed(server, {"alg": name, "kid": kid}, claims)) is not None
    other = there.servers["ES256"].keys.current
    assert await there.refused(jwt.encode(claims, other.private, algorithm="ES256", headers={"kid": kid})) is not None
    assert await there.refused(other.sign(claims)) is not None


async def test_no_key_but_the_issuers(there: Site) -> None:
    """A missing or unknown `kid`, another's key under a known one, and keys that the token brings along."""
    server = there.rsa
    claims = server.claims(TokenRequest(sub="ada", claims=GOOD))
    foreign = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    public = {"kty": "RSA"} | json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(foreign.public_key()))
    for header in (
        {},
        {"kid": server.keys.current.kid},
        {"kid": "unknown"},
        {"kid": server.keys.current.kid, "jwk": public},
        {"kid": server.keys.current.kid, "jku": "https://evil.example/jwks.json"},
        {"kid": server.keys.current.kid, "x5u": "https://evil.example/cert"},
    ):
        assert await there.refused(jwt.encode(claims, foreign, algorithm="RS256", headers=header)) is not None
    kids: list[object] = [None, "", 7, ["a"], {"kid": 1}, "k" * 257, "../../etc/passwd", "' OR 1=1 --", "\u202e"]
    for kid in kids:
        assert await there.refused(re_signed(server, {"alg": "RS256", "kid": kid}, claims)) is not None
    assert await there.refused(re_signed(server, {"alg": "RS256"}, claims)) is not None


async def test_one_issuers_key_is_no_others(there: Site) -> None:
    """A provider cannot speak for another one."""
    theirs = there.servers["ES256"]
    claims = theirs.claims(TokenRequest(sub="ada", claims=GOOD))
    assert await there.refused(there.rsa.keys.current.sign(claims)) is not None
    assert await there.refused(theirs.keys.current.sign(claims | {"iss": there.rsa.url})) is not None
    others: list[object] = [there.rsa.url + "/", there.rsa.url.upper(), "", "https://evil.example", 7, [there.rsa.url]]
    for iss in others:
        assert await there.refused(there.rsa.keys.current.sign(claims | {"iss": iss})) is None


async def test_what_a_header_must_not_say(there: Site) -> None:
    """Extensions that nothing here understands, and tokens for another use (RFC 8725, 3.11)."""
    server = there.rsa
    claims, known = server.claims(TokenRequest(sub="ada", claims=GOOD)), {"kid": server.keys.current.kid}
    for kind in ("JWT", "jwt", "at+jwt", "application/at+jwt"):
        await there.verified(re_signed(server, {"alg": "RS256", "typ": kind} | known, claims))
    extra: list[dict[str, Any]] = [{"crit": ["b64"], "b64": False}, {"crit": []}, {"typ": "logout+jwt"}, {"typ": None}]
    for more in extra:
        assert await there.refused(re_signed(server, {"alg": "RS256"} | more | known, claims)) is not None


async def test_no_name_is_given_twice(there: Site) -> None:
    """Whoever reads the other one would see another user, role or key, although the signature is good."""
    server = there.rsa
    kid = server.keys.current.kid
    header: dict[str, Any] = {"alg": "RS256", "kid": kid}
    claims = json.dumps(server.claims(TokenRequest(sub="ada", claims=GOOD))).encode()
    await there.verified(re_signed(server, header, claims))
    for more in (b'"sub": "grace"', b'"role": "admin"', b'"\\u0073ub": "grace"', b'"x": {"a": 1, "a": 2}'):
        assert await there.refused(re_signed(server, header, b"{" + more + b", " + claims[1:])) is None
    twice = b'{"alg": "RS256", "kid": "%b", "alg": "RS256"}' % kid.encode()
    assert await there.refused(re_signed(server, twice, claims)) is None


@pytest.mark.parametrize(
    "claims",
    [
        b"",
        b"[]",
        b'"text"',
        b"{",
        b"{}x",
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"a": 123456789012345678901234567890}',
        b'{"a": "\\u0000"}',
        b'{"a": "\\ud800"}',
        b'{"a": "\xff"}',
        b'{"a": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        b'\xef\xbb\xbf{"a": 1}',
    ],
)
async def test_what_is_no_object_of_claims(there: Site, claims: bytes) -> None:
    """What memory and Postgres could not both keep is not taken, whoever signed it."""
    header = {"alg": "RS256", "kid": there.rsa.keys.current.kid}
    assert await there.refused(re_signed(there.rsa, header, claims)) is None


async def test_one_text_for_one_token(there: Site) -> None:
    """Other spellings that decode alike are not taken."""
    text = there.rsa.token("ada", **GOOD)
    head, body, signature = text.split(".")
    await there.verified(text)
    last = signature[-1]
    alike = [each for each in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" if each != last]
    for char in alike:
        await there.refused(f"{head}.{body}.{signature[:-1]}{char}")
    for changed in (
        f"{text}=",
        f"{text}==",
        f"{text}.",
        f".{text}",
        f"{text}.{signature}",
        f" {text}",
        f"{text}\n",
        text.replace("-", "+").replace("_", "/") + "+",
        f"{head}.{body}",
        f"{head}.{body}.",
        f"{head}..{signature}",
        f"{head}.{body}.{signature}é",
    ):
        assert await there.refused(changed) is None
    assert await there.refused(f"{text}A") is not None


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_a_changed_token_is_refused(there: Site, data: st.DataObject) -> None:
    """One character, at any place, for any other: nothing of a token may be touched.

    The token differs each time (its times, its signature), so nothing that is drawn may depend on it.
    """
    server = there.servers[data.draw(st.sampled_from(["RS256", "ES256", "EdDSA"]))]
    text = server.token("ada", **GOOD)
    place = data.draw(st.integers(0, 10_000)) % len(text)
    char = data.draw(st.characters(codec="latin-1") | st.sampled_from("AQgw._-=+/"))
    kind = data.draw(st.sampled_from(["replaced", "inserted", "removed"]))
    changed = {
        "replaced": text[:place] + char + text[place + 1 :],
        "inserted": text[:place] + char + text[place:],
        "removed": text[:place] + text[place + 1 :],
    }[kind]
    if changed != text:
        await there.refused(changed)


@settings(max_examples=200)
@given(text=st.text(max_size=300) | st.text("AQgw._-=eyJ", max_size=300))
async def test_any_text_is_refused(there: Site, text: str) -> None:
    """No text makes another error."""
    await there.refused(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300)
@given(
    name=st.sampled_from(["iss", "aud", "exp", "nbf", "iat", "sub", "role", "project_id", "alg", "kid", "typ", "crit"]),
    value=json_values,
)
async def test_any_claim_may_be_anything(there: Site, name: str, value: Any) -> None:
    """Whatever a signed token says, it is taken or refused, and what is taken can be kept."""
    server = there.servers["EdDSA"]
    header = {"alg": "EdDSA", "kid": server.keys.current.kid}
    claims = server.claims(TokenRequest(sub="ada", claims=GOOD))
    changed = header if name in ("alg", "kid", "typ", "crit") else claims
    changed[name] = value
    try:
        token = await there.tokens.verify(re_signed(server, header, claims), lambda: NOW_S * SECOND)
    except TokenRefused:
        return
    if token is not None:
        assert token.role in ("user", "developer")
        assert isinstance(json.loads(token.claims_json), dict)
        token.subject.encode()
        token.project_id.encode()
