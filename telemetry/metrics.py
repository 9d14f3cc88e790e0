"""Prometheus metrics: one registry for a process, and how it is shown. Each part declares its own, beside its use."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    disable_created_metrics,
    gc_collector,
    platform_collector,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.utils import floatToGoString

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
"""Buckets from half a millisecond to two minutes."""

disable_created_metrics()  # type: ignore[no-untyped-call]  # has no annotations
REGISTRY = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=REGISTRY)
platform_collector.PlatformCollector(registry=REGISTRY)
gc_collector.GCCollector(registry=REGISTRY)


def counter(name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
    """A counter in the process's registry; `name` has no `formstate_` in front and no `_total` behind."""
    return Counter(f"formstate_{name}", documentation, labels, registry=REGISTRY)


def gauge(name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
    """A gauge in the process's registry."""
    return Gauge(f"formstate_{name}", documentation, labels, registry=REGISTRY)


class Distribution:
    """Values of one set of labels, counted by bucket. Only the event loop's thread counts, so there is no lock."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """By bucket, the last for what is above all bounds."""
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Counts a value in the first bucket whose bound is not below it."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value


class Histogram:
    """As the client library's, at a fifth of its cost: every request counts in several."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str], buckets: Sequence[float]) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = tuple(labels)
        self._bounds = tuple(buckets)
        self._names = [*map(floatToGoString, self._bounds), "+Inf"]
        self._by_values: dict[tuple[str, ...], Distribution] = {}
        if not labels:
            self.labels()

    def labels(self, *values: str) -> Distribution:
        """What is counted under these values of the labels."""
        found = self._by_values.get(values)
        if found is None:
            if len(values) != len(self._labels):
                raise ValueError(f"{self._name} has the labels {self._labels}")
            found = self._by_values[values] = Distribution(self._bounds)
        return found

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """See `prometheus_client.registry.Collector`."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, each in sorted(self._by_values.items()):
            buckets = list(zip(self._names, map(float, accumulate(each.counts)), strict=True))
            family.add_metric(values, buckets, each.total)
        yield family


def histogram(
    name: str, documentation: str, labels: Sequence[str] = (), *, buckets: Sequence[float] = SECONDS
) -> Histogram:
    """A histogram in the process's registry; of seconds unless other buckets are given."""
    made = Histogram(f"formstate_{name}", documentation, labels, buckets)
    REGISTRY.register(made)
    return made


def seconds(name: str, documentation: str) -> Distribution:
    """One of seconds without labels, to count in."""
    return histogram(name, documentation).labels()


def render() -> bytes:
    """All metrics in Prometheus's text format."""
    return generate_latest(REGISTRY)
