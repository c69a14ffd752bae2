"""In how many bits a rank computes; refused where its device would not be faster for it, or would be wrong."""

from __future__ import annotations

import torch

from hpcnas.core.errors import ConfigError
from hpcnas.nn.recipe import TrainingConfig

_AMPERE = (8, 0)
"""The first generation of NVIDIA's GPUs that multiplies bfloat16 and TF32."""


def use(training: TrainingConfig, device: torch.device) -> None:
    """Let this process compute on ``device`` as ``training`` says; raises ConfigError where that cannot."""
    for key, name in (("mixed_precision", "bfloat16"), ("tf32", "TF32")):
        if getattr(training, key) and (why := _objection(device, name)):
            raise ConfigError(f"training.{key} = true {why}; set it to false")
    if device.type == "cuda":  # torch's own choice is TF32 for convolutions and not for other products
        torch.backends.cuda.matmul.allow_tf32 = training.tf32
        torch.backends.cudnn.allow_tf32 = training.tf32


def _objection(device: torch.device, name: str) -> str:
    if device.type != "cuda":
        if name != "bfloat16":
            return "needs a GPU, and there is none"
        return "" if _multiplies_bfloat16() else "needs a GPU or a processor with AVX512_BF16 or AMX_BF16, and there is none"
    if torch.version.hip is None and torch.cuda.get_device_capability(device) < _AMPERE:
        return f"needs a GPU that computes in {name}, and {torch.cuda.get_device_name(device)} does not"
    return ""


def _multiplies_bfloat16() -> bool:
    """Whether this processor does; others convert to 32 bits and back, which takes longer than computing in them. A torch that
    cannot tell counts as no."""
    told: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(told.get("avx512_bf16") or told.get("amx_bf16"))
