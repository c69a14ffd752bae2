import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcnas.core.architecture import Architecture, Block
from hpcnas.core.errors import ArchitectureError

names = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)
blocks = st.builds(
    Block, names, st.dictionaries(names, st.integers(0, 4096), max_size=4).map(lambda settings: tuple(settings.items()))
)
architectures = st.builds(Architecture, st.lists(blocks, min_size=1, max_size=6).map(tuple))


@given(architectures)
def test_parsing_is_the_inverse_of_spelling(architecture):
    assert Architecture.parse(str(architecture)) == architecture


def test_settings_have_one_order():
    assert Block("svdf", (("memory", 16), ("filters", 64))) == Block.parse("svdf:filters=64,memory=16")


@pytest.mark.parametrize("text", ["", "Dense", "dense:", "dense:units", "dense:units=x", "dense:units=1,units=2", "a//b"])
def test_what_cannot_be_spelled_is_refused_by_name(text):
    with pytest.raises(ArchitectureError, match="block"):
        Architecture.parse(text)


@given(architectures)
def test_between_ranks_an_architecture_is_its_spelling(architecture):
    sent = pickle.dumps(architecture)
    assert str(architecture).encode() in sent
    assert pickle.loads(sent) == architecture


@pytest.mark.parametrize(
    "text, blocks",
    [
        ("dense*3:units=8", ["dense:units=8"] * 3),
        ("tcres*2:channels=16,stride=2", ["tcres:channels=16,stride=2", "tcres:channels=16,stride=1"]),
        ("tcres:channels=16,stride=2/tcres:channels=16,stride=2", ["tcres:channels=16,stride=2"] * 2),
        ("identity*2/dense:units=8", ["identity", "identity", "dense:units=8"]),
    ],
)
def test_repeated_blocks_are_spelled_as_a_stage_whose_first_block_has_the_stride(text, blocks):
    tower = Architecture(tuple(map(Block.parse, blocks)))
    assert str(tower) == text and Architecture.parse(text) == tower
    assert Architecture.parse("/".join(blocks)) == tower


@pytest.mark.parametrize("text", ["dense*0:units=8", "dense*:units=8", "dense*100000:units=8", "dense*2:units", "*2"])
def test_a_stage_that_cannot_be_read_is_refused(text):
    with pytest.raises(ArchitectureError):
        Architecture.parse(text)
