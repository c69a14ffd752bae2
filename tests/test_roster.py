import pytest

from hpcnas.core.errors import ConfigError, LaunchError
from hpcnas.core.messages import Form
from hpcnas.core.roster import ClusterConfig, Roster
from hpcnas.runtime.roles import Roles


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def roster(nodes: str, size: int, clock: Clock | None = None) -> Roster:
    """One letter a rank: its node; rank 0 coordinates."""
    return Roster(nodes, size, hang_limit_s=60, clock=clock or Clock())


@pytest.mark.parametrize("ranks", [2, 3, 7, 64, 5000])
@pytest.mark.parametrize("size", [1, 2, 7])
def test_every_worker_trains_in_one_group_or_is_spare(ranks, size):
    if size > ranks - 1:
        with pytest.raises(LaunchError, match="group_size"):
            Roles(ranks, size)
        return
    workers = roster("a" * ranks, size)
    groups = [group.ranks for group in workers.form()]
    assert len(groups) == Roles(ranks, size).groups and all(len(group) == size for group in groups)
    assert [*sum(groups, ()), *workers.spare] == list(range(1, ranks)) and len(workers.spare) < size


def test_groups_stay_on_a_node_where_they_fit_and_the_rest_is_spare():
    workers = roster("aaaaa" + "bbbbb", size=2)  # four workers on a, five on b
    assert [group.ranks for group in workers.form()] == [(1, 2), (3, 4), (5, 6), (7, 8)]
    assert workers.spare == [9]


def test_what_nodes_leave_over_trains_together_across_them():
    workers = roster("a" + "aaa" + "bbb" + "ccc", size=2)
    assert [group.ranks for group in workers.form()] == [(1, 2), (4, 5), (7, 8), (3, 6)]


def test_a_lost_rank_breaks_its_group_and_a_spare_takes_its_place():
    workers = roster("a" * 6, size=2)
    assert len(list(workers.form())) == 2
    assert workers.lose(1) == Form(0, (1, 2))
    assert workers.group_of(2) is None, "what it still says of the old group is out of date"
    assert list(workers.form()) == [], "rank 2 is not out of it yet"
    assert workers.free(2) is None
    assert list(workers.form()) == [Form(2, (2, 5))]


def test_survivors_that_are_too_few_form_a_smaller_group_once_nobody_else_is_to_come():
    workers = roster("a" * 4, size=3)
    assert len(list(workers.form())) == 1
    workers.lose(2)
    workers.free(1)
    assert list(workers.form()) == [], "rank 3 is still to come"
    workers.free(3)
    assert list(workers.form()) == [Form(1, (1, 3))]
    assert not workers.is_idle
    for rank in (1, 3):
        workers.lose(rank)
    assert list(workers.form()) == [] and workers.is_idle


def test_a_rank_that_failed_alone_breaks_its_group_and_all_may_train_again():
    workers = roster("a" * 3, size=2)
    assert len(list(workers.form())) == 1
    assert workers.free(2) == Form(0, (1, 2)) and workers.free(1) is None
    assert list(workers.form()) == [Form(1, (1, 2))]
    assert workers.group_of(1) == 1


def test_a_silent_group_is_hung_unless_it_waits_for_work():
    clock = Clock()
    workers = roster("a" * 4, size=1, clock=clock)
    assert len(list(workers.form())) == 3
    for number in range(3):
        workers.hear(number)
    workers.pause(1)
    clock.now = 50
    workers.hear(2)
    clock.now = 70
    assert workers.hung() == [Form(0, (1,))]
    workers.break_up(0)
    clock.now = 90
    assert workers.hung() == [] and workers.stuck(10) == [1]
    workers.lose(1)
    assert workers.stuck(10) == []


def test_groups_without_more_work_rest():
    workers = roster("a" * 3, size=1)
    for group in list(workers.form()):
        workers.rest(group.number)
    assert workers.is_idle and workers.spare == [] and list(workers.form()) == []
    assert workers.lose(1) is None


def test_an_unknown_policy_is_refused():
    with pytest.raises(ConfigError, match='on_group_loss = "ignore": unknown'):
        ClusterConfig(on_group_loss="ignore")
