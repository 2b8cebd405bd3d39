"""Document: a YAML text as plain values, whatever somebody has written there.

YAML has ways to say much in few bytes. Aliases are shared objects, so a bomb of them is small here as long as nobody
spells it out; but merge keys (`<<`) are copied, and what a text amounts to by them is bounded.
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
#: Entries of one mapping that merge keys may make; a configuration has no use for a tenth of it.
MOST_MERGED: Final = 10_000
#: Characters of what YAML's reader says of a text.
SENTENCE: Final = 200


class _Constructor(SafeConstructor):
    """Makes the values of a document, none of them by far larger than what stands there."""

    def flatten_mapping(self, node: Any) -> Any:
        super().flatten_mapping(node)
        if getattr(node, "merge", None) and len(node.value) > MOST_MERGED:
            what = f"merge keys make more than {MOST_MERGED} entries"
            raise ConstructorError("while merging", node.start_mark, what, node.start_mark)


def read_document(text: str, path: Path | None = None) -> Any:
    """Return the YAML *text*, that of the file *path*, as plain values; None if it is empty.

    Raises:
        ConfigError: it is not YAML; says so in one sentence.
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
    """Return the sentence about what nobody thought of: a key, a tag or a number that is not understood, and that is all."""
    what = f"cannot be understood: {type(exc).__name__}: {_sentence(exc)}"
    return ConfigError([f"{where or 'the text'}: {what}"])


def _sentence(said: object) -> str:
    return shortened(" ".join(str(said).split()).partition(", if necessary")[0], SENTENCE)
