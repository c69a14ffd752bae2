"""The page about a run, in a real browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.image
import pytest
from helpers import made_run

from hpcnas import report
from hpcnas.analysis.trials import ConfiguredRun
from hpcnas.core.errors import RunError
from hpcnas.showing import pictures

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NEEDS_BROWSER = pytest.mark.skipif(BROWSER is None, reason="no chromium on the PATH: apt-get install chromium")
PHONE, NARROWEST, DESKTOP = 390, 500, 1280
"""Widths in pixels; a headless window cannot be narrower than the second."""


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("report")
    runs = [made_run(root / f"{name}-{seed}", 24, seed, strategy=name) for name in ("random", "incremental") for seed in (0, 1)]
    report.main([str(runs[0].root), "--against", *(str(run.root) for run in runs[1:])])
    return runs[0].report


def browse(page: Path, tmp_path: Path, *arguments: str) -> str:
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--hide-scrollbars",
    ]
    command = [BROWSER, *flags, f"--user-data-dir={tmp_path / 'profile'}", *arguments, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


class _Tags(HTMLParser):
    """Open tags must be closed in order."""

    ALONE = {"meta", "br", "path", "use", "rect", "image", "line", "circle", "stop"}

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.ALONE:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if tag not in self.ALONE:
            assert self.open.pop() == tag


def test_the_page_has_all_sections_and_is_well_formed(page):
    text = page.read_text()
    headings = re.findall("<h2[^>]*>(.*?)</h2>", text)
    assert headings == [
        "Models", "On a microcontroller", "Search", "Pareto front", "Blocks", "Comparison", "Lineage of the winner",
        "Best trials", "How it was made",
    ]  # fmt: skip
    assert all(f'id="{name}"' in text for name in re.findall('href="#([a-z]+)"', text))
    assert text.count('<svg role="img" aria-label="') == text.count("<svg") >= 8
    assert "strategy=random" in text and "nan" not in re.sub("<svg.*?</svg>", "", text, flags=re.S)
    tags = _Tags()
    tags.feed(text)
    assert tags.open == []


def test_the_page_asks_nothing_of_the_network(page):
    text = page.read_text()
    assert not re.search(r"<(script|link|img|iframe)\b|@import|url\(\s*['\"]?http|(src|href)=\"(?!#)[^\"]*//", text)


@NEEDS_BROWSER
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_nothing_sticks_out_at_any_width(page, tmp_path, width):
    """In a frame, since a headless window cannot be as narrow as a phone."""
    measure = "document.title = this.contentDocument.documentElement.scrollWidth + ' of ' + this.contentWindow.innerWidth"
    frame = tmp_path / "frame.html"
    frame.write_text(f'<title></title><iframe src="{page.as_uri()}" width="{width}" height="900" onload="{measure}"></iframe>')
    dom = browse(frame, tmp_path, "--allow-file-access-from-files", "--window-size=1400,1000", "--dump-dom")
    needed, there = map(int, re.search(r"<title>(\d+) of (\d+)</title>", dom).groups())
    assert needed <= there == width


@NEEDS_BROWSER
def test_the_page_is_drawn(page, tmp_path):
    shot = tmp_path / "page.png"
    browse(page, tmp_path, f"--window-size={NARROWEST},3000", f"--screenshot={shot}")
    pixels = matplotlib.image.imread(shot)[..., :3]
    assert pixels.shape == (3000, NARROWEST, 3)
    is_ink = (pixels < 0.9).any(-1).any(1)
    assert is_ink.mean() > 0.4 and is_ink[-500:].any(), "rows of pixels with something on them"


def test_a_run_without_results_is_refused_with_a_line(tmp_path, capsys):
    run = ConfiguredRun.open(made_run(tmp_path / "run").root)
    run.dir.search.journal.write_bytes(b"")
    with pytest.raises(RunError, match="has no trials yet"):
        report.report(run)
    with pytest.raises(SystemExit) as end:
        report.main([str(run.dir.root)])
    assert end.value.code == 2 and capsys.readouterr().err.count("\n") == 1


def test_an_axis_of_accuracies_ends_at_100_percent():
    figure = pictures.ensemble_gain(["member 0", "ensemble of 2"], [0.97, 0.98], [(0.96, 0.98), (0.97, 0.99)])
    ticks = figure.axes[0].get_xticks()
    assert len(ticks) > 2 and max(ticks) <= 1.001
