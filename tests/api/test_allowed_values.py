"""A refusal of a word says which there are, wherever in the body it stands."""

import enum
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta, Struct

from api.allowed_values import allowed_values
from api.decode import body_decoder
from api.errors import ApiError
from api.route import Route, all_routes, needs

Word = Literal["day", "hour"]


class Colour(enum.Enum):
    """A class of words."""

    RED = "red"
    BLUE = "blue"


class Inner(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a body."""

    word: Word = "day"
    level: Annotated[Literal[1, 2], Meta(description="an example")] | None = None


class Body(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"word": "class"}):
    """Words in every place where they can be."""

    word: Word | None = None
    words: list[Word] = []
    some: tuple[Literal["a"], ...] = ()
    inner: Inner | None = None
    inners: list[Inner] = []
    by_name: dict[str, Inner] = {}
    by_word: dict[Word, int] = {}
    colour: Colour = Colour.RED


async def _handler(_call: Any) -> None:
    """Never called."""


DECODE = body_decoder(
    Route(
        method="POST",
        path="/x",
        handler=_handler,
        summary="x",
        tag="x",
        access=needs("read"),
        body=Body,
        answers={200: Body},
    )
)


@pytest.mark.parametrize(
    ("body", "param", "allowed"),
    [
        ({"class": "week"}, "class", "'day', 'hour'"),
        ({"words": ["day", "week"]}, "words[1]", "'day', 'hour'"),
        ({"some": ["b"]}, "some[0]", "'a'"),
        ({"inner": {"word": "x"}}, "inner.word", "'day', 'hour'"),
        ({"inner": {"level": 3}}, "inner.level", "1, 2"),
        ({"inners": [{}, {"word": "x"}]}, "inners[1].word", "'day', 'hour'"),
        ({"by_name": {"n": {"word": "x"}}}, "by_name[...].word", "'day', 'hour'"),
        ({"by_word": {"week": 1}}, "by_word", "'day', 'hour'"),
        ({"colour": "green"}, "colour", "'red', 'blue'"),
    ],
)
def test_the_words_that_there_are_are_named(body: object, param: str, allowed: str) -> None:
    """Not the client's, which may be anything."""
    with pytest.raises(ApiError) as caught:
        DECODE(msgspec.json.encode(body))
    assert (caught.value.code, caught.value.param) == ("invalid_request", param)
    assert caught.value.message == f"Expected one of {allowed}."


def test_every_word_of_every_route_is_named() -> None:
    """Of each field of a body or query that takes words only, for a word that it does not take."""
    asked = 0
    for route in all_routes():
        for shape in (route.body, route.query):
            if shape is None or route.raw:
                continue
            for field in msgspec.structs.fields(shape):
                try:
                    msgspec.convert({field.encode_name: "no such word"}, shape, strict=False)
                except msgspec.ValidationError as error:
                    if "Invalid enum value" not in str(error):
                        continue
                    asked += 1
                    assert allowed_values(shape, f".{field.encode_name}"), (route.path, field.name)
    assert asked > 5
