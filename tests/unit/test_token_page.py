"""The page of token scores: it stands alone, and a text is only ever text."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from candor import tables
from candor.errors import CandorError
from candor.figures.pages.token_scores import LEVELS, SCRIPT, page
from candor.schemas.token import TOKEN

SCRIPTS = Path(__file__).parents[2] / "scripts"
EVIL = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</style>&amp;'", "</title><b>"]


class Read(HTMLParser):
    """What a browser makes of a page: its tags, the text of elements of a class, and every address."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.tokens: list[str] = []
        self.titles: list[str] = []
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "span" and (dict(attrs).get("class") or "").startswith("t"):
            self._inside = True
            self.tokens.append("")
            self.titles.append(dict(attrs).get("title") or "")

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.tokens[-1] += data


def tokens(texts: list[str], scores: list[float | None], example: str = "one", **others: Any) -> list[dict[str, Any]]:
    known = {
        "experiment": "tokens",
        "monitor": "attention",
        "layer": 15,
        "seed": 0,
        "dataset": "texts@test",
        "example_id": example,
        "group_id": example,
        "label": "high",
        "role": "user",
        "text_score": 1.25,
        "text_probability": 0.78,
        "rank": 0.5,
        "status": "ok",
        **others,
    }
    return [
        {**known, "token_index": i, "token": text, "score": score, "weight": 0 if score is None else 1 / len(texts)}
        for i, (text, score) in enumerate(zip(texts, scores, strict=True))
    ]


def test_malicious_text_stays_text() -> None:
    rows = tokens(EVIL, [1.0, -1.0, 0.0, 2.0], label=EVIL[0], example=EVIL[1], monitor=EVIL[2])
    found = Read(page(rows, EVIL[3], {"spec": EVIL[0]}))
    assert found.tokens == EVIL
    assert found.tags.count("script") == 1 and not {"img", "b"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on")]


def test_a_page_fetches_nothing_and_allows_only_its_own_style_and_script() -> None:
    text = page(tokens(["a"], [1.0]), "Title", {})
    found = Read(text)
    assert not {name for name, _ in found.attributes} & {"src", "href", "style"}
    assert "link" not in found.tags and "url(" not in text and "@import" not in text and "http" not in SCRIPT
    policy = re.search(r'Security-Policy" content="([^"]*)"', text)
    assert policy and policy[1].startswith("default-src 'none'") and "unsafe" not in policy[1]


def test_every_token_says_its_score_weight_and_role() -> None:
    found = Read(page(tokens(["fire", "\n", ""], [1.5, -0.25, None]), "Title", {}))
    assert found.titles == [
        "fire: score +1.50, weight 33.3%, user",
        "↵: score -0.25, weight 33.3%, user",
        "(part of a character): score not read, weight 0.0%, user",
    ]


def test_shades_follow_score_and_weight_and_what_is_not_read_is_marked() -> None:
    rows = tokens(["a", "b", "c", "d"], [4.0, -4.0, 0.0, None])
    classes = [value for name, value in Read(page(rows, "Title", {})).attributes if name == "class"]
    shades = [value for value in classes if value and value.split()[0] == "t"]
    assert shades == [f"t h{LEVELS} w{LEVELS}", f"t l{LEVELS} w{LEVELS}", f"t w{LEVELS}", "t unread"]


def test_each_text_has_its_numbers_and_a_table() -> None:
    rows = [*tokens(["a"], [1.0]), *tokens(["b"], [2.0], example="two", label=None, text_probability=None)]
    text = page(rows, "Title", {})
    assert text.count("<article") == text.count("<table>") == 2
    assert "Text 1 of 2: high, +1.25" in text and "Text 2 of 2: no label, +1.25" in text
    assert "0.780" in text and "<dd>none</dd>" in text and "50% of the set" in text


def test_no_texts_are_refused() -> None:
    with pytest.raises(CandorError, match="no text"):
        page([], "Title", {})


def test_the_script_writes_the_page_with_its_provenance_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    table, outputs = tmp_path / "tokens.parquet", [tmp_path / "a.html", tmp_path / "b.html"]
    tables.write(table, tokens(EVIL, [1.0, -1.0, 0.0, None]), TOKEN, {})
    spec = json.dumps({"figures": {"plot": "token_scores", "title": "Tokens"}})
    for output in outputs:
        command = [sys.executable, SCRIPTS / "write_page.py", "--spec", spec, "--tokens", table, "--output", output]
        subprocess.run(command, check=True, cwd=tmp_path)
    text = outputs[0].read_text(encoding="utf-8")
    assert text == outputs[1].read_text(encoding="utf-8")
    [made] = [value for name, value in Read(text).attributes if name == "content" and value and value.startswith("{")]
    assert json.loads(made or "")["script"].endswith("write_page.py")
