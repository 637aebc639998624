"""Plots (the one door to matplotlib): small, without a display, in colours that the colour-blind can tell apart."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nbdeploy.render.output import show

if TYPE_CHECKING:
    from collections.abc import Sequence

# Okabe and Ito's palette: distinguishable with any colour vision; the order is that of their contrast on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKS = ("-", "--", "-.", ":")
MOST_CURVES = 7
MOST_LABELS = 20  # of a confusion matrix that still gets numbers
DPI = 100


@dataclass(frozen=True)
class Plot:
    """`text` says what there is to see, for those who cannot; `figure` is matplotlib's."""

    figure: Any
    text: str

    def __repr__(self) -> str:
        return self.text

    @cached_property
    def png(self) -> bytes:
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=DPI)
        return buffer.getvalue()

    def show(self) -> None:
        import base64

        forms = {"text/plain": self.text, "image/png": base64.b64encode(self.png).decode()}
        show(forms, {"image/png": {"alt": self.text}})

    def _ipython_display_(self) -> None:
        self.show()


def figure(width: float = 6.4, height: float = 3.6, panels: int = 1) -> tuple[Any, list[Any]]:
    """A figure outside pyplot, so that nothing is left open, and its axes."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    axes = [made.add_subplot(1, panels, place + 1) for place in range(panels)]
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.tick_params(labelsize=8)
    return made, axes


def _named(axes: Any, across: str, up: str, title: str = "") -> None:
    axes.set_xlabel(across, fontsize=9, parse_math=False)
    axes.set_ylabel(up, fontsize=9, parse_math=False)
    if title:
        axes.set_title(title, fontsize=10, loc="left", parse_math=False)


def _legend(axes: Any, **options: Any) -> None:
    legend = axes.legend(fontsize=8, frameon=False, **options)
    for text in legend.get_texts():
        text.set_parse_math(False)


def short(label: Any, room: int = 18) -> str:
    text = "".join(char if char.isprintable() else "?" for char in str(label))
    return text if len(text) <= room else text[: room - 1] + "…"


def confusion(counts: Any, labels: Sequence[Any]) -> Plot:
    """Rows are the truth; colour is the share of a row, so that rare labels can be seen."""
    import numpy as np

    count = len(labels)
    size = min(max(3.0, 0.55 * count + 1.6), 6.4)
    made, (axes,) = figure(size + 0.8, size)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="cividis", vmin=0, vmax=1)
    axes.spines[:].set_visible(False)
    if count <= MOST_LABELS:
        names = [short(label, 12) for label in labels]
        turned = {"rotation": 45, "ha": "right"} if sum(map(len, names)) > 8 * size else {}
        axes.set_xticks(range(count), names, fontsize=8, parse_math=False, **turned)
        axes.set_yticks(range(count), names, fontsize=8, parse_math=False)
        for row, column in np.ndindex(*counts.shape):
            colour = "black" if shares[row, column] > 0.55 else "white"
            axes.text(column, row, int(counts[row, column]), ha="center", va="center", color=colour, fontsize=8)
    _named(axes, "answer", "truth")
    bar = made.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("share of the true label", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    right = int(np.trace(counts))
    return Plot(made, f"Confusion matrix of {count} labels: {right} of {int(counts.sum())} rows on the diagonal.")


@dataclass(frozen=True)
class Curve:
    label: str
    across: Any
    up: Any


def curves(roc: Sequence[Curve], recall: Sequence[Curve], told: str) -> Plot:
    made, (left, right) = figure(6.8, 3.3, 2)
    for axes, lines in ((left, roc), (right, recall)):
        for place, line in enumerate(lines[:MOST_CURVES]):
            style = {"color": COLOURS[place % len(COLOURS)], "linestyle": MARKS[place % len(MARKS)], "linewidth": 1.6}
            axes.plot(line.across, line.up, label=short(line.label, 26), **style)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.04)
        axes.set_aspect("equal")
    left.plot([0, 1], [0, 1], color="0.6", linewidth=0.8)
    _named(left, "false positive rate", "true positive rate", "ROC")
    _named(right, "recall", "precision", "Precision and recall")
    _legend(left, loc="lower right")
    _legend(right, loc="lower left")
    return Plot(made, told)


def calibration(points: Sequence[tuple[float, float, int]], told: str) -> Plot:
    """`points` are mean confidence, share right, rows."""
    made, (axes, below) = figure(6.4, 3.2, 2)
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, label="as sure as right")
    said, right, rows = zip(*points, strict=True) if points else ((), (), ())
    axes.plot(said, right, "o-", color=COLOURS[0], markersize=4, linewidth=1.4, label="this version")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.04)
    axes.set_aspect("equal")
    _named(axes, "probability given", "share right", "Calibration")
    _legend(axes, loc="upper left")
    below.bar(said, rows, width=0.05, color=COLOURS[0])
    below.set_xlim(-0.02, 1.02)
    _named(below, "probability given", "rows", "How sure it was")
    return Plot(made, told)


def residuals(truth: Any, answers: Any, told: str, seed: int = 0) -> Plot:
    import numpy as np

    made, (left, right) = figure(6.8, 3.2, 2)
    some = np.random.default_rng(seed).permutation(len(truth))[:2000]
    left.scatter(truth[some], answers[some], s=9, alpha=0.5, color=COLOURS[0], linewidths=0)
    ends = [float(min(truth.min(), answers.min())), float(max(truth.max(), answers.max()))]
    left.plot(ends, ends, color="0.4", linewidth=0.8)
    _named(left, "truth", "answer", "Answers")
    right.hist(answers - truth, bins=30, color=COLOURS[0])
    right.axvline(0, color="0.4", linewidth=0.8)
    _named(right, "answer - truth", "rows", "Residuals")
    for axes in (left, right):
        axes.locator_params(axis="x", nbins=5)
    return Plot(made, told)


def bars(labels: Sequence[str], values: Sequence[float], spreads: Sequence[float], across: str, told: str) -> Plot:
    """Horizontal bars, the first on top."""
    made, (axes,) = figure(6.4, min(0.9 + 0.26 * max(len(labels), 1), 6.0))
    places = list(range(len(labels)))
    axes.barh(places, values, xerr=spreads, color=COLOURS[0], ecolor="0.3", height=0.62, error_kw={"linewidth": 1})
    axes.set_yticks(places, [short(label, 28) for label in labels], parse_math=False)
    axes.invert_yaxis()
    axes.axvline(0, color="0.4", linewidth=0.8)
    _named(axes, across, "")
    return Plot(made, told)


@dataclass(frozen=True)
class Span:
    label: str
    value: float
    low: float | None
    high: float | None
    faint: bool = False


def spans(items: Sequence[Span], overall: float, across: str, told: str) -> Plot:
    """A point with its interval for each, beside the number of all rows."""
    made, (axes,) = figure(6.4, min(1.0 + 0.24 * max(len(items), 1), 7.0))
    for place, item in enumerate(items):
        colour = "0.6" if item.faint else COLOURS[0]
        if item.low is not None and item.high is not None:
            axes.plot([item.low, item.high], [place, place], color=colour, linewidth=2)
        axes.plot([item.value], [place], "o", color=colour, markersize=5)
    axes.axvline(overall, color=COLOURS[1], linewidth=1, linestyle="--", label="all rows")
    axes.set_yticks(range(len(items)), [short(item.label, 30) for item in items], parse_math=False)
    axes.invert_yaxis()
    _named(axes, across, "")
    _legend(axes, loc="lower left", bbox_to_anchor=(0, 1))
    return Plot(made, told)


def groups(counts: Sequence[tuple[str, int]], told: str) -> Plot:
    return bars([label for label, _ in counts], [count for _, count in counts], [0.0] * len(counts), "rows", told)
