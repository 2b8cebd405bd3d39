"""The page with psycopg: nested transactions, and rows that a policy shows to the tenant the transaction has set.

    python -m tests.clients.pages.with_psycopg DSN PAGES

Prints how many statements the pages took, BEGIN and COMMIT not counted.
"""

from __future__ import annotations

import sys
from typing import Any

import psycopg

NOTES = 40
TENANTS = ("blue", "green")
FILL = """
    create table pp_note (id int, tenant text, text text);
    alter table pp_note enable row level security;
    alter table pp_note force row level security;
    create policy own on pp_note using (tenant = current_setting('app.tenant', true));
"""


def page(connection: psycopg.Connection[Any], tenant: str) -> tuple[list[Any], int]:
    """Render the page of *tenant*; return what it shows and how many statements it took."""
    with connection.transaction():
        connection.execute("select set_config('app.tenant', %s, true)", [tenant])
        [(count,)] = connection.execute("select count(*) from pp_note").fetchall()
        with connection.transaction():  # SAVEPOINT and RELEASE
            notes = connection.execute("select text from pp_note order by id limit %s", [10])
            shown = [text for (text,) in notes.fetchall()]
            with connection.transaction():
                [(last,)] = connection.execute("select max(id) from pp_note").fetchall()
        others = "select count(*) from pp_note where tenant <> %s"
        [(strange,)] = connection.execute(others, [tenant]).fetchall()
    return [count, last, strange, *shown], 9


def main() -> None:
    """Fill the table, render pages, count."""
    dsn, pages = sys.argv[1], int(sys.argv[2])
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(FILL)
        for number in range(NOTES):
            tenant = TENANTS[number % 2]
            with connection.transaction():
                connection.execute("select set_config('app.tenant', %s, true)", [tenant])
                note = "insert into pp_note values (%s, %s, %s)"
                connection.execute(note, [number, tenant, f"{tenant} {number}"])
        print("filled", flush=True)
        sys.stdin.readline()

        statements = 0
        for number in range(pages):
            tenant = TENANTS[number % 2]
            (count, last, strange, *shown), took = page(connection, tenant)
            statements += took
            assert (count, strange) == (NOTES // 2, 0)
            assert last == NOTES - 2 + number % 2
            assert {text.split()[0] for text in shown} == {tenant}
        print(statements, flush=True)
        sys.stdin.readline()
        connection.execute("drop table pp_note")


if __name__ == "__main__":
    main()
