"""Where a trial stood at the end of an epoch, so that it goes on as if it had never been cut off."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import nn

from hpcnas.core.errors import RunError
from hpcnas.nn.averaging import Average
from hpcnas.runtime.channel import GroupChannel
from hpcnas.store.files import replacing


@dataclass(frozen=True)
class SoFar:
    """What a trial has behind it."""

    inherited: int = 0
    curve: tuple[float, ...] = ()
    merits: tuple[float, ...] = ()
    seconds: float = 0.0


def save(path: Path, model: nn.Module, average: Average, optimizer: torch.optim.Optimizer, so_far: SoFar) -> None:
    """Write model, average, optimiser and progress."""
    whole = io.BytesIO()  # of a full disk torch makes an error that says nothing
    with replacing(path) as part:
        state = {"model": model.state_dict(), "average": average.state(), "optimizer": optimizer.state_dict()}
        torch.save({**state, "so_far": asdict(so_far)}, whole)
        part.write_bytes(whole.getbuffer())


def restore(
    path: Path, model: nn.Module, average: Average, optimizer: torch.optim.Optimizer, channel: GroupChannel
) -> SoFar | None:
    """Bring model, average and optimiser to where ``save`` left them, on every rank of the group; None without a checkpoint.

    The leader alone looks at the file system, which other nodes may see later. Raises RunError for a damaged file.
    """
    content = channel.tell(path.read_bytes() if path.exists() else b"") if channel.is_leader else channel.hear()
    if not content:
        return None
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        average.load_state(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        so_far = state["so_far"]
        return SoFar(**{**so_far, "curve": tuple(so_far["curve"]), "merits": tuple(so_far["merits"])})
    except (UnpicklingError, EOFError, AttributeError, RuntimeError, KeyError, ValueError, TypeError) as error:
        why = str(error).strip().partition("\n")[0]
        raise RunError(f"{path}: cannot be read as a checkpoint ({why}); remove it, and the trial begins anew") from error
