"""Models that experts drew by hand, in our blocks: what a search has to beat, and where it may begin.

One row of ``_ROWS`` each. A test builds every row and compares its parameters with the paper's; docs/zoo.md is this table. For
all of them, features, head, dropout and recipe are the run's. Nothing is built here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass

from hpcnas.core.architecture import Architecture
from hpcnas.core.budget import Budget
from hpcnas.core.errors import ArchitectureError, ConfigError
from hpcnas.core.space import spell
from hpcnas.core.trial import Cost, Proposal
from hpcnas.nn.blocks import BLOCK_TYPES
from hpcnas.zoo import towers


@dataclass(frozen=True)
class ZooModel:
    """A published tower.

    Args:
        name: as in its paper; no spaces or commas.
        paper: authors, place, DOI or arXiv number.
        architecture: its spelling in our blocks.
        params: in the paper, with ``bands`` features a frame and ``classes`` classes.
        tolerance: largest share by which ours may differ; ``differs`` says why.
        differs: how ours is not theirs.
    """

    name: str
    paper: str
    architecture: str
    params: int
    bands: int
    classes: int
    tolerance: float
    differs: str

    @property
    def tower(self) -> Architecture:
        """With every setting spelled out."""
        return spell(self.architecture, BLOCK_TYPES)


TC_RESNET = "Choi et al., Interspeech 2019, doi:10.21437/Interspeech.2019-1363"
DS_CNN = "Zhang et al., Hello Edge, 2017, arXiv:1711.07128"
BC_RESNET = "Kim et al., Interspeech 2021, doi:10.21437/Interspeech.2021-383"
MATCHBOX = "Majumdar & Ginsburg, Interspeech 2020, doi:10.21437/Interspeech.2020-1058"
TENET = "Li et al., Interspeech 2020, arXiv:2010.09960"
RES = "Tang & Lin, ICASSP 2018, arXiv:1710.10361"
ATT_RNN = "de Andrade et al., 2018, arXiv:1808.08929"
STREAMING = "Rybakov et al., Interspeech 2020, arXiv:2005.06720"
SPARKNET = "Svirsky et al., Interspeech 2024, arXiv:2406.06634"
SVDF = "Alvarez & Park, ICASSP 2019, doi:10.1109/ICASSP.2019.8683557"
MAZZAWI = "Mazzawi et al., Interspeech 2019, doi:10.21437/Interspeech.2019-1916"
X_VECTOR = "Snyder et al., Odyssey 2018, doi:10.21437/Odyssey.2018-15"

_COUNTED = "the paper counts batch norm's running statistics as parameters"
_DS = (
    "size as Choi et al., 2019, quote it, which counts biases and running statistics too; the paper has 10 MFCC every 20 ms: "
    "40 bands every 10 ms are eight times as many positions"
)
_BC = "no dropout of channels within the blocks"
_BC_T2 = f"the first convolution halves time too, and dilations with it: half the work; {_BC}"
_TE = f"as it is deployed, without the training branches of 3, 5 and 7 frames, which block `tenet` has; {_COUNTED}"
_RES = "batch norm behind the first convolution too, and learnt scales in all of them; none behind the last sum"
_DENSE = "dense layers have batch norm and ReLU"
_CRNN = f"time is padded, and the mean over time is judged instead of the recurrence's last output; {_DENSE}"
_SPARK = (
    "ReLU instead of tanh and of the noise that drives the last layer's outputs to 0 or 1, and no penalty on how many are 1"
)
_SVDF = f"the encoder's widths are not published: these give the size that Mazzawi et al., 2019, quote; {_DENSE}"
_X = "residuals where the width stays; the paper's number leaves the last hidden layer and the classifier out"

# fmt: off
_ROWS = (
    # name, paper, architecture, parameters, bands, classes, tolerance, what differs
    ZooModel("TC-ResNet8", TC_RESNET, towers.tc_resnet(16, 24, 32, 48), 66_000, 40, 12, 0.02, _COUNTED),
    ZooModel("TC-ResNet8-1.5", TC_RESNET, towers.tc_resnet(24, 36, 48, 72), 145_000, 40, 12, 0.02, _COUNTED),
    ZooModel("TC-ResNet14", TC_RESNET, towers.tc_resnet(16, 24, 24, 32, 32, 48, 48), 137_000, 40, 12, 0.02, _COUNTED),
    ZooModel("TC-ResNet14-1.5", TC_RESNET, towers.tc_resnet(24, 36, 36, 48, 48, 72, 72), 305_000, 40, 12, 0.02, _COUNTED),
    ZooModel("DS-CNN-S", DS_CNN, towers.ds_cnn(64, 4, 2), 24_000, 10, 12, 0.05, _DS),
    ZooModel("DS-CNN-M", DS_CNN, towers.ds_cnn(172, 4, 1), 140_000, 10, 12, 0.05, _DS),
    ZooModel("DS-CNN-L", DS_CNN, towers.ds_cnn(276, 5, 1), 420_000, 10, 12, 0.05, _DS),
    ZooModel("BC-ResNet-1", BC_RESNET, towers.bc_resnet(1), 9_200, 40, 12, 0.01, _BC),
    ZooModel("BC-ResNet-1.5", BC_RESNET, towers.bc_resnet(1.5), 17_200, 40, 12, 0.01, _BC),
    ZooModel("BC-ResNet-2", BC_RESNET, towers.bc_resnet(2), 27_300, 40, 12, 0.01, _BC),
    ZooModel("BC-ResNet-3", BC_RESNET, towers.bc_resnet(3), 54_200, 40, 12, 0.01, _BC),
    ZooModel("BC-ResNet-6", BC_RESNET, towers.bc_resnet(6), 188_000, 40, 12, 0.01, _BC),
    ZooModel("BC-ResNet-8", BC_RESNET, towers.bc_resnet(8), 321_000, 40, 12, 0.01, _BC),
    ZooModel("BC-ResNet-1-t2", BC_RESNET, towers.bc_resnet(1, 2), 9_200, 40, 12, 0.01, _BC_T2),
    ZooModel("BC-ResNet-1.5-t2", BC_RESNET, towers.bc_resnet(1.5, 2), 17_200, 40, 12, 0.01, _BC_T2),
    ZooModel("BC-ResNet-2-t2", BC_RESNET, towers.bc_resnet(2, 2), 27_300, 40, 12, 0.01, _BC_T2),
    ZooModel("BC-ResNet-3-t2", BC_RESNET, towers.bc_resnet(3, 2), 54_200, 40, 12, 0.01, _BC_T2),
    ZooModel("MatchboxNet-3x1x64", MATCHBOX, towers.matchbox((13, 15, 17), 1), 77_000, 64, 30, 0.01, ""),
    ZooModel("MatchboxNet-3x2x64", MATCHBOX, towers.matchbox((13, 15, 17), 2), 93_000, 64, 30, 0.01, ""),
    ZooModel("MatchboxNet-6x2x64", MATCHBOX, towers.matchbox((13, 15, 17, 19, 21, 23), 2), 140_000, 64, 30, 0.01, ""),
    ZooModel("TENet6", TENET, towers.tenet(32, 2), 54_000, 40, 12, 0.04, _TE),
    ZooModel("TENet12", TENET, towers.tenet(32, 4), 100_000, 40, 12, 0.04, _TE),
    ZooModel("TENet6-narrow", TENET, towers.tenet(16, 2), 17_000, 40, 12, 0.06, _TE),
    ZooModel("TENet12-narrow", TENET, towers.tenet(16, 4), 31_000, 40, 12, 0.06, _TE),
    ZooModel("Res8", RES, towers.res8(45), 110_000, 40, 12, 0.01, _RES),
    ZooModel("Res8-narrow", RES, towers.res8(19), 19_900, 40, 12, 0.02, _RES),
    ZooModel("Res15", RES, towers.res15(45), 238_000, 40, 12, 0.01, _RES),
    ZooModel("Res15-narrow", RES, towers.res15(19), 42_600, 40, 12, 0.02, _RES),
    ZooModel("CRNN", STREAMING, towers.CRNN, 467_000, 20, 12, 0.01, _CRNN),
    ZooModel("Att-RNN", ATT_RNN, towers.attention_rnn("bilstm", 64, 1), 202_000, 80, 36, 0.01,
             f"it asks of the middle frame, not of the last one; {_DENSE}"),
    ZooModel("MHAtt-RNN", STREAMING, towers.attention_rnn("bigru", 128, 4), 743_000, 20, 12, 0.01, _DENSE),
    ZooModel("SparkNet-16", SPARKNET, towers.sparknet(16), 4_636, 32, 12, 0.01, _SPARK),
    ZooModel("SparkNet-32", SPARKNET, towers.sparknet(32), 11_500, 32, 12, 0.01, _SPARK),
    ZooModel("SVDF-E2E", SVDF, towers.SVDF_E2E, 315_000, 40, 12, 0.01, _SVDF),
    ZooModel("SVDF-6", STREAMING, towers.SVDF_6, 354_000, 30, 12, 0.01, _DENSE),
    ZooModel("LSTM-LID", MAZZAWI, towers.LSTM_LID, 2_700_000, 40, 12, 0.01, "what their search found for languages, Table 3"),
    ZooModel("x-vector", X_VECTOR, towers.X_VECTOR, 4_200_000, 24, 12, 0.08, _X),
)
# fmt: on

ZOO: Mapping[str, ZooModel] = {model.name: model for model in _ROWS}


def chosen(names: Iterable[str]) -> list[ZooModel]:
    """Models by name, whatever the case; raises ConfigError for one that there is not."""
    known = {name.lower(): model for name, model in ZOO.items()}
    for name in (names := list(names)):
        if name.lower() not in known:
            raise ConfigError(f'no model "{name}" in the zoo; it has {", ".join(ZOO)}')
    return [known[name.lower()] for name in names]


NARROWED = 8
"""A model of at most so many times what is allowed may be made narrower to begin with."""


def starts(
    names: Iterable[str], measure: Callable[[Architecture], Cost], budget: Budget, may_narrow: bool = True
) -> list[Proposal]:
    """What a search may begin with, see ``search.zoo``; without those that cannot be built in it, as some cannot be causal."""
    match list(names):
        case ["fitting"]:
            models = fitting(measure, budget)
            models += narrowable(models, measure, budget) if may_narrow else []
        case ["all"]:
            models = list(ZOO.values())
        case some:
            models = chosen(some)
    return [Proposal(model.tower, None, f"zoo {model.name}") for model in models if _can_be_built(model, measure)]


def narrowable(models: Iterable[ZooModel], measure: Callable[[Architecture], Cost], budget: Budget) -> list[ZooModel]:
    """Of each paper that none of ``models`` is from the smallest one that is not far over the limits."""
    lenient = Budget(**{name: NARROWED * limit for name, limit in asdict(budget).items()})
    papers = {model.paper for model in models}
    found = set()
    for model in sorted(ZOO.values(), key=lambda model: model.params):
        if model.paper not in papers and not _objection(model, measure, lenient):
            papers.add(model.paper)
            found.add(model.name)
    return [model for model in ZOO.values() if model.name in found]


def _can_be_built(model: ZooModel, measure: Callable[[Architecture], Cost]) -> bool:
    try:
        measure(model.tower)
    except ArchitectureError:
        return False
    return True


def objections(measure: Callable[[Architecture], Cost], budget: Budget) -> dict[str, str]:
    """Why each model of the zoo is no candidate, by name: the limit that it is over, or why it cannot be built; else empty.

    Args:
        measure: the cost of a tower; raises ArchitectureError.
    """
    return {name: _objection(model, measure, budget) for name, model in ZOO.items()}


def _objection(model: ZooModel, measure: Callable[[Architecture], Cost], budget: Budget) -> str:
    try:
        return budget.objection(measure(model.tower))
    except ArchitectureError as error:
        return str(error).removeprefix(f"{model.tower}: ")


def fitting(measure: Callable[[Architecture], Cost], budget: Budget) -> list[ZooModel]:
    """The models of the zoo that keep the limits, in the zoo's order; the rest as for ``objections``.

    One with more than twice the parameters in its paper is not even built, for which rank 0 would take seconds.
    """
    small = [model for model in ZOO.values() if model.params <= 2 * (budget.max_params or math.inf)]
    return [model for model in small if not _objection(model, measure, budget)]
