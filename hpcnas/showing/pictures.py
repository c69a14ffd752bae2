"""The report's plots, as matplotlib figures in one style. Colours are Okabe & Ito's, told apart by colour-blind readers."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

from hpcnas.core.archive import Archive
from hpcnas.core.detection import DetCurve
from hpcnas.core.false_alarms import LEAST_ALARMS, Heard
from hpcnas.core.pareto import pareto_front
from hpcnas.core.units import thousands
from hpcnas.showing.lettering import SvgCanvas, with_installed_fonts

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#8a8f98"
COLOURS = (BLUE, ORANGE, GREEN, RED, "#56B4E9", "#CC79A7", "#000000")
DASHES = ("-", "--", "-.", ":")
"""Lines are told apart by both, so that either is enough."""
MANY = 3000
"""Points of a scatter plot above which they are drawn as an image inside the vector picture."""
TRIALS_A_ROW = 9
"""Columns of the lineage before it goes on below."""
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555b66",
    "axes.grid": True,
    "grid.color": "#e6e8ec",
    "axes.axisbelow": True,
    "legend.frameon": False,
    # Texts are texts, which a browser shows in any script; its own font takes the place of one that it does not have.
    "svg.fonttype": "none",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica"],
    "svg.hashsalt": "hpcnas",
}


def to_svg(figure: Figure) -> str:
    """The figure as SVG text, to stand inside a page."""
    text = _svg(figure)
    return text[text.index("<svg") :]


def save(figure: Figure, path: Path, dots_per_inch: int = 300) -> str:
    """Write the figure in the format that the file's ending names; the same figure gives the same bytes.

    Returns the characters that no font on this machine has, which are boxes; in SVG none is.
    """
    if path.suffix == ".svg":
        path.write_text(_svg(figure), encoding="utf-8")
        return ""
    undated = {"CreationDate": None} if path.suffix == ".pdf" else {}
    with matplotlib.rc_context(STYLE), with_installed_fonts(figure) as missing:
        figure.savefig(path, bbox_inches="tight", dpi=dots_per_inch, metadata=undated)
    return missing


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE):
        SvgCanvas(figure).print_figure(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    return buffer.getvalue()


def as_text(score: float, objective: str) -> str:
    """A score as people read it: shares in percent."""
    return f"{score:.3f}" if objective == "cross_entropy" else f"{score:.1%}"


def progress(archive: Archive, finished_s: dict[int, float], objective: str) -> Figure:
    """Every trial's score, and the best so far, over search time and over training steps."""
    results = [archive.results[i] for i in sorted(finished_s, key=finished_s.__getitem__) if archive.results[i].state.has_score]
    scores = np.array([r.score for r in results])
    figure, (by_time, by_steps) = _figure(9, 3.4, 2)
    positions = (np.array([finished_s[r.trial] for r in results]) / 60, np.cumsum([r.steps for r in results]))
    for axes, x, label in (
        (by_time, positions[0], "search time in minutes"),
        (by_steps, positions[1], "training steps of all trials"),
    ):
        axes.scatter(x, scores, s=14, color=GREY, alpha=0.7, label="trial", linewidths=0, rasterized=len(x) > MANY)
        axes.step(x, np.maximum.accumulate(scores), where="post", color=BLUE, lw=2, label="best so far")
        axes.set(xlabel=label)
        _score_axis(axes, objective)
        axes.set_xlim(left=0)
    by_steps.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / 1000:g}k" if x else "0"))
    by_time.legend(loc="lower right")
    return figure


def score_against(archive: Archive, objective: str, cost: str = "params", label: str = "parameters") -> Figure:
    """Score of every trial against a field of its cost, with the Pareto front."""
    figure, axes = _figure(5.2, 3.8)
    results = archive.ranking
    points = axes.scatter(
        [getattr(r.cost, cost) for r in results], [r.score for r in results],
        c=[archive.trials[r.trial].architecture.depth for r in results], cmap="viridis", s=24, alpha=0.85, linewidths=0,
        rasterized=len(results) > MANY,
    )  # fmt: skip
    front = pareto_front(results, cost)
    costs, scores = zip(*((getattr(r.cost, cost), r.score) for r in front))
    axes.step(costs, scores, where="post", color=RED, lw=1.5, label="Pareto front")
    axes.set(xscale="log", xlabel=label)
    _score_axis(axes, objective)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: thousands(round(x)).replace(".0k", "k")))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.legend(loc="lower right")
    bar = figure.colorbar(
        points, ax=axes, label="depth", ticks=sorted({archive.trials[r.trial].architecture.depth for r in results})
    )
    bar.outline.set_visible(False)
    return figure


def lineage(archive: Archive, winner: int, objective: str) -> Figure:
    """The winner's ancestors from the first architecture on: one column a trial, one box a block, new ones marked."""
    line = archive.lineage(winner)
    depth = max(trial.architecture.depth for trial in line)
    rows, height = -(-len(line) // TRIALS_A_ROW), depth + 1.3
    columns = min(len(line), TRIALS_A_ROW)
    figure, axes = _figure(1.2 * columns + 0.4, 0.5 * rows * height)
    for place, trial in enumerate(line):
        row, x = divmod(place, TRIALS_A_ROW)
        bottom = (rows - 1 - row) * height
        before = line[place - 1].architecture.blocks if place else ()
        for y, block in enumerate(trial.architecture.blocks):
            is_new = y >= len(before) or before[y] != block
            axes.add_patch(matplotlib.patches.FancyBboxPatch(
                (x - 0.44, bottom + y + 0.1), 0.88, 0.8, boxstyle="round,pad=0,rounding_size=0.08", linewidth=1,
                facecolor="#fdebc8" if is_new else "#e8f1f8", edgecolor=ORANGE if is_new else BLUE,
            ))  # fmt: skip
            settings = " ".join(f"{name[0]}{value}" for name, value in block.settings)
            axes.text(x, bottom + y + 0.62, block.kind, ha="center", va="center", fontsize=8, fontweight="bold")
            axes.text(x, bottom + y + 0.3, settings, ha="center", va="center", fontsize=6.5, color="#444a55")
        score = as_text(archive.results[trial.id].score, objective)
        axes.text(x, bottom - 0.08, f"trial {trial.id}\n{score}", ha="center", va="top", fontsize=8)
    axes.set(xlim=(-0.6, columns - 0.4), ylim=(-0.95, rows * height - 0.9))
    axes.axis("off")
    return figure


def effects(names: Sequence[str], values: Sequence[float], intervals: Sequence[tuple[float, float]], title: str) -> Figure:
    """What each part does to the score, with its interval, from top to bottom; clear ones are filled."""
    figure, axes = _figure(5.2, 0.3 * len(names) + 1.1)
    rows = np.arange(len(names))[::-1]
    for row, value, (low, high) in zip(rows, values, intervals):
        colour = GREY if low <= 0 <= high else BLUE if value > 0 else RED
        axes.plot([low, high], [row, row], color=colour, lw=2, solid_capstyle="round")
        axes.plot(value, row, marker="o", color=colour, markerfacecolor="white" if colour == GREY else colour, ms=6)
    axes.axvline(0, color="#555b66", lw=1)
    axes.set_yticks(rows, names)
    axes.set(xlabel=f"{title}, with 95 % interval", ylim=(-0.7, len(names) - 0.3))
    axes.grid(axis="y", visible=False)
    return figure


def courses(bands: Sequence[tuple[str, float, float, float, float]], label: str, objective: str) -> Figure:
    """Best score so far of groups of runs: rows of group, position, mean, lowest and highest; the range is shaded."""
    figure, axes = _figure(5.2, 3.8)
    groups = list(dict.fromkeys(row[0] for row in bands))
    for number, group in enumerate(groups):
        x, mean, low, high = np.array([row[1:] for row in bands if row[0] == group]).T
        colour, dashes = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
        axes.fill_between(x, low, high, step="post", color=colour, alpha=0.15, linewidth=0)
        axes.step(x, mean, where="post", color=colour, ls=dashes, lw=2, label=str(number))
    axes.set(xlabel=label)
    axes.set_xlim(left=0)
    _score_axis(axes, objective)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: thousands(round(x)).replace(".0k", "k")))
    legend = figure.legend(loc="outside lower center", fontsize=8, frameon=False)
    for text, group in zip(legend.get_texts(), groups):  # names of runs: one that begins with _ would be left out
        text.set(text=group, parse_math=False)
    return figure


def ensemble_gain(names: Sequence[str], accuracies: Sequence[float], intervals: Sequence[tuple[float, float]]) -> Figure:
    """Test accuracy with its interval, from top to bottom."""
    figure, axes = _figure(5.2, 0.5 * len(names) + 0.9)
    colours = [RED if n.startswith("hand") else BLUE if n.startswith("ensemble") else GREY for n in names]
    rows = np.arange(len(names))[::-1]
    errors = np.abs(np.array(intervals) - np.array(accuracies)[:, None])
    axes.barh(rows, accuracies, xerr=errors.T, color=colours, height=0.62, error_kw={"lw": 1, "capsize": 3, "ecolor": "#333"})
    for row, value, (_, error) in zip(rows, accuracies, errors):
        axes.text(value + error + 0.004, row, f"{value:.1%}", va="center", fontsize=9)
    axes.set_yticks(rows, names)
    low, high = min(low for low, _ in intervals), max(high for _, high in intervals)
    limits = max(0, low - 0.05), min(1.08, high + 0.05)  # beyond 100 %: room for the last figure
    axes.set(xlim=limits, xlabel="test accuracy, with 95 % interval")
    axes.set_xticks([tick for tick in axes.get_xticks() if limits[0] <= tick < 1.001])
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(axis="y", visible=False)
    return figure


def accuracy_by_cost(
    names: Sequence[str],
    costs: Sequence[float],
    accuracies: Sequence[float],
    intervals: Sequence[tuple[float, float]],
    own: Sequence[bool],
    label: str,
) -> Figure:
    """Test accuracy of models with its interval over what they cost. Named are those that no cheaper one equals, and one's own,
    which are drawn in another colour."""
    figure, axes = _figure(5.2, 4.2)
    best = -1.0
    for place in sorted(range(len(names)), key=lambda place: (costs[place], -accuracies[place])):
        cost, accuracy, (low, high) = costs[place], accuracies[place], intervals[place]
        leads, best = accuracy > best, max(best, accuracy)
        colour = RED if own[place] else BLUE if leads else GREY
        axes.plot([cost, cost], [low, high], color=colour, lw=1.2, alpha=0.7)
        axes.plot(cost, accuracy, marker="o", ms=5, color=colour)
        if leads or own[place]:
            axes.annotate(names[place], (cost, accuracy), (4, 4), textcoords="offset points", fontsize=8, color=colour)
    axes.set(xscale="log", xlabel=label, ylabel="test accuracy, with 95 % interval")
    axes.margins(x=0.15)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: thousands(round(x)).replace(".0", "")))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return figure


def confusion(counts: np.ndarray, class_names: Sequence[str]) -> Figure:
    """Confusion matrix of the ensemble on the test split, rows normalised; numbers are counts."""
    side = max(3.3, 0.4 * len(class_names))
    figure, axes = _figure(side, side)
    # The matrix has this size, and what is written beside it as much room as it takes: names may be as long as those of files.
    figure.set_layout_engine("none")
    axes.set_position((0, 0, 1, 1))
    shares = counts / counts.sum(1, keepdims=True).clip(1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(class_names) <= 40:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shares[row, column] > 0.5 else "#333"
                axes.text(column, row, count, ha="center", va="center", fontsize=7, color=colour)
    # Names are texts, even with what would be a formula between dollar signs.
    texts = {"labels": class_names, "fontsize": 8, "parse_math": False}
    # Held by their ends, which are right whatever width a browser's font gives them.
    axes.set_xticks(range(len(class_names)), **texts, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(class_names)), **texts)
    axes.set(xlabel="recognised as", ylabel="spoken")
    axes.grid(visible=False)
    return figure


def roc(curve: DetCurve) -> Figure:
    """Hits against false alarms at every threshold, both as shares."""
    figure, axes = _figure(4.2, 4.2)
    axes.plot((0, 1), (0, 1), color=GREY, lw=1, ls="--")
    axes.step(curve.false_alarms, 1 - curve.misses, where="pre", color=BLUE, lw=2)
    axes.set(xlabel="false alarms", ylabel="hits", xlim=(-0.01, 1), ylim=(0, 1.01))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    return figure


def det(curve: DetCurve) -> Figure:
    """Misses against false alarms at every threshold, both as shares, on axes that are logarithmic down to the smallest rate
    above zero."""
    figure, axes = _figure(5.2, 4.2)
    axes.step(curve.false_alarms, curve.misses, where="post", color=BLUE, lw=2)
    axes.set(xlabel="false alarms", ylabel="misses")
    _down_to(axes, "x", curve.false_alarms)
    _down_to(axes, "y", curve.misses)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set(xlim=(0, None), ylim=(0, 1.05))
    return figure


def in_the_field(heard: Heard) -> Figure:
    """Misses against false alarms an hour with 95 % intervals, on logarithmic axes; grey where the hours tell too little."""
    figure, axes = _figure(5.2, 4.2)
    curve, hours = heard.curve, heard.alarms.hours
    least, told = 0.5 / hours, LEAST_ALARMS / hours
    most = max(curve.false_alarms.max(), 10 * told)
    rates = np.geomspace(told, most, 40)
    axes.axvspan(least, told, color="#f0f1f3", lw=0)
    axes.fill_between(rates, *heard.band(rates), color=BLUE, alpha=0.18, lw=0, step="post")
    # A rate may be exceeded by no less than one alarm: between two, misses stay what they are at the lower one.
    axes.step(curve.false_alarms[::-1], curve.misses[::-1], where="post", color=BLUE, lw=2)
    _down_to(axes, "y", curve.misses)
    axes.set(xscale="log", xlabel="false alarms an hour", ylabel="misses", xlim=(least, most), ylim=(0, 1.05))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    return figure


def _down_to(axes: Axes, axis: str, values: np.ndarray) -> None:
    """A logarithmic axis as far as the smallest share above zero."""
    above_zero = values[values > 0]
    getattr(axes, f"set_{axis}scale")("symlog", linthresh=above_zero.min() if len(above_zero) else 1.0)
    getattr(axes, f"{axis}axis").set_major_formatter(PercentFormatter(1))


def _score_axis(axes: Axes, objective: str) -> None:
    axes.set_ylabel(f"validation {objective.replace('_', ' ')}")
    if objective != "cross_entropy":
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def _figure(width: float, height: float, columns: int = 1) -> tuple:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots(1, columns)
