"""Architectures as torch modules, their cost, and their training; one process, no MPI, no files."""
