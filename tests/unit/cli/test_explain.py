"""`rwsplit explain`."""

from __future__ import annotations

import json


def test_the_route_the_facts_and_every_node_are_shown(run, url):
    result = run("explain", "select * from accounts")
    assert result.exit_code == 0
    first, facts, _, *nodes = result.stdout.splitlines()
    assert first == "goes to replica1 (replica): it only reads  [READ]"
    assert facts == "verb: query, may write: no, tables: accounts"
    assert nodes[1].split() == ["replica1", "yes"]
    assert "12.3 s > 10 s" in nodes[2]


def test_a_write_is_not_said_to_be_refused_by_each_replica(run, url):
    result = run("explain", "insert into t values (1)")
    assert result.stdout.splitlines() == [
        "goes to primary: it may write  [MAY_WRITE]",
        "verb: dml, primary only: MAY_WRITE, may write: yes",
        "replicas cannot take writes",
    ]


def test_json_is_what_the_documentation_says(run, url, operator):
    sql = "insert into t values ('it''s')"
    found = json.loads(run("explain", sql, "--in-transaction", "--json").stdout)
    assert found["sql"] == sql
    assert found["statement"] == {
        "verb": "dml",
        "primary_only": "MAY_WRITE",
        "may_write": True,
    }
    assert found["route"] == {
        "target": "primary",
        "reason": "MAY_WRITE",
        "node": "primary",
        "because": "it may write",
    }
    assert found["nodes"][1] == {
        "name": "replica1",
        "eligible": True,
        "refusal": None,
        "refusal_detail": None,
    }
    assert operator.done == [f"EXPLAIN {sql} True"]
