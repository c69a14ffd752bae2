"""The documentation as a site: built strictly, so that every link leads somewhere, and without anything from other hosts."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio)\b[^>]*\bsrc=["']?(?:https?:)?//[^"'>\s]+"""
    r"""|<link\b(?=[^>]*\brel=["']?(?:stylesheet|preconnect|preload|icon))[^>]*\bhref=["']?(?:https?:)?//[^"'>\s]+"""
    r"""|(?:@import|url\()\s*["']?(?:https?:)?//[^"')\s]+"""
)
"""What a browser would load from another host."""


def build(config: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", config, "--site-dir", out]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    for name in ("material", "mkdocstrings_handlers.python"):
        if importlib.util.find_spec(name.partition(".")[0]) is None or importlib.util.find_spec(name) is None:
            pytest.skip("the site's generator is not installed: pip install 'hpcnas[docs]'")
    out = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", out)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_every_page_and_every_module_is_in_the_site(site):
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} - {"README"} <= {path.stem for path in site.glob("*.html")}
    shown = "".join(path.read_text(encoding="utf-8") for path in (site / "api").glob("*.html"))
    for path in (ROOT / "hpcnas").rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if path.stem not in ("__init__", "__main__"):
            assert f'id="{name}"' in shown, name
    assert 'id="hpcnas.use.classifier.Classifier.predict"' in shown, "methods have anchors to link to"


def test_the_site_takes_nothing_from_other_hosts(site):
    pages = [path for path in site.rglob("*") if path.suffix in (".html", ".css")]
    assert len(pages) > 30
    assert [(path.name, found[0]) for path in pages if (found := FETCHED.search(path.read_text(encoding="utf-8")))] == []


def test_a_link_that_leads_nowhere_keeps_the_site_from_being_built(site, tmp_path):
    """By the same settings and hooks, for pages of another folder."""
    (tmp_path / "docs").mkdir()
    kept = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[0]
    kept = kept.replace("docs_dir: docs", f"docs_dir: {tmp_path / 'docs'}").replace("tools/site", str(ROOT / "tools" / "site"))
    (tmp_path / "mkdocs.yml").write_text(re.sub(r"plugins:.*?(?=\nmarkdown)", "plugins: []", kept, flags=re.S))
    text = "# A page\n\n[there](../jobs/kws.toml), [nowhere](../jobs/nowhere.toml), [no such part](README.md#nobody)\n"
    (tmp_path / "docs" / "README.md").write_text(text)
    done = build(tmp_path / "mkdocs.yml", tmp_path / "out")
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "files/jobs/nowhere.toml" in said and "nobody" in said, said
    assert "files/jobs/kws.toml" not in said
