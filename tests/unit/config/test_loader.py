"""From YAML to a configuration, or to every problem at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rwsplit.config.choices import PoolMode
from rwsplit.config.loader import LIMIT, load, parse
from rwsplit.config.model import Address, Config
from rwsplit.config.reference import describe
from rwsplit.config.settings import all_settings
from rwsplit.errors import ConfigError

EXAMPLES = Path(__file__).parents[3] / "config"
MINIMUM = "nodes: {pg0: 10.0.0.10}\nauth: {type: trust}\n"


def problems(text: str, **options) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, **options)
    return caught.value.problems


def test_the_minimal_example_is_at_most_ten_lines_and_loads():
    text = (EXAMPLES / "rwsplit.minimal.yaml").read_text()
    assert len(text.splitlines()) <= 10
    config = parse(text, files=False)
    assert [node.name for node in config.nodes] == ["pg0", "pg1", "pg2", "pg3"]
    assert config.nodes[3].host == "10.0.0.13"


def test_the_full_example_names_every_setting_and_shows_the_defaults():
    text = (EXAMPLES / "rwsplit.example.yaml").read_text()
    config = parse(text, files=False)
    for setting in all_settings():
        assert f"{setting.name}:" in text, setting.path
        assert describe(setting), setting.path
        if setting.path in {"monitor.password_file", "users.file"} or "NAME" in setting.path:
            continue
        value, default = config, Config()
        for part in setting.path.split("."):
            value, default = getattr(value, part), getattr(default, part)
        assert value == default, setting.path


def test_a_short_node_and_a_long_one_are_the_same():
    short = parse("nodes: {pg3: 10.0.0.13:5432}\nauth: {type: trust}")
    long = parse("nodes: {pg3: {host: 10.0.0.13, port: 5432}}\nauth: {type: trust}")
    assert short.nodes == long.nodes


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("10.0.0.1:5433", "10.0.0.1", 5433),
        ("db.example.com", "db.example.com", 5432),
        ("'[::1]:5433'", "::1", 5433),
        ("'[fe80::1]'", "fe80::1", 5432),
    ],
)
def test_a_node_is_an_address(text, host, port):
    (node,) = parse(f"nodes: {{a: {text}}}\nauth: {{type: trust}}").nodes
    assert (node.host, node.port) == (host, port)


def test_listen_is_an_address_or_several():
    assert parse(MINIMUM + "listen: 0.0.0.0:1").listen == (Address(host="0.0.0.0", port=1),)
    assert parse(MINIMUM + "listen: [a:1, '[::1]:2']").listen == (
        Address(host="a", port=1),
        Address(host="::1", port=2),
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("::1:6432", "IPv6 in brackets"),
        ("'[::1'", "IPv6 in brackets"),
        ("'[::1]6432'", "IPv6 in brackets"),
        ("'*:6432'", "must name a host"),
        ("':6432'", "must name a host"),
        ("localhost", "must end in a port"),
        ("'a:'", "must end in a port"),
        ("a:99999", "must end in a port"),
        ("6432", "must be an address such as"),
    ],
)
def test_what_is_no_address_is_refused(text, sentence):
    (problem,) = problems(MINIMUM + f"listen: {text}")
    assert problem.startswith("listen[0]: ")
    assert sentence in problem


def test_units_are_read_and_bare_numbers_are_seconds_and_bytes():
    config = parse(
        MINIMUM + "consistency: {max_lag: 250ms, max_lag_bytes: 16MB, wait: 2}\n"
        "pool: {server_lifetime: 1.5h}"
    )
    assert config.consistency.max_lag == 0.25
    assert config.consistency.max_lag_bytes == 16 << 20
    assert config.consistency.wait == 2.0
    assert config.pool.server_lifetime == 5400.0
    assert (
        parse(MINIMUM + "consistency: {max_lag_bytes: 8192}").consistency.max_lag_bytes == 8192
    )


def test_an_empty_section_or_setting_means_the_default():
    config = parse(MINIMUM + "pool:\nconsistency: {max_lag: }")
    assert config.pool == Config().pool
    assert config.consistency == Config().consistency


def test_one_user_need_not_be_a_list():
    assert parse(MINIMUM + "admin: {users: alice}").admin.users == ("alice",)
    assert parse(MINIMUM + "admin: {users: [alice, 7]}").admin.users == ("alice", "7")


def test_databases_and_users_have_settings_of_their_own_by_name():
    config = parse(
        MINIMUM + "pool:\n"
        "  size: 7\n"
        "  databases: {shop: {mode: session, query_timeout: 5s}, '*': {max_db_connections: 9}}\n"
        "  users: {7: {mode: statement, max_user_client_connections: 3}}\n"
    )
    shop, every = config.pool.databases
    assert (shop.name, shop.mode, shop.query_timeout) == ("shop", PoolMode.SESSION, 5.0)
    assert (every.name, every.max_db_connections, every.size) == ("*", 9, None)
    [seven] = config.pool.users
    assert (seven.name, seven.max_user_client_connections) == ("7", 3)


def test_all_problems_are_reported_together_with_their_paths():
    found = problems(
        """
nodes:
  pg0: 10.0.0.10:5432
  pg1: {host: 10.0.0.11, weights: 2}
  pg2: {port: 0}
pool: {size: 0, sizes: 3, server_lifetime: soon, min_size: 30, lane_depth: true}
consistency: {max_lag_bytes: 1.5, level: sessions}
routing: {rules: [{to: node:pg9}, {user: x}, 5], functions: {reads: 5}}
monitor: {user: [], database: yes}
nodes_: 1
tls: 5
"""
    )
    assert found == [
        "nodes.pg1.weights: unknown setting; did you mean weight?",
        "nodes.pg2.port: must be between 1 and 65535, got 0",
        "nodes.pg2.host: is required",
        "pool.size: must be at least 1, got 0",
        "pool.sizes: unknown setting; did you mean size?",
        "pool.server_lifetime: must be a duration such as 250ms, 5s, 10m or 1h, got 'soon'",
        "pool.lane_depth: must be a whole number, got True",
        "consistency.max_lag_bytes: must be a size such as 8192, 64kB or 16MB, got '1.5'",
        "consistency.level: must be one of eventual, session, cluster, got 'sessions'; did you mean session?",
        "routing.rules[1].to: is required",
        "routing.rules[2]: must be settings, one `name: value` a line, got 5",
        "routing.functions.reads: must be a list, got 5",
        "monitor.user: must be a text, got []",
        "nodes_: unknown setting; did you mean nodes?",
        "tls: must be settings, one `name: value` a line, got 5",
        "routing.rules[0].to: there is no node 'pg9'",
        "users.file: is required unless auth.type is trust",
        "pool.min_size: must not be more than pool.size (20), got 30",
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("max_lag: 5s", "max_lag: unknown setting; did you mean consistency.max_lag?"),
        ("pool_size: 5", "pool_size: unknown setting; did you mean pool.size?"),
        ("quux: 5", "quux: unknown setting"),
        ("log: {quux: 5}", "log.quux: unknown setting; known are level, format"),
        (
            "log: {level: loud}",
            "log.level: must be one of debug, info, warning, error, got 'loud'",
        ),
        (
            "pool: {mode: sessions}",
            "pool.mode: must be one of transaction, session, statement, got 'sessions'; "
            "did you mean session?",
        ),
        ("pool: {databases: [shop]}", "pool.databases: must be settings by name"),
        ("pool: {databases: {shop: session}}", "pool.databases.shop: must be settings, one"),
        ("pool: {databases: {shop: {name: x}}}", "pool.databases.shop: its name is the key"),
        (
            "pool: {databases: {shop: {modes: session}}}",
            "pool.databases.shop.modes: unknown setting; did you mean mode?",
        ),
        (
            "pool: {users: {app: {max_db_connections: 5}}}",
            "pool.users.app.max_db_connections: unknown setting; did you mean "
            "pool.databases.NAME.max_db_connections?",
        ),
        ("pool: {users: {app: {size: 0}}}", "pool.users.app.size: must be at least 1, got 0"),
        (
            "pool: {reserve_pool_size: 1}",
            "pool.reserve_pool_size: unknown setting; did you mean pool.reserve_size?",
        ),
        (
            "limits: {max_user_connections: 1}",
            "limits.max_user_connections: unknown setting; did you mean "
            "pool.users.NAME.max_user_connections?",
        ),
        ("path: x", "path: unknown setting"),
        ("consistency: {max_lag: [1]}", "consistency.max_lag: must be a duration"),
        ("consistency: {max_lag: .inf}", "consistency.max_lag: must be more than 0, got inf"),
        ("users: {file: ''}", "users.file: must be a path, got ''"),
        ("users: {file: ~nobody-of-that-name/x}", "users.file: '~nobody-of-that-name/x': "),
        ("users: {file: missing.txt}", "users.file: there is no such file: "),
        ("users: {file: /}", "users.file: cannot be read: /"),
        ("monitor: {password_file: /dev/null}", "monitor.password_file: "),
        ("'': 5", "'': unknown setting"),
    ],
)
def test_each_problem_is_one_sentence(text, sentence):
    (problem,) = problems(MINIMUM + text)
    assert problem.startswith(sentence)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [", "line 1, column 5: expected the node content, but found '<stream end>'"),
        ("a: 1\na: 2", 'line 2, column 1: found duplicate key "a" with value "2"'),
        (
            "nodes:\n\t- x",
            "line 2, column 1: found character '\\t' that cannot start any token",
        ),
        ("x: \x01", "is not YAML: unacceptable character"),
        ("{a: " * 3000, "line 1, column 78: maximum depth of data structure exceeded"),
        (
            "a: !!python/object:os.system x",
            "line 1, column 4: could not determine a constructor",
        ),
        ("- 1", "the file: must be settings, one `name: value` a line, got [1]"),
        ("a: 2024-99-99", "is not YAML: "),
    ],
)
def test_text_that_is_not_settings_is_one_problem_with_its_line(text, sentence):
    (problem,) = problems(text)
    assert sentence in problem


def test_an_empty_file_lacks_the_nodes():
    assert problems("") == [
        "nodes: must name at least one PostgreSQL node",
        "users.file: is required unless auth.type is trust",
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nodes: [a]", "nodes: must be nodes, one `name: host:port` a line"),
        ("nodes: {a: 5}", "nodes.a: must be an address"),
        ("nodes: {a: {host: x, name: b}}", "nodes.a.name: is the key above, not a setting"),
        ("nodes: {'a b': x}", "nodes.a b: a node's name must be letters, digits, _ and -"),
        ("nodes: {a.b: {host: x}}", "nodes.a.b.name: a node's name must be letters"),
        ("nodes: {a: 'h:0'}", "nodes.a: must be between 1 and 65535, got 0"),
    ],
)
def test_what_is_no_node_is_refused(text, sentence):
    (problem,) = problems(text + "\nauth: {type: trust}")
    assert problem.startswith(sentence)


def test_paths_start_at_the_files_directory_and_the_password_is_read(tmp_path):
    (tmp_path / "users.txt").write_text('"a" "b"\n')
    (tmp_path / "pw").write_text("secret\n")
    for secret in ("users.txt", "pw"):
        (tmp_path / secret).chmod(0o600)
    file = tmp_path / "rwsplit.yaml"
    file.write_text("nodes: {a: b}\nusers: {file: users.txt}\nmonitor: {password_file: pw}\n")
    config = load(file)
    assert config.users.file == tmp_path / "users.txt"
    assert config.monitor.password == "secret"
    assert config.path == file


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path):
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"a: \xff")
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (LIMIT + 1))
    for path, sentence in [
        (tmp_path / "none.yaml", "there is no such file"),
        (tmp_path, "cannot be read: Is a directory"),
        (binary, "is not UTF-8 text (byte 3)"),
        (large, "is larger than"),
    ]:
        with pytest.raises(ConfigError) as caught:
            load(path)
        (problem,) = caught.value.problems
        assert problem.startswith(f"{path}: ")
        assert sentence in problem


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("pool: {databases: {'': {size: 1}}}", "pool.databases.''.name: must be a text of at least one"),
        ("pool: {users: {'': 1}}", "pool.users.'': must be settings"),
        ("pool: {databases: {1: {size: 1}, '1': {size: 2}}}", "pool.databases.1: is here twice"),
        ("pool: {databases: {? [a, b] : {size: 1}}}", "pool.databases.('a', 'b'): must be a text"),
        (f"pool: {{size: {'9' * 400}}}", "pool.size: must not be more than 2147483647"),
        (f"pool: {{size: -{'9' * 400}}}", "pool.size: must not be more than 2147483647"),
        (f"pool: {{server_lifetime: {'9' * 400}}}", "pool.server_lifetime: must not be more than 3153600000"),
        ("pool: {server_lifetime: 1e308}", "pool.server_lifetime: must not be more than 3153600000"),
        (f"consistency: {{max_lag_bytes: {'9' * 400}}}", "consistency.max_lag_bytes: must not be more than"),
        (f"pool: {{lane_depth: 0x{'f' * 4000}}}", "pool.lane_depth"),
        ("pool: {size: !!bool x}", "the text: is not YAML"),
        (f"tls: {{client_tls_ca_file: {'a' * 5000}}}", "tls.client_tls_ca_file: cannot be read"),
        ("tls: {client_tls_ca_file: /dev/full}", "it is a device, not a file"),
        ("tls: {client_tls_ca_file: /dev}", "Is a directory"),
        ('monitor: {password: "a\\0b"}', "monitor.password: must be a text that can be sent"),
        ('monitor: {user: "\\ud800"}', "monitor.user: must be a text that can be sent"),
        ("listen: []", "listen: must name at least one address"),
        ("x: &x [*x]", "x: unknown setting"),
        ("listen: a..b:6432", "listen[0]: must be a host name or an address, got 'a..b'"),
        (f"nodes: {{pg0: {'a' * 64}}}", "nodes.pg0: must be a host name or an address"),
        (f"nodes: {{pg0: {{host: {'a' * 64}.b}}}}", "nodes.pg0.host: must be a host name or an address"),
        ("\n".join(f"a{n}: 1" for n in range(300)), "the file: has more than 100 problems"),
    ],
)  # fmt: skip
def test_what_nobody_would_write_is_refused_in_a_sentence(text, sentence):
    minimum = MINIMUM if not text.startswith("nodes") else "auth: {type: trust}\n"
    found = problems(f"{minimum}{text}\n")
    assert any(sentence in each for each in found), found
    assert sum(map(len, found)) < 20_000


def test_two_spellings_of_one_name_are_not_two_nodes():
    assert problems("nodes: {1: h, '1': g}\nauth: {type: trust}") == [
        "nodes.1: is here twice, in two spellings"
    ]


def test_merge_keys_that_would_be_larger_than_the_memory_are_refused():
    text = "a0: &a0 {x: 1, y: 2}\n"
    for number in range(1, 40):
        text += f"a{number}: &a{number} {{<<: [{', '.join([f'*a{number - 1}'] * 9)}]}}\n"
    (problem,) = problems(text)
    assert "merge keys make more than 10000 entries" in problem


def test_aliases_that_would_be_larger_than_the_memory_are_not_spelt_out():
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    for number in range(1, 40):
        text += f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 9)}]\n"
    found = problems(f"{text}pool: *a39\nadmin: {{users: *a39}}\nlog: {{level: *a39}}\n")
    assert all(len(each) < 400 for each in found)


@pytest.mark.parametrize("name", ["a pipe", "a directory", "nothing", "a link to itself"])
def test_whatever_is_in_the_place_of_the_file_is_refused_and_never_waited_for(tmp_path, name):
    path = tmp_path / "rwsplit.yaml"
    if name == "a pipe":
        os.mkfifo(path)
    elif name == "a directory":
        path.mkdir()
    elif name == "a link to itself":
        path.symlink_to(path)
    with pytest.raises(ConfigError):
        load(path)
    for device in ("/dev/full", "/dev/null"):
        with pytest.raises(ConfigError, match="it is a device, not a file"):
            load(Path(device))


@pytest.mark.parametrize("setting", ["users.file", "monitor.password_file"])
def test_a_secret_that_everybody_may_read_is_refused(tmp_path, setting):
    section, name = setting.split(".")
    (tmp_path / "secret").write_text('"a" "b"\n')
    file = tmp_path / "rwsplit.yaml"
    file.write_text(f"{MINIMUM}{section}: {{{name}: secret}}\n")
    for mode in (0o604, 0o602, 0o644, 0o666):
        (tmp_path / "secret").chmod(mode)
        with pytest.raises(ConfigError) as caught:
            load(file)
        assert caught.value.problems == [
            f"{setting}: everybody may read or change it: chmod 600 {tmp_path / 'secret'}"
        ]
    for mode in (0o600, 0o400, 0o640):
        (tmp_path / "secret").chmod(mode)
        load(file)


@pytest.mark.parametrize(
    "host", ["a_b", "/var/run/" + "x" * 80, "bücher.example", "fe80::1%eth0", "10.0.0.1", "a."]
)
def test_what_a_resolver_takes_is_a_host(host):
    config = parse(f"nodes: {{pg0: {{host: '{host}'}}}}\nauth: {{type: trust}}\n")
    assert config.nodes[0].host == host


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "its first line is empty"),
        (b"\nsecret", "its first line is empty"),
        (b"\xff", "is not UTF-8 text (byte 0)"),
        (b"a\0b\n", "a password has no NUL in it"),
        (b"x" * 100_000, "is larger than"),
    ],
)
def test_a_password_file_without_a_password_is_refused(tmp_path, content, sentence):
    (tmp_path / "pw").touch(mode=0o600)
    (tmp_path / "pw").write_bytes(content)
    file = tmp_path / "rwsplit.yaml"
    file.write_text(f"{MINIMUM}monitor: {{password_file: pw}}\n")
    with pytest.raises(ConfigError, match=r"monitor\.password_file: ") as caught:
        load(file)
    assert sentence in str(caught.value)


def test_what_nobody_foresaw_is_a_refusal(monkeypatch):
    def fail(_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("rwsplit.config.loader.check_config", fail)
    assert problems(MINIMUM) == ["the text: cannot be understood: ZeroDivisionError: a bug"]
