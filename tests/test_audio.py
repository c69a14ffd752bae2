"""Reading audio files: whole, or a reason why not."""

from __future__ import annotations

import io
import logging
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from hpcnas.core.errors import DataError
from hpcnas.data import audio
from hpcnas.data.containers import mpeg, ogg

RATE = 16000
_T = np.arange(RATE) / RATE
SOUND = 0.3 * np.sin(2 * np.pi * (200 + 300 * _T) * _T) + 0.01 * np.random.default_rng(0).standard_normal(RATE)
"""A second."""
SLOW = ("NMS_ADPCM_16", "NMS_ADPCM_24", "NMS_ADPCM_32")
"""Encodings that libsndfile writes at 8 kHz only."""


def encoded(container: str, encoding: str | None = None, samples: np.ndarray = SOUND, rate: int = RATE, **settings) -> bytes:
    file = io.BytesIO()
    if encoding in SLOW:
        samples, rate = samples[::2], 8000
    soundfile.write(file, samples, rate, format=container, subtype=encoding, **settings)
    return file.getvalue()


def writable() -> list[tuple[str, str]]:
    """Every container and encoding that libsndfile writes here."""
    found = []
    for container in sorted({*soundfile.available_formats()} - {"RAW", "SD2"}):  # no header; a header in another file
        for encoding in soundfile.available_subtypes(container):
            try:
                encoded(container, encoding)
                found.append((container, encoding))
            except soundfile.LibsndfileError:  # only read
                continue
    return found


WRITABLE = writable()
REFUSED = ("AVR", "SVX", "MAT4", "MAT5", "MPC2K", "PAF", "PVF", "SDS", "IRCAM", "VOC", "WVE", "XI")
READ = [(container, encoding) for container, encoding in WRITABLE if container not in REFUSED and encoding[:4] != "DWVW"]
READ = [one for one in READ if one != ("AIFF", "GSM610")]


@pytest.fixture
def heard(tmp_path: Path):
    """Samples of a file with these bytes, or the reason why there are none, and the remarks."""

    def read(content: bytes, **stretch) -> tuple[np.ndarray | str, list[str]]:
        path, remarks = tmp_path / "a.bin", []
        path.write_bytes(content)
        try:
            samples = audio.read(path, remark=lambda path, what: remarks.append(what), **stretch)
        except DataError as error:
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
            return str(error).removeprefix(f"{path}: "), remarks
        if not stretch:
            assert audio.duration_s(path) * RATE == pytest.approx(len(samples), abs=1)
        return samples, remarks

    return read


def is_same(samples: np.ndarray | str, whole: np.ndarray) -> bool:
    return not isinstance(samples, str) and samples.shape == whole.shape and np.allclose(samples, whole, atol=1e-5)


def is_twice(samples: np.ndarray, whole: np.ndarray) -> bool:
    """Resampling, which comes last, knows nothing of the seam."""
    away, half = 200, len(whole)
    parts = samples[: half - away], samples[-half + away :]
    return len(samples) == pytest.approx(2 * half, abs=2) and all(
        np.allclose(part, expected, atol=1e-4) for part, expected in zip(parts, (whole[:-away], whole[away:]))
    )


def test_there_is_something_to_read():
    assert len(READ) > 70 and {container for container, _ in READ} == set(audio.FORMATS)


@pytest.mark.parametrize(("container", "encoding"), READ)
def test_every_container_and_encoding_is_read_whole_twice_over_or_refused_where_it_was_cut(heard, container, encoding):
    content = encoded(container, encoding)
    whole, remarks = heard(content)
    assert len(whole) == pytest.approx(RATE, abs=700) and not remarks
    assert np.abs(whole[200:15000] - SOUND[200:15000].astype(np.float32)).max() < 0.2
    for kept in (len(content) - 2, len(content) * 9 // 10, len(content) // 2, len(content) // 20):
        samples, remarks = heard(content[:kept])
        assert is_same(samples, whole) or "ends before its" in samples or "cannot be read as audio" in samples, kept
    twice, remarks = heard(content + content)
    if isinstance(twice, str):
        assert container == "HTK" or (container == "FLAC" and "several FLAC streams" in twice)
    else:
        assert is_twice(twice, whole) and len(remarks) == 1 and "several recordings" in remarks[0]


SIZES = {
    "WAV": [(4, "<I"), (b"data", 4, "<I")],
    "WAVEX": [(4, "<I"), (b"data", 4, "<I")],
    "RF64": [(b"ds64", 8, "<q"), (b"ds64", 16, "<q"), (b"ds64", 24, "<q"), (b"data", 4, "<I")],
    "W64": [(16, "<q"), (b"data", 16, "<q")],
    "AIFF": [(4, ">I"), (b"SSND", 4, ">I"), (b"COMM", 10, ">I")],
    "CAF": [(b"data", 4, ">q")],
    "AU": [(8, ">I")],
    "FLAC": [(22, ">I")],
    "HTK": [(0, ">I")],
    "MP3": [(b"Xing", 8, ">I"), (b"Xing", 12, ">I")],
}
"""Where sizes stand: behind a mark, if there is one."""


@pytest.mark.parametrize(("container", "encoding"), [one for one in READ if one[0] in SIZES])
def test_a_wrong_size_never_costs_samples_in_silence(heard, container, encoding):
    content = encoded(container, encoding)
    whole, _ = heard(content)
    for *mark, offset, form in SIZES[container]:
        position = offset + (content.index(mark[0]) if mark else 0)
        bytes_of = struct.calcsize(form)
        told = struct.unpack_from(form, content, position)[0]
        highest = (1 << 8 * bytes_of) - 1 if form[1] == "I" else (1 << 63) - 1
        for wrong in (0, told // 2, told - 2, told + 2, told + 8, 2 * told, highest // 2, highest):
            if wrong > highest:
                continue
            changed = content[:position] + struct.pack(form, wrong) + content[position + bytes_of :]
            samples, remarks = heard(changed)
            assert isinstance(samples, str) or is_same(samples, whole), (mark, wrong, remarks)


@pytest.mark.parametrize(("container", "encoding"), [one for one in WRITABLE if one not in READ])
def test_containers_of_which_it_cannot_be_told_whether_they_are_whole_are_refused_by_name(heard, container, encoding):
    reason, _ = heard(encoded(container, encoding))
    assert "convert it" in reason and (container in reason or container == "AIFF"), reason


def wav(size: int | None = None, riff: int | None = None, tag: int = 1, tail: bytes = b"") -> bytes:
    data = (SOUND * 32767).astype("<i2").tobytes()
    chunks = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, tag, 1, RATE, 2 * RATE, 2, 16)
    chunks += b"data" + struct.pack("<I", len(data) if size is None else size) + data + tail
    return b"RIFF" + struct.pack("<I", len(chunks) if riff is None else riff) + chunks


@pytest.mark.parametrize(
    ("content", "remark"),
    [
        (wav(), None),
        (wav(riff=32036 + 8), None),
        (wav(riff=132036), None),
        (wav(riff=0), None),
        (wav(size=0xFFFFFFFF, riff=0xFFFFFFFF), None),
        (wav(size=0), "never finished"),
        (wav(size=0, riff=0), "never finished"),
        (wav(size=16000, riff=16036), "more samples than the header tells"),
        (wav(size=32044), "a wrong size"),
        (wav(size=32036), "a wrong size"),
        (wav(size=99999), "a wrong size"),
        (wav(tail=b"LIST" + struct.pack("<I", 4) + b"INFO"), None),
        (wav(tail=b"LIST" + struct.pack("<I", 400) + b"INFO"), None),
        (wav(tail=bytes(480)), None),
        (wav(tail=b"TAG" + bytes(125)), None),
    ],
)
def test_the_samples_of_a_wav_file_decide_not_its_sizes(heard, content, remark):
    samples, remarks = heard(content)
    np.testing.assert_allclose(samples, SOUND, atol=1e-4)
    assert [remark in one for one in remarks] == ([True] if remark else [])


def test_an_encoding_that_is_not_decoded_is_named(heard):
    assert heard(wav(tag=0x161))[0] == "is WAV with encoding 0x0161 (WMA), which is not decoded; convert it"
    assert "0x7777" in heard(wav(tag=0x7777))[0]
    assert "more than one stretch of samples" in heard(wav(tail=b"data" + struct.pack("<I", 64) + bytes(range(64))))[0]


def without_first_frame(content: bytes) -> bytes:
    """MPEG audio without the frame that tells how many follow."""
    frame = mpeg._frame(content[:4])
    assert content[frame.info : frame.info + 4] in (b"Xing", b"Info")
    return content[frame.size :]


TAG = b"ID3\x04\0\0\0\0\1\0" + bytes(128)
LONG = np.tile(SOUND, 3)


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (44100, 2), (8000, 1)])
def test_mpeg_audio_is_read_to_its_end_whatever_its_first_frame_tells(heard, rate, channels, mode):
    samples = soxr.resample(LONG, RATE, rate)
    settings = {"bitrate_mode": mode, "compression_level": 0.5}
    content = encoded("MP3", None, np.stack([samples] * channels, 1), rate, **settings)
    whole, remarks = heard(content)
    assert len(whole) == pytest.approx(3 * RATE, abs=2) and not remarks
    bare = without_first_frame(content)
    padding = 2800 * RATE / rate  # of encoder and decoder, which the first frame would have told
    ways = (bare, 1), (bare + bare, 2), (bare + content, 2), (content + bare, 2), (TAG + bare, 1), (bytes(99) + bare, 1)
    for variant, times in ways:
        samples, remarks = heard(variant)
        assert times * len(whole) - 2 <= len(samples) <= times * (len(whole) + padding)
    for behind in (b"TAG" + bytes(125), bytes(999), bytes(9999)):
        assert is_same(heard(content + behind)[0], whole)
    for between in (b"", TAG, b"TAG" + bytes(125), bytes(500)):
        samples, remarks = heard(content + between + content)
        assert is_twice(samples, whole) and "several recordings" in remarks[0]
    half = len(content) // 2
    for damaged in (content[:half] + bytes(333) + content[half + 333 :], content[:half] + content[half + 333 :]):
        assert "is damaged" in heard(damaged)[0]
    assert "is damaged" in heard(content + bytes(range(200)) + content)[0]


def test_mpeg_audio_in_a_wav_file_is_read(heard):
    content = without_first_frame(encoded("MP3", None, LONG))
    chunks = b"WAVEfmt " + struct.pack("<IHHIIHHHHIHHH", 30, 0x55, 1, RATE, 4000, 1, 0, 12, 1, 2, 144, 1, 1393)
    chunks += b"data" + struct.pack("<I", len(content)) + content
    riff = b"RIFF" + struct.pack("<I", len(chunks)) + chunks
    assert is_same(heard(riff)[0], heard(content)[0])
    assert "ends before its header says" in heard(riff[:-5])[0]


@pytest.mark.parametrize(
    ("head", "bytes_of"), [(b"\xff\xfd\x80\x04", 417), (b"\xff\xff\x80\x04", 276)], ids=["layer 2", "layer 1"]
)
def test_other_layers_of_mpeg_audio_lose_nothing(heard, head, bytes_of):
    frames = (head + bytes(bytes_of - 4)) * 50  # silence
    samples, _ = heard(frames)
    count = 50 * (1152 if head[1] == 0xFD else 384)
    assert isinstance(samples, str) or len(samples) == pytest.approx(count * RATE / 44100, abs=1), samples
    assert "ends before its header says" in heard(frames[:-3])[0]


@pytest.mark.parametrize(
    "content", [b"RIFF\0\0\0\0AVI LIST" + bytes(99), b"FORM\0\0\0\0ILBM" + bytes(99), b"", bytes(999), b"\xff\xe0"]
)
def test_what_is_no_audio_is_not_called_cut_off(heard, content):
    assert "cannot be read as audio" in heard(content)[0]


def pages(content: bytes) -> list[bytes]:
    return [b"OggS" + page for page in content.split(b"OggS")[1:]]


@pytest.mark.parametrize("encoding", ["VORBIS", "OPUS"])
def test_an_ogg_stream_is_read_only_with_all_its_pages(heard, encoding):
    content = encoded("OGG", encoding, LONG)
    whole, _ = heard(content)
    parts = pages(content)
    assert len(parts) > 4
    assert "ends before" in heard(b"".join(parts[:-1]))[0], "its last page lacks"
    assert "is damaged" in heard(b"".join(parts[:3] + parts[4:]))[0], "a page lacks"
    broken = bytearray(content)
    broken[len(content) // 2] ^= 1
    assert "is damaged" in heard(bytes(broken))[0], "a bit of a page is wrong"
    assert "is damaged" in heard(content + b"junk" + content)[0]
    assert is_same(heard(content + bytes(300))[0], whole)
    other = encoded("OGG", encoding, SOUND)
    assert is_same(heard(content + other)[0], np.concatenate([whole, heard(other)[0]]))
    assert "several rates" in heard(encoded("OGG", "VORBIS") + encoded("OGG", "VORBIS", SOUND, 44100))[0]


@pytest.mark.parametrize(("begins", "name"), [(b"\x7fFLAC\1\0\0\1fLaC", "FLAC"), (b"Speex   1.2", "Speex")])
def test_other_streams_in_ogg_are_refused_by_name(heard, begins, name):
    page = b"OggS" + struct.pack("<BBqIIIBB", 0, 2 | 4, 0, 7, 0, 0, 1, len(begins)) + begins
    content = page[:22] + ogg.checksum(page) + page[26:]
    assert heard(content)[0] == f"is Ogg with {name}, which is not decoded; convert it"


def test_checksums_of_ogg_pages_are_those_of_the_format():
    for page in pages(encoded("OGG", "VORBIS")):
        assert ogg.checksum(page[:22] + bytes(4) + page[26:]) == page[22:26]


JUMPS = [
    ("OGG", "VORBIS", 16000, 1), ("OGG", "VORBIS", 44100, 2), ("OGG", "OPUS", 16000, 1),
    ("MP3", "MPEG_LAYER_III", 44100, 2), ("MP3", "MPEG_LAYER_III", 16000, 1), ("FLAC", "PCM_16", 16000, 1),
    ("WAV", "GSM610", 8000, 1), ("WAV", "IMA_ADPCM", 16000, 1), ("WAV", "MS_ADPCM", 16000, 1), ("AU", "G721_32", 16000, 1),
    ("CAF", "ALAC_16", 16000, 1), ("WAV", "PCM_16", 44100, 2),
]  # fmt: skip


@pytest.mark.parametrize(
    ("container", "encoding", "rate", "channels", "times"),
    [(*one, n) for one in JUMPS for n in (1, 2) if one[0] != "FLAC" or n == 1],
)
def test_a_stretch_has_the_very_samples_that_the_whole_recording_has_there(
    tmp_path, container, encoding, rate, channels, times
):
    path, rng = tmp_path / "a.bin", np.random.default_rng(1)
    seconds = 13 if encoding == "OPUS" else 4
    sound = np.tile(soxr.resample(SOUND, RATE, rate), seconds) * np.linspace(0.2, 1, seconds * rate)
    settings = {"bitrate_mode": "VARIABLE", "compression_level": 0.9} if container == "MP3" else {}
    path.write_bytes(encoded(container, encoding, np.stack([sound] * channels, 1), rate, **settings) * times)

    def decoded(start: int, count: int | None) -> np.ndarray:
        decoding = audio._Decoding(path, lambda path, what: None)
        decoding.skip_to(start, None if count is None else start + count)
        samples = decoding.take(count)
        decoding.close()
        return samples

    whole = decoded(0, None)
    starts = [*rng.integers(0, len(whole) - rate, 2), len(whole) - rate // 2]
    for start in starts:
        np.testing.assert_allclose(decoded(int(start), rate // 2), whole[start : start + rate // 2], atol=1e-6)
    with audio.Reader(lambda path, what: None) as reader:
        for start in [*sorted(starts), *starts]:
            stretch = reader.read(path, start / rate, 0.5)
            np.testing.assert_array_equal(stretch, audio.read(path, start / rate, 0.5, lambda path, what: None))
    assert len(audio.read(path, len(whole) / rate - 0.25, 1.0, lambda path, what: None)) == RATE // 4


def test_what_lies_behind_the_end_of_a_recording_is_empty(heard):
    assert len(heard(wav(), start_s=2.0, length_s=1.0)[0]) == 0


def test_integers_stored_as_floats_are_told_once(heard):
    samples, remarks = heard(encoded("WAV", "FLOAT", 32767 * SOUND))
    assert len(samples) == RATE and remarks == [audio.TOO_LOUD]
    assert heard(encoded("WAV", "FLOAT", 3 * SOUND))[1] == []


def test_who_asks_for_nothing_else_reads_remarks_in_the_log(tmp_path, caplog):
    (tmp_path / "a.wav").write_bytes(wav(size=0))
    with caplog.at_level(logging.WARNING):
        audio.read(tmp_path / "a.wav")
    assert caplog.messages == [f"{tmp_path / 'a.wav'}: has a header that was never finished, read to the end"]


@pytest.mark.parametrize(
    ("rate", "channels", "block_s"), [(16000, 1, 0.3), (44100, 2, 0.25), (8000, 1, 10.0), (48000, 1, 0.01)]
)
@pytest.mark.parametrize("container", ["WAV", "MP3", "OGG"])
def test_a_recording_block_by_block_is_what_it_is_at_once(tmp_path, container, rate, channels, block_s):
    path = tmp_path / "a.bin"
    noise = 0.1 * np.random.default_rng(0).standard_normal((2 * rate + 7, channels))
    path.write_bytes(encoded(container, None, noise, rate))
    blocks = list(audio.stream(path, block_s))
    assert all(block.dtype == np.float32 and 0 < len(block) < RATE * block_s + RATE for block in blocks)
    assert len(blocks) > 4 or block_s > 1
    np.testing.assert_allclose(np.concatenate(blocks), audio.read(path), atol=1e-5)


def test_a_recording_that_cannot_be_streamed_is_named(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"no audio")
    with pytest.raises(DataError, match=r"a\.wav: cannot be read as audio"):
        next(audio.stream(tmp_path / "a.wav"))


@pytest.mark.parametrize("container", audio.FORMATS)
def test_damaged_headers_end_in_a_reason_or_samples(tmp_path, container):
    rng, content, path = np.random.default_rng(0), encoded(container, samples=SOUND[:2000]), tmp_path / "a.bin"
    for _ in range(60):
        changed = bytearray(content[: rng.integers(1, 400)] if rng.random() < 0.3 else content)
        for place in rng.integers(0, min(len(changed), 120), 2):
            changed[place : place + 4] = rng.choice([0, 1, 127, 128, 255], 4).astype(np.uint8).tobytes()
        path.write_bytes(changed)
        for look in (lambda: audio.read(path, remark=lambda path, what: None), lambda: audio.duration_s(path)):
            try:
                look()
            except DataError as error:
                assert str(error).startswith(f"{path}: ")


def test_lengths_of_wav_files_come_from_their_headers_alone(tmp_path, monkeypatch):
    (tmp_path / "a.wav").write_bytes(wav())
    monkeypatch.setattr(audio._Forward, "read", lambda *arguments: pytest.fail("decodes"))
    assert audio.duration_s(tmp_path / "a.wav") == 1.0
