"""What a handler gets, and what it may answer."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from msgspec import Struct

from api.caller import Caller
from api.errors import ApiError
from api.route import Route
from telemetry import trace

if TYPE_CHECKING:
    from api.command_log.commands import Draft
    from api.parts import Services
    from api.process import Process

B = TypeVar("B")
Q = TypeVar("Q")

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Reply(Struct, frozen=True, kw_only=True):
    """An answer with a status or headers of its own. `body` is a struct (or bytes, sent as they are)."""

    status: int
    body: Struct | bytes | None = None
    headers: Mapping[str, str] = {}  # msgspec copies the default
    media_type: str = "application/json"


class Call(Generic[B, Q]):
    """One request, decoded and authorized. Handlers read it and change nothing, but may let go of its body."""

    __slots__ = (
        "_fingerprint",
        "_headers",
        "_process",
        "_traceparent",
        "body",
        "caller",
        "idempotency_key",
        "method",
        "path",
        "query",
        "query_string",
        "raw_body",
        "receive",
        "request_id",
        "respond_async",
        "route",
        "sealed_origin",
        "url_path",
    )

    def __init__(
        self,
        *,
        process: "Process",
        route: Route,
        caller: Caller,
        request_id: str,
        url_path: str,
        query_string: bytes,
        headers: Mapping[bytes, bytes],
        receive: Receive,
        path: Mapping[str, str],
        raw_body: bytes,
        body: B,
        query: Q,
        idempotency_key: str | None,
        respond_async: bool,
    ) -> None:
        self._process = process
        self._headers = headers
        self._traceparent: str | None = None
        self._fingerprint: str | None = None
        self.route = route
        self.caller = caller
        self.request_id = request_id
        self.method: str = route.method
        self.url_path = url_path
        """The actual path, percent-decoded."""
        self.query_string = query_string
        self.receive = receive
        """ASGI `receive`: answers `http.disconnect` when the client is gone (the body has been read already)."""
        self.path = path
        """Path parameters by name."""
        self.raw_body = raw_body
        self.body = body
        self.query = query
        self.idempotency_key = idempotency_key
        self.respond_async = respond_async
        """The client sent `Prefer: respond-async` (RFC 7240)."""
        self.sealed_origin: tuple[str, str] | None = None
        """Where it came from, as the commands carry it: under whose data key, and sealed. Made with the first one."""

    @property
    def process(self) -> "Process":
        """The process, also while it is starting; only `early` routes need it."""
        return self._process

    @property
    def services(self) -> "Services":
        """Everything a handler may use. 503 `starting` before the store and the log were reached."""
        services = self._process.services
        if services is None:
            raise ApiError("starting", headers={"Retry-After": "1"})
        return services

    @property
    def traceparent(self) -> str:
        """W3C `traceparent`: the client's, or made here when it is first needed."""
        if self._traceparent is None:
            self._traceparent = trace.parse(self.header("traceparent")) or trace.new()
        return self._traceparent

    @property
    def fingerprint(self) -> str:
        """HMAC of method, path, query and body: recognises a repeat, never the request itself."""
        if self._fingerprint is None:
            path = self.url_path.encode("utf-8", "surrogateescape")
            parts = (self.method.encode(), path, self.query_string, self.raw_body)
            self._fingerprint = self.services.lookup.digest("request", *parts)
        return self._fingerprint

    def forget_body(self) -> None:
        """Lets go of the body's bytes, for an answer that takes long; where a repeat may come, its mark stays."""
        if self.idempotency_key is not None:
            self.fingerprint  # noqa: B018  # of the body as it was
        self.raw_body = b""

    def header(self, name: str) -> str | None:
        """One request header by its lower-case name."""
        value = self._headers.get(name.encode("latin-1"))
        return None if value is None else value.decode("latin-1")

    def draft(
        self,
        stream: str | None = None,
        *,
        account: str | None = None,
        principal: str | None = None,
        command_id: str | None = None,
        fingerprint: str | None = None,
    ) -> "Draft":
        """The command that this request will become; see `api.command_log.commands.Draft`.

        `stream` may be left out until `submit` where its id comes from `new_id`. `account` is the acting account if it
        is not the caller's; `principal` is the HMAC of the email on public routes; `command_id` replaces the derived
        one where something else makes the command unique, such as a reference.
        """
        from api.command_log.commands import Draft

        return Draft(self, stream, account=account, principal=principal, command_id=command_id, fingerprint=fingerprint)
