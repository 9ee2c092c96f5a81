"""Texts coloured by what a probe says of each token: a page that stands alone (Fig. 7).

Nothing is fetched: style and script are in the page, and its content security policy allows these two alone, by their
digests. Texts only ever enter as escaped text. Colours repeat what hovering, the arrow keys and a table per text say in
words, and the choice between scores and weights works without the script.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from candor.errors import CandorError

LEVELS = 8
"""Shades on each side of zero, and of weights."""
CLIPPED = 0.98
"""Share of the tokens whose scores are within the scale; others are drawn at its end."""
LOW, HIGH, WEIGHT = "0, 114, 178", "213, 94, 0", "0, 158, 115"
"""Okabe and Ito's blue, vermilion and green."""
STRONGEST = 0.72
"""Opacity of the last shade, at which the text on it has a contrast of 4.5 in light and in dark."""
INVISIBLE = {"\n": "↵", "\t": "⇥", "\r": "␍", " ": "␣"}


def page(rows: Sequence[Mapping[str, Any]], title: str, made: Mapping[str, Any]) -> str:
    """The page as text, from rows of the token table, highest score first; CandorError when there are none."""
    if not rows:
        raise CandorError("the token table is empty: there is no text to show.")
    texts: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        texts.setdefault(str(row["example_id"]), []).append(row)
    limit, heaviest = _limits(rows)
    first = rows[0]
    about = f"Probe {first['monitor']}, layer {first['layer']}, seed {first['seed']}, on {first['dataset']}."
    ordered = sorted(texts.values(), key=lambda tokens: -tokens[0]["text_score"])
    articles = "\n".join(
        _article(number, len(texts), tokens, limit, heaviest) for number, tokens in enumerate(ordered, start=1)
    )
    policy = f"default-src 'none'; style-src '{_digest(STYLE)}'; script-src '{_digest(SCRIPT)}'; base-uri 'none'"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="candor" content="{escape(json.dumps(made, sort_keys=True))}">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<input type="radio" name="by" id="by-score" checked><input type="radio" name="by" id="by-weight">
<header>
<h1>{escape(title)}</h1>
<p>{escape(about)} {len(texts)} texts, evenly from its ranking of all texts of the set.</p>
<p class="help">Hover over, tap or click a token for its numbers, or step through a text with the arrow keys. Pale,
underlined tokens are not read by the probe; those in italics are the chat template's.</p>
</header>
<div class="bar">
<p class="choice">Colour by <label for="by-score">score</label> <label for="by-weight">weight</label></p>
{_legend(limit, heaviest)}
</div>
<main>
{articles}
</main>
<p id="said" role="status" aria-live="polite">No token chosen.</p>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _limits(rows: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """The end of the scale of scores, and that of weights."""
    scores = [abs(row["score"]) for row in rows if row["score"] is not None]
    limit = float(np.quantile(scores, CLIPPED, method="higher")) if scores else 1.0
    return limit or 1.0, max(float(row["weight"]) for row in rows) or 1.0


def _article(number: int, count: int, tokens: Sequence[Mapping[str, Any]], limit: float, heaviest: float) -> str:
    first = tokens[0]
    label = "no label" if first["label"] is None else str(first["label"])
    facts = {
        "Label": label,
        "Score": f"{first['text_score']:+.2f}",
        "Probability": "none" if first["text_probability"] is None else f"{first['text_probability']:.3f}",
        "Rank": f"{first['rank']:.0%} of the set's ranking, lowest score first",
        "Tokens": str(len(tokens)),
        "Example": str(first["example_id"]),
    }
    described = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    spans = "".join(_token(token, limit, heaviest) for token in tokens)
    body = "".join(_line(token) for token in tokens)
    return f"""<article aria-labelledby="text-{number}">
<h2 id="text-{number}">Text {number} of {count}: {escape(label)}, {first["text_score"]:+.2f}</h2>
<dl>{described}</dl>
<p class="text" tabindex="0" role="group" aria-label="Tokens of text {number}; arrow keys step through them">{spans}</p>
<details><summary>The same as a table</summary>
<table><caption>Tokens of text {number}</caption>
<thead><tr><th scope="col">#</th><th scope="col">Token</th><th scope="col">Role</th><th scope="col">Score</th>\
<th scope="col">Weight</th></tr></thead>
<tbody>{body}</tbody></table></details>
</article>"""


def _token(token: Mapping[str, Any], limit: float, heaviest: float) -> str:
    """A token in its colours; its numbers are the title that hovering shows and the script reads out."""
    score = token["score"]
    classes = ["t"]
    if score is None:
        classes.append("unread")
    else:
        level = round(min(1.0, abs(score) / limit) * LEVELS)
        classes += [f"{'h' if score > 0 else 'l'}{level}"] if level else []
        weight = round(min(1.0, token["weight"] / heaviest) * LEVELS)
        classes += [f"w{weight}"] if weight else []
    if token["role"] == "template":
        classes.append("template")
    said = f"{_shown(token['token'])}: score {_score(score)}, weight {token['weight']:.1%}, {token['role']}"
    return f'<span class="{" ".join(classes)}" title="{escape(said)}">{escape(token["token"])}</span>'


def _line(token: Mapping[str, Any]) -> str:
    cells = (_shown(token["token"]), token["role"], _score(token["score"]), f"{token['weight']:.1%}")
    return f"<tr><td>{token['token_index']}</td>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def _score(score: float | None) -> str:
    return "not read" if score is None else f"{score:+.2f}"


def _shown(text: str) -> str:
    """A token's text with what cannot be seen made visible."""
    if not text:
        return "(part of a character)"
    return "".join(INVISIBLE.get(character, character) for character in text)


def _legend(limit: float, heaviest: float) -> str:
    """The two scales, with the numbers of their ends and middle."""
    scores = [f'<i class="l{k}"></i>' for k in range(LEVELS, 0, -1)] + ["<i></i>"]
    scores += [f'<i class="h{k}"></i>' for k in range(1, LEVELS + 1)]
    weights = ["<i></i>"] + [f'<i class="w{k}"></i>' for k in range(1, LEVELS + 1)]
    return f"""<div class="legend scores" role="img" aria-label="Scores from {-limit:.2f} (blue) over 0 (no colour) to \
{limit:+.2f} (orange); above 0 speaks for the positive class">
<span>{-limit:.2f}</span>{"".join(scores)}<span>{limit:+.2f}</span> score of the token; 0 is the probe's boundary</div>
<div class="legend weights" role="img" aria-label="Weights from 0 (no colour) to {heaviest:.1%} (green)">
<span>0%</span>{"".join(weights)}<span>{heaviest:.1%}</span> weight in the score of the text</div>"""


def _shades(name: str, colour: str, where: str) -> str:
    return "".join(
        f"{where} .{name}{k}{{background:rgba({colour},{STRONGEST * k / LEVELS:.3f})}}" for k in range(1, LEVELS + 1)
    )


def _digest(text: str) -> str:
    """A content security policy's name of an inline style or script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


BY_SCORE, BY_WEIGHT = "#by-score:checked~*", "#by-weight:checked~*"
STYLE = (
    """
:root{color-scheme:light dark;--ink:#111;--paper:#fff;--quiet:#555;--line:#ccc;--focus:#000}
@media (prefers-color-scheme:dark){:root{--ink:#f4f4f4;--paper:#141414;--quiet:#aaa;--line:#444;--focus:#fff}}
body{margin:0 auto;padding:1rem;max-width:52rem;font:16px/1.5 system-ui,sans-serif;color:var(--ink);
background:var(--paper)}
h1{font-size:1.4rem;margin:0 0 .3rem}h2{font-size:1.05rem;margin:0 0 .4rem}p{margin:.3rem 0}
.bar,#said{position:sticky;margin:0;padding:.4rem 0;background:var(--paper);z-index:1}
.bar{top:0;border-bottom:1px solid var(--line)}#said{bottom:0;border-top:1px solid var(--line)}
input[name=by]{position:absolute;opacity:0}
.choice label{display:inline-block;padding:.1rem .7rem;border:1px solid var(--quiet);border-radius:1rem;cursor:pointer}
#by-score:checked~.bar [for=by-score],#by-weight:checked~.bar [for=by-weight]{background:var(--ink);
color:var(--paper)}
#by-score:focus-visible~.bar [for=by-score],#by-weight:focus-visible~.bar [for=by-weight],.text:focus-visible,
summary:focus-visible{outline:3px solid var(--focus);outline-offset:2px}
#by-score:checked~* .weights,#by-weight:checked~* .scores{display:none}
.legend{font-size:.85rem}.legend i{display:inline-block;width:1.1rem;height:1rem;vertical-align:-.15rem;
border-block:1px solid var(--line)}.legend span{margin:0 .4rem}
.help{font-size:.85rem;color:var(--quiet)}#said{min-height:1.5em;overflow-wrap:anywhere}
article{margin:1.5rem 0;padding-bottom:1rem;border-bottom:1px solid var(--line)}
dl{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;margin:.2rem 0 .6rem;font-size:.85rem}dl div{display:flex;gap:.4rem}
dt{color:var(--quiet)}dd{margin:0;overflow-wrap:anywhere}
.text{white-space:pre-wrap;overflow-wrap:anywhere;font:15px/1.9 ui-monospace,monospace;padding:.4rem}
.t{border-radius:3px;padding:.15em 0}.t:hover,.t.on{outline:2px solid var(--focus)}
.template{font-style:italic;color:var(--quiet)}.unread{color:var(--quiet);text-decoration:underline dotted}
.text .template[class*=" h"],.text .template[class*=" l"],.text .template[class*=" w"]{color:var(--ink)}
@media (max-width:40rem){.legend i{width:.7rem}}
summary{cursor:pointer;font-size:.85rem}table{border-collapse:collapse;font-size:.85rem;margin-top:.5rem}
caption{text-align:start;color:var(--quiet)}th,td{text-align:start;padding:.1rem .8rem .1rem 0;
border-bottom:1px solid var(--line);white-space:pre-wrap;overflow-wrap:anywhere}
@media print{.bar{position:static}.choice,.help,#said,details{display:none}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""
    + _shades("l", LOW, BY_SCORE)
    + _shades("h", HIGH, BY_SCORE)
    + _shades("w", WEIGHT, BY_WEIGHT)
)
SCRIPT = """
"use strict";
const said = document.getElementById("said");
function choose(token) {
  document.querySelectorAll(".t.on").forEach((other) => other.classList.remove("on"));
  token.classList.add("on");
  said.textContent = token.title;
  token.scrollIntoView({block: "nearest"});
}
document.querySelectorAll(".text").forEach((text) => {
  const tokens = Array.from(text.querySelectorAll(".t"));
  text.addEventListener("click", (event) => {
    if (event.target.classList.contains("t")) choose(event.target);
  });
  text.addEventListener("keydown", (event) => {
    const at = tokens.findIndex((token) => token.classList.contains("on"));
    const steps = {ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0,
      End: tokens.length - 1};
    if (!(event.key in steps)) return;
    event.preventDefault();
    choose(tokens[Math.min(tokens.length - 1, Math.max(0, steps[event.key]))]);
  });
});
"""
