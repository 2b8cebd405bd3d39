"""What settings must agree on with each other; what one setting may be is in `validators.py`.

Pure: whether the files that are named exist is the loader's business.
"""

from __future__ import annotations

from collections.abc import Iterator

from rwsplit.config.choices import AuthType, SslMode
from rwsplit.config.model import Config, OverrideConfig, TlsConfig
from rwsplit.config.overrides import EVERY, OVERRIDABLE

VERIFYING = frozenset({SslMode.VERIFY_CA, SslMode.VERIFY_FULL})

Problem = tuple[str, str]
"""A setting's path and a sentence about it."""


def check_config(config: Config) -> list[Problem]:
    """Return everything in *config* that does not fit together."""
    return [
        *_check_listen(config),
        *_check_nodes(config),
        *_check_rules(config),
        *_check_logins(config),
        *_check_pool(config),
        *_check_tls(config.tls),
    ]


def _check_listen(config: Config) -> Iterator[Problem]:
    if not config.listen:
        yield "listen", "must name at least one address"
    if len(set(config.listen)) < len(config.listen):
        yield "listen", "names one address twice"


def _check_nodes(config: Config) -> Iterator[Problem]:
    if not config.nodes:
        yield "nodes", "must name at least one PostgreSQL node"
    taken: dict[tuple[str, int], str] = {}
    for node in config.nodes:
        first = taken.setdefault((node.host, node.port), node.name)
        if first != node.name:
            yield f"nodes.{node.name}", f"has the same address as {first}"
    for address in config.listen:
        if address.port and (address.host, address.port) in taken:
            name = taken[address.host, address.port]
            yield "listen", f"is the address of node {name}; rwsplit would connect to itself"


def _check_rules(config: Config) -> Iterator[Problem]:
    names = {node.name for node in config.nodes}
    for number, rule in enumerate(config.routing.rules):
        kind, _, name = rule.to.partition(":")
        if kind == "node" and name not in names:
            yield f"routing.rules[{number}].to", f"there is no node {name!r}"


def _check_logins(config: Config) -> Iterator[Problem]:
    if config.monitor.password is not None and config.monitor.password_file is not None:
        yield "monitor.password_file", "cannot be given together with monitor.password"
    if config.users.file is None and config.auth.type is not AuthType.TRUST:
        yield "users.file", "is required unless auth.type is trust"


def _check_pool(config: Config) -> Iterator[Problem]:
    if config.pool.min_size > config.pool.size:
        yield (
            "pool.min_size",
            f"must not be more than pool.size ({config.pool.size}), got {config.pool.min_size}",
        )
    for section in ("databases", "users"):
        overrides: tuple[OverrideConfig, ...] = getattr(config.pool, section)
        for override in overrides:
            path = f"pool.{section}.{override.name}"
            if override.name == EVERY:
                yield from _check_limits_only(override, path)
            elif override.size and (override.min_size or 0) > override.size:
                size, got = override.size, override.min_size
                yield f"{path}.min_size", f"must not be more than its size ({size}), got {got}"


def _check_limits_only(override: OverrideConfig, path: str) -> Iterator[Problem]:
    """What all databases or users have is said once, in `pool`, but for the limits of each of them."""
    for name in OVERRIDABLE:
        if getattr(override, name) is not None:
            yield f"{path}.{name}", f"is set for all by pool.{name}; {EVERY} only has limits"


def _check_tls(tls: TlsConfig) -> Iterator[Problem]:
    if tls.client_tls_sslmode is not SslMode.DISABLE:
        for name in ("client_tls_cert_file", "client_tls_key_file"):
            if getattr(tls, name) is None:
                mode = tls.client_tls_sslmode.value
                yield f"tls.{name}", f"is required with client_tls_sslmode {mode}"
    for side in ("client", "server"):
        mode = getattr(tls, f"{side}_tls_sslmode")
        if mode in VERIFYING and getattr(tls, f"{side}_tls_ca_file") is None:
            yield f"tls.{side}_tls_ca_file", f"is required with {side}_tls_sslmode {mode.value}"
    if (tls.server_tls_cert_file is None) != (tls.server_tls_key_file is None):
        missing = "cert" if tls.server_tls_cert_file is None else "key"
        yield f"tls.server_tls_{missing}_file", "a certificate and its key are given together"
