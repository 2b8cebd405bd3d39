"""Startup options: the parameters that the `options` of a startup packet set.

PostgreSQL reads them as the command line of a server process: `-c name=value`, `--name=value`, and the switches of one
letter that its own processes take (process_postgres_switches in src/backend/tcop/postgres.c). What it refuses it
refuses when the first client of a kind is logged in to a node; here is what those that it takes amount to, so that
every other server can be brought there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

#: What PostgreSQL takes only from the startup packet: a server that is there already cannot be brought to it.
START_ONLY: Final = frozenset(
    {
        "ignore_system_indexes",
        "jit_debugging_support",
        "jit_profiling_support",
        "log_connections",
        "log_disconnections",
        "post_auth_delay",
    }
)

#: The switches that take an argument.
_WITH_ARGUMENT: Final = frozenset("BCDNSWcdfhkprtv-")
_SWITCHES: Final[Mapping[str, tuple[str, str]]] = {
    "O": ("allow_system_table_mods", "true"),
    "P": ("ignore_system_indexes", "true"),
    "e": ("datestyle", "euro"),
    "s": ("log_statement_stats", "true"),
}
_VALUED: Final[Mapping[str, str]] = {"S": "work_mem", "W": "post_auth_delay"}
#: `-f x` turns a way to plan off, told by the first letter.
_PLANS: Final[Mapping[str, str]] = {
    "b": "enable_bitmapscan",
    "h": "enable_hashjoin",
    "i": "enable_indexscan",
    "m": "enable_mergejoin",
    "n": "enable_nestloop",
    "o": "enable_indexonlyscan",
    "s": "enable_seqscan",
    "t": "enable_tidscan",
}
#: `-t x` turns statistics on, told by the first letters.
_STATISTICS: Final[Mapping[str, str]] = {
    "e": "log_executor_stats",
    "pa": "log_parser_stats",
    "pl": "log_planner_stats",
}
#: What `-d n` turns on from which n.
_DEBUG: Final = (
    (2, "log_statement", "all"),
    (3, "debug_print_parse", "true"),
    (4, "debug_print_plan", "true"),
    (5, "debug_print_rewritten", "true"),
)


#: Digits of a number that are read.
_DIGITS: Final = 9


def parse_options(options: str) -> dict[str, str]:
    """Return the parameters set by a startup packet's *options*, later ones over earlier ones.

    Words are separated by spaces, a backslash protects the next character (pg_split_opts in
    src/backend/utils/init/postinit.c). What cannot set anything is passed over: PostgreSQL has judged it.
    """
    found: dict[str, str] = {}
    for switch, argument in _switches(_words(options)):
        found.update(_parameters(switch, argument))
    return found


def _switches(words: list[str]) -> Iterator[tuple[str, str]]:
    """Yield each switch and its argument, as getopt(3) finds them."""
    rest = iter(words)
    for word in rest:
        if not word.startswith("-") or word == "--":
            continue
        letters = word[1:]
        while letters:
            switch, letters = letters[0], letters[1:]
            if switch in _WITH_ARGUMENT:
                yield switch, letters or next(rest, "")
                break
            yield switch, ""


def _parameters(switch: str, argument: str) -> dict[str, str]:
    if switch in ("c", "-"):
        name, equals, value = argument.partition("=")
        return {name.replace("-", "_").lower(): value} if equals else {}
    if switch in _SWITCHES:
        return dict([_SWITCHES[switch]])
    if switch in _VALUED:
        return {_VALUED[switch]: argument}
    if switch == "f":
        plan = _PLANS.get(argument[:1])
        return {plan: "false"} if plan else {}
    if switch == "t":
        statistics = _STATISTICS.get(argument[:1]) or _STATISTICS.get(argument[:2])
        return {statistics: "true"} if statistics else {}
    return _debug(argument) if switch == "d" else {}


def _debug(argument: str) -> dict[str, str]:
    """Return what `-d` *argument* sets; anything but a number is 0, as atoi(3) has it."""
    digits = argument[:_DIGITS]
    level = int(digits) if digits.isascii() and digits.isdecimal() else 0
    found = {name: value for least, name, value in _DEBUG if level >= least}
    return {"log_min_messages": f"debug{level}" if level else "notice", **found}


def _words(options: str) -> list[str]:
    words: list[str] = []
    word: list[str] = []
    escaped = started = False
    for char in options:
        if escaped:
            word.append(char)
            escaped = False
        elif char == "\\":
            escaped = started = True
        elif char.isspace():
            if started:
                words.append("".join(word))
            word, started = [], False
        else:
            word.append(char)
            started = True
    if started:
        words.append("".join(word))
    return words
