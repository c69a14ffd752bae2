"""What stands in a LiteRT file, read and changed: names, description, operators.

Inputs and outputs stand in the order of the graph and bear its names. Other tensors have numbers for names: the converter's are
long, and may lie in a device's flash.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hpcnas.deploy.description import CONFIG_KEY, KEY
from hpcnas.deploy.files import needed
from hpcnas.deploy.graphs import Features, Step, Windows

ENDS = "inputs", "outputs"
FRONT_END = "front_end"
"""What names of the front end's tensors begin with."""


def of_litert(name: str) -> Any:
    """A module of the extra; raises ExportError with the way to get it."""
    return needed(name, "litert", "litert")


def describe_litert(path: Path, described: Mapping[str, Any], config: str) -> None:
    """Give a file its description, in place of another."""
    model = read(path.read_bytes())
    rename(model, None)
    path.write_bytes(described_bytes(model, described, config))


def bare(path: Path) -> bytes:
    """The graph of a file as a microcontroller needs it: without description, names, and scales of biases by channel, which no
    kernel of tflite-micro reads."""
    model = read(path.read_bytes())
    model.metadata, model.signatureDefs = [], []
    int32 = of_litert("ai_edge_litert.schema_py_generated").TensorType.INT32
    for tensor in model.subgraphs[0].tensors:
        tensor.name = None
        scales = None if tensor.quantization is None else tensor.quantization.scale
        if tensor.type == int32 and scales is not None and len(scales) > 1:
            tensor.quantization = None
    _share(model)
    return _packed(model)


def metadata(path: Path) -> dict[str, str]:
    """The description of a file and the configuration of its run, as they are, by their keys."""
    model = read(path.read_bytes())
    return {
        one.name.decode(): bytes(model.buffers[one.buffer].data).decode()
        for one in model.metadata or []
        if one.name.decode() in (KEY, CONFIG_KEY)
    }


def is_int8(path: Path) -> bool:
    """Whether anything in the file is an 8-bit integer."""
    int8 = of_litert("ai_edge_litert.schema_py_generated").TensorType.INT8
    return any(tensor.type == int8 for tensor in read(path.read_bytes()).subgraphs[0].tensors)


def operators(path: Path) -> list[str]:
    """Names of the operators in a file, as tflite-micro's resolver has them: ``Add``, ``Conv2D`` ..., sorted."""
    schema = of_litert("ai_edge_litert.schema_py_generated")
    codes = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    used = {max(one.builtinCode, one.deprecatedBuiltinCode) for one in read(path.read_bytes()).operatorCodes}
    return sorted(_MICRO_NAMES.get(codes[one]) or codes[one].title().replace("_", "") for one in used)


_MICRO_NAMES = {
    "BATCH_MATMUL": "BatchMatMul",
    "CONV_2D": "Conv2D",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2D",
    "AVERAGE_POOL_2D": "AveragePool2D",
    "MAX_POOL_2D": "MaxPool2D",
    "CUMSUM": "CumSum",
    "PADV2": "PadV2",
}
"""Where the rule, words in capitals without their lines, does not hold."""


def read(content: bytes) -> Any:
    """The model in a file's bytes, as objects that can be changed."""
    return of_litert("ai_edge_litert.schema_py_generated").ModelT.InitFromPackedBuf(content, 0)


def _packed(model: Any) -> bytes:
    builder = of_litert("flatbuffers").Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _share(model: Any) -> None:
    """Keep of equal constants one, and of others those that a tensor or the description has."""
    kept, places = [model.buffers[0]], {}
    for holder in (*model.subgraphs[0].tensors, *(model.metadata or [])):
        data = model.buffers[holder.buffer].data
        content = b"" if data is None else bytes(data)
        if content and content not in places:
            places[content] = len(kept)
            kept.append(model.buffers[holder.buffer])
        holder.buffer = places.get(content, 0)
    model.buffers = kept


def ends_of(model: Any, ends: str) -> list[str]:
    """Names of ``inputs`` or ``outputs``, in the order of the graph, as the signature has them."""
    names = {end.tensorIndex: end.name.decode() for end in getattr(model.signatureDefs[0], ends)}
    return [names[index] for index in getattr(model.subgraphs[0], ends)]


def as_in(content: bytes, full: Any) -> bytes:
    """A quantised file whose signature tells the inputs and outputs that it has: those of ``full``, in its order.

    ai-edge-quantizer 0.10 lets the signature point at what an output was before it was given another scale.
    """
    model = read(content)
    for ends in ENDS:
        index = dict(zip(ends_of(full, ends), getattr(model.subgraphs[0], ends)))
        for end in getattr(model.signatureDefs[0], ends):
            end.tensorIndex = index[end.name.decode()]
    return _packed(model)


def rename(model: Any, graph: Windows | Step | None) -> None:
    """Inputs and outputs after what the signature calls them, in its order, or that of ``graph``; the others by numbers."""
    (signature,), (subgraph,) = model.signatureDefs, model.subgraphs
    scope = f"{Features.__module__}.{Features.__name__}"
    for number, tensor in enumerate(subgraph.tensors):
        inside = scope in tensor.name.decode() or tensor.name.decode().startswith(FRONT_END)
        tensor.name = f"{FRONT_END}{number}" if inside else str(number)
    for ends, kind in ((signature.inputs, "inputs"), (signature.outputs, "outputs")):
        index = {end.name.decode(): end.tensorIndex for end in ends}
        order = getattr(graph, kind) if graph else sorted(index, key=_place)
        for name in order:
            subgraph.tensors[index[name]].name = name
        setattr(subgraph, kind, [index[name] for name in order])


def _place(name: str) -> tuple[bool, int]:
    """Log-mel and logits before states, and these by number."""
    *_, number = name.rpartition("_")
    return ("state_" in name, int(number) if "state_" in name else 0)


def described_bytes(model: Any, described: Mapping[str, Any], config: str) -> bytes:
    """A file's bytes: the model with this description, in place of another."""
    schema = of_litert("ai_edge_litert.schema_py_generated")
    model.description = b"hpcnas"
    given = {KEY: json.dumps(described), CONFIG_KEY: config}
    kept = [one for one in model.metadata or [] if one.name.decode() not in given]
    for name, text in given.items():
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(text.encode(), np.uint8)
        one = schema.MetadataT()
        one.name, one.buffer = name, len(model.buffers)
        model.buffers.append(buffer)
        kept.append(one)
    model.metadata = kept
    _share(model)
    return _packed(model)
