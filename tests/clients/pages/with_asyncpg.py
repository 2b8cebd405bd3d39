"""The page with asyncpg: what it prepares it describes first, every time without its cache, and once with it.

    python -m tests.clients.pages.with_asyncpg DSN PAGES CACHE

CACHE is asyncpg's `statement_cache_size`; 0 is what users of PgBouncer set. Prints how many statements the pages took.
"""

from __future__ import annotations

import asyncio  # noqa: TID251 - asyncpg knows no other loop
import sys

import asyncpg

POSTS = 30


async def page(connection: asyncpg.Connection, number: int) -> tuple[int, int]:
    """Render a page; return its length and how many statements it took."""
    lines = [f"{await connection.fetchval('select count(*) from ap_post')} posts"]
    latest = "select id, title, author from ap_post order by id desc limit $1"
    posts = await connection.fetch(latest, 10)
    for post in posts:
        comments = "select text from ap_comment where post = $1 order by text"
        lines += [post["title"], post["author"]]
        lines += [row["text"] for row in await connection.fetch(comments, post["id"])]
    busiest = "select author, count(*) as n from ap_post group by author order by author"
    lines += [f"{row['author']}: {row['n']}" for row in await connection.fetch(busiest)]
    async with connection.transaction():
        one = await connection.fetchrow("select title from ap_post where id = $1", number % 10)
        async with connection.transaction():
            many = await connection.fetchval(
                "select count(*) from ap_comment where post < $1", 9
            )
    assert one is not None
    lines += [one["title"][:4], str(many)]
    return len("\n".join(lines)), len(posts) + 5


async def run(dsn: str, pages: int, cache: int) -> None:
    """Fill the tables, render pages, count."""
    connection = await asyncpg.connect(dsn, statement_cache_size=cache)
    await connection.execute(
        "create table ap_post (id int, title text, author text);"
        "create table ap_comment (post int, text text)"
    )
    for number in range(POSTS):
        post = "insert into ap_post values ($1, $2, $3)"
        await connection.execute(post, number, f"post {number}", f"author {number % 7}")
        comments = [(number, f"comment {n}") for n in range(number % 4)]
        await connection.executemany("insert into ap_comment values ($1, $2)", comments)
    print("filled", flush=True)
    sys.stdin.readline()

    rendered = [await page(connection, number) for number in range(pages // 2)]
    async with asyncpg.create_pool(
        dsn, min_size=1, max_size=1, statement_cache_size=cache
    ) as pool:
        for number in range(pages // 2):  # each time the connection is reset
            async with pool.acquire() as pooled:
                rendered.append(await page(pooled, number))
    assert len({length for length, _ in rendered}) == 1, rendered
    print(sum(statements for _, statements in rendered), flush=True)
    sys.stdin.readline()
    await connection.execute("drop table ap_post, ap_comment")
    await connection.close()


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
