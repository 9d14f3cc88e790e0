"""Requests: what is read, what passes through untouched, and what is refused in which words."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.errors import ApiError
from api.gateway.estimate import OUTPUT_TOKENS_MIN, affordable_tokens, estimate
from api.gateway.request import ChatRequest, decode_request
from devnet.provider.chat_request import decoded
from devnet.provider.prompt import measured
from domain.account.usage import Price, Usage, cost

PRICE = Price(input=1_000_000, cached_input=100_000, output=4_000_000, version="v")
CONTEXT = 32_768
HELLO = [{"role": "user", "content": "hello"}]


def body(**fields: Any) -> bytes:
    """A request as a client would send it."""
    return msgspec.json.encode({"model": "m", "messages": HELLO, **fields})


def refusal(data: bytes) -> ApiError:
    """The error of a body that is refused."""
    with pytest.raises(ApiError) as caught:
        decode_request(data)
    return caught.value


def read(data: bytes) -> ChatRequest | ApiError:
    """What comes of a body: nothing but these two."""
    try:
        return decode_request(data)
    except ApiError as error:
        return error


def test_unknown_fields_pass_through_byte_for_byte() -> None:
    """Whatever is not metering's business reaches the provider as it was written, numbers and escapes too."""
    data = (
        b'{"model":"m","messages":[{"role":"user","content":"\\u00e9 \\ud83d\\ude00"}],"seed": 1.50e2,"x":{"a" : [1 ]}}'
    )
    sent = decode_request(data).upstream_body("m", None)
    assert b'"\\u00e9 \\ud83d\\ude00"' in sent
    assert b'"seed":1.50e2' in sent
    assert b'"x":{"a" : [1 ]}' in sent


def test_a_field_that_is_given_twice_means_one_thing() -> None:
    """The provider sees the same value that the hold was reckoned with."""
    request = decode_request(b'{"model":"a","model":"m","messages":[{"role":"user"}],"max_tokens":1,"max_tokens":900}')
    assert (request.model, request.max_tokens) == ("m", 900)
    sent = request.upstream_body("m", None)
    assert sent.count(b'"max_tokens"') == 1
    assert msgspec.json.decode(sent)["max_tokens"] == 900


def test_streams_always_ask_for_their_usage() -> None:
    """`include_usage` is added, beside what the client wrote, and remembered if it was the client's own wish."""
    plain = decode_request(body(stream=True, stream_options={"include_obfuscation": False}))
    assert not plain.usage_asked
    options = msgspec.json.decode(plain.upstream_body("m", None))["stream_options"]
    assert options == {"include_obfuscation": False, "include_usage": True}
    asked = decode_request(body(stream=True, stream_options={"include_usage": True}))
    assert asked.usage_asked
    assert "stream_options" not in msgspec.json.decode(decode_request(body()).upstream_body("m", None))


def test_model_and_bound_are_replaced() -> None:
    """A deployment's own name of the model and an affordable bound take the client's place."""
    sent = msgspec.json.decode(decode_request(body()).upstream_body("other", 77))
    assert (sent["model"], sent["max_tokens"]) == ("other", 77)


@pytest.mark.parametrize(
    ("data", "code", "param"),
    [
        (b"", "invalid_json", None),
        (b"{", "invalid_json", None),
        (b"[]", "invalid_json", None),
        (b'"x"', "invalid_json", None),
        (b'{"model":"m"}', "missing_required_parameter", "messages"),
        (b'{"messages":[{"role":"user"}]}', "missing_required_parameter", "model"),
        (body(messages=[]), "invalid_value", "messages"),
        (body(messages="hi"), "invalid_type", "messages"),
        (body(messages=[{"content": "x"}]), "missing_required_parameter", "messages[0].role"),
        (body(messages=[{"role": "user", "content": 5}]), "invalid_type", "messages[0].content"),
        (body(model=5), "invalid_type", "model"),
        (body(stream="yes"), "invalid_type", "stream"),
        (body(max_tokens=0), "invalid_value", "max_tokens"),
        (body(max_tokens=-5), "invalid_value", "max_tokens"),
        (body(max_tokens=1.5), "invalid_type", "max_tokens"),
        (body(max_tokens=10**30), "invalid_value", "max_tokens"),
        (body(n=0), "invalid_value", "n"),
        (body(n=1000), "invalid_value", "n"),
        (body(Max_Tokens=5), "invalid_value", "Max_Tokens"),
        (b'{"model":"m","messages":[{"role":"user","content":"\xff"}]}', "invalid_json", None),
        (b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}', "invalid_request", "messages[0].content"),
        (b'{"model":"m","messages":[{"role":"user"}],"x":["\\udc00"]}', "invalid_request", "x[0]"),
        (b'{"model":"m","messages":[{"role":"user","content":"a\\u0000"}]}', "invalid_request", None),
        (b'{"model":"m","messages":[{"role":"user"}],"temperature":NaN}', "invalid_json", None),
        (b'{"model":"m","messages":[{"role":"user"}],"temperature":1e999}', "invalid_request", None),
        (b'{"model":"m","messages":[{"role":"user"}],"x":"\\u0000","y":-1e999}', "invalid_request", None),
        (b'{"model":"m","messages":[{"role":"user"}],"x":' + b"9" * 5_000 + b"}", "invalid_request", None),
        (b'{"model":"m","messages":[{"role":"user"}],"max_tokens":1e999}', "invalid_request", "max_tokens"),
        (b'{"model":"m","messages":[{"role":"user"}],"x":' + b"[" * 100 + b"]" * 100 + b"}", "invalid_json", None),
        (b"[" * 100_000, "invalid_json", None),
    ],
)
def test_bad_requests_are_named(data: bytes, code: str, param: str | None) -> None:
    """Each kind of bad input has its own clear error."""
    error = refusal(data)
    assert (error.status, error.code, error.param) == (400, code, param)


def test_a_lone_surrogate_is_named() -> None:
    """Half a character is refused in the words of every other route."""
    assert refusal(b'{"model":"m","messages":[{"role":"u","content":"\\ud800"}]}').message == (
        "A string holds a lone surrogate."
    )


@pytest.mark.parametrize("odd", [["x"], {}, {"a": [1]}, None, True, 5, 1.5, [[]]])
def test_the_type_of_a_part_may_be_anything(odd: Any) -> None:
    """What is no type of text is media, whatever JSON it is: the provider refuses it, we do not stumble."""
    assert decode_request(body(messages=[{"role": "user", "content": [{"type": odd}]}])).media


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(), max_size=8), st.just("text")
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
parts = st.dictionaries(st.sampled_from(["type", "text", "image_url"]), values, max_size=3)
messages = st.fixed_dictionaries(
    {"role": st.just("user") | values}, optional={"content": st.text() | st.lists(parts | values, max_size=3) | values}
)
requests = st.fixed_dictionaries(
    {"model": st.just("m") | values, "messages": st.lists(messages | values, min_size=1, max_size=3) | values},
    optional={
        name: values | st.booleans() | st.integers(1, 9) | st.dictionaries(st.just("include_usage"), values)
        for name in ("stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "N", "tools", "x")
    },
)


@settings(max_examples=300)
@given(requests | values, st.integers(0, 10**9))
def test_any_json_is_a_request_or_a_refusal(value: Any, granted: int) -> None:
    """Whatever JSON comes, nothing but an `ApiError` of 400 comes out of it, from its bytes to the provider's."""
    request = read(json.dumps(value).encode())
    if isinstance(request, ApiError):
        assert request.status == 400
        assert request.body("req")
        return
    wanted = estimate(request, PRICE, context=CONTEXT, max_output=4_096)
    assert 0 <= wanted.amount_min <= wanted.amount
    assert affordable_tokens(request, wanted, granted, PRICE, CONTEXT) >= 1
    assert request.prompt_bytes <= request.size
    assert msgspec.json.decode(request.upstream_body("other", 5))["max_tokens"] == 5


@given(st.binary(max_size=60), st.integers(0, 200))
def test_any_bytes_are_a_request_or_a_refusal(junk: bytes, at: int) -> None:
    """The same of a good body with bytes of any kind in its midst."""
    good = body(messages=[{"role": "user", "content": [{"type": "text", "text": "\\u0041 1e99"}]}], stream=True)
    request = read(good[:at] + junk + good[at:])
    if isinstance(request, ApiError):
        assert request.status == 400
    else:
        assert request.upstream_body("m", None)


def test_an_escaped_backslash_is_no_nul() -> None:
    """Text about NUL characters is not refused."""
    assert decode_request(b'{"model":"m","messages":[{"role":"user","content":"\\\\u0000"}]}').model == "m"


words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=200)


@given(st.lists(words, min_size=1, max_size=8), st.integers(1, 500), st.integers(1, 4), st.integers(0, 500))
def test_the_estimate_is_never_below_the_cost(contents: list[str], bound: int, n: int, used: int) -> None:
    """Whatever text is sent, the hold covers its prompt and all the output that it allows."""
    data = body(messages=[{"role": "user", "content": text} for text in contents], max_tokens=bound, n=n)
    request = decode_request(data)
    wanted = estimate(request, PRICE, context=CONTEXT, max_output=4_096)
    prompt = measured(decoded(data)).tokens
    actual = Usage(source="provider", input=min(prompt, CONTEXT), output=min(used, bound) * n)
    assert wanted.amount >= cost(actual, PRICE)
    assert wanted.amount_min == wanted.amount


@given(st.text(max_size=2_000), st.integers(0, 50_000), st.integers(1, 3))
def test_an_affordable_bound_is_paid_for(text: str, extra: int, n: int) -> None:
    """With less granted than wanted, prompt and output up to the bound cost no more than that."""
    request = decode_request(body(messages=[{"role": "user", "content": text.replace("\0", "")}], n=n))
    wanted = estimate(request, PRICE, context=CONTEXT, max_output=4_096)
    granted = min(wanted.amount_min + extra, wanted.amount)
    tokens = affordable_tokens(request, wanted, granted, PRICE, CONTEXT)
    assert OUTPUT_TOKENS_MIN <= tokens <= 4_096
    assert cost(Usage(source="provider", input=wanted.prompt, output=tokens * n), PRICE) <= granted


def test_media_counts_as_a_whole_context() -> None:
    """What an image costs cannot be told from the bytes of its address."""
    content = [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": "https://x/y.png"}}]
    request = decode_request(body(messages=[{"role": "user", "content": content}]))
    assert request.media == 1
    assert estimate(request, PRICE, context=CONTEXT, max_output=10).prompt == CONTEXT


@pytest.mark.parametrize("wrapped", [True, False])
def test_the_bytes_of_an_image_are_no_text(wrapped: bool) -> None:
    """An image in the body counts no bytes of the prompt, as one behind an address does not."""
    url = "data:image/png;base64," + "A" * 100_000
    image = {"type": "image_url", "image_url": {"url": url} if wrapped else url}
    request = decode_request(body(messages=[{"role": "user", "content": [image, {"type": "file"}]}]))
    assert request.media == 2
    assert 0 < request.prompt_bytes < 200
