"""Reading audio files: whole, or a reason why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from hpcnas.core.errors import DataError
from hpcnas.data import audio


@pytest.mark.parametrize(
    ("rate", "channels", "block_s"), [(16000, 1, 0.3), (44100, 2, 0.25), (8000, 1, 10.0), (48000, 1, 0.01)]
)
def test_a_recording_block_by_block_is_what_it_is_at_once(tmp_path: Path, rate: int, channels: int, block_s: float):
    path = tmp_path / "a.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal((2 * rate + 7, channels)), rate)
    blocks = list(audio.stream(path, block_s))
    assert all(block.dtype == np.float32 and 0 < len(block) < 16000 * block_s + 16000 for block in blocks)
    assert len(blocks) > 4 or block_s > 1
    np.testing.assert_allclose(np.concatenate(blocks), audio.read(path), atol=1e-5)


def test_a_recording_that_cannot_be_streamed_is_named(tmp_path: Path):
    (tmp_path / "a.wav").write_bytes(b"no audio")
    with pytest.raises(DataError, match=r"a\.wav: cannot be read as audio"):
        next(audio.stream(tmp_path / "a.wav"))
