"""One folder of recordings per language (or any other class), as in VoxLingua107 (Valk & Alumäe, SLT 2021, arXiv:2011.12998).

``language/**/recording.wav`` in one of three arrangements, looked for in this order: folders ``train``, ``validation`` (or
``dev``) and ``test`` above the languages; ``validation_list.txt`` and ``testing_list.txt`` with paths relative to the root; or
neither: then recordings are divided by their speaker or source, where their names tell it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hpcnas.core.errors import DataError
from hpcnas.data import audio, finding, headers, lists, noise, problems
from hpcnas.data.checking import checked
from hpcnas.data.corpus import SPLITS, CorpusIndex, DataConfig, Example, stretch_s
from hpcnas.data.finding import Unused
from hpcnas.data.problems import Problem
from hpcnas.data.spelling import composed
from hpcnas.data.splitting import divided

logger = logging.getLogger(__name__)

PADDING_COUNTS = False
SPLIT_FOLDERS = {
    "train": "train",
    "validation": "validation", "dev": "validation", "valid": "validation", "val": "validation",
    "test": "test",
}  # fmt: skip
"""Which split a folder above the languages is, by its name in small letters."""


def index(config: DataConfig) -> CorpusIndex:
    """All recordings below ``config.path``.

    Raises:
        DataError: for a missing folder, recordings that cannot be read, a class that is missing in a split.
    """
    root = Path(config.path).expanduser()
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; set data.path to a folder with one folder per language")
    bad: list[Problem] = []
    unused = Unused()
    found = list(_found(root, config, unused, bad))
    names = tuple(sorted({name for _, name, _ in found}))
    examples: dict[str, list[Example]] = {split: [] for split in SPLITS}
    for (split, name, path), length in zip(found, headers.lengths([path for *_, path in found])):
        try:
            duration_s, _ = headers.known(length)
            length_s = stretch_s(duration_s, config)
            examples[split].append(Example(path, names.index(name), 0.0, length_s, min(duration_s, length_s)))
        except DataError as error:
            bad.append(problems.of(path, error))
    problems.settle(bad, config.on_bad_file)
    noises = noise.recordings(root, config, unused)
    unused.say(root)
    return checked(CorpusIndex(names, {split: tuple(examples[split]) for split in SPLITS}, noises), str(root), config)


def says_splits(config: DataConfig) -> bool:
    """Whether folders or lists tell which recordings are for the test."""
    root = Path(config.path).expanduser()
    return bool(arranged(root).splits) or lists.there(root)


@dataclass(frozen=True)
class Arrangement:
    """What the folders directly below a root are."""

    splits: tuple[tuple[str, Path], ...] = ()
    """Splits, and the folders above their languages; empty if languages are in the root itself."""
    languages: tuple[Path, ...] = ()
    held_out: tuple[Path, ...] = ()
    """Named as splits, with languages that are also beside them: VoxLingua107's ``dev``, unpacked where its languages are."""
    others: tuple[Path, ...] = ()
    """Not used."""


def arranged(root: Path) -> Arrangement:
    """What each folder is. One called ``test`` that has recordings directly in it is a language like any other."""
    hidden: list[Path] = []
    visible: list[Path] = []
    for folder in finding.folders(root):
        (hidden if folder.name.startswith(("_", ".")) else visible).append(folder)
    others = tuple(folder for folder in hidden if folder.name != noise.NOISE_FOLDER)
    splits = tuple((split, f) for f in visible if (split := SPLIT_FOLDERS.get(f.name.lower())) and _has_folders_alone(f))
    above = [folder for _, folder in splits]
    beside = [folder for folder in visible if folder not in above]
    if not beside or any(split == "train" for split, _ in splits):
        return Arrangement(splits, (), (), (*others, *beside))
    languages = {composed(folder.name) for folder in beside}
    held_out = tuple(f for f in above if languages & {composed(inside.name) for inside in finding.folders(f)})
    return Arrangement((), tuple(f for f in visible if f not in held_out), held_out, others)


def _has_folders_alone(folder: Path) -> bool:
    return bool(finding.folders(folder)) and not any(path.suffix.lower() in audio.SUFFIXES for path in folder.iterdir())


def _found(root: Path, config: DataConfig, unused: Unused, bad: list[Problem]) -> Iterator[tuple[str, str, Path]]:
    """Split, language and path of all recordings."""
    arrangement = arranged(root)
    finding.outside(root, arrangement.others, unused)
    for folder in arrangement.held_out:
        logger.warning(
            "%s: is named as a split, and its languages are beside it too: held out, for python -m hpcnas.evaluate RUN %s; "
            "as a split of the run it would need a folder train beside it, with the other languages in there",
            folder, folder,
        )  # fmt: skip
    for split, folder in arrangement.splits:
        for language, path in _languages(finding.folders(folder), unused, bad):
            yield "test" if config.all_is_test else split, language, path
    if not arrangement.splits:
        yield from divided(root, list(_languages(arrangement.languages, unused, bad)), config, across_classes=False)


def _languages(folders: Iterable[Path], unused: Unused, bad: list[Problem]) -> Iterator[tuple[str, Path]]:
    for language in folders:
        if language.name.startswith(("_", ".")):
            continue
        recordings = finding.of_class(language, unused, bad)
        yield from ((composed(language.name), path) for path in recordings)
