"""Pure logic of a search: plain values and functions. Knows nothing of MPI, torch or files."""
