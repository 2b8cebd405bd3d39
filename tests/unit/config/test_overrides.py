"""What holds for one database and user."""

from __future__ import annotations

from rwsplit.config.choices import PoolMode
from rwsplit.config.model import DatabaseConfig, PoolConfig, UserConfig
from rwsplit.config.overrides import limit, pool_config

POOL = PoolConfig(
    size=5,
    query_timeout=7.0,
    databases=(
        DatabaseConfig(name="shop", mode=PoolMode.SESSION, size=3, max_db_connections=9),
        DatabaseConfig(name="*", max_db_connections=4, max_db_client_connections=6),
    ),
    users=(
        UserConfig(name="etl", size=1, query_timeout=0.0, max_user_connections=0),
        UserConfig(name="*", max_user_connections=2),
    ),
)


def test_without_a_word_about_them_all_have_the_same():
    assert pool_config(POOL, "books", "app") is POOL


def test_a_database_has_its_own_and_the_rest_of_the_pools():
    found = pool_config(POOL, "shop", "app")

    assert (found.mode, found.size, found.query_timeout) == (PoolMode.SESSION, 3, 7.0)


def test_what_is_said_of_the_user_beats_what_is_said_of_the_database():
    found = pool_config(POOL, "shop", "etl")

    assert (found.mode, found.size, found.query_timeout) == (PoolMode.SESSION, 1, 0.0)


def test_a_database_that_is_called_like_the_entry_for_all_has_nothing_of_its_own():
    assert pool_config(POOL, "*", "*") is POOL


def test_a_limit_is_the_names_own_or_that_of_all_others():
    assert limit(POOL.databases, "shop", "max_db_connections") == 9
    assert limit(POOL.databases, "books", "max_db_connections") == 4
    assert limit(POOL.databases, "shop", "max_db_client_connections") == 6


def test_a_limit_of_zero_is_none_and_so_is_none():
    assert limit(POOL.users, "etl", "max_user_connections") == 0
    assert limit(POOL.users, "app", "max_user_client_connections") == 0
