"""TOML as its specification has it: read by the standard library, written so that every value is read back as it was.

tomli is the same reader for Python 3.10, which has none yet.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from hpcnas.core.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def parse(text: str) -> dict[str, Any]:
    """The table that ``text`` spells; raises ConfigError with line and column."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ConfigError("is not TOML: nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError is one; so is an integer of thousands of digits
        raise ConfigError(f"is not TOML: {error}") from error


def load(path: Path) -> dict[str, Any]:
    """The table in a file; raises ConfigError with its path, line and column."""
    try:
        # Editors on Windows write a byte order mark before it.
        return parse(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not TOML: {_foreign(error)}; save it as UTF-8") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def spell(table: Mapping[str, Any]) -> str:
    """``table`` as TOML; ``parse`` gives the same again, with lists for tuples."""
    return tomli_w.dumps(table)


def _foreign(error: UnicodeDecodeError) -> str:
    """What the bytes are instead of UTF-8."""
    if error.object[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "it is UTF-16"
    line = error.object[: error.start].count(b"\n") + 1
    column = error.start - error.object.rfind(b"\n", 0, error.start)
    return f"a byte that is not UTF-8 (at line {line}, column {column})"
