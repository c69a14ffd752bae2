"""What is said in a recording, by a model that `python -m hpcnas.export RUN --format executorch [--stream]` wrote.

    python examples/run_executorch.py model.pte recording.wav...

Of a graph for windows a line for each recording, with class and score; of one for steps a line with time, class and score
whenever another class becomes the likeliest. Needs numpy, executorch (which has torch), kaldi-native-fbank and soundfile, and
pymicro-features if the model takes the features of TensorFlow Lite Micro. hpcnas is not needed; docs/deploy.md describes the
file.
"""

import json
import sys
from collections.abc import Iterable, Iterator

import kaldi_native_fbank
import numpy as np
import soundfile
import torch
from executorch.runtime import Runtime


def main() -> None:
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    graph = Graph(sys.argv[1])
    described = graph.described
    for path in sys.argv[2:]:
        rate, (needed, _) = soundfile.info(path).samplerate, rate_and_hop(described)
        if rate != needed:
            sys.exit(f"{path}: has {rate} samples a second, the model needs {needed}; convert it first")
        if "stream" in described:
            blocks = soundfile.blocks(path, blocksize=rate // 10, dtype="float32", always_2d=True)
            before = None
            for time_s, scores in listen(graph, described, (block.mean(axis=1) for block in blocks)):
                if (best := scores.argmax()) != before:
                    print(f"{path}\t{time_s:.2f} s\t{described['class_names'][best]}\t{scores[best]:.4f}", flush=True)
                before = best
        else:
            samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
            scores = posteriors(graph, described, samples.mean(axis=1))
            print(f"{path}\t{described['class_names'][scores.argmax()]}\t{scores.max():.4f}")


class Graph:
    """The graph in a file: takes and gives its arrays in their order. ``described``: what the file says of itself."""

    def __init__(self, path: str) -> None:
        self.program = Runtime.get().load_program(path)
        if "hpcnas" not in self.program.method_names:
            sys.exit(f"{path}: was not written by hpcnas")
        self.described = json.loads(self.program.load_method("hpcnas").execute([])[0])
        self.method = self.program.load_method("forward")

    def __call__(self, *arrays: np.ndarray) -> list[np.ndarray]:
        inputs = [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]
        return [tensor.numpy() for tensor in self.method.execute(inputs)]


def posteriors(graph: Graph, described: dict, samples: np.ndarray) -> np.ndarray:
    """(K,) of all classes: of the mean over windows that cover the recording, half overlapping at least."""
    window = described["window"]
    samples = np.pad(samples, (0, max(0, window["samples"] - len(samples))))
    log_mel = np.concatenate(list(steps(described, 1, [samples], ended=True)), axis=1)
    spare = max(0, log_mel.shape[1] - window["frames"])
    starts = np.linspace(0, spare, 1 + -(-2 * spare // window["frames"])).round().astype(int)
    windows = [log_mel[np.newaxis, :, start : start + window["frames"]] for start in starts]
    logits = np.concatenate([graph(one)[0] for one in windows]).mean(axis=0)
    return softmax(logits / described.get("temperature", 1.0))


def listen(graph: Graph, described: dict, pieces: Iterable[np.ndarray]) -> Iterator[tuple[float, np.ndarray]]:
    """Time of the newest frame in seconds, and (K,) posteriors of the newest window, once there was a whole one."""
    stream, (rate, hop) = described["stream"], rate_and_hop(described)
    state = [np.full(part["shape"], part["start"], np.float32) for part in stream["state"]]
    for number, log_mel in enumerate(steps(described, stream["frames"], pieces), 1):
        logits, *state = graph(log_mel[np.newaxis], *state)
        if number * stream["frames"] >= described["window"]["frames"]:
            yield number * stream["frames"] * hop / rate, softmax(logits[0] / described.get("temperature", 1.0))


def rate_and_hop(described: dict) -> tuple[int, int]:
    """Samples a second, and from one frame to the next."""
    if "micro_frontend" in described:
        rate, hop_ms = described["micro_frontend"]["samp_freq"], described["micro_frontend"]["window"]["step_size_ms"]
    else:
        options = described["kaldi_fbank"]["frame_opts"]
        rate, hop_ms = options["samp_freq"], options["frame_shift_ms"]
    return rate, round(hop_ms / 1000 * rate)


def steps(described: dict, frames: int, pieces: Iterable[np.ndarray], ended: bool = False) -> Iterator[np.ndarray]:
    """(F, frames) features as soon as their samples are there; with ``ended`` of one piece, with its last frames."""
    if "micro_frontend" in described:
        yield from micro_steps(described, frames, pieces, ended)
    else:
        yield from kaldi_steps(described["kaldi_fbank"], frames, pieces, ended)


def micro_steps(described: dict, frames: int, pieces: Iterable[np.ndarray], ended: bool) -> Iterator[np.ndarray]:
    """As TensorFlow Lite Micro's front end makes them; the last windows reach into zeros behind the end."""
    import pymicro_features  # not above: other models do without

    _, hop = rate_and_hop(described)
    front_end, rest, ready = pymicro_features.MicroFrontend(), np.zeros(0, np.int16), []
    for piece in pieces:
        rest = np.concatenate([rest, np.rint(piece * 32768).clip(-32768, 32767).astype(np.int16)])
        if ended:
            rest = np.pad(rest, (0, ((len(rest) + hop // 2) // hop + 2) * hop - len(rest)))  # a window is three hops long
        while len(rest) >= hop:
            made, rest = front_end.process_samples(rest[:hop].tobytes()).features, rest[hop:]
            if made:  # 10 / 256 of what the C code gives
                ready.append(np.rint(np.array(made) * 25.6) * described["micro_frontend"]["scale"])
            if len(ready) == frames:
                yield np.stack(ready, axis=1).astype(np.float32)
                ready = []


def kaldi_steps(settings: dict, frames: int, pieces: Iterable[np.ndarray], ended: bool) -> Iterator[np.ndarray]:
    """As Kaldi makes log-mel."""
    options = kaldi_native_fbank.FbankOptions()
    for group, values in settings.items():
        for name, value in values.items():
            setattr(getattr(options, group), name, value)
    bank, done = kaldi_native_fbank.OnlineFbank(options), 0
    for piece in pieces:
        bank.accept_waveform(settings["frame_opts"]["samp_freq"], piece)
        if ended:
            bank.input_finished()
        while bank.num_frames_ready - done >= frames:
            yield np.stack([bank.get_frame(t) for t in range(done, done + frames)], axis=1)
            bank.pop(frames)
            done += frames


def softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp(logits - logits.max())
    return odds / odds.sum()


if __name__ == "__main__":
    main()
