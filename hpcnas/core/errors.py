"""Errors whose message is meant for the user: the place, the value and the way out."""


class HpcnasError(Exception):
    """Base of all errors that a program of hpcnas prints as one line."""

    status = 2
    """Exit status of the program."""


class ConfigError(HpcnasError, ValueError):
    """A configuration that cannot work; names file, key and value."""


class ArchitectureError(HpcnasError, ValueError):
    """A block or architecture that cannot be spelled, lies outside the space, or cannot be built."""


class DataError(HpcnasError, ValueError):
    """A corpus that cannot be used; names the file or folder."""


class RunError(HpcnasError, RuntimeError):
    """A run directory that cannot be used as asked."""


class OutcomeError(HpcnasError, RuntimeError):
    """A search that is over, but most of whose trials failed. A person should look before it goes on."""

    status = 3


class ExportError(HpcnasError, RuntimeError):
    """A model that cannot be exported in the form asked for, or whose export computes something else."""


class LaunchError(HpcnasError, RuntimeError):
    """A set of MPI ranks that cannot run the search."""


class TrialError(HpcnasError, RuntimeError):
    """A trial that cannot be completed, for a reason all ranks of its group see alike."""


class MetricError(HpcnasError, ValueError):
    """A figure that is not defined on the given examples."""


class QueryError(HpcnasError, ValueError):
    """A column, filter or trial that a tool was asked for and that is not there."""
