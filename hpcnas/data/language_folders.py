"""One folder of recordings per language (or any other class), as in VoxLingua107 (Valk & Alumäe, SLT 2021, arXiv:2011.12998).

``language/**/recording.wav`` in one of three arrangements, looked for in this order: folders ``train``, ``validation`` (or
``dev``) and ``test`` above the languages; ``validation_list.txt`` and ``testing_list.txt`` with paths relative to the root; or
neither: then recordings are divided by their speaker or source, where their names tell it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hpcnas.core.errors import DataError
from hpcnas.data import audio, noise, problems
from hpcnas.data.corpus import SPLITS, CorpusIndex, DataConfig, Example, checked, stretch_s
from hpcnas.data.splitting import LISTS, by_source, listed

PADDING_COUNTS = False
FOLDERS = {"train": ("train",), "validation": ("validation", "dev", "valid"), "test": ("test",)}


def index(config: DataConfig, seed: int) -> CorpusIndex:
    """All recordings below ``config.path``.

    Raises:
        DataError: for a missing folder, recordings that cannot be read, a class that is missing in a split.
    """
    root = Path(config.path).expanduser()
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; set data.path to a folder with one folder per language")
    if config.all_is_test:
        found = [("test", language, path) for language, path in _languages(root)]
    else:
        found = list(_in_folders(root)) or list(_divided(root, config))
    names = tuple(sorted({name for _, name, _ in found}))
    examples, bad = {split: [] for split in SPLITS}, []
    for split, name, path in found:
        try:
            duration_s = audio.duration_s(path)
            length_s = stretch_s(duration_s, config)
            examples[split].append(Example(path, names.index(name), 0.0, length_s, min(duration_s, length_s)))
        except DataError as error:
            bad.append(problems.of(path, error))
    problems.settle(bad, config.on_bad_file)
    splits = {split: tuple(examples[split]) for split in SPLITS}
    return checked(CorpusIndex(names, splits, noise.recordings(root, config)), str(root), config.all_is_test)


def _in_folders(root: Path) -> Iterator[tuple[str, str, Path]]:
    """Split, language and path of recordings in folders of splits; nothing if there is no such folder."""
    for split, names in FOLDERS.items():
        for folder in (root / name for name in names if (root / name).is_dir()):
            yield from ((split, language, path) for language, path in _languages(folder))


def _divided(root: Path, config: DataConfig) -> Iterator[tuple[str, str, Path]]:
    """The same, divided by lists or by source."""
    recordings = list(_languages(root))
    if all((root / name).is_file() for name in LISTS.values()):
        splits = listed(root)
        for language, path in recordings:
            yield splits.get(path.relative_to(root).as_posix(), "train"), language, path
        return
    yield from by_source(root, recordings, config, across_classes=False)


def _languages(folder: Path) -> Iterator[tuple[str, Path]]:
    for language in sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(("_", "."))):
        recordings = sorted(p for p in language.rglob("*") if p.suffix.lower() in audio.SUFFIXES)
        if not recordings:
            raise DataError(f"{language}: a folder without recordings ({', '.join(audio.SUFFIXES)}); fill or remove it")
        yield from ((language.name, path) for path in recordings)
