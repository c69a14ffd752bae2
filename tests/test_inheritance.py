import numpy as np
import pytest
from helpers import completed, trial

from hpcnas.core.archive import Archive
from hpcnas.core.inheritance import INHERITANCE, Parent

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
    merged = Parent().merge(trial(1, "a/b"), SHAPES, [(trial(0, "a/b"), arrays(3.0))])
    assert merged.keys() == SHAPES.keys() and all((m == 3.0).all() for m in merged.values())


def test_the_papers_rule_copies_leading_blocks_only():
    rule = Parent(behind=False, near_identity=False)
    shapes = {"blocks.0.w": (8, 3), "blocks.1.w": (4, 8), "blocks.2.w": (4, 4), "classifier.weight": (2, 4)}
    merged = rule.merge(trial(1, "a/x/c"), shapes, [(trial(0, "a/b/c"), arrays(3.0, shapes))])
    assert merged.keys() == {"blocks.0.w"}


def test_blocks_behind_the_mutation_and_the_classifier_follow_where_all_shapes_agree():
    shapes = {"blocks.0.w": (8, 3), "blocks.1.w": (4, 8), "blocks.2.w": (4, 4), "classifier.weight": (2, 4)}
    donor = arrays(3.0, shapes)
    merged = Parent().merge(trial(1, "a/x/c"), shapes, [(trial(0, "a/b/c"), donor)])
    assert merged.keys() == {"blocks.0.w", "blocks.2.w", "classifier.weight"}
    donor["blocks.2.w"] = np.zeros((4, 5), np.float32)
    assert "blocks.2.w" not in Parent().merge(trial(1, "a/x/c"), shapes, [(trial(0, "a/b/c"), donor)])


def test_a_block_is_inherited_whole_or_not_at_all():
    donor = arrays(1.0)
    donor["blocks.1.b"] = np.zeros(5, np.float32)
    merged = Parent().merge(trial(1, "a/b"), SHAPES, [(trial(0, "a/b"), donor)])
    assert merged.keys() == {"blocks.0.w", "classifier.weight"}


def test_a_first_architecture_and_a_child_of_a_failure_have_no_donors():
    archive = Archive([trial(0), trial(1, "a", parent=0)])
    assert Parent().donors(archive, archive.trials[0]) == ()
    assert Parent().donors(archive, archive.trials[1]) == ()
