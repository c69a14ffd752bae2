"""What each rank computes with: prints the number of torch's threads behind ``set_threads``, as the last line on rank 0."""

import logging

import torch
from mpi4py import MPI

from hpcnas.runtime.groups import set_threads

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
set_threads(MPI.COMM_WORLD)
numbers = MPI.COMM_WORLD.gather(torch.get_num_threads())
if MPI.COMM_WORLD.rank == 0:
    print("THREADS", *numbers, flush=True)
