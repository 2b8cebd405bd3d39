"""The page with SQLAlchemy's ORM: a Session per page, whose transaction begins and ends by itself.

    python -m tests.clients.pages.with_sqlalchemy DSN PAGES

Prints how many statements the pages took, BEGIN and ROLLBACK not counted.
"""

from __future__ import annotations

import sys
from typing import Any

from sqlalchemy import ForeignKey, create_engine, event, func, select
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    relationship,
    selectinload,
)

POSTS = 30


class Base(DeclarativeBase):
    """What is in the database."""


class Author(Base):
    __tablename__ = "sa_author"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    posts: Mapped[list[Post]] = relationship(back_populates="author")


class Post(Base):
    __tablename__ = "sa_post"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    author_id: Mapped[int] = mapped_column(ForeignKey("sa_author.id"))
    author: Mapped[Author] = relationship(back_populates="posts")
    comments: Mapped[list[Comment]] = relationship(back_populates="post")


class Comment(Base):
    __tablename__ = "sa_comment"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    post_id: Mapped[int] = mapped_column(ForeignKey("sa_post.id"))
    post: Mapped[Post] = relationship(back_populates="comments")


def page(session: Session) -> int:
    """Render the page; return its length."""
    total = session.scalar(select(func.count()).select_from(Post))
    lines = [f"{total} posts"]
    latest = select(Post).order_by(Post.id.desc()).limit(10)
    for post in session.scalars(latest.options(selectinload(Post.comments))):
        lines += [post.title, post.author.name, *(comment.text for comment in post.comments)]
    busiest = select(Author.name, func.count(Post.id)).join(Author.posts).group_by(Author.name)
    lines += [f"{name}: {count}" for name, count in session.execute(busiest)]
    one = session.get_one(Post, 1)
    lines += [one.title, *(comment.text for comment in one.comments)]
    return len("\n".join(lines))


def main() -> None:
    """Fill the tables, render pages, count."""
    dsn, pages = sys.argv[1], int(sys.argv[2])
    engine = create_engine(dsn.replace("postgresql://", "postgresql+psycopg://"))
    Base.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        for number in range(POSTS):
            author = Author(name=f"author {number % 7}")
            comments = [Comment(text=f"comment {n}") for n in range(number % 4)]
            session.add(Post(title=f"post {number}", author=author, comments=comments))
    print("filled", flush=True)
    sys.stdin.readline()

    statements = 0

    def count(*_: Any) -> None:
        nonlocal statements
        statements += 1

    event.listen(engine, "before_cursor_execute", count)
    lengths = set()
    for _ in range(pages):
        with Session(engine) as session:
            lengths.add(page(session))
    assert len(lengths) == 1, lengths
    print(statements, flush=True)
    sys.stdin.readline()
    Base.metadata.drop_all(engine)


if __name__ == "__main__":
    main()
