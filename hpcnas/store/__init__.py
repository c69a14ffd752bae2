"""Files of a run: journal, weights, archive. Knows nothing of torch or MPI."""
