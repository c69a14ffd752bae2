"""A program that has nothing to do, of which one rank hears late, and those that hear of it from there."""

import time

from hpcnas.runtime.launch import run_program
from hpcnas.runtime.together import on_first_rank


def program(world, argv):
    if world.rank == 1:
        time.sleep(2)
    return on_first_rank(world, lambda: 0)


run_program(program, [])
