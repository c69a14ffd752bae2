"""What a run's models take on a microcontroller, be it searched for one or not: beside ``report``, since it loads torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hpcnas import config as configuration
from hpcnas.core.architecture import Architecture
from hpcnas.core.errors import ArchitectureError
from hpcnas.core.targets import TARGETS, Footprint
from hpcnas.data import features
from hpcnas.nn.converted import converted
from hpcnas.nn.on_device import Steps, Windows
from hpcnas.runtime.no_compiler import leave_compiler_out
from hpcnas.store import model_card
from hpcnas.store.run_dir import RunDir


def footprints(run: RunDir, models: Mapping[str, Sequence[Architecture]]) -> list[Footprint]:
    """Of each model, by its name and its members' towers, in tflite-micro; time by the space's processor, if it names one.

    Raises:
        ConfigError, RunError, ArchitectureError: if the run is of another version, and its files or towers say nothing here.
    """
    leave_compiler_out()  # which the first tensor of a traced graph would load
    config, card = configuration.load(run.config), model_card.load(run.model_card)
    space, target = config.space, TARGETS["tflite-micro"]
    around = space.surroundings(len(card.mean), len(card.class_names))
    window = features.frames_of(config.data.window_s, config.features.bank)
    form = (Steps if space.causal else Windows)(around, window)
    found = []
    for name, towers in models.items():
        whole = [Architecture((*tower.blocks, *space.tail_blocks)) for tower in towers]
        if lacks := next(filter(None, (target.objection(tower, space.causal) for tower in whole)), ""):
            found.append(Footprint(name, lacks=lacks))
            continue
        try:
            of = converted(*(form.parts(tower.blocks) for tower in whole))
        except (RuntimeError, ValueError) as error:
            raise ArchitectureError(f"{name}: cannot be built: {str(error).splitlines()[0]}") from error
        ms = space.microcontroller.ms(of.work) if space.microcontroller else 0.0
        found.append(Footprint(name, of.flash / 1024, of.arena / 1024, dict(of.operators), of.work.macs, ms))
    return found
