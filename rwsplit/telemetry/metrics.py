"""Metrics: plain integers turned into Prometheus' text when a scraper asks.

The relay counts in attributes of its own objects (an `+= 1` costs 20 ns, a prometheus-client
`Counter.inc` a microsecond and a lock). Nothing is kept here: a *statistics* callable says what the
numbers are now, and each question is answered from a fresh look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import attrs
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


@attrs.frozen
class Family:
    """One metric with its values by label values: `("pg1",) -> 7`."""

    name: str
    """As in Prometheus, without `_total`."""
    documentation: str
    values: Mapping[tuple[str, ...], float]
    labels: tuple[str, ...] = ()
    counter: bool = False
    """It only grows; else a gauge."""


Statistics = Callable[[], Iterable[Family]]


class StatisticsCollector(Collector):
    """Reads *statistics* whenever Prometheus' registry is asked."""

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics

    def collect(self) -> Iterable[Metric]:
        """Yield the families as they are now."""
        for family in self._statistics():
            kind = CounterMetricFamily if family.counter else GaugeMetricFamily
            metric = kind(family.name, family.documentation, labels=family.labels)
            for labels, value in family.values.items():
                metric.add_metric(labels, value)
            yield metric


def exposition(statistics: Statistics) -> str:
    """Return what *statistics* says now in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StatisticsCollector(statistics))
    return generate_latest(registry).decode()
