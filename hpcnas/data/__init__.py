"""Corpora and features. Knows nothing of torch or MPI.

A data set is a module with ``index(config, seed) -> CorpusIndex``, see ``corpus.py``.
"""

from hpcnas.data import language_folders, manifest, speech_commands, synthetic

DATASETS = {
    "builtin_kws": synthetic,
    "language_folders": language_folders,
    "manifest": manifest,
    "speech_commands": speech_commands,
}

__all__ = ["DATASETS"]
