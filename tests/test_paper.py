"""What Mazzawi et al., Interspeech 2019, print in their tables: block sets, architectures, sizes."""

import runpy
from pathlib import Path

import pytest

from hpcnas import config
from hpcnas.core.space import spell
from hpcnas.nn.blocks import BLOCK_TYPES
from hpcnas.nn.cost import measure
from hpcnas.nn.model import build_model
from hpcnas.zoo import ZOO

JOBS = Path(__file__).parents[1] / "jobs"
KWS = [
    "svdf256-16 rnn256 svdf64-16",
    "svdf256-16 rnn256 svdf64-16 rnn128",
    "svdf256-16 rnn256 svdf64-16 svdf128-4",
    "svdf256-16 rnn256 svdf64-16 rnn256",
    "svdf256-16 rnn256",
]
LID = [
    "lstm256 lstm512 lstm256",
    "lstm256 lstm512 lstm256 rnn256",
    "lstm256 lstm512 lstm256 svdf1024-16",
    "lstm256 lstm512 lstm256 rnn512",
]
BANDS, KEYWORDS, LANGUAGES = 40, 12, 20
"""The paper does not say how many; both change the counts by less than one per cent."""


def spelled(table: str) -> str:
    """``svdf256-16`` of the paper's tables as ``svdf:filters=256,memory=16``."""
    blocks = []
    for name in table.split():
        kind = name.rstrip("0123456789-")
        width, _, memory = name[len(kind) :].partition("-")
        blocks.append(f"svdf:filters={width},memory={memory}" if memory else f"{kind}:units={width}")
    return "/".join(blocks)


def params(job: str, table: str, classes: int) -> int:
    space = config.load(JOBS / job).space
    tower = spell(spelled(table), BLOCK_TYPES)
    assert tower in space.build(), "every architecture of Table 3 lies in the space of Table 2"
    return measure(build_model(tower, space.surroundings(BANDS, classes), 0), BANDS, 100).params


@pytest.mark.parametrize(("job", "tables", "classes"), [("paper_kws.toml", KWS, KEYWORDS), ("paper_lid.toml", LID, LANGUAGES)])
def test_every_architecture_of_table_3_is_in_the_space_and_can_be_built(job, tables, classes):
    sizes = [params(job, table, classes) for table in tables]
    assert min(sizes) > 100_000


def test_block_sets_are_those_of_table_2():
    assert len(config.load(JOBS / "paper_kws.toml").space.blocks) == 3 + 3 + 10
    assert len(config.load(JOBS / "paper_lid.toml").space.blocks) == 4 + 4 + 5 + 4


def test_sizes_agree_with_table_1():
    """KWS 184k with the decoder: 172k on 40 bands, 182k on 80. LID 2.7M: 2.68M. Ensembles count each member."""
    kws, lid = params("paper_kws.toml", KWS[0], KEYWORDS), params("paper_lid.toml", LID[0], LANGUAGES)
    assert kws == pytest.approx(184_000, rel=0.08)
    assert lid == pytest.approx(2_700_000, rel=0.01)
    assert 2 * lid == pytest.approx(5_400_000, rel=0.01) and 3 * lid == pytest.approx(8_000_000, rel=0.01)


def test_hand_designed_baselines_keep_their_limits():
    for limit, name in runpy.run_path(str(JOBS.parent / "benchmarks" / "sizes.py"))["BASELINES"].items():
        model = build_model(ZOO[name].tower, config.Config().space.surroundings(BANDS, KEYWORDS), seed=0)
        assert 0.9 * limit <= measure(model, BANDS, 100).params <= 1.01 * limit
