"""What the app shows of a transcript, as HTML that needs nothing from outside: coloured text, time line, verdict.

Colours are Okabe and Ito's, as in the figures; a class also differs by the dash of its line and the underline of its
tokens, so that nothing is said by colour alone.
"""

import json
from html import escape
from typing import Any, NamedTuple

import numpy as np

from candor.monitor.transcripts import Meaning, Transcript

COLOURS = ("86,180,233", "213,94,0", "0,158,115", "204,121,167", "230,159,0", "0,114,178")
"""Of a task's classes in their order; a further one takes the first again."""
DASHES = ("", "7 3", "2 3", "8 3 2 3")
UNDERLINES = ("none", "underline", "underline dotted", "underline double")
STRONGEST = 0.75
"""Opacity of a token that is certainly of its class, behind dark letters."""
IN_THE_DARK = 0.75
"""Factor of the opacity behind light letters, which stand out less."""
SURE = 0.2
"""Opacity from which a token is underlined as well."""
LISTED = 400
"""Tokens of the table at most: a longer text is listed from its end."""
GOING = "<span> …</span>"
"""What stands in the verdict while the text grows."""
HEIGHT = 100
"""Units of the time line's drawing from probability 0 to 1."""


class Line(NamedTuple):
    """One class in the time line: values from 0 to 1 of the text so far and of each token, nan where there is none."""

    name: str
    number: int
    running: np.ndarray
    token: np.ndarray


def page(transcript: Transcript, finished: bool = True, from_end: bool = False) -> str:
    """A whole transcript: verdict, time line and text; the table of tokens once it is finished.

    With `from_end` a text too long for its frame shows its end, where it grows.
    """
    if not transcript.texts:
        return ""
    parts = [
        verdict(transcript, finished),
        timeline(transcript),
        legend(transcript.meaning),
        text(transcript, from_end),
    ]
    return f'<div class="candor">{"".join([*parts, *([table(transcript)] if finished else [])])}</div>'


def stopped(shown: str | None) -> str | None:
    """A picture of a text that grows no more, from the last one of it."""
    return shown and shown.replace(GOING, ", stopped", 1)


def verdict(transcript: Transcript, finished: bool) -> str:
    """What the probe says of the whole text, class by class, and whether it passes a threshold."""
    meaning, scores = transcript.meaning, transcript.scores
    predicted = meaning.predicted(scores)
    cut = "<p>The text is too long to be read whole: tokens of it are left out.</p>" if transcript.truncated else ""
    if predicted is None:
        said = "This probe reads no token of this text." if finished else "No token that this probe reads yet."
        return f'<div class="verdict"><p>{said}</p>{cut}</div>'
    flags = meaning.flags(scores)
    said = f"flagged: {' and '.join(flags)}" if flags else "not flagged"
    rows = "".join(_verdict_row(meaning, k, scores) for k in range(len(meaning.scored)))
    spoken, going = (' role="status"', "") if finished else ("", GOING)
    return f"""<div class="verdict"><p{spoken}><b class="{"flag" if flags else "calm"}">{escape(said)}</b>
likeliest class <b>{escape(predicted)}</b>, {transcript.n_read} tokens read{going}</p>{cut}
<table><thead><tr><th scope="col">class</th>{'<th scope="col">probability</th>' if meaning.calibrated else ""}
<th scope="col">score</th><th scope="col" title="on control texts a share of {meaning.target_fpr:g} passes it">threshold
</th></tr></thead><tbody>{rows}</tbody></table></div>"""


def _verdict_row(meaning: Meaning, k: int, scores: np.ndarray) -> str:
    name, number = meaning.scored[k], meaning.classes.index(meaning.scored[k])
    share = float(meaning.shares(scores)[number if len(meaning.scored) > 1 else 1])
    probability = f"<td>{share:.3f}</td>" if meaning.calibrated else ""
    passed = name in meaning.flags(scores)
    marked = ' class="passed"' if passed else ""
    return f"""<tr{marked}><th scope="row">{_swatch(number)}{escape(name)}</th>{probability}
<td>{scores[k]:+.2f}</td><td>{meaning.thresholds[name]:+.2f}{" passed" if passed else ""}</td></tr>"""


def lines(transcript: Transcript) -> list[Line]:
    """What the time line draws: the positive class of a task of two, every class of one of more."""
    meaning = transcript.meaning
    # of margins too, text and tokens have one scale
    both = meaning.shares(np.stack([transcript.running, transcript.token]))
    return [Line(meaning.classes[k], k, both[0, :, k], both[1, :, k]) for k in _lined(meaning)]


def _lined(meaning: Meaning) -> list[int]:
    """The numbers of the classes that have a line."""
    return [1] if len(meaning.scored) == 1 else list(range(len(meaning.classes)))


def _stroke(meaning: Meaning, number: int) -> str:
    """What a class's line looks like."""
    dash = DASHES[_lined(meaning).index(number) % len(DASHES)]
    return f'class="line s{number % len(COLOURS)}" stroke-dasharray="{dash}"'


def timeline(transcript: Transcript) -> str:
    """The classes by position: a line for the text up to each token, a dot for each token by itself.

    It begins with the first token that is read, which of an answer may be far from the text's.
    """
    drawn, n = lines(transcript), len(transcript.texts)
    meaning, parts = transcript.meaning, []
    first = int(np.isfinite(transcript.token).all(1).argmax())
    if meaning.calibrated and len(meaning.scored) == 1:
        limit = float(meaning.shares(np.array([meaning.thresholds[meaning.scored[0]]]))[1])
        y = HEIGHT * (1 - limit)
        parts.append(f'<path class="limit" d="M{first} {y:.1f}H{n}"><title>threshold {limit:.3f}</title></path>')
    start = next((i for i, own in enumerate(transcript.written) if own), None)
    start = None if start == first else start
    if start is not None:
        parts.append(f'<path class="start" d="M{start} 0V{HEIGHT}"><title>the answer begins</title></path>')
    for line in drawn:
        dots = "".join(f"M{i + 0.5:g} {HEIGHT * (1 - p):.1f}h0" for i, p in enumerate(line.token) if np.isfinite(p))
        path = "L".join(f"{i + 0.5:g} {HEIGHT * (1 - p):.1f}" for i, p in enumerate(line.running) if np.isfinite(p))
        parts.append(f'<path class="dots s{line.number % len(COLOURS)}" d="{dots}"/>')
        if path:
            single = "h0" if "L" not in path else ""
            parts.append(f'<path {_stroke(meaning, line.number)} d="M{path}{single}"/>')
    what = "probability" if meaning.calibrated else "side of the boundary"
    said = ", ".join(f"{line.name} {_last(line.running):.2f}" for line in drawn)
    title = f"{what} of {' and '.join(line.name for line in drawn)} by token, now {said}"
    return f"""<figure class="time">
<div class="axis" aria-hidden="true"><span>1</span><span>.5</span><span>0</span></div>
<svg role="img" aria-label="{escape(title)}" viewBox="{first} -3 {n - first} {HEIGHT + 6}"
preserveAspectRatio="none">
<path class="grid" d="M{first} 0H{n}M{first} 50H{n}M{first} 100H{n}"/>{"".join(parts)}</svg>
<figcaption>{what} by token, {first} to {n - 1}: line, the text so far; dots, each token by itself\
{_also(meaning, start)}</figcaption>
</figure>"""


def _also(meaning: Meaning, start: int | None) -> str:
    said = "; dashed, the threshold" if meaning.calibrated and len(meaning.scored) == 1 else ""
    return said + ("; upright, where the answer begins" if start is not None else "")


def _last(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known[-1]) if len(known) else float("nan")


def legend(meaning: Meaning) -> str:
    """The classes as their tokens and their lines look."""
    items = "".join(
        f"<span>{_swatch(k)}{escape(name)}{_key(meaning, k)}</span>" for k, name in enumerate(meaning.classes)
    )
    return f'<p class="legend">{items}<span class="unread">not read by the probe</span></p>'


def _swatch(number: int) -> str:
    return f'<i class="k{number % len(COLOURS)} sure" style="--a:{STRONGEST}">&nbsp;a&nbsp;</i>'


def _key(meaning: Meaning, number: int) -> str:
    if number not in _lined(meaning):
        return ""
    return (
        f'<svg class="key" viewBox="0 0 36 8" aria-hidden="true"><path {_stroke(meaning, number)} d="M0 4H36"/></svg>'
    )


def text(transcript: Transcript, from_end: bool = False) -> str:
    """The text, each token in the colour of its likeliest class, the stronger the surer."""
    shares = transcript.meaning.shares(transcript.token)
    spans = "".join(_token(transcript, i, shares[i]) for i in range(len(transcript.texts)) if transcript.texts[i])
    kind = "text from-end" if from_end else "text"
    return f'<div class="{kind}" tabindex="0" role="region" aria-label="text with its scores"><div>{spans}</div></div>'


def _token(transcript: Transcript, i: int, shares: np.ndarray) -> str:
    role = " template" if transcript.roles[i] == "template" else ""
    written = escape(transcript.texts[i])
    if not np.isfinite(shares).all():
        return f'<span class="t unread{role}">{written}</span>'
    best = int(shares.argmax())
    even = 1 / len(shares)
    strength = STRONGEST * max(0.0, (float(shares[best]) - even) / (1 - even))
    sure = " sure" if strength > SURE else ""
    shown = f'class="t k{best % len(COLOURS)}{sure}{role}" style="--a:{strength:.2f}"'
    return f'<span {shown} title="{escape(said_of(transcript, i))}">{written}</span>'


def said_of(transcript: Transcript, i: int) -> str:
    """A token's numbers in words."""
    meaning, token, running = transcript.meaning, transcript.token[i], transcript.running[i]
    texts = []
    for what, scores in (("token", token), ("text so far", running)):
        if np.isfinite(scores).all():
            of = meaning.shares(scores) if meaning.calibrated else scores
            names = meaning.classes if meaning.calibrated and len(meaning.scored) > 1 else meaning.scored
            values = of if len(of) == len(names) else of[1:]
            texts.append(
                f"{what}: " + ", ".join(f"{name} {value:.3f}" for name, value in zip(names, values, strict=True))
            )
    return "; ".join(texts)


def table(transcript: Transcript) -> str:
    """All tokens and their numbers as a table, folded away."""
    first = max(0, len(transcript.texts) - LISTED)
    rows = "".join(
        f'<tr><td>{i}</td><td class="raw">{escape(json.dumps(transcript.texts[i], ensure_ascii=False)[1:-1])}</td>'
        f"<td>{transcript.roles[i]}</td><td>{escape(said_of(transcript, i)) or 'not read'}</td></tr>"
        for i in range(first, len(transcript.texts))
    )
    cut = f", from token {first}" if first else ""
    return f"""<details><summary>Tokens as a table{cut}</summary><div class="wide"><table><thead><tr>
<th scope="col">place</th><th scope="col">token</th><th scope="col">role</th><th scope="col">scores</th></tr></thead>
<tbody>{rows}</tbody></table></div></details>"""


def truth(label: str | None, predicted: str | None) -> str:
    """A case's true label beside what the probe says."""
    right = "" if label is None or predicted is None else ("right" if label == predicted else "wrong")
    shown = "none of the task's classes" if label is None else label
    return f'<p class="truth">True label <b>{escape(shown)}</b>{f", and the probe is {right}" if right else ""}</p>'


def verbalised(entries: list[dict[str, Any]], texts: list[str]) -> str:
    """A case's activations put into words."""
    if not entries:
        return ""
    rows = []
    for entry in entries:
        place = entry["token_index"]
        where = "the whole text" if place is None else f"token {place}"
        if place is not None and place < len(texts):
            where += f" ({json.dumps(texts[place], ensure_ascii=False)})"
        score = "" if entry["cosine"] is None else f", cosine {entry['cosine']:.2f}"
        words = escape(entry["text"]) if entry["text"] else f"<i>{escape(entry['status'])}</i>"
        more = " …" if entry["text"] and entry["status"] == "truncated" else ""
        who = f"{entry['verbaliser']}, which read {entry['reads']}"
        rows.append(f"<dt>{escape(who)}: {escape(where)}{score}</dt><dd>{words}{more}</dd>")
    return f'<section class="words"><h3>In words</h3><dl>{"".join(rows)}</dl></section>'


def problem(sentence: str) -> str:
    """An error as a sentence."""
    return f'<p class="problem" role="alert">{escape(sentence)}</p>'


def _class_rules() -> str:
    return "".join(
        f".candor .k{k}{{background:rgba({colour},var(--a))}}"
        f".dark .candor .k{k}{{background:rgba({colour},calc(var(--a)*{IN_THE_DARK}))}}"
        # away from the ground, be it light or dark
        f".candor .s{k}{{stroke:color-mix(in srgb,rgb({colour}) 75%,var(--body-text-color))}}"
        f".candor .k{k}.sure{{text-decoration:{UNDERLINES[k % len(UNDERLINES)]};text-underline-offset:.2em}}"
        for k, colour in enumerate(COLOURS)
    )


STYLE = """
.candor{font-size:.95rem;line-height:1.5;--quiet:color-mix(in srgb,var(--body-text-color) 72%,transparent)}
.candor p{margin:.3rem 0}
.candor table{border-collapse:collapse;font-variant-numeric:tabular-nums;width:auto}
.candor table,.candor thead,.candor tbody,.candor tr{border:0 !important}
.candor th,.candor td{text-align:left;padding:.1rem .9rem .1rem 0;font-weight:normal;border:0;
border-bottom:1px solid var(--border-color-primary)}
.candor thead th{font-size:.8rem;color:var(--quiet)}
.candor .passed td:last-child,.candor .flag{font-weight:700}
.candor .flag,.candor .calm{border:2px solid currentColor;border-radius:.4rem;padding:0 .4rem;margin-right:.5rem}
.candor .flag{color:#b23c00}.dark .candor .flag{color:#ff9d5c}
.candor .calm{color:var(--quiet)}
.candor .time{display:grid;grid-template-columns:1.6rem 1fr;margin:.8rem 0 .2rem}
.candor .axis{display:flex;flex-direction:column;justify-content:space-between;font-size:.75rem;
color:var(--quiet)}
.candor .time svg{width:100%;height:8rem;display:block;overflow:visible}
.candor .key{display:inline-block;width:2.25rem;height:.5rem;margin-left:.4rem;vertical-align:middle}
.candor svg path{fill:none;vector-effect:non-scaling-stroke}
.candor .grid{stroke:var(--border-color-primary);stroke-width:1}
.candor .limit{stroke:var(--body-text-color);stroke-width:1.5;stroke-dasharray:4 4}
.candor .start{stroke:var(--quiet);stroke-width:1}
.candor .line{stroke-width:2.5;stroke-linejoin:round}
.candor .dots{stroke-width:5;stroke-linecap:round;stroke-opacity:.65}
.candor figcaption{grid-column:2;font-size:.8rem;color:var(--quiet)}
.candor .legend{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;font-size:.85rem}
.candor i[class^=k]{font-style:normal;border-radius:3px;margin-right:.4rem}
.candor .text{white-space:pre-wrap;overflow-wrap:anywhere;font:15px/1.9 ui-monospace,monospace;padding:.6rem;
border:1px solid var(--border-color-primary);border-radius:.4rem;max-height:30rem;overflow-y:auto}
.candor .from-end{display:flex;flex-direction:column-reverse}
.candor .text:focus-visible{outline:3px solid var(--color-accent)}
.candor .t{border-radius:3px;padding:.15em 0}.candor .t:hover{outline:2px solid var(--body-text-color)}
.candor .template{font-style:italic}
.candor .unread{color:var(--quiet)}
.candor .wide{overflow-x:auto}.candor details{margin:.6rem 0}.candor summary{cursor:pointer}
.candor .raw{white-space:pre-wrap;font-family:ui-monospace,monospace}
.candor dt{font-size:.85rem;color:var(--quiet);margin-top:.5rem}.candor dd{margin:0}
.candor .words{padding:.3rem 0 1rem}
.candor .problem{border-left:4px solid #b23c00;padding:.3rem .8rem}
""" + _class_rules()
