import numpy as np
import pytest
from helpers import DENSE, GRU, SPACE

from hpcnas.core.architecture import Architecture, Block
from hpcnas.core.errors import ArchitectureError
from hpcnas.core.space import spell


def test_samples_lie_in_the_space():
    rng = np.random.default_rng(0)
    blocks = {SPACE.sample(rng) for _ in range(200)}
    assert len(blocks) == 3 + 4, "every block of the space is reached"
    assert all(Architecture((block,)) in SPACE for block in blocks)


def test_a_tower_above_the_depth_or_with_foreign_settings_lies_outside():
    block = Block.parse("dense:units=8")
    assert Architecture((block,) * 4) in SPACE
    assert Architecture((block,) * 5) not in SPACE
    assert Architecture.parse("dense:units=9") not in SPACE
    assert Architecture.parse("lstm:units=8") not in SPACE


def test_a_type_can_be_narrowed_by_its_spelling():
    narrowed = GRU.narrowed("gru:units=8|64")
    assert narrowed.choices == {"units": (8, 64), "layers": (1, 2)}


@pytest.mark.parametrize("text", ["gru:cells=8", "gru:units=big", "gru:units=0", "gru:units="])
def test_a_narrowing_that_cannot_work_is_refused(text):
    with pytest.raises(ArchitectureError, match="gru"):
        GRU.narrowed(text)


def test_spelling_fills_in_settings_and_names_unknown_blocks():
    known = {"dense": DENSE, "gru": GRU}
    assert str(spell("gru:units=8", known)) == "gru:layers=1,units=8"
    with pytest.raises(ArchitectureError, match='unknown block "svdff"; known: dense, gru'):
        spell("svdff", known)
