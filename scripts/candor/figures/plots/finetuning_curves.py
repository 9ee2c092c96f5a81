"""Training and validation loss of adapters by optimiser step, and the validation whose checkpoint was kept."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from candor.config.figures import Figure
from candor.figures import marks, style
from candor.figures.inputs import Drawn, FigureInput, History, Mark, Row

ACROSS = 3  # adapters beside each other
HEIGHT = 1.9  # inches of a panel
TRAIN = style.Look("#56B4E9", "", "-", True, "")
VALIDATION = style.Look("#0072B2", "s", "--", False, "")
KEPT = style.Look("#D55E00", "*", "", True, "")


def draw(data: FigureInput, figure: Figure) -> Drawn:
    """A panel per adapter."""
    across = min(ACROSS, len(data.histories))
    down = -(-len(data.histories) // across)
    width = style.COLUMN if across == 1 else style.FULL
    keys = [
        marks.line_key(TRAIN, "training"),
        marks.line_key(VALIDATION, "validation"),
        marks.line_key(KEPT, "checkpoint kept"),
    ]
    picture = style.page(width, down * HEIGHT, figure.title, _notes(data), keys)
    panels = picture.subplots(down, across, squeeze=False)
    drawn: list[Mark] = []
    for axes, history in zip(panels.flat, data.histories, strict=False):
        _panel(axes, history, width / across - 0.6)
        drawn += [_mark(history, row) for row in history.rows]
    for axes in panels.flat[len(data.histories) :]:
        axes.set_axis_off()
    for axes in panels[:, 0]:
        axes.set_ylabel("Loss (nats per token)")
    return Drawn(picture, drawn)


def _panel(axes: Axes, history: History, room: float) -> None:
    for split, look, width in (("train", TRAIN, 0.9), ("validation", VALIDATION, 1.2)):
        rows = _of(history, split)
        steps, losses = [row["step"] for row in rows], [row["loss"] for row in rows]
        axes.plot(
            steps,
            losses,
            color=look.colour,
            linestyle=look.line,
            marker=look.marker or None,
            markersize=3.5,
            markerfacecolor="white",
            linewidth=width,
        )
    for row in history.rows:
        if row["kept"]:
            marks.point(axes, row["step"], row["loss"], KEPT, size=8)
            axes.annotate(
                f"{row['loss']:.3g}",
                (row["step"], row["loss"]),
                (0, 7),
                textcoords="offset points",
                ha="center",
                fontsize=style.NOTE_SIZE,
                color=KEPT.colour,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
            )
    axes.set_ylim(bottom=0)
    axes.margins(y=0.12)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axes.set_xlabel("Optimiser step")
    last = history.rows[-1]
    epochs = f"{last['epoch']:.3g} epoch{'' if last['epoch'] == 1 else 's'}"
    counted = f"{last['step']} steps, {epochs}, {_thousands(last['tokens'])} tokens"
    heading = f"{style.wrap_name(history.adapter, room)}\n{style.wrap(counted, room, 8)}"
    axes.set_title(heading, loc="left", linespacing=1.2)


def _of(history: History, split: str) -> list[Row]:
    return sorted((row for row in history.rows if row["split"] == split), key=lambda row: row["step"])


def _thousands(count: int) -> str:
    return f"{count / 1000:.0f}k" if count >= 10_000 else str(count)


def _mark(history: History, row: Row) -> Mark:
    of = "n" if row["split"] == "train" else "n_validation"
    counts = {"n": history.facts.get(of), "n_groups": None, "n_skipped": history.facts.get(f"{of}_skipped")}
    named = {name: row[name] for name in ("step", "epoch", "tokens", "learning_rate", "gradient_norm", "kept")}
    return marks.mark(
        row["split"], {**counts, "value": row["loss"], "low": None, "high": None}, adapter=history.adapter, **named
    )


def _notes(data: FigureInput) -> list[str]:
    return [
        "Loss: mean negative log-likelihood of a completion token; training: of the batches of one step, so noisy; "
        "validation: of all validation examples. Star: the lowest validation loss, whose checkpoint is the adapter. "
        f"Examples: {_examples(data.histories)}. One run each, without intervals.",
        " ".join(marks.model_notes(data)),
    ]


def _examples(histories: Sequence[History]) -> str:
    return "; ".join(
        f"{history.adapter} {history.facts.get('n', 'n not recorded')}, {history.facts.get('n_skipped', 0)} skipped"
        for history in histories
    )
