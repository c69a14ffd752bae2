"""Speech synthesis by eSpeak NG through ctypes, as a program of its own.

    python -m hpcnas.data.espeak OUT.npz < utterances.json

eSpeak NG (GPL-3) is reached as the optional package ``espeakng-loader``. The library keeps global state that carries over from
one utterance to the next, and some voices draw from libc's rand(): the same call gives other samples each time. So every
chunk of 32 utterances is made by a freshly forked process after srand(1); that repeats to the sample. Forking is also why
this is a program: it must not happen inside an MPI process.
"""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import sys
from typing import TypedDict

import numpy as np

CHUNK = 32
_SYNCHRONOUS, _CHARS_UTF8, _POSITION_CHARACTER, _RATE, _PITCH = 2, 1, 1, 1, 3


class Utterance(TypedDict):
    text: str
    voice: str
    """``<language>+<variant>``, such as ``en-gb+m3``."""
    rate: int
    """Words a minute, 80 to 450."""
    pitch: int
    """0 to 100."""


def synthesise(utterances: list[Utterance]) -> tuple[list[np.ndarray], int]:
    """Samples (int16) of each utterance, and their rate. Once per process: see above."""
    import espeakng_loader  # optional: see the module's docstring

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(espeakng_loader.get_data_path()), 0)
    ctypes.CDLL(None).srand(1)
    pieces: list[np.ndarray] = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    def collect(samples, count, events):
        if samples and count > 0:
            pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    library.espeak_SetSynthCallback(collect)
    waveforms = []
    for utterance in utterances:
        if library.espeak_SetVoiceByName(utterance["voice"].encode()):
            raise ValueError(f'eSpeak NG has no voice "{utterance["voice"]}"')
        library.espeak_SetParameter(_RATE, utterance["rate"], 0)
        library.espeak_SetParameter(_PITCH, utterance["pitch"], 0)
        text = utterance["text"].encode()
        pieces.clear()
        library.espeak_Synth(text, len(text) + 1, 0, _POSITION_CHARACTER, 0, _CHARS_UTF8, None, None)
        waveforms.append(np.concatenate(pieces) if pieces else np.zeros(0, np.int16))
    return waveforms, rate


def main() -> None:
    utterances = json.load(sys.stdin)
    chunks = [utterances[i : i + CHUNK] for i in range(0, len(utterances), CHUNK)]
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with multiprocessing.get_context("fork").Pool(min(cpus, 8), maxtasksperchild=1) as pool:
        results = pool.map(synthesise, chunks, chunksize=1)
    waveforms = [waveform for part, _ in results for waveform in part]
    np.savez(sys.argv[1], samples=np.concatenate(waveforms), lengths=[len(w) for w in waveforms], rate=results[0][1])


if __name__ == "__main__":
    main()
