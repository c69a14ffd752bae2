"""The final stage: a race from scratch, the finishers a second time, then the winner for every further member."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from helpers import SPACE
from hypothesis import given
from hypothesis import strategies as st

from hpcnas.core.architecture import Architecture
from hpcnas.core.archive import Archive
from hpcnas.core.budget import Budget
from hpcnas.core.coordinator import Coordinator
from hpcnas.core.messages import Assignment, Progress, Ready, Stop, Verdict
from hpcnas.core.search_config import SearchConfig
from hpcnas.core.stopping.race import Race
from hpcnas.core.strategies import Finals
from hpcnas.core.strategies.finals import finalists
from hpcnas.core.trial import Cost, Proposal, Result, Trial, TrialState, unscored

COST = Cost(100, 1000, 50)
EPOCHS = 16


def proposal(number: int) -> Proposal:
    return Proposal(Architecture.parse(f"dense:units={number + 1}"), number, "copy")


def units(trial: Trial) -> int:
    return dict(trial.architecture.blocks[0].settings)["units"]


def staged(
    finals: Finals,
    quality: list[float] | Callable[[Trial], float],
    groups: int,
    seed: int,
    broken: tuple[int, ...] = (),
    budget: Budget = Budget(),
    behind: tuple[int, ...] = (),
) -> Coordinator:
    """The coordinator of a stage that simulated groups have worked off, answering in an order that ``seed`` decides.

    Trials of ``broken`` fail in their first epoch, those of ``behind`` in the one after the last rung.
    """
    rng = np.random.default_rng(seed)
    coordinator = Coordinator(
        finals,
        SPACE,
        SearchConfig(max_trials=finals.trials),
        0,
        record=lambda event: None,
        measure=lambda tower: COST,
        stopping=finals.race,
        budget=budget,
    )
    ready: dict[int, Result | None] = dict.fromkeys(range(groups))
    busy: dict[int, tuple[Assignment, tuple[float, ...]]] = {}
    for _ in range(10_000):
        free = [*ready, *busy]
        group = free[rng.integers(len(free))]
        if group in ready:
            answer = coordinator.handle(Ready(group, ready[group]))
            ready[group] = None
            if isinstance(answer, Stop):
                return coordinator
            if isinstance(answer, Assignment):
                del ready[group]
                busy[group] = answer, answer.paused.ranked if answer.paused else ()
            continue
        order, merits = busy.pop(group)
        trial = order.trial.id
        own = quality(order.trial) if callable(quality) else quality[units(order.trial) - 1]
        merits = (*merits, own * (1 - 0.5 ** (len(merits) + 1)))
        if trial in broken:
            ready[group] = unscored(order.trial, TrialState.FAILED, COST, "on purpose")
            continue
        if trial in behind and len(merits) > finals.race.rungs[-1]:
            assert order.paused is not None
            ready[group] = replace(order.paused, state=TrialState.STOPPED, error="on purpose")
            continue
        verdict = None if len(merits) == EPOCHS else coordinator.handle(Progress(trial, merits, merits))
        if verdict is Verdict.CONTINUE:
            busy[group] = order, merits
            continue
        state = {None: TrialState.COMPLETED, Verdict.STOP: TrialState.STOPPED}.get(verdict, TrialState.PAUSED)
        ready[group] = Result(trial, state, merits[-1], -merits[-1], COST, len(merits), 0, 0, 1.0, group, merits, merits=merits)
    raise AssertionError("the stage does not end")


def finals_of(entrants: int, members: int = 2, baseline: bool = True, finishers: int = 2, challengers: int = 0) -> Finals:
    beside = proposal(entrants) if baseline else None
    own = [proposal(number) for number in range(entrants)]
    return Finals.of(own, beside, members=members, epochs=EPOCHS, finishers=finishers, challengers=challengers)


@given(st.integers(1, 17), st.integers(1, 5), st.integers(0, 99), st.integers(1, 4))
def test_the_best_wins_whatever_the_order_and_the_number_of_groups(entrants, groups, seed, members):
    quality = list(np.random.default_rng(seed).permutation(entrants + 1) + 1.0)
    finals = finals_of(entrants, members)
    coordinator = staged(finals, quality, groups, seed)
    assert finals.winner(coordinator.archive) == int(np.argmax(quality[:entrants])), "the baseline does not take part"
    ensemble = finals.ensemble(coordinator.archive)
    assert len(ensemble) == members and {t.architecture for t in ensemble} == {
        proposal(finals.winner(coordinator.archive)).architecture
    }
    assert len({t.seed for t in ensemble}) == members, "its members differ in their seeds"


def test_halving_pays_for_the_longer_list():
    finals = finals_of(16)
    archive = staged(finals, [float(n) for n in range(1, 18)], 3, 0).archive
    epochs = sorted(archive.results[i].epochs for i in range(16))
    assert finals.race.rungs == (4, 8)
    assert epochs == [4] * 10 + [8] * 4 + [16] * 2
    assert sum(epochs) < 7 * EPOCHS, "sixteen entrants for the price of less than seven"


def test_the_finishers_are_trained_twice_and_their_mean_merit_decides():
    finals = finals_of(4, members=2, baseline=False)
    archive = staged(finals, [1.0, 4.0, 3.0, 2.0], 2, 0).archive
    assert [str(archive.trials[i].architecture) for i in (4, 5)] == ["dense:units=2", "dense:units=3"]
    archive.add(replace(archive.results[4], merits=(*archive.results[4].merits[:-1], -9.0)))
    assert finals.winner(archive) == 2, "the first one's second training was bad luck made plain"


@pytest.mark.parametrize("broken", [(0,), (3, 5), (7,), (0, 1, 2, 3, 4, 5, 6), tuple(range(8))])
def test_entrants_that_fail_do_not_hold_up_the_race(broken):
    finals = finals_of(8)
    coordinator = staged(finals, [float(n) for n in range(1, 10)], 2, 1, broken)
    assert coordinator.finished
    left = [n for n in range(8) if n not in broken]
    assert finals.winner(coordinator.archive) == (max(left) if left else 0)


@pytest.mark.parametrize("finishers", [1, 2, 3])
@pytest.mark.parametrize("behind", [(7,), (6, 7)])
def test_who_breaks_behind_the_last_rung_leaves_the_place_to_the_next_best(finishers, behind):
    finals = finals_of(8, finishers=finishers)
    coordinator = staged(finals, [float(n) for n in range(1, 10)], 2, 1, behind=behind)
    winner = finals.winner(coordinator.archive)
    assert winner == 7 - len(behind)
    assert coordinator.archive.results[winner].state is TrialState.COMPLETED
    assert len(finals.ensemble(coordinator.archive)) == 2


@given(st.integers(1, 9), st.integers(1, 5), st.integers(0, 99), st.integers(1, 9), st.integers(1, 3))
def test_challengers_join_the_race_and_may_win_it(entrants, groups, seed, challengers, finishers):
    finals = finals_of(entrants, finishers=finishers, challengers=challengers)

    def quality(trial: Trial) -> float:  # the later the better: the last challenger beats everybody
        return float(trial.id + 1 if trial.id in finals.race.challengers else 0.5 / (trial.id + 1))

    coordinator = staged(finals, quality, groups, seed)
    archive, race = coordinator.archive, finals.race
    assert coordinator.finished and len(archive.results) == finals.trials
    assert finals.winner(archive) == race.challengers[-1]
    assert {t.architecture for t in finals.ensemble(archive)} == {archive.trials[race.challengers[-1]].architecture}
    if race.rungs:
        judged = {archive.results[i].epochs for i in race.challengers if archive.results[i].epochs < race.rungs[0]}
        assert judged <= {race.look}, "none is given up elsewhere before the meeting"


def test_challengers_come_from_those_who_lead_at_the_meeting_and_are_new():
    finals = finals_of(8, challengers=6)
    archive = staged(finals, lambda trial: float(units(trial)) if trial.id < 8 else 0.1, 3, 0).archive
    challengers = [archive.trials[i] for i in finals.race.challengers]
    origins = {int(trial.proposal.mutation.rpartition(" of ")[2]) for trial in challengers}
    assert origins <= {4, 5, 6, 7}, "the better four of eight"
    assert all(trial.proposal.fills for trial in challengers), "each uses what the limits allow"
    towers = [trial.architecture for trial in challengers]
    assert len({*towers, *(p.architecture for p in finals.entrants)}) == 8 + 6


@given(st.integers(1, 5), st.integers(0, 99))
def test_challengers_that_are_behind_most_are_given_up_half_way_to_the_meeting(groups, seed):
    finals = finals_of(8, challengers=6)
    last = finals.race.challengers[-1]
    qualities = {trial: 4.6 if trial == last else 0.5 for trial in finals.race.challengers}  # entrants have 1 to 8
    coordinator = staged(finals, lambda trial: qualities.get(trial.id, float(units(trial))), groups, seed)
    results = [coordinator.archive.results[trial] for trial in finals.race.challengers]
    look, meeting = finals.race.look, finals.race.rungs[0]
    assert coordinator.finished and (look, meeting) == (2, 4)
    assert [(one.state, one.epochs) for one in results[:-1]] == [(TrialState.STOPPED, look)] * 5
    assert results[-1].epochs == finals.race.rungs[1], "only four entrants are better, and six trials go on from the meeting"


def test_where_nothing_near_the_leaders_keeps_the_limits_a_leader_is_trained_once_more():
    finals = finals_of(4, challengers=2)
    coordinator = staged(finals, [float(n) for n in range(1, 7)], 2, 0, budget=Budget(max_params=99))
    again = [coordinator.archive.trials[i].proposal for i in finals.race.challengers]
    assert [one.mutation for one in again] == ["copy", "copy"] and coordinator.finished


def test_a_short_stage_has_no_rungs_and_trains_every_entrant_whole():
    assert Race.of(4, 1, 2).rungs == ()
    assert Race.of(2, 40, 2).rungs == ()


def test_what_was_suggested_comes_to_the_finals_beside_the_best_that_was_found():
    archive = Archive()
    for id_, (mutation, loss) in enumerate([("zoo A", 5.0), ("swap", 2.0), ("zoo B", 1.0), ("swap", 3.0), ("suggestion", 9.0)]):
        archive.add(Trial(id_, replace(proposal(id_), mutation=mutation, parent=None), 0))
        archive.add(Result(id_, TrialState.COMPLETED, -loss, loss, COST, 1, 0, 0, 1.0, 0, (-loss,)))
    assert [trial.id for trial in finalists(archive, 1)] == [2, 1, 0, 4]
    assert [trial.id for trial in finalists(archive, 9)] == [2, 1, 3, 0, 4]


def test_finalists_come_from_several_lines_of_descent_and_the_best_line_fills_up():
    archive = Archive()
    parents = [None, None, 0, 0, 0, 1, 2, 3]  # losses rise with the number; 1 and 5 are one line, all others the other one
    for id_, parent in enumerate(parents):
        archive.add(Trial(id_, replace(proposal(id_), mutation="start", parent=parent), 0))
        archive.add(Result(id_, TrialState.COMPLETED, -id_, id_, COST, 1, 0, 0, 1.0, 0, (-id_,)))
    assert [trial.id for trial in finalists(archive, 4)] == [0, 1, 2, 3], "the line's share is one of four, and there is room"
    archive = Archive()
    for id_, parent in enumerate([None, *range(6), None, None]):
        archive.add(Trial(id_, replace(proposal(id_), mutation="start", parent=parent), 0))
        archive.add(Result(id_, TrialState.COMPLETED, -id_, id_, COST, 1, 0, 0, 1.0, 0, (-id_,)))
    assert [trial.id for trial in finalists(archive, 4)] == [0, 1, 7, 8]
