"""The configuration's values and their defaults."""

from __future__ import annotations

from rwsplit.config.model import Address, Config, MonitorConfig


def test_everything_but_the_nodes_has_a_default():
    config = Config()
    assert config.listen == (Address(host="127.0.0.1", port=6432),)
    assert config.nodes == ()


def test_the_monitors_password_is_not_shown():
    assert "secret" not in repr(Config(monitor=MonitorConfig(password="secret")))
