"""Inheritance: which trials a new one starts from, and which of its arrays it takes from them.

A rule is a frozen dataclass whose fields are its configuration, with ``donors(archive, trial) -> tuple[Donor, ...]`` and
``merge(trial, shapes, donors) -> arrays`` on numpy arrays; ``near_identity`` says how blocks that inherit nothing start.
"""

from hpcnas.core.inheritance.average import AverageOfBest, LossWeighted
from hpcnas.core.inheritance.none import NoInheritance
from hpcnas.core.inheritance.parent import Parent

INHERITANCE = {
    "parent": Parent,
    "average_of_best": AverageOfBest,
    "loss_weighted": LossWeighted,
    "none": NoInheritance,
}

__all__ = ["INHERITANCE", "NoInheritance", "Parent"]
