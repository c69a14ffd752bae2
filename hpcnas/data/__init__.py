"""Corpora and features. Knows nothing of torch or MPI.

A data set is a module with ``corpus(config) -> list of Recording`` per split, see ``corpus.py``.
"""

from hpcnas.data import speech_commands, synthetic

DATASETS = {
    "builtin_kws": synthetic,
    "speech_commands": speech_commands,
}

__all__ = ["DATASETS"]
