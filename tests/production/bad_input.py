"""Bad input of every kind, with the one answer that every mode has to give to it."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

from msgspec import Struct

Credential: TypeAlias = Literal["none", "token", "key", "revoked", "mangled_token", "mangled_key"]
JSON = (("Content-Type", "application/json"),)
HUGE = b"9" * 400


class Case(Struct, frozen=True):
    """One request, and what it must come to."""

    status: int
    code: str
    credential: Credential
    method: str
    path: str
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = JSON

    def request(self, credentials: Mapping[str, str]) -> bytes:
        """The bytes to send; the server is asked to close the connection behind its answer."""
        headers = {"Host": "localhost", "Connection": "close", "Content-Length": str(len(self.body))} | dict(
            self.headers
        )
        if self.credential != "none":
            headers["Authorization"] = f"Bearer {credentials[self.credential]}"
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"{self.method} {self.path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + self.body


def _named(body: bytes, status: int, code: str) -> Case:
    return Case(status, code, "token", "PATCH", "/users/me", body)


def _chat(body: bytes, status: int, code: str) -> Case:
    return Case(status, code, "key", "POST", "/v1/chat/completions", body)


def _key(body: bytes, code: str) -> Case:
    return Case(400, code, "token", "POST", "/api-keys", body)


def _asked(credential: Credential, code: str) -> Case:
    return Case(401, code, credential, "GET", "/billing/credits")


MESSAGES = b'"messages":[{"role":"user","content":"hi"}]'

CASES = {
    "no body": _named(b"", 400, "invalid_json"),
    "broken JSON": _named(b'{"display_name":', 400, "invalid_json"),
    "broken UTF-8": _named(b'{"display_name":"\xff"}', 400, "invalid_json"),
    "deeply nested": _named(b"[" * 50_000, 400, "invalid_json"),
    "NaN": _named(b'{"display_name":NaN}', 400, "invalid_json"),
    "an infinite number": _named(b'{"display_name":1e999}', 400, "invalid_request"),
    "a huge number": _named(b'{"display_name":' + HUGE + b"}", 400, "invalid_request"),
    "NUL": _named(b'{"display_name":"a\\u0000"}', 400, "invalid_request"),
    "a lone surrogate": _named(b'{"display_name":"\\ud800"}', 400, "invalid_request"),
    "a wrong type": _named(b'{"display_name":[]}', 400, "invalid_request"),
    "no object": _named(b"[]", 400, "invalid_request"),
    "an unknown field": _named(b'{"admin":true}', 400, "invalid_request"),
    "too large": _named(b'{"display_name":"' + b"a" * 2_000_000 + b'"}', 413, "body_too_large"),
    "another content type": Case(
        415, "unsupported_media_type", "token", "PATCH", "/users/me", b"{}", (("Content-Type", "text/plain"),)
    ),
    "oversized headers": Case(431, "headers_too_large", "none", "GET", "/health", b"", (("X-Long", "a" * 40_000),)),
    "no such path": Case(404, "not_found", "none", "GET", "/nowhere"),
    "another method": Case(405, "method_not_allowed", "none", "DELETE", "/health"),
    "a bad date": _key(b'{"name":"a","expires_at":"2030-02-30T00:00:00Z"}', "invalid_expiry"),
    "a date that is none": _key(b'{"name":"a","expires_at":"tomorrow"}', "invalid_expiry"),
    "a bad limit": Case(400, "invalid_parameter", "token", "GET", "/billing/credits/transactions?limit=-1"),
    "a huge limit": Case(400, "invalid_parameter", "token", "GET", f"/billing/credits/transactions?limit={'9' * 400}"),
    "a bad cursor": Case(400, "invalid_cursor", "token", "GET", "/billing/credits/transactions?cursor=abc"),
    "an unknown model": _chat(b'{"model":"nobody",' + MESSAGES + b"}", 404, "model_not_found"),
    "broken JSON in chat": _chat(b'{"model":', 400, "invalid_json"),
    "a negative number in chat": _chat(b'{"model":"fs-basic","max_tokens":-1,' + MESSAGES + b"}", 400, "invalid_value"),
    "a wrong type in chat": _chat(b'{"model":"fs-basic","messages":"hi"}', 400, "invalid_type"),
    "no credentials": _asked("none", "missing_credentials"),
    "a mangled token": _asked("mangled_token", "invalid_token"),
    "a mangled key": _asked("mangled_key", "invalid_api_key"),
    "a revoked key": _asked("revoked", "invalid_api_key"),
}
