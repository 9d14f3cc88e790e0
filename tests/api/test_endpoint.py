"""What every route does with a request, before its handler sees anything: on a real socket, with a table of its own."""

import gzip
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
import pytest
import pytest_asyncio
from msgspec import Meta, Struct
from starlette.responses import PlainTextResponse

from api.app import create_app
from api.call import Call, Reply
from api.decode import body_decoder, prefers_async
from api.errors import ApiError
from api.route import ANYONE, PUBLIC, Route, needs
from domain.errors import Conflict, Invalid
from domain.money import parse_credits
from eventstore.errors import Unavailable
from tests.api.running import Person, Running, application
from tests.api.serving import RawAnswer, raw_request, served

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Thing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A body."""

    name: Annotated[str, Meta(min_length=1, max_length=50)]
    count: int = 0
    parts: list[str] = []


class Search(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A query."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    word: str | None = None


class Seen(Struct, frozen=True, kw_only=True):
    """What the handler saw."""

    body: Any = None
    query: Any = None
    path: dict[str, str] = {}
    caller: str = ""
    key: str | None = None


async def seen(call: Call[Any, Any]) -> Seen:
    """Answers what came."""
    caller = call.caller.user_id or call.caller.kind
    return Seen(body=call.body, query=call.query, path=dict(call.path), caller=caller, key=call.idempotency_key)


async def fails(call: Call[Any, Any]) -> Seen:
    """Fails in the way that the path names."""
    errors: dict[str, Exception] = {
        "api": ApiError("not_found", "No such thing.", param="id", balance=1_500_000),
        "domain": Conflict("too_many_holds", "Too many.", debt=2_000_001, param="x"),
        "amount": Invalid("invalid_amount", "Bad."),
        "store": Unavailable("password=hunter2 host=10.0.0.1"),
        "bug": ZeroDivisionError("secret inside"),
    }
    raise errors[call.path["how"]]


async def parses(call: Call[Thing, None]) -> Seen:
    """Lets the domain refuse an amount."""
    parse_credits(call.body.name, name="name")
    return Seen()


async def raw(call: Call[None, None]) -> PlainTextResponse:
    """Answers a response of its own."""
    return PlainTextResponse(call.raw_body + b"!", headers={"X-Mine": "1"})


async def nothing(_call: Call[None, None]) -> Reply:
    """Answers without a body."""
    return Reply(status=204)


def _route(method: Any, path: str, handler: Any, **fields: Any) -> Route:
    return Route(
        **{"method": method, "path": path, "handler": handler, "summary": path, "tag": "t", "access": PUBLIC}
        | {"answers": {200: Seen}}
        | fields
    )


ROUTES = (
    _route("GET", "/things", seen, query=Search),
    _route("POST", "/things", seen, body=Thing, write=True, answers={201: Seen}, body_bytes_max=1_000),
    *(_route("GET", path, seen) for path in ("/things/{id}", "/v1/parts/{id}")),
    _route("GET", "/private", seen, access=needs("billing:read")),
    _route("POST", "/private", seen, access=needs("billing:read"), body=Thing),
    _route("GET", "/admins", seen, access=needs("admin")),
    _route("GET", "/developers", seen, access=needs("read", role="developer")),
    _route("GET", "/featured", seen, access=needs("billing:read"), feature="sso"),
    _route("GET", "/basic", seen, access=needs("billing:read"), feature="basic_models"),
    _route("GET", "/anyone", seen, access=ANYONE),
    _route("GET", "/fails/{how}", fails),
    _route("POST", "/parses", parses, body=Thing),
    _route("POST", "/raw", raw, raw=True, body_bytes_max=100),
    _route("DELETE", "/nothing", nothing, answers={204: "text/plain"}),
)


class Table:
    """The table on a socket, over a running application's services."""

    def __init__(self, url: str, running: Running, person: Person) -> None:
        self.url = url
        self.running = running
        self.person = person

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> RawAnswer:
        """One request, byte for byte; header names with underscores for dashes."""
        given = {"host": "x", "content-length": str(len(body))} if body else {"host": "x"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        return await raw_request(self.url, f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)

    async def post(self, path: str, body: bytes, **headers: str) -> RawAnswer:
        """A POST of JSON."""
        return await self.ask("POST", path, body, **({"content_type": "application/json"} | headers))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def table() -> AsyncIterator[Table]:
    """The table above, served as in production."""
    async with application() as running:
        person = await running.register()
        async with served(create_app(running.services, ROUTES)) as url:
            yield Table(url, running, person)


async def test_decodes_and_answers(table: Table) -> None:
    """A good request reaches its handler decoded, and its answer carries the route's status and a request id."""
    answer = await table.post("/things", b'{"name":"a","count":2}', idempotency_key="k-1")
    assert answer.status == 201
    assert msgspec.json.decode(answer.body)["body"] == {"name": "a", "count": 2, "parts": []}
    assert msgspec.json.decode(answer.body)["key"] == "k-1"
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["cache-control"] == "no-store"


BODIES = {
    "no body": (b"", "invalid_json", None),
    "no JSON": (b"{", "invalid_json", None),
    "not UTF-8": (b'{"name":"\xff"}', "invalid_json", None),
    "a list": (b"[]", "invalid_request", None),
    "null": (b"null", "invalid_request", None),
    "a missing field": (b"{}", "invalid_request", "name"),
    "an unknown field": (b'{"name":"a","colour":1}', "invalid_request", "colour"),
    "a field twice": (b'{"name":"a","name":"b"}', "invalid_request", "name"),
    "a wrong type": (b'{"name":1}', "invalid_request", "name"),
    "a wrong type inside": (b'{"name":"a","parts":["x",1]}', "invalid_request", "parts[1]"),
    "a number as text": (b'{"name":"a","count":"1"}', "invalid_request", "count"),
    "a fraction": (b'{"name":"a","count":1.5}', "invalid_request", "count"),
    "too long": (b'{"name":"%b"}' % (b"a" * 51), "invalid_request", "name"),
    "NUL": (b'{"name":"\\u0000"}', "invalid_request", "name"),
    "a lone surrogate": (b'{"name":"a","parts":["\\udfff"]}', "invalid_request", "parts[0]"),
    "beyond 64 bits": (b'{"name":"a","count":18446744073709551615}', "invalid_request", None),
    "too deep": (b"[" * 900, "invalid_json", None),
}


@pytest.mark.parametrize("name", BODIES)
async def test_400_names_what_is_wrong(table: Table, name: str) -> None:
    """Each bad body is 400 with a code, and with the field where there is one."""
    body, code, param = BODIES[name]
    answer = await table.post("/things", body)
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, code, param)


QUERIES = {
    "limit=0": "limit",
    "limit=101": "limit",
    "limit=x": "limit",
    "limit=1.5": "limit",
    "limit=": "limit",
    "limit=1&limit=2": "limit",
    "colour=red": "colour",
    "word=%00": "word",
    "word=%ff": None,
    "word=%ED%A0%80": None,
    "&".join(f"a{n}=1" for n in range(200)): None,
    "word=" + "a" * 9_000: None,
}


@pytest.mark.parametrize("query", QUERIES)
async def test_400_for_a_bad_query(table: Table, query: str) -> None:
    """Each bad query string is 400 `invalid_parameter`."""
    answer = await table.ask("GET", f"/things?{query}")
    assert (answer.status, answer.error["code"]) == (400, "invalid_parameter")
    assert answer.error["param"] == QUERIES[query]


@pytest.mark.parametrize("value", ["", "a b", "ä", "x" * 256, "a\tb"])
async def test_400_for_a_bad_idempotency_key(table: Table, value: str) -> None:
    """An Idempotency-Key that cannot be one is refused, not ignored."""
    answer = await table.post("/things", b'{"name":"a"}', idempotency_key=value)
    assert (answer.status, answer.error["code"]) == (400, "invalid_header")
    assert answer.error["param"] == "Idempotency-Key"


@pytest.mark.parametrize("path", ["/things/%00", "/things/a%0Ab", "/things/%ff", "/things/" + "a" * 600])
async def test_400_for_a_bad_path(table: Table, path: str) -> None:
    """A path parameter that no id could be is 400."""
    answer = await table.ask("GET", path)
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "invalid_parameter", "id")


@pytest.mark.parametrize(
    "media", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", ""]
)
async def test_415_for_another_content_type(table: Table, media: str) -> None:
    """Only JSON in UTF-8 is taken."""
    answer = await table.post("/things", b'{"name":"a"}', content_type=media)
    assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "media", ["application/json; charset=UTF-8", "Application/JSON", 'application/json;charset="utf-8"']
)
async def test_json_may_be_spelt_in_several_ways(table: Table, media: str) -> None:
    """Content types are compared as RFC 9110 says."""
    assert (await table.post("/things", b'{"name":"a"}', content_type=media)).status == 201


@pytest.mark.parametrize("path", ["/things", "/raw"])
async def test_415_for_a_compressed_body(table: Table, path: str) -> None:
    """A compressed body is refused as such and not taken for broken JSON; `identity` is none."""
    answer = await table.post(path, gzip.compress(b'{"name":"a"}'), content_encoding="gzip")
    assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")
    assert "Content-Encoding" in answer.error["message"]
    assert (await table.post(path, b'{"name":"a"}', content_encoding="identity")).status in (200, 201)


@pytest.mark.parametrize("name", ["Authorization", "X-API-Key", "Idempotency-Key", "Content-Type"])
async def test_400_for_a_header_given_twice(table: Table, name: str) -> None:
    """Where two values would leave open who asks, or for what, neither is taken; of other headers the last counts."""
    head = (
        f"POST /things HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nX-Other: 1\r\nX-Other: 2\r\n{name}: application/json"
    )
    answer = await raw_request(table.url, f"{head}\r\n{name.lower()}: b\r\n\r\n{{}}".encode())
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "invalid_header", name)


@pytest.mark.parametrize(
    ("values", "preferred"),
    [
        (["respond-async"], True),
        (["wait=10, Respond-Async"], True),
        (["RESPOND-ASYNC; x=1"], True),
        (["wait=10", "respond-async"], True),
        (["respond-async", "wait=10"], True),
        (["x-respond-async"], False),
        (["respond-asynchronously"], False),
        (["note=respond-async"], False),
        ([], False),
    ],
)
async def test_prefer_is_read_as_a_list(values: list[str], preferred: bool) -> None:
    """`respond-async` counts as a preference of its own, however it is spelt and among whatever others."""
    assert prefers_async([(b"prefer", value.encode()) for value in values]) is preferred


async def test_413_for_a_large_body(table: Table) -> None:
    """A body over the route's bound is refused, whether its length was declared or not, and the answer arrives."""
    declared = await table.post("/things", b'{"name":"' + b"a" * 300_000 + b'"}')
    assert (declared.status, declared.error["code"], declared.error["limit_bytes"]) == (413, "body_too_large", 1_000)
    chunk = b"800\r\n" + b"a" * 0x800 + b"\r\n"
    head = b"POST /things HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    chunked = await raw_request(table.url, head + chunk)
    assert (chunked.status, chunked.error["code"]) == (413, "body_too_large")


async def test_401_without_credentials(table: Table) -> None:
    """A route is private unless it says otherwise."""
    answer = await table.ask("GET", "/private")
    assert (answer.status, answer.error["code"]) == (401, "missing_credentials")
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_401_comes_before_the_body(table: Table) -> None:
    """Strangers learn nothing about bodies, and the answer arrives though the body was not looked at."""
    answer = await table.post("/private", b"x" * 200_000)
    assert (answer.status, answer.error["code"]) == (401, "missing_credentials")


async def test_403_names_what_is_missing(table: Table) -> None:
    """A caller without the scope or the role is told which."""
    bearer = f"Bearer {table.person.token}"
    scope = await table.ask("GET", "/admins", authorization=bearer)
    assert (scope.status, scope.error["code"], scope.error["required_scope"]) == (403, "missing_scope", "admin")
    role = await table.ask("GET", "/developers", authorization=bearer)
    assert (role.status, role.error["code"], role.error["required_role"]) == (403, "missing_role", "developer")


async def test_credentials_are_checked_where_they_are_optional(table: Table) -> None:
    """Without credentials the caller is nobody; wrong ones are wrong there too."""
    nobody = await table.ask("GET", "/anyone")
    assert msgspec.json.decode(nobody.body)["caller"] == "anonymous"
    somebody = await table.ask("GET", "/anyone", authorization=f"Bearer {table.person.token}")
    assert msgspec.json.decode(somebody.body)["caller"] == table.person.id
    assert (await table.ask("GET", "/anyone", x_api_key="nonsense")).status == 401


async def test_a_public_route_ignores_credentials(table: Table) -> None:
    """An old token in a client's settings does not keep it from logging in."""
    assert (await table.ask("GET", "/things", authorization="Bearer gone")).status == 200


async def test_404_and_405_have_the_one_shape(table: Table) -> None:
    """Unknown addresses and methods are told apart, with the methods that there are."""
    nowhere = (await table.ask("GET", "/elsewhere")).error
    assert (nowhere["code"], "/v1" in nowhere["message"]) == ("not_found", False)
    assert "a base_url ends in /v1" in (await table.ask("GET", "/parts/1")).error["message"]
    answer = await table.ask("PATCH", "/things")
    assert (answer.status, answer.error["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, POST, HEAD, OPTIONS"


async def test_options_and_head(table: Table) -> None:
    """OPTIONS tells the methods, HEAD answers as GET does without a body."""
    options = await table.ask("OPTIONS", "/things")
    assert (options.status, options.headers["allow"]) == (204, "GET, POST, HEAD, OPTIONS")
    assert "access-control-allow-origin" not in options.headers


async def test_errors_of_every_layer_have_the_one_shape(table: Table) -> None:
    """The API's, the domain's and the store's refusals differ in code and status only; money is shown as text."""
    api = await table.ask("GET", "/fails/api")
    assert (api.status, api.error["param"], api.error["balance"]) == (404, "id", "1.500000")
    domain = await table.ask("GET", "/fails/domain")
    assert (domain.status, domain.error["debt"], domain.error["param"]) == (409, "2.000001", "x")
    store = await table.ask("GET", "/fails/store")
    assert (store.status, store.error["code"], store.headers["retry-after"]) == (503, "store_unavailable", "1")
    assert b"hunter2" not in store.body
    amount = await table.post("/parses", b'{"name":"1e3"}')
    assert (amount.status, amount.error["code"], amount.error["param"]) == (400, "invalid_amount", "name")


async def test_an_unforeseen_error_is_500_without_its_inside(table: Table) -> None:
    """A bug of ours shows the request id and nothing else, and the connection lives on."""
    answer = await table.ask("GET", "/fails/bug", x_request_id="my-id-1")
    assert (answer.status, answer.error["code"], answer.error["request_id"]) == (500, "internal_error", "my-id-1")
    assert b"secret" not in answer.body


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-1.2:3", True), ("x" * 128, True), ("x" * 129, False), ("a b", False), ("", False)]
)
async def test_request_ids_are_taken_if_sane(table: Table, given: str, kept: bool) -> None:
    """A client's request id is kept if it is short and plain, else replaced."""
    answer = await table.ask("GET", "/things", x_request_id=given)
    assert (answer.headers["x-request-id"] == given) is kept


async def test_raw_routes_see_bytes(table: Table) -> None:
    """A raw route gets the body as it is, bounded, and answers what it likes, with our headers added."""
    answer = await table.ask("POST", "/raw", b"\x00{")
    assert (answer.status, answer.body) == (200, b"\x00{!")
    assert answer.headers["x-mine"] == "1"
    assert answer.headers["x-request-id"].startswith("req_")
    assert (await table.ask("POST", "/raw", b"x" * 101)).error["code"] == "body_too_large"


async def test_an_answer_may_have_no_body(table: Table) -> None:
    """204 has neither body nor length."""
    answer = await table.ask("DELETE", "/nothing")
    assert (answer.status, answer.body) == (204, b"")
    assert "content-length" not in answer.headers


async def test_a_body_that_takes_unknown_fields_is_a_mistake() -> None:
    """A route whose struct would swallow unknown fields cannot be served."""

    class Loose(Struct, frozen=True):
        name: str

    with pytest.raises(TypeError, match="forbid_unknown_fields"):
        body_decoder(_route("POST", "/x", seen, body=Loose))


async def test_a_feature_of_the_plan_402(table: Table) -> None:
    """A route that needs a feature refuses a plan without it, after everything about who asks, and says who has it."""
    token = f"Bearer {table.person.token}"
    assert (await table.ask("GET", "/basic", authorization=token)).status == 200
    refused = await table.ask("GET", "/featured", authorization=token)
    error = msgspec.json.decode(refused.body)["error"]
    assert (refused.status, error["code"], error["upgrade"]) == (402, "feature_not_in_plan", ["enterprise"])
    assert error["missing"] == {"feature": "sso"}
    assert (await table.ask("GET", "/featured")).status == 401
