import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hpcnas.core.pareto import crowding, ranks

POINTS = st.lists(st.tuples(*[st.integers(0, 5)] * 3), min_size=1, max_size=20).map(np.array)


@given(POINTS)
def test_no_point_of_a_front_dominates_another_and_every_later_one_is_dominated(points):
    rank = ranks(points)
    for i, a in enumerate(points):
        for j, b in enumerate(points):
            assert not ((a <= b).all() and (a < b).any() and rank[i] == rank[j])
        if rank[i]:
            above = points[rank == rank[i] - 1]
            assert ((above <= a).all(1) & (above < a).any(1)).any()


def test_the_ends_of_a_front_and_lonely_points_are_the_least_crowded():
    distance = crowding(np.array([[0.0, 9.0], [1.0, 8.0], [2.0, 7.0], [8.0, 1.0], [9.0, 0.0]]))
    assert np.isinf(distance[[0, 4]]).all() and distance[1] < distance[3] and distance[1] < distance[2]
