"""The page with Django's ORM, requested through its handlers, each request in a transaction (ATOMIC_REQUESTS).

    python -m tests.clients.pages.with_django DSN PAGES

Prints how many statements the pages took, BEGIN and COMMIT not counted.
"""

from __future__ import annotations

import sys
from typing import Any

import django
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict

POSTS = 30


def _configure(dsn: str) -> None:
    where = conninfo_to_dict(dsn)
    settings.configure(
        ALLOWED_HOSTS=["*"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=["tests.clients.pages.blog"],
        ROOT_URLCONF=__name__,
        SECRET_KEY="for this page only",
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": where["dbname"],
                "USER": where["user"],
                "PASSWORD": where.get("password", ""),
                "HOST": where["host"],
                "PORT": where["port"],
                "ATOMIC_REQUESTS": True,
                "CONN_MAX_AGE": 60,
            }
        },
    )
    django.setup()


def main() -> None:
    """Fill the tables, request pages, count."""
    dsn, pages = sys.argv[1], int(sys.argv[2])
    _configure(dsn)
    from django.db import connection, models, transaction
    from django.http import HttpResponse
    from django.test import Client
    from django.urls import path

    from tests.clients.pages.blog.models import Author, Comment, Post

    def page(_request: Any) -> HttpResponse:
        lines = [f"{Post.objects.count()} posts"]
        for post in Post.objects.order_by("-id").prefetch_related("comment_set")[:10]:
            lines += [post.title, post.author.name, *(c.text for c in post.comment_set.all())]
        with transaction.atomic():  # SAVEPOINT and RELEASE, in the request's transaction
            lines += [str(Comment.objects.count())]
        busiest = Author.objects.values("name").annotate(posts=models.Count("post"))
        lines += [f"{row['name']}: {row['posts']}" for row in busiest.order_by("name")]
        lines += [str(Comment.objects.filter(post__author__name="author 3").exists())]
        return HttpResponse("\n".join(lines))

    globals()["urlpatterns"] = [path("", page)]
    made = (Author, Post, Comment)
    with connection.schema_editor() as editor:
        for model in made:
            editor.create_model(model)
    with transaction.atomic():
        for number in range(POSTS):
            author = Author.objects.create(name=f"author {number % 7}")
            post = Post.objects.create(title=f"post {number}", author=author)
            for comment in range(number % 4):
                Comment.objects.create(text=f"comment {comment}", post=post)
    print("filled", flush=True)
    sys.stdin.readline()

    statements = 0

    def count(execute: Any, *arguments: Any) -> Any:
        nonlocal statements
        statements += 1
        return execute(*arguments)

    client = Client()
    lengths = set()
    with connection.execute_wrapper(count):
        for _ in range(pages):
            response = client.get("/")
            assert response.status_code == 200
            lengths.add(len(response.content))
    assert len(lengths) == 1, lengths
    print(statements, flush=True)
    sys.stdin.readline()
    with connection.schema_editor() as editor:
        for model in reversed(made):
            editor.delete_model(model)


if __name__ == "__main__":
    main()
