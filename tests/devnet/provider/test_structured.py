"""Tool calls and JSON: forced by the request, minimal for the schema, streamed as OpenAI streams them."""

import json
from typing import Any

import jsonschema
import pytest
from openai import AsyncOpenAI, BadRequestError
from openai.types.chat import ChatCompletionFunctionToolParam

from devnet.provider.schema import minimal_json
from tests.devnet.provider.test_answers import HELLO, streamed

WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 2},
        "days": {"type": "integer", "minimum": 1, "maximum": 7},
        "unit": {"enum": ["celsius", "fahrenheit"]},
    },
    "required": ["city", "days", "unit"],
    "additionalProperties": False,
}
TREE = {
    "type": "object",
    "properties": {"root": {"$ref": "#/$defs/node"}},
    "required": ["root"],
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
            "required": ["children"],
        }
    },
}
SCHEMAS: list[dict[str, Any]] = [
    WEATHER,
    TREE,
    {},
    {"type": "array", "items": {"type": "number", "exclusiveMinimum": 2}, "minItems": 3},
    {"type": "array", "prefixItems": [{"type": "null"}, {"type": "boolean"}], "minItems": 3},
    {"type": ["string", "null"], "format": "date-time"},
    {"anyOf": [{"type": "integer", "multipleOf": 7, "minimum": 8}, {"type": "null"}]},
    {"oneOf": [{"const": {"a": 1}}]},
    {"allOf": [{"$ref": "#/$defs/a"}, {"required": ["b"]}], "$defs": {"a": {"required": ["a"]}}},
    {"type": "number", "exclusiveMaximum": -2.5},
    {"type": "integer", "maximum": -1, "exclusiveMaximum": -1},
    {"type": "string", "format": "uuid"},
    {"type": "integer", "minimum": 1e300},
]
UNUSABLE: list[Any] = [
    7,
    {"type": "colour"},
    {"$ref": "#/$defs/none"},
    {"$ref": "#"},
    {"enum": []},
    {"type": "string", "minLength": 10**9},
    {"type": "number", "minimum": 1, "multipleOf": 0},
    {"type": "array", "minItems": 999, "items": {"type": "array", "minItems": 999}},
]


def tool(name: str, parameters: dict[str, Any]) -> ChatCompletionFunctionToolParam:
    """A function on offer."""
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


@pytest.mark.parametrize("schema", SCHEMAS, ids=json.dumps)
def test_a_minimal_value_satisfies_its_schema(schema: dict[str, Any]) -> None:
    """What is made for a schema is valid by an independent validator."""
    jsonschema.Draft202012Validator(schema).validate(json.loads(minimal_json(schema)))


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
async def test_a_forced_tool_is_called(client: AsyncOpenAI, choice: Any) -> None:
    """The call's arguments satisfy the schema; a named function ends with `stop`, any other with `tool_calls`."""
    tools = [tool("weather", WEATHER), tool("other", {})]
    request: dict[str, Any] = {"model": "fs-basic", "messages": HELLO, "tools": tools, "tool_choice": choice}
    answer = await client.chat.completions.create(**request)
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == ("tool_calls" if choice == "required" else "stop")
    assert message.content is None
    assert message.tool_calls is not None
    [call] = message.tool_calls
    assert call.type == "function"
    assert call.function.name == "weather"
    jsonschema.validate(json.loads(call.function.arguments), WEATHER)
    assert answer.usage is not None
    chunks = await streamed(client, **request)
    deltas = [each for chunk in chunks for each in chunk.choices[0].delta.tool_calls or []]
    assert (deltas[0].id, deltas[0].function and deltas[0].function.name) == (call.id, "weather")
    joined = "".join(each.function.arguments or "" for each in deltas if each.function)
    assert joined == call.function.arguments
    assert len(deltas) == answer.usage.completion_tokens
    assert chunks[-1].choices[0].finish_reason == answer.choices[0].finish_reason


@pytest.mark.parametrize("choice", ["auto", "none"])
async def test_tools_that_are_not_forced_are_not_called(client: AsyncOpenAI, choice: Any) -> None:
    """With `auto` and `none` the answer is text."""
    answer = await client.chat.completions.create(
        model="fs-basic",
        messages=HELLO,
        tools=[tool("weather", WEATHER)],
        tool_choice=choice,
    )
    assert answer.choices[0].message.tool_calls is None
    assert answer.choices[0].message.content


async def test_arguments_are_cut_by_max_tokens(client: AsyncOpenAI) -> None:
    """A call that does not fit ends with `length`, at exactly the bound."""
    answer = await client.chat.completions.create(
        model="fs-basic",
        messages=HELLO,
        tools=[tool("weather", WEATHER)],
        tool_choice="required",
        max_tokens=4,
    )
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 4


async def test_json_is_answered_when_asked(client: AsyncOpenAI) -> None:
    """`json_object` gets an object with a text; `json_schema` a value that satisfies the schema."""
    answer = await client.chat.completions.create(
        model="fs-basic", messages=HELLO, response_format={"type": "json_object"}
    )
    assert json.loads(answer.choices[0].message.content or "")["reply"].startswith("Reply ")
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "tree", "schema": TREE, "strict": True}}
    for stream in (False, True):
        request: dict[str, Any] = {"model": "fs-basic", "messages": HELLO, "response_format": wanted}
        if stream:
            chunks = await streamed(client, **request)
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        else:
            text = (await client.chat.completions.create(**request)).choices[0].message.content or ""
        assert json.loads(text) == {"root": {"children": []}}


@pytest.mark.parametrize("schema", UNUSABLE, ids=json.dumps)
async def test_an_unusable_schema_is_a_400(client: AsyncOpenAI, schema: Any) -> None:
    """A schema that is none, recurs for ever or asks for too much is refused, never a 500 and never slow."""
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "odd", "schema": schema}}
    with pytest.raises(BadRequestError):
        await client.chat.completions.create(model="fs-basic", messages=HELLO, response_format=wanted)
