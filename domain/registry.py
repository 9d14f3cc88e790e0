"""Finds every aggregate of the domain by looking: a new noun is a new file that defines `AGGREGATE`."""

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from typing import Any

import domain
from domain.aggregate import Aggregate
from domain.message import Command, Event


def _aggregates() -> Iterator[Aggregate[Any]]:
    for module in pkgutil.walk_packages(domain.__path__, "domain."):
        found = getattr(importlib.import_module(module.name), "AGGREGATE", None)
        if isinstance(found, Aggregate):
            yield found


@cache
def aggregates() -> dict[str, Aggregate[Any]]:
    """All aggregates by category."""
    return {aggregate.category: aggregate for aggregate in _aggregates()}


@cache
def command_types() -> dict[str, type[Command]]:
    """All commands by wire tag. Two commands with one tag are a mistake of ours and stop the start."""
    return _by_tag(command for aggregate in aggregates().values() for command in aggregate.commands)


@cache
def event_types() -> dict[str, type[Event]]:
    """All events by wire tag."""
    return _by_tag(event for aggregate in aggregates().values() for event in aggregate.events)


def _by_tag(types: Iterator[Any]) -> dict[str, Any]:
    by_tag: dict[str, Any] = {}
    for each in types:
        tag = each.__struct_config__.tag
        if tag in by_tag and by_tag[tag] is not each:
            raise RuntimeError(f"the tag {tag!r} belongs to both {by_tag[tag].__name__} and {each.__name__}")
        by_tag[tag] = each
    return by_tag
