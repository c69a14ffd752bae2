"""What is said in a recording, by a model that `python -m hpcnas.export RUN` wrote.

    python examples/run_onnx.py model.onnx recording.wav...

Needs numpy, onnxruntime, kaldi-native-fbank and soundfile, and pymicro-features if the model takes the features of TensorFlow
Lite Micro. hpcnas is not needed; docs/deploy.md describes the file.
"""

import json
import sys

import kaldi_native_fbank
import numpy as np
import onnxruntime
import soundfile


def main() -> None:
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
    described = json.loads(session.get_modelmeta().custom_metadata_map["hpcnas"])
    if "stream" in described:
        sys.exit(f"{sys.argv[1]}: is fed frame by frame; see stream_onnx.py")
    for path in sys.argv[2:]:
        scores = posteriors(session, described, read(path, described))
        best = scores.argmax()
        print(f"{path}\t{described['class_names'][best]}\t{scores[best]:.4f}")


def read(path: str, described: dict) -> np.ndarray:
    """Mono samples in [-1, 1]."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    needed, _ = rate_and_hop(described)
    if rate != needed:
        sys.exit(f"{path}: has {rate} samples a second, the model needs {needed}; convert it first")
    return samples.mean(axis=1)


def posteriors(session: onnxruntime.InferenceSession, described: dict, samples: np.ndarray) -> np.ndarray:
    """(K,) of all classes: of the mean over windows that cover the recording, half overlapping at least."""
    window = described["window"]
    missing = max(0, window["samples"] - len(samples))
    padded = np.pad(samples, (0, missing))
    log_mel = micro(padded, described) if "micro_frontend" in described else filter_bank(padded, described["kaldi_fbank"])
    if missing and not (window["pads"] or window["fixed"]):  # the model learnt from short recordings as they are
        _, hop = rate_and_hop(described)
        log_mel = log_mel[:, : max(1, (len(samples) + hop // 2) // hop)]
    spare = max(0, log_mel.shape[1] - window["frames"])
    starts = np.linspace(0, spare, 1 + -(-2 * spare // window["frames"])).round().astype(int)
    windows = np.stack([log_mel[:, start : start + window["frames"]] for start in starts])
    parts = np.split(windows, len(windows)) if window["fixed"] else [windows]
    logits = np.concatenate([session.run(["logits"], {"log_mel": part})[0] for part in parts]).mean(axis=0)
    return softmax(logits / described.get("temperature", 1.0))


def rate_and_hop(described: dict) -> tuple[int, int]:
    """Samples a second, and from one frame to the next."""
    if "micro_frontend" in described:
        rate, hop_ms = described["micro_frontend"]["samp_freq"], described["micro_frontend"]["window"]["step_size_ms"]
    else:
        options = described["kaldi_fbank"]["frame_opts"]
        rate, hop_ms = options["samp_freq"], options["frame_shift_ms"]
    return rate, round(hop_ms / 1000 * rate)


def micro(samples: np.ndarray, described: dict) -> np.ndarray:
    """(F, T) as TensorFlow Lite Micro's front end makes them; the last windows reach into zeros behind the end."""
    import pymicro_features  # not above: other models do without

    _, hop = rate_and_hop(described)
    frames = (len(samples) + hop // 2) // hop
    integers = np.rint(samples * 32768).clip(-32768, 32767).astype(np.int16)
    padded = np.pad(integers, (0, (frames + 2) * hop - len(integers)))  # a window is three hops long
    front_end = pymicro_features.MicroFrontend()
    made = [front_end.process_samples(part.tobytes()).features for part in padded.reshape(-1, hop)]
    values = np.rint(np.array([frame for frame in made if frame]) * 25.6)  # of the C code; the package gives 10 / 256 of them
    return (values * described["micro_frontend"]["scale"]).astype(np.float32).T


def filter_bank(samples: np.ndarray, settings: dict) -> np.ndarray:
    """(F, T) log-mel, as Kaldi makes it."""
    bank = kaldi_native_fbank.OnlineFbank(options(settings))
    bank.accept_waveform(settings["frame_opts"]["samp_freq"], samples)
    bank.input_finished()
    return np.stack([bank.get_frame(t) for t in range(bank.num_frames_ready)], axis=1)


def options(settings: dict) -> kaldi_native_fbank.FbankOptions:
    made = kaldi_native_fbank.FbankOptions()
    for group, values in settings.items():
        for name, value in values.items():
            setattr(getattr(made, group), name, value)
    return made


def softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp(logits - logits.max())
    return odds / odds.sum()


if __name__ == "__main__":
    main()
