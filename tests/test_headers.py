"""The lengths of many recordings, asked for side by side."""

import threading

import numpy as np
import pytest
import soundfile

from hpcnas.core.errors import DataError
from hpcnas.data import audio, headers, progress


def test_each_recording_has_its_length_or_the_reason_why_not(tmp_path):
    paths = [tmp_path / f"{number}.wav" for number in range(3 * headers.TOGETHER + 1)]
    for number, path in enumerate(paths):
        soundfile.write(path, np.zeros(160 + number), 16000 if number % 2 else 8000)
    paths[70].write_bytes(b"no audio")
    found = list(headers.lengths(paths))
    assert isinstance(found[70], DataError) and str(paths[70]) in str(found[70])
    with pytest.raises(DataError, match=r"70\.wav"):
        headers.known(found[70])
    for number, length in enumerate(found):
        rate = 16000 if number % 2 else 8000
        assert number == 70 or headers.known(length) == ((160 + number) / rate, rate)
    assert list(headers.lengths([])) == []


def test_one_that_is_waited_for_does_not_hold_up_the_others(monkeypatch, tmp_path):
    all_there = threading.Barrier(headers.AT_ONCE)

    def waits(source: object) -> tuple[float, int]:
        all_there.wait(timeout=30)
        return 1.0, 16000

    monkeypatch.setattr(audio, "length", waits)
    monkeypatch.setattr(headers, "TOGETHER", 1)
    assert list(headers.lengths([tmp_path] * headers.AT_ONCE)) == [(1.0, 16000)] * headers.AT_ONCE


def test_what_takes_long_is_said_to_be_under_way(monkeypatch, caplog):
    caplog.set_level("INFO")
    quick = progress.Progress("quick", 10)
    quick.step(10)
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    progress.Progress("slow", 8).step(2)
    assert [record.getMessage() for record in caplog.records] == ["slow: 25 %"]
