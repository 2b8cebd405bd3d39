"""Read-only pages of a blog, written as an application would that has never heard of rwsplit."""
