"""Random scripts about little else than parameters, transactions and what ends them; each session finds the servers that the last one left.

One server a node: what rwsplit takes the parameters of a server to be, and what they are, cannot differ unnoticed for long. The scripts are the same in
every run, unless RWSPLIT_PARAMETER_SCRIPTS says how many are wanted (`make soak`): then they are others each time.
"""

from __future__ import annotations

import os
import random
from typing import Any, Final

import pytest

from rwsplit.embedded.reachable import ReachableCluster
from tests.support.differential import Differential, Step, say
from tests.support.messages import SYNC, bind, execute, parse, query
from tests.support.postgres import MakeProxy
from tests.support.raw_client import Frame

pytestmark = pytest.mark.integration

SOAKING: Final = "RWSPLIT_PARAMETER_SCRIPTS" in os.environ
WANTED: Final = int(os.environ.get("RWSPLIT_PARAMETER_SCRIPTS", "400"))
STARTUPS: Final[tuple[dict[str, str] | None, ...]] = (
    None,
    {"options": "-c search_path=behind,pg_catalog -c work_mem=7MB"},
    {"options": "-c work_mem=9MB", "TimeZone": "Asia/Tokyo"},
)
SETS: Final = (
    *("set work_mem = '9MB'", "set work_mem = '9MB'", "set local work_mem = '6MB'"),
    *("set search_path to public", "set work_mem to 'x'", "set timezone to 'Asia/Tokyo'"),
    *("select set_config('work_mem', '9MB', false)", "set my.own = 'x'", "set role app"),
    "set client_encoding = 'latin1'",
)
RESETS: Final = ("reset work_mem", "reset role", "reset all", "discard all", "discard all")
TRANSACTIONS: Final = (
    *("begin", "begin read only", "commit", "rollback", "savepoint s", "rollback to s"),
    *("release s", "commit and chain"),
)
OTHERS: Final = (
    "select 1",
    "select 1",
    "select 1/0",
    "insert into placed values (1)",
    "deallocate all",
)
#: A parameter of one's own is empty where another session has had it: PostgreSQL keeps its name for good.
LOOK: Final = (
    "select current_setting('work_mem'), current_setting('search_path'), current_setting('datestyle'), current_setting('timezone'), "
    "nullif(current_setting('my.own', true), ''), current_user, current_setting('client_encoding')"
)


def text(chance: random.Random) -> str:
    return chance.choice(chance.choice((SETS, SETS, RESETS, RESETS, TRANSACTIONS, OTHERS)))


def pipeline(texts: list[str], names: list[str]) -> Step:
    messages = (
        message
        for each, name in zip(texts, names, strict=True)
        for message in (parse(each, name), bind(name), execute())
    )
    return say(*messages, SYNC)


def script(chance: random.Random) -> list[Step]:
    """Return a session: Queries, strings of several statements, pipelines, and looks at what it has come to."""
    steps: list[Step] = []
    for part in range(chance.randint(1, 6)):
        texts = [text(chance) for _ in range(chance.randint(1, 4))]
        kind = chance.random()
        # Within a string, what follows a RESET has the server's default (docs/compatibility.md).
        if kind < 0.4 or (kind < 0.55 and not {*texts}.isdisjoint(RESETS)):
            steps += [say(query(each)) for each in texts]
        elif kind < 0.55:
            steps.append(say(query("; ".join(texts))))
        else:
            is_named = chance.random() < 0.4
            steps.append(
                pipeline(texts, [f"s{part}_{n}" if is_named else "" for n in range(len(texts))])
            )
        if chance.random() < 0.4:
            steps.append(say(query(LOOK)))
    ending = chance.choice(("commit", "rollback"))
    on_any_node = f"{LOOK} from pg_catalog.pg_class limit 1"
    return [
        *steps,
        say(query(ending)),
        say(query(on_any_node)),
        say(query(f"/* rwsplit: primary */ {LOOK}")),
    ]


def unreported(answer: list[Frame]) -> list[Frame]:
    """Return *answer* without reports: behind a failed transaction that of a RESET comes twice, first with the server's default."""
    return [frame for frame in answer if frame.code != b"S"]


def test_no_session_has_the_parameters_of_another(
    cluster: ReachableCluster[Any], make_proxy: MakeProxy
):
    proxy = make_proxy(
        cluster,
        {
            "pool": {"size": 1},
            # Reads wait for replicas, or all behind a statement of the primary would run there.
            "consistency": {"wait": "200ms"},
            "monitor": {"interval": "20ms"},
        },
    )
    with cluster.primary.connect("app", "app") as admin:
        admin.execute("create schema behind")
        admin.execute("create table behind.placed (a int)")
        admin.execute("create table public.placed (a int)")
        cluster.wait_until_replayed()
        try:
            compare = Differential(cluster, proxy)
            first = random.randrange(1 << 40) if SOAKING else 0
            for seed in range(first, first + WANTED):
                chance = random.Random(seed)
                steps, startup = script(chance), chance.choice(STARTUPS)
                direct = compare.play("direct", steps, startup)
                ours = compare.play("rwsplit", steps, startup)
                for step, expected, got in zip(steps, direct, ours, strict=True):
                    assert unreported(got) == unreported(expected), (
                        f"seed {seed}, {startup}, {step.sent!r} of {[each.sent for each in steps]}"
                    )
        finally:
            admin.execute("drop schema behind cascade")
            admin.execute("drop table public.placed")
            cluster.wait_until_replayed()
