"""Document: a YAML text as plain values, safe for any text.

A few bytes of YAML can stand for a huge document. Aliases are shared objects, so a bomb made of them stays small in memory
unless it is printed in full; but merge keys (`<<`) are copied, so the number of merged entries is limited.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.constructor import ConstructorError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from rwsplit.config.scalars import shortened
from rwsplit.errors import ConfigError

#: How deep a document may be nested; a configuration has four levels.
MOST_DEPTH: Final = 20
#: Entries that merge keys may bring into one mapping; no configuration needs a tenth of them.
MOST_MERGED: Final = 10_000
#: Characters shown of a message of the YAML reader.
MESSAGE_CHARACTERS: Final = 200


class _Constructor(SafeConstructor):
    """Makes plain values of a document; limits what merge keys copy."""

    def flatten_mapping(self, node: Any) -> Any:
        super().flatten_mapping(node)
        if getattr(node, "merge", None) and len(node.value) > MOST_MERGED:
            what = f"merge keys make more than {MOST_MERGED} entries"
            raise ConstructorError("while merging", node.start_mark, what, node.start_mark)


def read_document(text: str, path: Path | None = None) -> Any:
    """Return the YAML *text*, that of the file *path*, as plain values; None if it is empty.

    Raises:
        ConfigError: it is not YAML; the message is one sentence.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.max_depth = MOST_DEPTH
    yaml.Constructor = _Constructor
    try:
        return yaml.load(text)
    except YAMLError as exc:
        raise yaml_problem(exc, path) from None
    except (ValueError, LookupError, RecursionError) as exc:  # of tags: `!!int x`, `!!bool x`
        raise ConfigError([f"{path or 'the text'}: is not YAML: {_sentence(exc)}"]) from None


def yaml_problem(exc: YAMLError, path: Path | None) -> ConfigError:
    """Return *exc* as one sentence with its line."""
    where = str(path) if path else "the text"
    if isinstance(exc, MarkedYAMLError) and exc.problem:
        mark = exc.problem_mark or exc.context_mark
        line = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        return ConfigError([f"{where}: {line}{_sentence(exc.problem)}"])
    return ConfigError([f"{where}: is not YAML: {_sentence(exc)}"])


def not_understood(exc: Exception, where: object) -> ConfigError:
    """Return the error for an exception that no check foresaw: a key, a tag or a number that cannot be understood."""
    what = f"cannot be understood: {type(exc).__name__}: {_sentence(exc)}"
    return ConfigError([f"{where or 'the text'}: {what}"])


def _sentence(said: object) -> str:
    return shortened(
        " ".join(str(said).split()).partition(", if necessary")[0], MESSAGE_CHARACTERS
    )
