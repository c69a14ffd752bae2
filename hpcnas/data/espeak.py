"""Speech synthesis by eSpeak NG through ctypes, as a program of its own.

    python -m hpcnas.data.espeak OUT.npz < utterances.json
    python -m hpcnas.data.espeak < words.json
    python -m hpcnas.data.espeak --phonemes < words.json

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
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np

from hpcnas.core.errors import DataError

CHUNK = 32
_STRESS = "'*,%=_|:;"
"""Marks of stress, length and pauses: words that differ in these alone sound alike."""
_BETWEEN = "\x1f"
"""Between phonemes, when each is asked for."""
_SYNCHRONOUS, _CHARS_UTF8, _POSITION_CHARACTER, _RATE, _PITCH = 2, 1, 1, 1, 3
_PHONEMES, _IPA = 0x100, 0x02
Phoneme = tuple[str, str]
"""As eSpeak NG spells it, with its stress, and in IPA without stress and length."""


class Utterance(TypedDict):
    text: str
    """Or phonemes, as ``of_phonemes`` writes them."""
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
        flags = _CHARS_UTF8 | (_PHONEMES if text.startswith(b"[[") else 0)
        pieces.clear()
        library.espeak_Synth(text, len(text) + 1, 0, _POSITION_CHARACTER, 0, flags, None, None)
        waveforms.append(np.concatenate(pieces) if pieces else np.zeros(0, np.int16))
    return waveforms, rate


def transcribe(words: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """What each word sounds like in its language, in eSpeak NG's letters for sounds, without stress. Once per process."""
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    library.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(espeakng_loader.get_data_path()), 0)
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    found: dict[str, list[str]] = {}
    for language, own in words.items():
        library.espeak_SetVoiceByName(language.encode())
        found[language] = []
        for word in own:
            text = ctypes.c_char_p(word.encode())
            sounds = library.espeak_TextToPhonemes(ctypes.byref(text), _CHARS_UTF8, 0) or b""
            found[language].append("".join(c for c in sounds.decode("utf-8", "replace") if c not in _STRESS))
    return found


def spelt(words: Mapping[str, Sequence[str]]) -> dict[str, list[list[Phoneme]] | None]:
    """The phonemes of each word in its language, of those that eSpeak NG does not read in another one; None for a language that
    it has no voice for. Once per process."""
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    library.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(espeakng_loader.get_data_path()), 0)
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p

    def parts(word: str, form: int) -> list[str]:
        text = ctypes.c_char_p(word.encode())
        said = library.espeak_TextToPhonemes(ctypes.byref(text), _CHARS_UTF8, ord(_BETWEEN) << 8 | form) or b""
        found = said.decode("utf-8", "replace").replace(" ", _BETWEEN).split(_BETWEEN)
        return [part for part in (one.strip("_|") for one in found) if part]

    found: dict[str, list[list[Phoneme]] | None] = {}
    for language, own in words.items():
        if library.espeak_SetVoiceByName(language.encode()):
            found[language] = None
            continue
        of_each = []
        for word in own:
            spellings, ipa = parts(word, 0), [one.strip("ˈˌ").replace("ː", "") for one in parts(word, _IPA)]
            is_plain = len(spellings) == len(ipa) and not any("(" in one for one in spellings)
            of_each.append([*zip(spellings, ipa)] if is_plain else [])
        found[language] = of_each
    return found


def of_phonemes(phonemes: Sequence[Phoneme]) -> str:
    """Text that eSpeak NG speaks as these."""
    return f"[[{'|'.join(spelling for spelling, _ in phonemes)}]]"


def spoken(utterances: Sequence[Utterance]) -> tuple[list[np.ndarray], int]:
    """Samples (int16) of each utterance, and their rate, by the program; raises DataError."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "speech.npz")
        _run([out], utterances)
        with np.load(out) as made:
            return np.split(made["samples"], np.cumsum(made["lengths"])[:-1]), int(made["rate"])


def sounds(words: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """``transcribe``, by the program; raises DataError."""
    return json.loads(_run([], words))


def phonemes(words: Mapping[str, Sequence[str]]) -> dict[str, list[tuple[Phoneme, ...]] | None]:
    """``spelt``, by the program; raises DataError."""
    found = json.loads(_run(["--phonemes"], words))
    return {language: of and [tuple((a, b) for a, b in word) for word in of] for language, of in found.items()}


def _run(arguments: Sequence[str], values: object) -> str:
    command = [sys.executable, "-m", "hpcnas.data.espeak", *arguments]
    done = subprocess.run(command, input=json.dumps(values), text=True, capture_output=True)
    if done.returncode:
        raise DataError(f"eSpeak NG failed: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout


def main() -> None:
    if len(sys.argv) == 1:
        print(json.dumps(transcribe(json.load(sys.stdin))))
        return
    if sys.argv[1] == "--phonemes":
        print(json.dumps(spelt(json.load(sys.stdin))))
        return
    utterances = json.load(sys.stdin)
    chunks = [utterances[i : i + CHUNK] for i in range(0, len(utterances), CHUNK)]
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with multiprocessing.get_context("fork").Pool(min(cpus, 8), maxtasksperchild=1) as pool:
        results = pool.map(synthesise, chunks, chunksize=1)
    waveforms = [waveform for part, _ in results for waveform in part]
    np.savez(sys.argv[1], samples=np.concatenate(waveforms), lengths=[len(w) for w in waveforms], rate=results[0][1])


if __name__ == "__main__":
    main()
