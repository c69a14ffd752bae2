"""Corpora and features. Knows nothing of torch or MPI.

A data set is a module with ``index(config) -> CorpusIndex``, see ``corpus.py``; ``says_splits(config) -> bool``: whether lists
or folders at ``config.path`` tell what is for the test; and ``PADDING_COUNTS``: whether the silence that pads a short recording
is part of it.
"""

from hpcnas.data import language_folders, manifest, speech_commands, synthetic, synthetic_languages

DATASETS = {
    "builtin_kws": synthetic,
    "builtin_lid": synthetic_languages,
    "language_folders": language_folders,
    "manifest": manifest,
    "speech_commands": speech_commands,
}

__all__ = ["DATASETS"]
