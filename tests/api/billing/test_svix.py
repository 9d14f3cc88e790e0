"""Webhooks that Svix delivers: believed by their signature, and of an event nothing is taken but whom it is about."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.billing.autumn_webhooks import customer_of
from api.billing.svix import TOLERANCE_S, is_secret, verify
from api.errors import ApiError
from tests.autumn import AutumnServer

OLD, NEW = "whsec_b2xkLXNlY3JldC1vZi15ZXN0ZXJkYXk=", "whsec_bmV3LXNlY3JldC1vZi10aGlzLXdlZWs="
NOW_S = 1_800_000_000
BODY = b'{"type":"billing.updated","data":{"customer_id":"user_1"}}'


def _refusal(body: bytes, headers: dict[str, str], *secrets: str, now_s: int = NOW_S) -> str | None:
    try:
        verify(body, headers, secrets, now_s)
    except ApiError as error:
        return error.code
    return None


def test_a_signature_that_is_not_good() -> None:
    """Another secret, body, id or time, and none at all are refused; one that fits among several is enough."""
    headers = AutumnServer().webhook(NEW, BODY, message_id="msg_1", at_s=NOW_S)
    assert _refusal(BODY, headers, OLD, NEW) is None
    two = {"svix-signature": f"v1a,x v1,AAAA {headers['svix-signature']} v2,x"}
    assert _refusal(BODY, headers | two, NEW) is None
    assert verify(BODY, headers, [NEW], NOW_S + TOLERANCE_S) == "msg_1"
    assert _refusal(BODY, headers, NEW, now_s=NOW_S + TOLERANCE_S + 1) == "invalid_signature"
    assert _refusal(BODY, headers, NEW, now_s=NOW_S - TOLERANCE_S - 1) == "invalid_signature"
    assert _refusal(BODY + b" ", headers, NEW) == "invalid_signature"
    assert _refusal(BODY, headers, OLD) == "invalid_signature"
    assert _refusal(BODY, headers) == "invalid_signature"
    digest = headers["svix-signature"].partition(",")[2]
    for wrong in (
        {"svix-id": "msg_2"},
        {"svix-id": ""},
        {"svix-timestamp": ""},
        {"svix-timestamp": "\u00b2"},
        {"svix-timestamp": "9" * 13},
        {"svix-signature": digest},
        {"svix-signature": f"v2,{digest}"},
        {"svix-signature": ""},
        {"svix-signature": "v1,\u00e9"},
    ):
        assert _refusal(BODY, headers | wrong, NEW) == "invalid_signature", wrong


def test_the_published_example_verifies() -> None:
    """The message with which the libraries of Svix and Standard Webhooks test themselves."""
    headers = {
        "svix-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "svix-timestamp": "1614265330",
        "svix-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    assert (
        _refusal(b'{"test": 2432232314}', headers, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", now_s=1_614_265_330)
        is None
    )


@given(st.binary(max_size=200), st.text(max_size=100), st.text(max_size=100))
def test_nothing_that_is_sent_is_a_fault_of_ours(body: bytes, message_id: str, signature: str) -> None:
    """Any bytes and any headers are refused, and any signed bytes are an event or are refused."""
    headers = {"svix-id": message_id, "svix-timestamp": str(NOW_S), "svix-signature": f"v1,{signature}"}
    assert _refusal(body, headers, NEW) == "invalid_signature"
    with suppress(ApiError):
        assert customer_of(body) is None


@pytest.mark.parametrize(
    ("event", "customer"),
    [
        ({"type": "billing.updated", "data": {"customer_id": "user_1"}}, "user_1"),
        ({"type": "customer.products.updated", "data": {"customer": {"id": "user_1"}}}, "user_1"),
        ({"type": "invoice.finalized", "data": {"customer_id": "user_1"}}, "user_1"),
        ({"type": "balances.limit_reached", "data": {"customer_id": "user_1"}}, None),
        ({"type": "billing.updated", "data": {"customer_id": 7, "customer": "x"}}, None),
        ({"type": "billing.updated", "data": {"customer_id": "x" * 256}}, None),
        ({"type": "billing.updated", "data": {}}, None),
    ],
)
def test_whom_an_event_is_about(event: dict[str, object], customer: str | None) -> None:
    """Of an event only the id of the customer is taken."""
    assert customer_of(json.dumps(event).encode()) == customer


def test_what_a_secret_looks_like() -> None:
    """Base64 of enough bytes; what would verify anything, or nothing, is none."""
    assert is_secret(NEW)
    for wrong in ("whsec_", "whsec_short", "whsec_!!!!!!!!!!!!!!!!!!!!!!!!", "whsec_" + "a" * 23):
        assert not is_secret(wrong)
