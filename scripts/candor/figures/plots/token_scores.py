"""What a probe says of each token of a few texts, as coloured text (Fig. 7).

A token's background is its score, from blue (below 0: speaks for the negative class; in italics, so that it can be told
in black and white) over white to orange (above 0). The bar below it is its weight in the score of the text, as a share
of the largest weight of that text.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure as Picture
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import Rectangle
from matplotlib.textpath import text_to_path

from candor.config.figures import Figure
from candor.figures import marks, style
from candor.figures.inputs import Drawn, FigureInput, Mark, Row

SIZE = 7.5  # points
LINE = 0.19  # inches of a line of text, with its bars
BAR = 0.045  # inches of the highest bar
HEADING = 0.24  # inches of the words above a text
APART = 0.1  # inches between texts
KEY = 0.42  # inches of the colour bar
TALL = 7.9  # inches of all texts at most, so that the figure fits a page
INDENT = 0.02  # inches
UNCOVERED = "\N{WHITE SQUARE}"
"""In place of a character that the font does not have."""
BREAK = "\N{RETURN SYMBOL}"
COLOURS = LinearSegmentedColormap.from_list("scores", ["#6baed6", "#c6dbef", "#ffffff", "#fdd0a2", "#f08a3c"])
UNREAD = "#999999"


class Piece(NamedTuple):
    """A token, or the part of it on one line: where it stands, in inches from the left, and in lines."""

    words: str
    left: float
    width: float
    line: int
    row: Row


class Text(NamedTuple):
    """One text, laid out."""

    rows: list[Row]
    pieces: list[Piece]
    lines: int

    @property
    def height(self) -> float:
        return HEADING + LINE * self.lines + APART


def draw(data: FigureInput, figure: Figure) -> Drawn:
    """Texts from the highest score to the lowest; as many, evenly, as a page holds."""
    rows = data.tokens or []
    texts = [_laid(of) for of in _by_text(rows)]
    shown = _fitting(texts)
    limit = _limit([row for text in shown for row in text.rows])
    height = sum(text.height for text in shown)
    picture = style.page(style.FULL, height + KEY, figure.title, _notes(data, rows, texts, shown))
    canvas, key = picture.subplots(2, 1, height_ratios=(height, KEY))
    width = style.FULL - 2 * style.MARGIN
    canvas.set_axis_off()
    canvas.set_xlim(0, width)
    canvas.set_ylim(height, 0)
    drawn: list[Mark] = []
    top = 0.0
    for text in shown:
        _draw(canvas, text, top, limit)
        drawn += [_mark(row) for row in text.rows]
        top += text.height
    _key(picture, key, limit)
    return Drawn(picture, drawn)


def _by_text(rows: Sequence[Row]) -> list[list[Row]]:
    """The tokens of each text in their order, the text with the highest score first."""
    texts: dict[str, list[Row]] = {}
    for row in rows:
        texts.setdefault(row["example_id"], []).append(row)
    found = [sorted(of, key=lambda row: row["token_index"]) for of in texts.values()]
    return sorted(found, key=lambda of: -of[0]["text_score"])


def _fitting(texts: Sequence[Text]) -> list[Text]:
    """All texts, or as many as fit a page, evenly from the highest score to the lowest; at least one."""
    for count in range(len(texts), 1, -1):
        chosen = [texts[i] for i in np.linspace(0, len(texts) - 1, count).round().astype(int)]
        if sum(text.height for text in chosen) <= TALL:
            return chosen
    return list(texts[:1])


def _laid(rows: list[Row]) -> Text:
    """Break a text into lines between its words, as far as a line can hold them."""
    room = style.FULL - 2 * style.MARGIN - 2 * INDENT
    pieces: list[Piece] = []
    left, line = INDENT, 0
    for row in rows:
        for words in _split(row["token"]):
            width = _width(words, _slanted(row))
            if left + width > room and left > INDENT:
                left, line = INDENT, line + 1
            pieces.append(Piece(words, left, width, line, row))
            left += width
            if words.endswith(BREAK):
                left, line = INDENT, line + 1
    return Text(rows, pieces, max((piece.line for piece in pieces), default=0) + 1)


def _split(token: str) -> Iterator[str]:
    """A token as drawn: whole, or after each line break; blank space of any other kind is a blank."""
    for part in re.findall(r"[^\n]*\n|[^\n]+", token) or [""]:
        seen = "".join(BREAK if c == "\n" else " " if c.isspace() else c for c in part)
        yield "".join(c if c in (BREAK, " ") or _covered(c) else UNCOVERED for c in seen)


@cache
def _covered(character: str) -> bool:
    """Whether the figure's font draws a character; what only changes its neighbours is left out of it."""
    return ord(character) in get_font(findfont(FontProperties(family="DejaVu Sans"))).get_charmap()


@cache
def _slopes(words: str) -> bool:
    """Whether the italic font has all characters."""
    font = get_font(findfont(FontProperties(family="DejaVu Sans", style="italic"))).get_charmap()
    return all(ord(c) in font for c in words)


def _slanted(row: Row) -> bool:
    return row["score"] is not None and row["score"] < 0


@cache
def _width(words: str, slanted: bool) -> float:
    """Width of words in inches; blanks at their ends count, and nothing is narrower than a hair."""
    font = FontProperties(family="DejaVu Sans", size=SIZE, style="italic" if slanted and _slopes(words) else "normal")
    fixed = text_to_path.get_text_width_height_descent(f".{words}.", font, ismath=False)[0]
    dots = text_to_path.get_text_width_height_descent("..", font, ismath=False)[0]
    return max(float(fixed - dots) / 72, 0.02)


def _limit(rows: Sequence[Row]) -> float:
    """The score of the fullest colour: above it lie 2 in 100 tokens."""
    scores = [abs(row["score"]) for row in rows if row["score"] is not None]
    return float(np.quantile(scores, 0.98)) or 1.0 if scores else 1.0


def _draw(axes: Axes, text: Text, top: float, limit: float) -> None:
    first = text.rows[0]
    axes.text(0, top + HEADING / 2, _heading(first), fontsize=style.NOTE_SIZE, fontweight="bold", va="center")
    heaviest = max((row["weight"] for row in text.rows), default=0.0) or 1.0
    for words, left, width, line, row in text.pieces:
        y = top + HEADING + LINE * line
        score = row["score"]
        if score is not None:
            colour = COLOURS(0.5 + 0.5 * min(1.0, max(-1.0, score / limit)))
            axes.add_patch(Rectangle((left, y), width, LINE - 1.4 * BAR, facecolor=colour, linewidth=0))
        bar = BAR * row["weight"] / heaviest
        axes.add_patch(Rectangle((left, y + LINE - 1.4 * BAR), width, bar, facecolor="black", linewidth=0))
        slanted = _slanted(row) and _slopes(words)
        axes.text(
            left,
            y + 0.68 * (LINE - BAR),
            words,
            fontsize=SIZE,
            fontstyle="italic" if slanted else "normal",
            color=UNREAD if score is None else "black",
            va="baseline",
        )


def _heading(row: Row) -> str:
    """Which text it is, what it is labelled, and what the probe says of the whole."""
    said = f"score {marks.number(row['text_score'])}"
    if row["text_probability"] is not None:
        said += f", probability {row['text_probability']:.2f}"
    label = row["label"] or "no label"
    return f"{row['example_id']} ({label}): {said}, above {100 * row['rank']:.0f} % of the texts"


def _key(picture: Picture, axes: Axes, limit: float) -> None:
    """The colours of scores, and what the bars are."""
    axes.set_axis_off()
    bar = axes.inset_axes((0.0, 0.55, 0.28, 0.3))
    bar.imshow(np.linspace(-1, 1, 101)[None], cmap=COLOURS, aspect="auto", extent=(-limit, limit, 0, 1))
    bar.set_yticks([])
    bar.set_xticks([-limit, 0, limit], [marks.number(-limit, 1), "0", marks.number(limit, 1)])
    axes.text(
        0.32,
        0.7,
        "score of a token (italics: below 0); bar: its weight in the score of the text",
        transform=axes.transAxes,
        va="center",
        fontsize=style.NOTE_SIZE,
    )


def _mark(row: Row) -> Mark:
    names = {name: row[name] for name in ("dataset", "example_id", "label", "monitor", "layer", "seed", "token_index")}
    names |= {name: row[name] for name in ("token", "role", "weight", "text_score", "text_probability", "rank")}
    counted = {"value": row["score"], "low": None, "high": None, "n": 1, "n_groups": 1, "n_skipped": 0}
    return marks.mark("token", counted, **names)


def _notes(data: FigureInput, rows: Sequence[Row], texts: Sequence[Text], shown: Sequence[Text]) -> list[str]:
    first = rows[0]
    drawn = [piece.words for text in shown for piece in text.pieces]
    said = [f"{UNCOVERED}: a character that this figure's font lacks."] if any(UNCOVERED in w for w in drawn) else []
    said += [f"{BREAK}: a line break."] if any(BREAK in words for words in drawn) else []
    if any(row["score"] is None for text in shown for row in text.rows):
        said.append("Grey: tokens that the probe does not read.")
    if any(re.search("[\u0590-\u08ff]", words) for words in drawn):
        said.append("Scripts from right to left stand in the order of their tokens, from left to right.")
    some = f" {len(shown)} of them are shown, as many as fit." if len(shown) < len(texts) else ""
    return [
        f"Probe: {first['monitor']} L{first['layer']} (layer), seed {first['seed']}. {len(texts)} texts of "
        f"{first['dataset']}, evenly from its ranking, none chosen by eye.{some} Scores are of single tokens, without "
        "intervals; a text's score is the sum of weight times score.",
        *([" ".join(said)] if said else []),
        " ".join(marks.model_notes(data)),
    ]
