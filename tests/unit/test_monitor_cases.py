"""Cases for Replay: what the study's tables and activations say of held-out texts, put into one file."""

import importlib.util
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from candor import provenance, tables
from candor.activations.files import ActivationsError, Draft, Header
from candor.activations.places import places, prompt_roles
from candor.chat_text import ROLE_CODES, open_turn, token_ids
from candor.config.captures import Capture
from candor.config.monitor_app import Replay
from candor.monitor import drawing
from candor.monitor.cases import Cases, Reading, Stored, case, cases, described, evenly, ranking, refuse_unplaced
from candor.monitor.engine import MonitorError
from candor.monitor.transcripts import Meaning, Transcript
from candor.monitor.watching import Scores, Watcher
from candor.probes.features import read_part
from candor.probes.files import SavedProbe
from candor.probes.scoring import score_part
from candor.schemas.score import SCORE
from candor.schemas.verbalisation import VERBALISATION
from tests.monitor_project import LAYER, MADE, TASKS, case_flags, write_project
from tests.small_models import small_tokenizer
from tests.small_parts import pair_rows, write_part
from tests.unit.test_monitor_watching import SUBJECT, WIDTH, probe_of

SCRIPT = Path(__file__).parents[2] / "scripts" / "export_cases.py"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with trained probes."""
    return write_project(tmp_path_factory.mktemp("project"))


def export(flags: list[str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run the script in this process; the file that it writes."""
    spec = importlib.util.spec_from_file_location("export_cases", SCRIPT)
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(sys, "argv", ["export_cases.py", *flags])
    script.main()
    return Path(flags[flags.index("--output") + 1])


@pytest.mark.parametrize("task", list(TASKS))
def test_cases_hold_the_text_its_scores_and_its_true_label(
    project: Path, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = export(case_flags(project, task), monkeypatch)
    found, again = Cases.read(path), path.read_bytes()
    assert export(case_flags(project, task), monkeypatch).read_bytes() == again
    assert [each["label"] for each in found.cases] == [label for label in TASKS[task] for _ in range(3)]
    frame = tables.read(project / "results" / "scores" / task / f"{task}@test" / "probes.parquet", SCORE).to_pylist()
    known = {(row["example_id"], row["class"]): row["score"] for row in frame if row["layer"] == LAYER}
    for number, each in enumerate(found.cases):
        transcript = found.transcript(number)
        for name, score in zip(found.meaning.scored, transcript.scores, strict=True):
            assert score == pytest.approx(known[each["id"], name], abs=2e-3)
        assert "".join(transcript.texts).endswith("<|im_end|>\n") and transcript.n_read == len(transcript.texts) - 1
    assert provenance.read(path)["n"] == len(found.cases)
    assert found.titles()[0].startswith(f"1. {TASKS[task][0]}: ")


def test_verbalisations_stand_beside_their_case(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"example_id": "high-stakes-14", "sample_index": 0, "token_index": place, "text": said, "status": status}
        | {"mse": None, "cosine": 0.5, "fve": None}
        for place, said, status in ((3, "thinks of <danger>", "ok"), (None, "", "unparseable"))
    ]
    path = project / "results" / "verbalisations" / "chatty" / "small" / "stakes" / "000-of-001.parquet"
    tables.write(path, rows, VERBALISATION, {**MADE, "reads": "the prompt"})
    flags = case_flags(project, "stakes")
    spec = json.loads(flags[1])
    flags[1] = json.dumps({**spec, "monitor": {"per_class": 6}})
    found = Cases.read(export([*flags, "--verbalisations", str(path)], monkeypatch))
    [worded] = [each for each in found.cases if each["verbalisations"]]
    html = drawing.verbalised(worded["verbalisations"], worded["texts"])
    assert (
        "thinks of &lt;danger&gt;" in html
        and "unparseable" in html
        and "chatty, which read the prompt: token 3" in html
    )
    assert "the whole text, cosine 0.50" in html


def test_an_answer_that_was_read_while_it_was_written_is_part_of_its_case(tmp_path: Path) -> None:
    tokenizer = small_tokenizer()
    rows = pair_rows(2, "test")
    capture = Capture.model_validate(
        {"subject": "tiny", "layers": [LAYER], "sampling": "s", "store": "positions", "positions": "even", "k": 3}
        | {"of": "response", "drop_first": 0}
    )
    prompts = [token_ids(open_turn(row["messages"], tokenizer).text, tokenizer) for row in rows]
    answers = [tokenizer(f"Yes, naïve {i}.", add_special_tokens=False)["input_ids"] for i in range(len(rows))]
    rng = torch.Generator().manual_seed(0)
    draft_rows = [torch.randn(3, WIDTH, generator=rng) for _ in rows]
    part = write_part(tmp_path, "texts@test", rows, {LAYER: draft_rows})
    header = Header(**{**part.activations.header.__dict__, "store": "positions", "layers": [LAYER]})
    path = part.activations.paths[0]
    path.unlink()
    draft = Draft(path, header, [3 * i for i in range(len(rows) + 1)], {})
    for i, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        whole = [*prompt, *answer]
        at = places(capture, len(prompt), len(whole) - 1)
        roles = [*prompt_roles(rows[i]["messages"], tokenizer), *[ROLE_CODES["assistant"]] * len(answer)]
        columns = {"token_ids": [whole[k] for k in at], "positions": at, "roles": [roles[k] for k in at]}
        draft.put(i, columns, {LAYER: draft_rows[i]}, {})
    draft.describe([3] * len(rows), ["ok"] * len(rows))
    draft.flush()
    part = read_part("texts@test", tmp_path / "texts.parquet", [path])
    given = {row["example_id"]: {"token_ids": answer} for row, answer in zip(rows, answers, strict=True)}
    watcher = Watcher(probe_of({"family": "logistic"}, 1), tmp_path / "p", LAYER, 7, capture)
    saved = probe_of({"family": "logistic"}, 1)
    scores = score_part(part, at_layer(saved, LAYER), "probe", SUBJECT)
    reading = Reading(capture, "", tokenizer)
    found = case(Stored(part, given, {}), 1, watcher, reading)
    assert "".join(found["texts"]).endswith("<|im_start|>assistant\nYes, naïve 1.")
    assert [i for i, own in enumerate(found["token"]) if own] == places(
        capture, len(prompts[1]), len(prompts[1]) + len(answers[1]) - 1
    )
    assert found["written"] == [False] * len(prompts[1]) + [True] * len(answers[1])
    frame = scores.to_pandas()
    frame = frame[(frame["seed"] == 7) & (frame["example_id"] == rows[1]["example_id"])]
    assert found["running"][-2][0] == pytest.approx(frame["score"].iloc[0], abs=1e-3)
    scored = tables_of(scores, watcher)
    shown = cases([Stored(part, given, {})], scored, watcher, reading, Replay())
    assert {each["id"] for each in shown} == {row["example_id"] for row in rows}
    # not the three tokens that are stored count, but the text
    with pytest.raises(MonitorError, match="no held-out text has at most 9 tokens"):
        cases([Stored(part, given, {})], scored, watcher, reading, Replay(max_tokens=9))
    given[rows[1]["example_id"]] = {"token_ids": answers[0][:3]}
    with pytest.raises(MonitorError, match="its activations are of another text"):
        case(Stored(part, given, {}), 1, watcher, reading)


def tables_of(scores: pa.Table, watcher: Watcher) -> pa.Table:
    """The rows of the probe that watches."""
    return scores.filter(pc.equal(scores.column("seed"), watcher.seed))


def at_layer(probe: SavedProbe, layer: int) -> SavedProbe:
    """A probe with one of its layers alone."""
    at = probe.header.layers.index(layer)
    return SavedProbe(probe.weight[[at]], probe.bias[[at]], replace(probe.header, layers=[layer]))


def test_cases_are_taken_evenly_from_the_ranking_and_long_texts_are_left_out(tmp_path: Path) -> None:
    assert evenly(list(range(10)), 4) == [0, 3, 6, 9]
    assert evenly([5, 7], 4) == [5, 7] and evenly([1, 2, 3], 1) == [2]
    rows = pair_rows(3, "test")
    part = write_part(tmp_path, "set@test", rows, {LAYER: [torch.zeros(4, WIDTH)] * len(rows)})
    watcher = Watcher(probe_of({"family": "mean"}, 1), tmp_path / "p", LAYER, 7)
    scores = score_part(part, at_layer(probe_of({"family": "mean"}, 1), LAYER), "probe", SUBJECT)
    with pytest.raises(MonitorError, match="no held-out text has at most 3 tokens"):
        reading = Reading(Capture(subject="tiny", layers=[LAYER]), "", small_tokenizer())
        cases([Stored(part, {}, {})], scores, watcher, reading, Replay(max_tokens=3))


def test_a_text_that_was_cut_before_it_was_read_is_no_case(tmp_path: Path) -> None:
    rows = pair_rows(2, "test")
    held, cut = {LAYER: [torch.zeros(4, WIDTH)] * len(rows)}, ["truncated", *["ok"] * (len(rows) - 1)]
    part = write_part(tmp_path, "set@test", rows, held, statuses=cut)
    saved = at_layer(probe_of({"family": "mean"}, 1), LAYER)
    watcher = Watcher(probe_of({"family": "mean"}, 1), tmp_path / "p", LAYER, 7)
    scores = tables_of(score_part(part, saved, "probe", SUBJECT), watcher)
    ranked = ranking(Stored(part, {}, {}), scores, watcher)
    assert sorted(i for of in ranked.values() for i in of) == list(range(1, len(rows)))
    (tmp_path / "none").mkdir()
    part = write_part(tmp_path / "none", "set@test", rows, held, statuses=["truncated"] * len(rows))
    reading = Reading(Capture(subject="tiny", layers=[LAYER]), "", small_tokenizer())
    with pytest.raises(MonitorError, match="set@test: no text was read whole and has a score"):
        cases([Stored(part, {}, {})], scores, watcher, reading, Replay())


def test_activations_that_do_not_say_which_tokens_they_are_of_are_refused(tmp_path: Path) -> None:
    rows = pair_rows(1, "test")
    part = write_part(tmp_path, "set@test", rows, {LAYER: [torch.zeros(1, WIDTH)] * 2}, store="mean")
    with pytest.raises(ActivationsError, match="stores mean; cases for the monitor need `store: tokens`"):
        refuse_unplaced(part)


def test_a_file_that_is_missing_or_of_another_version_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(MonitorError, match=r"stakes.json: no such file; `snakemake .*stakes.json` makes the cases"):
        Cases.read(tmp_path / "stakes.json")
    watcher = Watcher(probe_of({"family": "mean"}, 1), tmp_path / "p", LAYER, 7)
    old = described(watcher, "probe", [{"verbalisations": [{"verbaliser": "chatty", "text": "?"}]}])
    for content in ({"cases": []}, old):
        tables.write_json(tmp_path / "old.json", content, MADE)
        with pytest.raises(MonitorError, match="was written by another version of candor"):
            Cases.read(tmp_path / "old.json")


def test_a_picture_begins_where_the_probe_reads_and_says_what_was_left_out(tmp_path: Path) -> None:
    watcher = Watcher(probe_of({"family": "logistic"}, 1, ["normal", "odd"]), tmp_path / "p", LAYER, 7)
    transcript = Transcript(Meaning.of(watcher))
    scores = Scores.none(5, 1)
    scores.token[3:], scores.running[3:] = 1.0, 1.0
    transcript.add("abcde", ["user"] * 3 + ["assistant"] * 2, [False] * 3 + [True] * 2, scores)
    html = drawing.page(transcript, finished=False)
    assert 'viewBox="3 -3 2 106"' in html and "by token, 3 to 4" in html and "the answer begins" not in html
    assert "too long" not in html and "2 tokens read<span> …</span>" in html
    assert "2 tokens read, stopped" in str(drawing.stopped(html)) and drawing.stopped(None) is None
    transcript.truncated = True
    assert "too long to be read whole" in drawing.page(transcript)
    # each line of the drawing is in the legend as it is drawn
    keys = re.findall(r'class="line (s\d)" stroke-dasharray="([^"]*)"', drawing.legend(transcript.meaning))
    assert keys == re.findall(r'class="line (s\d)" stroke-dasharray="([^"]*)"', drawing.timeline(transcript)) != []
    unread = Transcript(transcript.meaning)
    unread.add("ab", ["user"] * 2, [False] * 2, Scores.none(2, 1))
    assert "This probe reads no token of this text." in drawing.page(unread)


def test_a_picture_escapes_the_text_and_says_without_colour_what_colour_says(tmp_path: Path) -> None:
    watcher = Watcher(probe_of({"family": "difference_of_means"}, 1), tmp_path / "p", LAYER, 7)
    content = described(watcher, "probe", [])
    one = {"id": "x", "label": "high", "texts": ["<b>", "&"], "roles": ["template", "user"], "written": [False, False]}
    content["cases"] = [{**one, "token": [None, [2.0]], "running": [None, [2.0]], "verbalisations": []}]
    tables.write_json(tmp_path / "cases.json", content, MADE)
    transcript = Cases.read(tmp_path / "cases.json").transcript(0)
    html = drawing.page(transcript)
    assert "&lt;b&gt;" in html and "<b>" not in html.replace('<b class="flag">', "").replace("likeliest class <b>", "")
    assert "flagged: high" in html and "passed" in html and 'aria-label="side of the boundary of high' in html
    assert "probability" not in html  # of margins there is none
    assert np.isnan(transcript.token[0]).all() and "not read" in html
