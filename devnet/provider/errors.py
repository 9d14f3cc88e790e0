"""Errors as OpenAI sends them: `{"error": {"message", "type", "param", "code"}}` (API reference)."""

import msgspec

TYPES = {401: "authentication_error", 429: "rate_limit_error", 500: "server_error", 503: "server_error"}


class ProviderError(Exception):
    """A refusal: HTTP status, stable code, message for people, and the parameter at fault."""

    def __init__(self, status: int, code: str | None, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param

    def body(self) -> bytes:
        """The JSON that is sent."""
        kind = TYPES.get(self.status, "invalid_request_error")
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return msgspec.json.encode({"error": error})


INJECTED = {
    "error-400": (400, "invalid_value", "The provider was told to refuse this request."),
    "error-401": (401, "invalid_api_key", "Incorrect API key provided."),
    "error-429": (429, "rate_limit_exceeded", "Rate limit reached for requests."),
    "error-500": (500, "server_error", "The server had an error while processing your request."),
    "error-503": (503, "overloaded", "The engine is currently overloaded, please try again later."),
    "error-in-stream": (500, "server_error", "The server had an error while processing your request."),
}


def injected(fail: str) -> ProviderError:
    """The error of a `fail=error-…` option."""
    return ProviderError(*INJECTED[fail])
