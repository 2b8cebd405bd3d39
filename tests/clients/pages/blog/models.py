"""What is in the database."""

from __future__ import annotations

from typing import Any

from django.db import models


class Author(models.Model):
    name: Any = models.TextField()


class Post(models.Model):
    title: Any = models.TextField()
    author: Any = models.ForeignKey(Author, models.CASCADE)


class Comment(models.Model):
    text: Any = models.TextField()
    post: Any = models.ForeignKey(Post, models.CASCADE)
