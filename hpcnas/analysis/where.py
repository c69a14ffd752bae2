"""Filters over columns, such as ``params<100k and not state=failed``: a language of comparisons, and nothing else.

filter     = some { "or" some }         some = all { "and" all }
all        = "not" all | "(" filter ")" | column operator value
operator   = < <= > >= = == != ~ !~     ~: contains the text
value      = number with k, M, G or % behind it if need be | word | "text" | 'text'
"""

from __future__ import annotations

import operator
import re

import numpy as np

from hpcnas.analysis.trials import Columns
from hpcnas.core.errors import QueryError

_TOKEN = re.compile(r"""\s*(?:(?P<text>"[^"]*"|'[^']*')|(?P<sign><=|>=|==|!=|!~|[<>=~()])|(?P<word>[^\s<>=~()!"']+))""")
_FACTORS = {"k": 1e3, "M": 1e6, "G": 1e9, "%": 0.01}
_ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_EQUAL = {"=": operator.eq, "==": operator.eq, "!=": operator.ne}


def where(text: str, columns: Columns) -> np.ndarray:
    """(N,) bool: rows that the filter admits; a comparison with an unknown figure never does. Raises QueryError."""
    return _Parser(text, columns).result()


def number(text: str) -> float:
    """Such as 3, 1e-3, 100k, 2.5M, 90%; raises ValueError."""
    factor = _FACTORS.get(text[-1:], 1.0)
    return float(text[:-1] if text[-1:] in _FACTORS else text) * factor


class _Parser:
    def __init__(self, text: str, columns: Columns) -> None:
        self._text, self._columns = text, columns
        self._tokens, at = [], 0
        while text[at:].strip():
            match = _TOKEN.match(text, at)
            if not match:
                raise self._error(f"cannot be read from {text[at:].strip()!r} on")
            self._tokens.append(match.group().strip())
            at = match.end()

    def result(self) -> np.ndarray:
        rows = self._some()
        if self._tokens:
            raise self._error(f'"{self._tokens[0]}" was not expected; join comparisons with and, or')
        return rows

    def _some(self) -> np.ndarray:
        rows = self._all()
        while self._took("or"):
            rows = rows | self._all()
        return rows

    def _all(self) -> np.ndarray:
        rows = self._one()
        while self._took("and"):
            rows = rows & self._one()
        return rows

    def _one(self) -> np.ndarray:
        if self._took("not"):
            return ~self._one()
        if self._took("("):
            rows = self._some()
            if not self._took(")"):
                raise self._error("a bracket is not closed")
            return rows
        return self._comparison()

    def _comparison(self) -> np.ndarray:
        if len(self._tokens) < 3:
            raise self._error("expected column, operator and value, such as params<100k")
        name, sign, value = (self._tokens.pop(0) for _ in range(3))
        column = column_of(self._columns, name)
        value = value[1:-1] if value[0] in "\"'" else value
        if column.dtype == object and sign in ("~", "!~", *_EQUAL):
            if sign in _EQUAL:
                return _EQUAL[sign](column.astype(str), value)
            return np.array([(value in text) == (sign == "~") for text in column], bool)
        compare = {**_ORDER, **_EQUAL}.get(sign)
        if compare is None or column.dtype == object:
            kind = "text: =, !=, ~ or !~" if column.dtype == object else "a figure: < <= > >= = or !="
            raise self._error(f'"{name} {sign}": {name} is {kind}')
        try:
            rows = compare(column, number(value))
        except ValueError:
            raise self._error(f'{name} is a figure, "{value}" is none') from None
        return rows & ~unknown(column, name)

    def _took(self, token: str) -> bool:
        if self._tokens[:1] == [token]:
            self._tokens.pop(0)
            return True
        return False

    def _error(self, reason: str) -> QueryError:
        return QueryError(f'--where "{self._text}": {reason}')


def column_of(columns: Columns, name: str) -> np.ndarray:
    """The column called ``name``; raises QueryError with the names there are."""
    if name not in columns:
        raise QueryError(f'unknown column "{name}"; known: {", ".join(columns)}')
    return columns[name]


def unknown(column: np.ndarray, name: str) -> np.ndarray:
    """(N,) bool: rows without a figure, NaN or -1; only ``parent`` may be compared with -1, for "none"."""
    if column.dtype.kind == "f":
        return np.isnan(column)
    return (column == -1) if name != "parent" else np.zeros(len(column), bool)
