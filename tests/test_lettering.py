"""Class names of any script in pictures."""

from __future__ import annotations

import html
import re
import warnings

import numpy as np
import pytest
from helpers import made_run
from matplotlib.font_manager import fontManager
from test_report import NEEDS_BROWSER, browse
from test_tools import tool

from hpcnas.showing import lettering, pictures

NAMES = {
    "Chinese": "中文普通话",
    "Japanese": "東京に行きます",
    "Korean": "한국어를 말하다",
    "Arabic": "العربية الفصحى",
    "Hebrew": "עברית מדוברת",
    "Hindi": "हिन्दी भाषा",
    "Thai": "ภาษาไทยกลาง",
    "Amharic": "አማርኛ ቋንቋ",
    "Georgian": "ქართული ენა",
    "an emoji": "smile 😀😀😀",
    "a formula": "$x^2$",
    "markup": '<b>&"',
    "long": "a_name_that_is_much_longer_than_others",
}


def confusion(*names: str):
    return pictures.confusion(np.eye(len(names), dtype=int) + 1, names)


@pytest.fixture(autouse=True)
def silence():
    """No warning of matplotlib about fonts."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_page_has_names_as_texts(name):
    texts = re.findall("<text [^>]*>([^<]*)</text>", pictures.to_svg(confusion(name, "up")))
    assert texts.count(html.escape(name, quote=False)) == 2, "on both axes"


def test_names_of_runs_are_texts_too():
    bands = [(group, x, 0.5, 0.4, 0.6) for group in ("_[lr]x", "$日本$") for x in (0.0, 1.0)]
    texts = re.findall("<text [^>]*>([^<]*)</text>", pictures.to_svg(pictures.courses(bands, "steps", "accuracy")))
    assert {"_[lr]x", "$日本$"} <= set(texts)


@pytest.mark.parametrize(
    ("text", "stand_in"),
    [("up Ünï", "up Ünï"), ("日本", "WW"), ("한", "W"), ("हिन्दी", "nnnnn"), ("", ""), ("ไทย", "nnn")],
)
def test_widths_are_estimated_by_characters_that_our_font_has(text, stand_in):
    assert lettering.stand_in(text) == stand_in


MEASURE = """<script>
addEventListener("load", () => {
  const outside = [...document.querySelectorAll("text")].filter(text => {
    const own = text.getBoundingClientRect(), picture = text.closest("svg").getBoundingClientRect();
    return own.left < picture.left || own.right > picture.right || own.top < picture.top || own.bottom > picture.bottom;
  });
  document.title = "outside: " + outside.map(text => text.textContent).join(", ");
});
</script>"""


@NEEDS_BROWSER
def test_a_browser_has_room_for_every_name(tmp_path):
    page, drawn = tmp_path / "page.html", [pictures.to_svg(confusion(name, 3 * name)) for name in NAMES.values()]
    page.write_text(f"<meta charset=utf-8><title></title>{''.join(drawn)}{MEASURE}", encoding="utf-8")
    dom = browse(page, tmp_path, "--window-size=1400,1400", "--dump-dom")
    assert re.search("<title>(.*)</title>", dom)[1] == "outside: "


@pytest.mark.parametrize("ending", ["pdf", "png"])
def test_a_machine_without_fonts_draws_boxes_and_says_of_what(ending, tmp_path, monkeypatch):
    own = [entry for entry in fontManager.ttflist if "DejaVu" in entry.name or "Last Resort" in entry.name]
    monkeypatch.setattr(fontManager, "ttflist", own)
    monkeypatch.setattr(lettering.font_manager, "findSystemFonts", list)
    lettering.fonts_for.cache_clear()
    figure = confusion("日本", "日hi\u200d", "up")
    assert pictures.save(figure, tmp_path / f"a.{ending}", 50) == "日本" and (tmp_path / f"a.{ending}").stat().st_size > 1000
    assert pictures.save(figure, tmp_path / "a.svg") == ""
    lettering.fonts_for.cache_clear()


def test_installed_fonts_are_found_by_their_characters(tmp_path):
    names, missing = lettering.fonts_for(frozenset("日本ह"))
    if missing:
        pytest.skip(f"no font here has {''.join(missing)}: apt-get install fonts-noto-cjk fonts-noto-core")
    assert names and not missing
    figure = confusion("日本", "हिन्दी")
    for ending in ("pdf", "png"):
        assert pictures.save(figure, tmp_path / f"a.{ending}", 50) == ""


def test_plot_says_what_is_boxes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lettering, "fonts_for", lambda wanted: ((), wanted))
    run = made_run(tmp_path / "run", class_names=("日本", "up")).root
    tool("plot").main([str(run), "--out", str(tmp_path), "--only", "confusion"])
    assert "no font here has 日本: install one" in capsys.readouterr().out
    tool("plot").main([str(run), "--out", str(tmp_path), "--only", "confusion", "--format", "svg"])
    assert "no font" not in capsys.readouterr().out and "日本" in (tmp_path / "run-confusion.svg").read_text(encoding="utf-8")
