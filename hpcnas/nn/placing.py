"""Where the tensors of a step lie: on the device that trains, and how they get there without anybody waiting.

What is drawn for a batch is drawn on the host, so that a seed means the same on every device, and so is found which frames are
read for which: small arrays, for which a GPU would take as long to be told. All that is as large as the features is computed
where the features are.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def moved(x: Tensor | np.ndarray, device: torch.device) -> Tensor:
    """``x`` on ``device``; to a GPU by way of pinned memory, so that the host goes on while that still works on what it was
    given before. A copy from other memory would wait for it."""
    x = x if isinstance(x, Tensor) else torch.from_numpy(x)
    if x.device == device:
        return x
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" and x.device.type == "cpu" else x.to(device)
