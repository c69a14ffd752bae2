"""Audio without keywords that a finished model takes for some, for another training to learn from.

    python -m hpcnas.mine RUN_OR_MODEL [--model NAME] [--count N] [--out FILE] [--set KEY=VALUE]
    mpirun -np 64 python -m hpcnas.mine ...      the same, each rank with a share of the recordings

Hears the training part of ``data.negatives``, in as many processes as it may use threads, and writes a list for
``data.mined_negatives`` of a new run. Within a run ``data.mine_negatives`` does the same between search and finals.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hpcnas import config as configuration
from hpcnas.core.checks import at_least
from hpcnas.core.errors import ConfigError
from hpcnas.judging import mining
from hpcnas.runtime.crew import Crew, run_by_crew
from hpcnas.runtime.together import on_every_rank, on_first_rank
from hpcnas.use.classifier import MODEL_NAMES, opened


def main(argv: Sequence[str] | None = None) -> None:
    run_by_crew(mine, argv)


def mine(crew: Crew, argv: Sequence[str] | None) -> None:
    """Hear the audio and write the list; called by every rank."""
    parser = argparse.ArgumentParser(
        prog="python -m hpcnas.mine", description="Find what a model takes for keywords in audio without any."
    )
    parser.add_argument("model_of", type=Path, metavar="RUN_OR_MODEL", help="run directory, or an exported state_dict file")
    parser.add_argument("--model", help=MODEL_NAMES)
    parser.add_argument("--count", type=int, default=500, metavar="N", help="windows to find (default: 500)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: mined-<model>.json in the run, or beside the file")
    parser.add_argument("--set", action="append", default=[], metavar="TABLE.KEY=VALUE", help="override; may be repeated")
    arguments = on_first_rank(crew.world, lambda: parser.parse_args(argv))
    at_least(1, "--count", N=arguments.count)
    classifier = on_every_rank(crew.world, lambda: opened(arguments.model_of, arguments.model))
    place = arguments.model_of
    own = classifier.config
    config = configuration.parsed(configuration.dump(own), "--set", [*arguments.set, f"data.mine_negatives={arguments.count}"])
    if foreign := [c for c in configuration.differences(own, config) if not c.startswith("data.")]:
        raise ConfigError(f"--set {'; '.join(foreign)}: only data.* and spotting.* can be changed here")
    classifier = replace(classifier, config=replace(own, spotting=config.spotting))
    name = f"mined-{classifier.name.replace(' ', '-')}.json"
    out = arguments.out or (place / name if place.is_dir() else place.with_name(f"{place.stem}-{name}"))
    label = f"{place.resolve().name}: {classifier.name}"
    found = mining.mine(crew.world, classifier, label, config, arguments.count, crew.processes)
    on_first_rank(crew.world, lambda: mining.save(out, found))
    if crew.speaks:
        print(f"{mining.summary(found)}; in {out}")


if __name__ == "__main__":
    main()
