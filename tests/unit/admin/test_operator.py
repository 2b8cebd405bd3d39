"""What an operator is told who names what there is not."""

from __future__ import annotations

from rwsplit.admin.operator import NoSuchDatabase


def test_of_few_databases_all_are_named():
    assert str(NoSuchDatabase("ap", ["postgres", "app"])) == (
        "there is no database 'ap'; the databases are app, postgres"
    )


def test_of_many_databases_those_most_alike_are_named():
    said = str(NoSuchDatabase("tenant_7", [f"tenant_{n}x" for n in range(1000)]))

    assert "those most like it are tenant_7x, tenant_" in said
    assert said.count(",") == 9
