import numpy as np
import pytest
from helpers import completed, trial

from hpcnas.core.archive import Archive
from hpcnas.core.inheritance import INHERITANCE, Parent
from hpcnas.core.inheritance.average import AverageOfBest, LossWeighted
from hpcnas.core.trial import Donor

SHAPES = {"blocks.0.w": (8, 3), "blocks.1.w": (4, 8), "blocks.1.b": (4,), "classifier.weight": (2, 4)}


def arrays(value: float, shapes=SHAPES) -> dict[str, np.ndarray]:
    return {name: np.full(shape, value, np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("name", INHERITANCE)
def test_what_is_inherited_has_the_childs_names_and_shapes(name):
    parent, child = trial(0, "a/b"), trial(1, "a/c", parent=0)
    archive = Archive([parent, completed(0, 0.5), child])
    rule = INHERITANCE[name]()
    donors = [(donor, arrays(1.0)) for donor in rule.donors(archive, child)]
    merged = rule.merge(child, SHAPES, donors)
    assert all(merged[n].shape == SHAPES[n] for n in merged)


def test_inheriting_from_an_equal_architecture_is_the_identity():
    merged = Parent().merge(trial(1, "a/b"), SHAPES, [(Donor(trial(0, "a/b")), arrays(3.0))])
    assert merged.keys() == SHAPES.keys() and all((m == 3.0).all() for m in merged.values())


def test_the_papers_rule_copies_leading_blocks_only():
    rule = Parent(behind=False, near_identity=False, widen=False, overlap=False)
    shapes = {"blocks.0.w": (8, 3), "blocks.1.w": (4, 8), "blocks.2.w": (4, 4), "classifier.weight": (2, 4)}
    merged = rule.merge(trial(1, "a/x/c"), shapes, [(Donor(trial(0, "a/b/c")), arrays(3.0, shapes))])
    assert merged.keys() == {"blocks.0.w"}


def test_blocks_behind_the_mutation_and_the_classifier_follow_where_all_shapes_agree():
    shapes = {"blocks.0.w": (8, 3), "blocks.1.w": (4, 8), "blocks.2.w": (4, 4), "classifier.weight": (2, 4)}
    donor = arrays(3.0, shapes)
    rule = Parent(overlap=False)
    merged = rule.merge(trial(1, "a/x/c"), shapes, [(Donor(trial(0, "a/b/c")), donor)])
    assert merged.keys() == {"blocks.0.w", "blocks.2.w", "classifier.weight"}
    donor["blocks.2.w"] = np.zeros((4, 5), np.float32)
    assert "blocks.2.w" not in rule.merge(trial(1, "a/x/c"), shapes, [(Donor(trial(0, "a/b/c")), donor)])


def test_without_overlap_a_block_is_inherited_whole_or_not_at_all():
    donor = arrays(1.0)
    donor["blocks.1.b"] = np.zeros(5, np.float32)
    merged = Parent(overlap=False).merge(trial(1, "a/b"), SHAPES, [(Donor(trial(0, "a/b")), donor)])
    assert merged.keys() == {"blocks.0.w", "classifier.weight"}


def test_a_block_of_another_size_takes_the_leading_part_of_its_ancestors_arrays():
    narrow = {**SHAPES, "blocks.0.w": (6, 3), "blocks.1.w": (4, 6)}
    wide = {**SHAPES, "blocks.0.w": (9, 3), "blocks.1.w": (4, 9)}
    donor = {name: np.arange(np.prod(shape), dtype=np.float32).reshape(shape) for name, shape in SHAPES.items()}
    for shapes, leading in ((narrow, 6), (wide, 8)):
        merged = Parent().merge(trial(1, "a:n=2/b"), shapes, [(Donor(trial(0, "a:n=1/b")), donor)])
        assert (merged["blocks.0.w"] == donor["blocks.0.w"][:leading]).all()
        assert (merged["blocks.1.w"] == donor["blocks.1.w"][:, :leading]).all()


@pytest.mark.parametrize(("before", "now", "expected"), [(3, 5, [0, 1, 2, 3, 0]), (5, 3, [2, 3, 4]), (2, 5, [0, 1, 2, 0, 0])])
def test_kernels_are_centred_on_each_other(before, now, expected):
    donor = {"blocks.0.w": np.tile(np.arange(1, before + 1, dtype=np.float32), (2, 2, 1))}
    merged = Parent().merge(trial(1, "a:n=2/b"), {"blocks.0.w": (4, 2, now)}, [(Donor(trial(0, "a:n=1/b")), donor)])
    assert merged["blocks.0.w"].shape == (2, 2, now) and merged["blocks.0.w"][1, 1].tolist() == expected


def test_a_kernel_is_not_put_into_another_layers_where_a_block_has_gained_one():
    """A bcres block that changes its width has a pointwise convolution where another has its depthwise one."""
    donor = {"blocks.0.0.w": np.ones((8, 4, 1, 1), np.float32), "blocks.0.1.w": np.ones((8, 1, 3, 1), np.float32)}
    donor["blocks.0.time"] = np.ones((8, 1, 3), np.float32)
    shapes = {"blocks.0.0.w": (8, 1, 3, 1), "blocks.0.time": (8, 1, 3)}
    assert Parent().merge(trial(1, "a:n=2"), shapes, [(Donor(trial(0, "a:n=1")), donor)]).keys() == {"blocks.0.time"}


def test_gates_of_a_recurrence_of_another_size_are_not_mixed_up():
    name = "blocks.0.module.layer.weight_hh_l0"
    donors = [(Donor(trial(0, "gru:units=2")), {name: np.ones((6, 2), np.float32)})]
    assert not Parent(widen=False).merge(trial(1, "gru:units=4"), {name: (12, 4)}, donors)


def test_a_first_architecture_and_a_child_of_a_failure_have_no_donors():
    archive = Archive([trial(0), trial(1, "a", parent=0)])
    assert Parent().donors(archive, archive.trials[0]) == ()
    assert Parent().donors(archive, archive.trials[1]) == ()


@pytest.mark.parametrize("rule", [AverageOfBest(), LossWeighted()])
def test_averages_are_convex_and_count_a_part_only_where_a_donor_has_it_whole(rule):
    archive = Archive(
        [trial(0, "a/b"), completed(0, 0.5, loss=1.0), trial(1, "a/c"), completed(1, 0.9, loss=0.5), trial(2, "a/b", parent=0)]
    )
    child = archive.trials[2]
    donors = rule.donors(archive, child)
    assert [d.trial.id for d in donors] == [0, 1]
    merged = rule.merge(child, SHAPES, [(donors[0], arrays(0.0)), (donors[1], arrays(3.0))])
    assert merged["blocks.0.w"] == pytest.approx(2.0 if isinstance(rule, LossWeighted) else 1.5)
    assert (merged["blocks.1.w"] == 0.0).all(), "trial 1 has another block there"
    assert merged["blocks.0.w"].dtype == np.float32
