import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from hpcnas.core.errors import ConfigError
from hpcnas.nn.losses import LOSSES, Distillation, DistillationConfig, LabelLoss, TeamLoss

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 3.0]])
TARGETS = torch.tensor([0, 1])


class Says(nn.Module):
    """A finished model that always says the same."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, features: torch.Tensor, lengths: None) -> torch.Tensor:
        return self.logits


def test_label_loss_is_the_mean_negative_log_likelihood():
    probability = LOGITS.softmax(1)[[0, 1], TARGETS]
    assert LabelLoss()(LOGITS, None, None, TARGETS).item() == pytest.approx(-probability.log().mean().item())


def test_team_loss_is_that_of_the_mean_of_all_logits():
    other = torch.tensor([[0.0, 4.0, 0.0], [0.0, 4.0, 0.0]])
    expected = functional.cross_entropy((LOGITS + other) / 2, TARGETS)
    assert torch.equal(TeamLoss([Says(other)])(LOGITS, None, None, TARGETS), expected)
    assert torch.equal(TeamLoss([])(LOGITS, None, None, TARGETS), LabelLoss()(LOGITS, None, None, TARGETS))


@pytest.mark.parametrize("name", LOSSES)
def test_every_distillation_loss_is_zero_at_the_teachers_and_grows_with_distance(name):
    loss = LOSSES[name]
    assert loss(LOGITS, LOGITS, 2.0).item() == pytest.approx(0, abs=1e-6)
    near, far = loss(LOGITS + torch.tensor([0.1, 0, 0]), LOGITS, 2.0), loss(LOGITS + torch.tensor([1.0, 0, 0]), LOGITS, 2.0)
    assert 0 < near < far


@pytest.mark.parametrize("name", LOSSES)
def test_a_student_that_sees_its_teachers_alone_comes_to_say_what_they_say(name):
    student = LOGITS.clone().requires_grad_()
    told = [(0.25, Says(torch.tensor([[0.0, 3.0, 0.0]] * 2))), (0.75, Says(torch.tensor([[0.0, -1.0, 0.0]] * 2)))]
    objective = Distillation(told, DistillationConfig(loss=name, share=1.0, balanced=False))
    optimizer = torch.optim.Adam([student], 0.05)
    for _ in range(600):
        optimizer.zero_grad()
        objective(student, None, None, TARGETS).backward()
        optimizer.step()
    np.testing.assert_allclose(student.softmax(1).detach(), torch.zeros(2, 3).softmax(1), atol=0.02)


def test_balanced_the_teachers_count_as_much_as_the_labels_whatever_the_size_of_their_loss():
    for scale in (0.1, 10.0):
        objective = Distillation([(1.0, Says(scale * LOGITS.flip(1)))], DistillationConfig(loss="logits", share=0.5))
        assert objective(LOGITS, None, None, TARGETS).item() == pytest.approx(LabelLoss()(LOGITS, None, None, TARGETS).item())


@pytest.mark.parametrize("change", [{"loss": "l1"}, {"temperature": 0.0}, {"share": 1.5}, {"epochs": 0}])
def test_settings_that_cannot_work_are_refused(change):
    with pytest.raises(ConfigError, match=f"distillation.{next(iter(change))}"):
        DistillationConfig(**change)
