"""Finds every read model by looking: a new one is a new file that defines `PROJECTION`."""

import importlib
import pkgutil
from functools import cache

import projections
from domain.message import Event
from projections.projection import AnyProjection, Projection


@cache
def all_projections() -> dict[str, AnyProjection]:
    """All read models by collection, in alphabetical order."""
    found: dict[str, AnyProjection] = {}
    for module in pkgutil.iter_modules(projections.__path__, "projections."):
        projection = getattr(importlib.import_module(module.name), "PROJECTION", None)
        if isinstance(projection, Projection):
            found[projection.collection] = projection
    return dict(sorted(found.items()))


@cache
def projections_of(event: type[Event]) -> tuple[AnyProjection, ...]:
    """The read models that an event changes."""
    return tuple(each for each in all_projections().values() if event in each.events)
