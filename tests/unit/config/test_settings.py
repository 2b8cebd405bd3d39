"""The model as a flat list of settings."""

from __future__ import annotations

from rwsplit.config.choices import PoolMode
from rwsplit.config.model import (
    Address,
    Config,
    ConsistencyConfig,
    DatabaseConfig,
    FunctionsConfig,
    MonitorConfig,
    NodeConfig,
    PoolConfig,
    RoutingConfig,
    RuleConfig,
)
from rwsplit.config.settings import all_settings, values


def test_there_are_at_most_eighty_settings():
    assert len(all_settings()) <= 80


def test_a_setting_knows_its_path_and_default():
    settings = {setting.path: setting for setting in all_settings()}
    assert settings["consistency.max_lag"].default == 10.0
    assert settings["nodes.NAME.weight"].name == "weight"
    assert "path" not in settings
    assert "nodes.NAME.name" not in settings


def test_values_are_written_as_in_yaml():
    config = Config(
        listen=(Address(host="::1", port=6432),),
        nodes=(
            NodeConfig(name="pg0", host="10.0.0.1"),
            NodeConfig(name="pg1", host="::2", weight=3, backup=True),
        ),
        consistency=ConsistencyConfig(max_lag_bytes=65536),
        routing=RoutingConfig(
            rules=(RuleConfig(to="primary", user="etl"),),
            functions=FunctionsConfig(reads=("a.*", "b")),
        ),
    )
    shown = values(config)
    assert shown["listen"] == "[::1]:6432"
    assert shown["nodes.pg0"] == "10.0.0.1:5432"
    assert shown["nodes.pg1"] == "[::2]:5432 weight 3 backup"
    assert shown["consistency.max_lag_bytes"] == "64kB"
    assert shown["monitor.interval"] == "100ms"
    assert shown["routing.rules"] == "[{to: primary, user: etl}]"
    assert shown["routing.functions.reads"] == "[a.*, b]"
    assert shown["routing.balance"] == "least-connections"
    assert shown["users.file"] == ""


def test_several_listen_addresses_are_a_list():
    config = Config(listen=(Address(host="a", port=1), Address(host="b", port=2)))
    assert values(config)["listen"] == "[a:1, b:2]"


def test_secrets_are_never_shown():
    assert (
        values(Config(monitor=MonitorConfig(password="secret")))["monitor.password"] == "****"
    )
    assert values(Config())["monitor.password"] == ""


def test_what_databases_and_users_have_for_themselves_is_shown_in_one_line():
    shop = DatabaseConfig(
        name="shop", mode=PoolMode.SESSION, query_timeout=90.0, max_db_connections=0
    )
    shown = values(Config(pool=PoolConfig(databases=(shop, DatabaseConfig(name="x")))))
    assert (
        shown["pool.databases"]
        == "{shop: {mode: session, query_timeout: 90s, max_db_connections: 0}, x: {}}"
    )
    assert shown["pool.users"] == "[]"
