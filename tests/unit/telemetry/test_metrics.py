"""Integers as Prometheus' text."""

from __future__ import annotations

from rwsplit.telemetry.metrics import Family, exposition


def test_counters_and_gauges_are_read_when_asked():
    reads = {("pg1",): 7, ("pg2",): 8}
    families = [
        Family("rwsplit_reads", "Reads answered.", reads, labels=("node",), counter=True),
        Family("rwsplit_clients", "Clients connected.", {(): 3}),
    ]
    text = exposition(lambda: families)
    assert "# TYPE rwsplit_reads_total counter" in text
    assert 'rwsplit_reads_total{node="pg1"} 7.0' in text
    assert "# TYPE rwsplit_clients gauge" in text
    assert "rwsplit_clients 3.0" in text

    reads["pg1",] = 9
    assert 'rwsplit_reads_total{node="pg1"} 9.0' in exposition(lambda: families)
