"""When this job ends: told by the user or by Slurm."""

from __future__ import annotations

import argparse
import logging
import math
import os
import re
import subprocess
import time
from collections.abc import Mapping

logger = logging.getLogger(__name__)

_SPAN = re.compile(r"(?:(?P<days>\d+)-)?(?:(?:(?P<hours>\d+):)?(?P<minutes>\d+):)?(?P<seconds>\d+)")


def span(text: str) -> float:
    """Seconds of ``D-HH:MM:SS``, ``HH:MM:SS``, ``MM:SS`` or ``SS``; the type of ``--time-limit``."""
    match = _SPAN.fullmatch(text.strip())
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write seconds, HH:MM:SS or D-HH:MM:SS")
    parts = {unit: int(number or 0) for unit, number in match.groupdict().items()}
    return 86400 * parts["days"] + 3600 * parts["hours"] + 60 * parts["minutes"] + parts["seconds"]


def add_time_limit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--time-limit", type=span, metavar="HH:MM:SS",
        help="this job's length; near its end training is suspended (status 75). Slurm's jobs know theirs",
    )  # fmt: skip


def job_end(limit_s: float | None, environment: Mapping[str, str] = os.environ) -> float:
    """When the job is over, in seconds since the epoch: ``limit_s`` from now, or what Slurm says; infinite if nobody does.

    Slurm tells its jobs by ``SLURM_JOB_END_TIME`` from 22.05 on; before that, or if it holds no time, ``squeue`` is asked.
    """
    if limit_s is not None:
        return time.time() + limit_s
    if told := environment.get("SLURM_JOB_END_TIME"):
        if told.isascii() and told.isdecimal() and int(told) > 0:
            return float(told)
        logger.warning("SLURM_JOB_END_TIME = %r: is no time; where squeue knows none either, give --time-limit", told)
    if job := environment.get("SLURM_JOB_ID"):
        try:
            left = subprocess.run(["squeue", "-h", "-j", job, "-o", "%L"], capture_output=True, text=True, timeout=30).stdout
            return time.time() + span(left)
        except (OSError, subprocess.TimeoutExpired, argparse.ArgumentTypeError):  # such as UNLIMITED
            return math.inf
    return math.inf
