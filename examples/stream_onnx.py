"""Keywords while they are spoken, by a causal model that `python -m hpcnas.export RUN --stream` wrote.

    python examples/stream_onnx.py model.onnx recording.wav

A line with time, class and score whenever another class becomes the likeliest. The recording stands for a microphone: it is
read in pieces, and nothing is kept but the model's state. Needs numpy, onnxruntime, kaldi-native-fbank and soundfile, and
pymicro-features if the model takes the features of TensorFlow Lite Micro; hpcnas is not needed.
"""

import json
import sys
from collections.abc import Iterable, Iterator

import kaldi_native_fbank
import numpy as np
import onnxruntime
import soundfile


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
    described = json.loads(session.get_modelmeta().custom_metadata_map["hpcnas"])
    if "stream" not in described:
        sys.exit(f"{sys.argv[1]}: takes whole windows; export it with --stream, or see run_onnx.py")
    rate, (needed, _) = soundfile.info(sys.argv[2]).samplerate, rate_and_hop(described)
    if rate != needed:
        sys.exit(f"{sys.argv[2]}: has {rate} samples a second, the model needs {needed}; convert it first")
    blocks = soundfile.blocks(sys.argv[2], blocksize=rate // 10, dtype="float32", always_2d=True)
    before = None
    for time_s, scores in listen(session, described, (block.mean(axis=1) for block in blocks)):
        best = scores.argmax()
        if best != before:
            print(f"{time_s:8.2f} s\t{described['class_names'][best]}\t{scores[best]:.4f}", flush=True)
            before = best


def listen(
    session: onnxruntime.InferenceSession, described: dict, pieces: Iterable[np.ndarray]
) -> Iterator[tuple[float, np.ndarray]]:
    """Time of the newest frame in seconds, and (K,) posteriors of the newest window, once there was a whole one."""
    stream, (rate, hop) = described["stream"], rate_and_hop(described)
    state = {part["name"]: np.full(part["shape"], part["start"], np.float32) for part in stream["state"]}
    if "micro_frontend" in described:
        made = micro_steps(described, stream["frames"], pieces)
    else:
        made = steps(described["kaldi_fbank"], stream["frames"], pieces)
    for number, log_mel in enumerate(made, 1):
        logits, *new = session.run(None, {"log_mel": log_mel[np.newaxis], **state})
        state = dict(zip(state, new))
        if number * stream["frames"] >= described["window"]["frames"]:
            scaled = logits[0] / described.get("temperature", 1.0)
            odds = np.exp(scaled - scaled.max())
            yield number * stream["frames"] * hop / rate, odds / odds.sum()


def rate_and_hop(described: dict) -> tuple[int, int]:
    """Samples a second, and from one frame to the next."""
    if "micro_frontend" in described:
        rate, hop_ms = described["micro_frontend"]["samp_freq"], described["micro_frontend"]["window"]["step_size_ms"]
    else:
        options = described["kaldi_fbank"]["frame_opts"]
        rate, hop_ms = options["samp_freq"], options["frame_shift_ms"]
    return rate, round(hop_ms / 1000 * rate)


def micro_steps(described: dict, frames: int, pieces: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """(F, frames) as TensorFlow Lite Micro's front end makes them, as soon as their samples are there."""
    import pymicro_features  # not above: other models do without

    _, hop = rate_and_hop(described)
    front_end, rest, ready = pymicro_features.MicroFrontend(), np.zeros(0, np.int16), []
    for piece in pieces:
        rest = np.concatenate([rest, np.rint(piece * 32768).clip(-32768, 32767).astype(np.int16)])
        while len(rest) >= hop:
            made, rest = front_end.process_samples(rest[:hop].tobytes()).features, rest[hop:]
            if made:  # 10 / 256 of what the C code gives
                ready.append(np.rint(np.array(made) * 25.6) * described["micro_frontend"]["scale"])
            if len(ready) == frames:
                yield np.stack(ready, axis=1).astype(np.float32)
                ready = []


def steps(settings: dict, frames: int, pieces: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """(F, frames) log-mel, as Kaldi makes it, as soon as its samples are there."""
    options = kaldi_native_fbank.FbankOptions()
    for group, values in settings.items():
        for name, value in values.items():
            setattr(getattr(options, group), name, value)
    bank, done = kaldi_native_fbank.OnlineFbank(options), 0
    for piece in pieces:
        bank.accept_waveform(settings["frame_opts"]["samp_freq"], piece)
        while bank.num_frames_ready - done >= frames:
            yield np.stack([bank.get_frame(t) for t in range(done, done + frames)], axis=1)
            bank.pop(frames)
            done += frames


if __name__ == "__main__":
    main()
