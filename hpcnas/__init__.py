"""Neural architecture search for keyword spotting and spoken language identification on MPI clusters."""

__version__ = "0.1.0"
