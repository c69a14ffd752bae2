"""A branch beside the identity: what convolutional blocks become where their output has their input's shape."""

from torch import Tensor, nn


class Residual(nn.Module):
    """x + branch(x), after He et al., CVPR 2016 (doi:10.1109/CVPR.2016.90), without activation behind the sum.

    ``branch`` must end in a batch normalisation; with its scale at zero the block is the identity.
    """

    def __init__(self, *branch: nn.Module) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)

    def near_identity(self) -> None:
        nn.init.zeros_(self.branch[-1].weight)
