"""Hooks of mkdocs for ``make site``: pages made of docstrings, and what the pages in ``docs/`` link to outside of it.

Pages are written to be read in the repository too, where their links lead to files beside ``docs/``. The README becomes a page
of the site. Other files are taken along as they are. A link to a file that is not there is an error.
"""

from __future__ import annotations

import ast
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
OVERVIEW = "overview.md"
"""The project's README as a page; ``docs/README.md`` is the first page of the site."""
LINK = re.compile(r"(?<=\]\()(?![a-z]+:)([^)#\s]+)(#[^)\s]*)?(?=\))")


def modules() -> dict[str, list[str]]:
    """The package's modules by their folders, ``hpcnas.core`` and so on; programs stand in ``hpcnas`` itself."""
    found = defaultdict(list)
    for path in sorted((ROOT / "hpcnas").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1] == "__main__" or (parts[-1] == "__init__" and not ast.parse(path.read_text(encoding="utf-8")).body[1:]):
            continue
        found[".".join(parts[:-1])].append(".".join(part for part in parts if part != "__init__"))
    return found


def of_folder(package: str, names: list[str]) -> str:
    """The page of a folder's modules."""
    return "\n".join([f"# {package}\n", *(f"::: {name}\n" for name in names)])


def leaving(place: PurePosixPath, markdown: str) -> Iterator[str]:
    """Paths below the repository that a page links to outside of ``docs/``, if the page lies at ``place`` there."""
    for found in LINK.finditer(markdown):
        path = in_repository(place, found[1])
        if not path.startswith("docs/") and path != "README.md":
            yield path


def in_repository(place: PurePosixPath, link: str) -> str:
    """Where a link of the page at ``place`` leads, below the repository."""
    return os.path.normpath(place.parent / link)


def in_site(path: str) -> str:
    """Where a file of the repository lies among the site's sources."""
    return OVERVIEW if path == "README.md" else path.removeprefix("docs/") if path.startswith("docs/") else f"files/{path}"


def place_of(file: File) -> PurePosixPath:
    """Where a page lies in the repository."""
    return PurePosixPath("README.md" if file.src_uri == OVERVIEW else f"docs/{file.src_uri}")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    files.append(File.generated(config, OVERVIEW, content=(ROOT / "README.md").read_text(encoding="utf-8")))
    linked = {path for file in files.documentation_pages() for path in leaving(place_of(file), file.content_string)}
    for path in sorted(path for path in linked if (ROOT / path).is_file()):
        files.append(File.generated(config, in_site(path), abs_src_path=str(ROOT / path)))
    for package, names in modules().items():
        files.append(File.generated(config, f"api/{package}.md", content=of_folder(package, names)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    place = place_of(page.file)
    if page.file.src_uri.startswith("api/"):
        return markdown

    def moved(link: re.Match[str]) -> str:
        target = in_site(in_repository(place, link[1]))
        return os.path.relpath(target, PurePosixPath(page.file.src_uri).parent) + (link[2] or "")

    return LINK.sub(moved, markdown)
