"""A checksum over what an HDF5 file says, however it is laid out: a flipped bit is found, or changes nothing that is read."""

from __future__ import annotations

import hashlib

import h5py
import numpy as np

NAME = "sha256"
"""Attribute of the file that holds it."""
UNREADABLE = (OSError, RuntimeError, KeyError, ValueError, TypeError, UnicodeDecodeError, AttributeError)
"""What h5py raises for damaged files."""


def digest(file: h5py.File) -> str:
    """SHA-256 over names, types, shapes and values of all groups, datasets and attributes but this one."""
    total = hashlib.sha256()

    def take(name: str, item: h5py.Group | h5py.Dataset) -> None:
        total.update(f"{type(item).__name__} {name}\n".encode())
        if isinstance(item, h5py.Dataset):
            total.update(_spelled(item[()]))
        for key, value in sorted(item.attrs.items()):
            if key != NAME:
                total.update(f"attribute {key}\n".encode() + _spelled(value))

    take("/", file["/"])
    file.visititems(take)
    return total.hexdigest()


def seal(file: h5py.File) -> None:
    """Store the digest of all that was written, as the last thing."""
    file.attrs[NAME] = digest(file)


def is_intact(file: h5py.File) -> bool:
    """Whether the file says what was written; True for files from before there was a digest."""
    return not has_seal(file) or file.attrs[NAME] == digest(file)


def has_seal(file: h5py.File) -> bool:
    return NAME in file.attrs


def _spelled(value: object) -> bytes:
    array = np.asarray(value)
    if array.dtype.hasobject or array.dtype.kind in "US":
        texts = [text.decode() if isinstance(text, bytes) else str(text) for text in array.ravel()]
        return f"text {array.shape}\n".encode() + b"".join(f"{len(text)} {text}\n".encode() for text in texts)
    return f"{array.dtype.str} {array.shape}\n".encode() + np.ascontiguousarray(array).tobytes()
