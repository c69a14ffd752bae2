"""What recordings come through on their way: a telephone line, a speech codec. Samples are mono at ``RATE`` of ``audio``."""

from __future__ import annotations

import io

import numpy as np
import soundfile
import soxr

from hpcnas.core.errors import DataError
from hpcnas.data.audio import RATE

NARROW = 8000
"""Samples a second of a telephone."""
BAND_HZ = (300.0, 3400.0)
"""Of a telephone (ITU-T G.712)."""
OPUS_LEVEL = 0.96
"""libsndfile's, from 256 kbit/s at 0 to 6 at 1: 16 kbit/s, as voice messages have."""


def telephone(samples: np.ndarray) -> np.ndarray:
    """8 kHz, 300 to 3,400 Hz, mu-law (ITU-T G.711)."""
    narrow = soxr.resample(samples, RATE, NARROW)
    spectrum, hertz = np.fft.rfft(narrow), np.fft.rfftfreq(len(narrow), 1 / NARROW)
    low, high = BAND_HZ
    spectrum *= np.clip((hertz - low) / 100 + 1, 0, 1) * np.clip((high - hertz) / 100 + 1, 0, 1)
    narrow = _through(np.fft.irfft(spectrum, len(narrow)), NARROW, format="WAV", subtype="ULAW")
    return soxr.resample(narrow, NARROW, RATE)


def opus(samples: np.ndarray) -> np.ndarray:
    """Opus (RFC 6716) at about 16 kbit/s."""
    return _through(samples, RATE, format="OGG", subtype="OPUS", compression_level=OPUS_LEVEL)


def _through(samples: np.ndarray, rate: int, **kind: object) -> np.ndarray:
    """What comes out of an encoder and its decoder."""
    file = io.BytesIO()
    try:
        soundfile.write(file, samples.clip(-1, 1), rate, **kind)
        file.seek(0)
        return soundfile.read(file, dtype="float32")[0]
    except (soundfile.LibsndfileError, ValueError, TypeError) as error:
        raise DataError(
            f"data.codecs: this libsndfile ({soundfile.__libsndfile_version__}) writes no {kind['subtype']} ({error}); leave "
            "it out, or install soundfile 0.13 or later with its own libsndfile"
        ) from error


CODECS = {"telephone": telephone, "opus": opus}
"""By the name that ``data.codecs`` has for them."""


def heard_through(codec: str, samples: np.ndarray) -> np.ndarray:
    """Samples as they come out of a codec, as many as before."""
    out = CODECS[codec](samples.astype(np.float32))[: len(samples)]
    return np.pad(out, (0, len(samples) - len(out))).astype(np.float32)
