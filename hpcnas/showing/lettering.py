"""Names in any script in a picture: measured, drawn with what fonts there are, and left to the browser in SVG.

A picture's own font, DejaVu Sans, has Latin, Greek, Cyrillic and some others. SVG holds texts as texts, which a browser shows
with fonts of its own, from right to left where they are read so; here their widths are estimated, so that a picture is the same
on every machine. PDF and PNG need a font that is installed on this one.
"""

from __future__ import annotations

import codecs
import io
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, Literal

from matplotlib import font_manager
from matplotlib.backends.backend_mixed import MixedModeRenderer
from matplotlib.backends.backend_svg import FigureCanvasSVG, RendererSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text

WIDE, NARROW = "W", "n"
"""Characters of our font as wide as one of Chinese, Japanese or Korean, and as most letters of other scripts are."""


class SvgCanvas(FigureCanvasSVG):
    """Writes texts as texts, laid out by ``stand_in``."""

    def print_svg(self, filename: Any, *, bbox_inches_restore: Any = None, metadata: Any = None, **_: Any) -> None:
        stream = filename if isinstance(filename, io.TextIOBase) else codecs.getwriter("utf-8")(filename)
        dots_per_inch, self.figure.dpi = self.figure.dpi, 72
        width, height = self.figure.get_size_inches()
        svg = _Renderer(72 * width, 72 * height, stream, image_dpi=dots_per_inch, metadata=metadata)
        mixed: Any = MixedModeRenderer(
            self.figure, width, height, dots_per_inch, svg, bbox_inches_restore=bbox_inches_restore
        )  # fmt: skip
        self.figure.draw(mixed)
        mixed.finalize()


class _Renderer(RendererSVG):
    def get_text_width_height_descent(
        self, s: str, prop: FontProperties, ismath: bool | Literal["TeX"]
    ) -> tuple[float, float, float]:
        return super().get_text_width_height_descent(s if ismath else stand_in(s), prop, ismath)


def stand_in(text: str) -> str:
    """A text of our font that is about as wide."""
    return "".join(char if char in own_characters() else _stand_in(char) for char in text)


def _stand_in(char: str) -> str:
    if unicodedata.category(char) in ("Mn", "Me", "Cf", "Cc", "Cs"):  # marks above others, joiners, controls
        return ""
    return WIDE if unicodedata.east_asian_width(char) in "WF" else NARROW


@contextmanager
def with_installed_fonts(figure: Figure) -> Iterator[str]:
    """Within the block texts of the figure are drawn with whatever fonts of this machine have their characters.

    Yields the characters that none of them has, which are drawn as boxes.
    """
    families = {
        text: text.get_fontfamily() for text in figure.findobj(Text) if not own_characters().issuperset(text.get_text())
    }
    seen = frozenset(char for text in families for char in text.get_text() if _stand_in(char))
    names, missing = fonts_for(seen - own_characters())
    try:
        for text, own in families.items():
            text.set_fontfamily([*own, *names])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"(?s)Glyph \d+ .* missing from")
            warnings.filterwarnings("ignore", "Matplotlib currently does not support .* natively")
            yield "".join(sorted(missing))
    finally:
        for text, own in families.items():
            text.set_fontfamily(own)


@cache
def own_characters() -> frozenset[str]:
    """Of the style's font."""
    return _characters(font_manager.findfont(FontProperties(family=["sans-serif"])))


@cache
def fonts_for(wanted: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Names of installed fonts that together have these characters, and those that none has."""
    if not wanted:
        return (), wanted
    known = font_manager.fontManager.ttflist
    for path in sorted({*font_manager.findSystemFonts()} - {entry.fname for entry in known}):  # newer than matplotlib's cache
        with suppress(OSError, RuntimeError):  # a font that it cannot draw, such as one of coloured bitmaps
            font_manager.fontManager.addfont(path)
    regular = [e for e in known if e.weight == 400 and e.style == "normal" and "Last Resort" not in e.name]
    names: list[str] = []
    for entry in sorted(regular, key=lambda entry: ("Sans" not in entry.name, "Mono" in entry.name, entry.name)):
        if found := wanted & _characters(entry.fname):
            names.append(entry.name)
            wanted -= found
        if not wanted:
            break
    return tuple(names), wanted


def _characters(path: str) -> frozenset[str]:
    return frozenset(map(chr, font_manager.get_font(path).get_charmap()))
