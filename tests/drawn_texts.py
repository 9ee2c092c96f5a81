"""The texts of a figure as they stand on the page, so that tests can read them and see that none is spoilt."""

from typing import NamedTuple

import pytest
from matplotlib.backend_bases import RendererBase
from matplotlib.text import Text
from matplotlib.transforms import Bbox


class Written(NamedTuple):
    """A text as it stands on the page, in pixels."""

    words: str
    slanted: bool
    box: Bbox
    page: tuple[float, float]


Texts = dict[Text, Written]


def recorded(monkeypatch: pytest.MonkeyPatch) -> Texts:
    """Every text that is drawn from now on, where it was drawn last."""
    drawn: Texts = {}
    original = Text.draw

    def draw(self: Text, renderer: RendererBase) -> None:
        original(self, renderer)
        if self.get_visible() and self.get_text().strip():
            box, page = self.get_window_extent(renderer), renderer.get_canvas_width_height()
            drawn[self] = Written(" ".join(self.get_text().split()), self.get_rotation() not in (0, 90), box, page)

    monkeypatch.setattr(Text, "draw", draw)
    return drawn


def words(written: Texts) -> str:
    return " ".join(text.words for text in written.values())


def spoilt(written: Texts) -> list[str]:
    """Texts that overlap or leave the page; slanted ones are judged by eye, since their boxes overlap anyway."""
    level = [text for text in written.values() if not text.slanted]
    leaving = [
        f"{text.words!r} leaves the page"
        for text in level
        if min(text.box.x0, text.box.y0) < 0 or text.box.x1 > text.page[0] or text.box.y1 > text.page[1]
    ]
    pairs = [(one, other) for i, one in enumerate(level) for other in level[i + 1 :]]
    touching = [(one, other) for one, other in pairs if one.box.padded(-1).overlaps(other.box.padded(-1))]
    return leaving + [f"{one.words!r} on {other.words!r}" for one, other in touching]
