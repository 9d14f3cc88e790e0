"""Requests made up from /openapi.json and sent to a real process: every answer is one that the document promises."""

import asyncio
import secrets
from http import HTTPStatus
from typing import Any

import hypothesis
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.crash.api.shop import Caller, Shop

EXAMPLES = 3
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
ANSWER_S = 30.0
LEFT_OUT = ("/auth/login", "/auth/register")
"""Guesses of passwords are throttled, and each costs a hash."""


def _operations(url: str) -> list[Any]:
    schema: Any = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    return [operation for operation in operations if operation.path not in LEFT_OUT]


def _try(operation: Any, url: str, credential: str) -> None:
    """Sends a few made-up requests, the same in each run; an answer that was not promised is an error."""

    @hypothesis.given(case=operation.as_strategy())
    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def attempt(case: Any) -> None:
        headers = {"Authorization": f"Bearer {credential}", "Idempotency-Key": secrets.token_hex(8)}
        response = case.call(base_url=url, headers=headers, timeout=ANSWER_S)
        told_why = response.status_code == HTTPStatus.SERVICE_UNAVAILABLE and b'"not_configured"' in response.content
        checks = [each for each in CHECKS if not (told_why and each is not_a_server_error)]
        case.validate_response(response, checks=checks)

    attempt()


async def test_answers_are_what_the_document_promises(shop: Shop, caller: Caller) -> None:
    """Whatever is asked, status, media type and body are in the document, and nothing is a server error.

    But for what this shop has not: it sells nothing, and says so with 503 `not_configured`.
    """
    customer = await caller.customer("5.000000")
    url = shop.urls[0]
    operations = await asyncio.to_thread(_operations, url)
    assert len(operations) > 20
    for operation in operations:
        credential = customer.key if operation.path.startswith("/v1") else customer.token
        if operation.method.upper() == "DELETE" and operation.path == "/users/me":
            credential = (await caller.customer("1.000000")).token  # the customer is still needed
        await asyncio.to_thread(_try, operation, url, credential)


async def test_completions_are_what_the_document_promises(shop: Shop, caller: Caller) -> None:
    """A chat completion that was delivered has the shape of the document."""
    customer = await caller.customer("5.000000")
    url = shop.urls[0]
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operation: Any = schema["/v1/chat/completions"]["POST"]
    body = {"model": "fs-basic", "messages": [{"role": "user", "content": "hello [[tokens=5]]"}]}
    case = operation.Case(body=body, media_type="application/json")

    def ask() -> int:
        headers = {"Authorization": f"Bearer {customer.key}"}
        response = case.call(base_url=url, headers=headers, timeout=ANSWER_S)
        told_why = response.status_code == HTTPStatus.SERVICE_UNAVAILABLE and b'"not_configured"' in response.content
        checks = [each for each in CHECKS if not (told_why and each is not_a_server_error)]
        case.validate_response(response, checks=checks)
        return int(response.status_code)

    assert await asyncio.to_thread(ask) == 200
