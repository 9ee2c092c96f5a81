"""A wrong config is one sentence that names the key's path, before any job runs."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from candor.config.files import refuse_duplicate_keys
from candor.config.study import ConfigError, Study
from tests.tiny.study import CONFIG, ROOT

MISSING = object()
ENTRY = {"kind": "tfidf"}

WRONG: dict[str, tuple[str, Any, str]] = {
    # keys and values
    "an unknown key": ("probes/logistic/penatly", 1, "probes.logistic.penatly is not a known key."),
    "an unknown section": ("judges", {}, "judges is not a known key."),
    "a missing key": ("captures/tiny/layers", MISSING, "captures.tiny.layers is missing."),
    "a missing section": ("tasks", MISSING, "tasks is missing."),
    "a missing kind": ("sources/pairs/kind", MISSING, "sources.pairs.kind is missing."),
    "an unknown kind": (
        "sources/pairs/kind",
        "ftp",
        "sources.pairs.kind is 'ftp': it should be one of 'resources', 'local', 'url', 'hub'.",
    ),
    "an unknown family": ("probes/mean/family", "median", "probes.mean.family is 'median': it should be one of "),
    "a wrong type": (
        "captures/tiny/max_tokens",
        "many",
        "captures.tiny.max_tokens is 'many': input should be a valid integer",
    ),
    "a number out of range": (
        "tasks/stakes/target_fpr",
        1.5,
        "tasks.stakes.target_fpr is 1.5: input should be less than 1.",
    ),
    "a wrong choice": ("models/tiny/dtype", "int8", "models.tiny.dtype is 'int8': input should be 'auto', "),
    "an id with a capital letter": (
        "baselines/TFIDF",
        ENTRY,
        "baselines.TFIDF is not an id: use lower-case letters, digits, '_', '.', '-', starting with a letter or digit.",
    ),
    "an id that is a path": ("baselines/..%2fx", ENTRY, "baselines.../x is not an id: "),
    "an id that starts with a dot": ("baselines/.tfidf", ENTRY, "baselines..tfidf is not an id: "),
    "an id with a line break": ("baselines/tfidf\n", ENTRY, "baselines.tfidf\n is not an id: "),
    "a part without a split": ("tasks/stakes/train", "pairs", "tasks.stakes.train is 'pairs': string should match "),
    # references
    "an unknown source": (
        "datasets/pairs/origin",
        "sources/rivers",
        "datasets.pairs.origin names 'rivers', which is not one of sources: dialogues, everyday, more, pairs.",
    ),
    "an unknown dataset as origin": (
        "datasets/pairs-plain/origin",
        "datasets/rivers",
        "datasets.pairs-plain.origin names 'rivers', which is not one of datasets: ",
    ),
    "an unknown model": (
        "captures/tiny/subject",
        "huge",
        "captures.tiny.subject names 'huge', which is not one of models: tiny.",
    ),
    "an unknown capture": (
        "tasks/stakes/capture",
        "other",
        "tasks.stakes.capture names 'other', which is not one of captures: tiny.",
    ),
    "an unknown training set": (
        "tasks/stakes/train",
        "rivers@train",
        "tasks.stakes.train names 'rivers', which is not one of datasets: ",
    ),
    "an unknown control set": (
        "tasks/stakes/control",
        "rivers@test",
        "tasks.stakes.control names 'rivers', which is not one of datasets: ",
    ),
    "an unknown evaluation set": (
        "tasks/stakes/evaluation/1",
        "rivers@test",
        "tasks.stakes.evaluation names 'rivers', which is not one of datasets: ",
    ),
    "an unknown probe": (
        "tasks/stakes/probes/0",
        "psychic",
        "tasks.stakes.probes names 'psychic', which is not one of probes: ",
    ),
    "an unknown baseline": (
        "tasks/stakes/baselines/0",
        "guess",
        "tasks.stakes.baselines names 'guess', which is not one of baselines: tfidf.",
    ),
    "an unknown task of an experiment": (
        "experiments/sweep/task",
        "other",
        "experiments.sweep.task names 'other', which is not one of tasks: stakes, stakes-plain.",
    ),
    "an unknown probe of an experiment": (
        "experiments/sweep/probe",
        "psychic",
        "experiments.sweep.probe names 'psychic', which is not one of probes: ",
    ),
    "an unknown task of a figure": (
        "figures/roc/task",
        "other",
        "figures.roc.task names 'other', which is not one of ",
    ),
    "an unknown experiment of a figure": (
        "figures/layers/experiment",
        "other",
        "figures.layers.experiment names 'other', which is not one of experiments: sweep, transfer.",
    ),
    "an unknown figure": ("run/figures/0", "pie", "run.figures names 'pie', which is not one of figures: "),
    "an unknown quick figure": ("run/quick/0", "pie", "run.quick names 'pie', which is not one of figures: "),
    "shards of an unknown dataset": (
        "run/shards",
        {"rivers": 2},
        "run.shards names 'rivers', which is not one of datasets: ",
    ),
    # models and captures
    "a layer beyond the model's depth": (
        "captures/tiny/layers",
        [0, 2],
        "captures.tiny.layers names block 2, but tiny has 2 blocks, 0 to 1.",
    ),
    "a mean layer beyond the model's depth": (
        "captures/tiny/mean_layers",
        [7],
        "captures.tiny.mean_layers names block 7, but tiny has 2 blocks, 0 to 1.",
    ),
    "a negative layer": (
        "captures/tiny/layers",
        [-1],
        "captures.tiny has layers [-1]; give each block once, counted from 0.",
    ),
    "layers that are no list": (
        "captures/tiny/layers",
        "every",
        "captures.tiny.layers is 'every': input should be 'all'.",
    ),
    "a layer that is no number": (
        "captures/tiny/layers",
        [0, "last"],
        "captures.tiny.layers.1 is 'last': input should be a valid integer",
    ),
    "no layer": ("captures/tiny/layers", [], "captures.tiny names no layer."),
    "positions without their store": (
        "captures/tiny/positions",
        [-1],
        "captures.tiny needs `positions` with `store: positions`, and only there.",
    ),
    "a probe of tokens on a capture of means": (
        "captures/tiny/store",
        "mean",
        "tasks.stakes.probes names 'softmax' of family softmax, which reads every token, but capture 'tiny' ",
    ),
    # sources and datasets
    "credentials in an address": (
        "sources/pairs",
        {"kind": "url", "urls": ["https://me:secret@example.org/rows.jsonl"]},
        "sources.pairs the address of example.org holds credentials; put them in the environment.",
    ),
    "credentials in an address that should be a list": (
        "sources/pairs",
        {"kind": "url", "urls": "https://me:secret@example.org/rows.jsonl"},
        "sources.pairs.urls is 'https://…@example.org/rows.jsonl': input should be a valid list.",
    ),
    "an address of another kind": (
        "sources/pairs",
        {"kind": "url", "urls": ["file:///etc/passwd"]},
        "sources.pairs 'file:///etc/passwd' is not an http or https address.",
    ),
    "fewer digests than addresses": (
        "sources/pairs",
        {"kind": "url", "urls": ["https://example.org/a.csv", "https://example.org/b.csv"], "sha256": ["0" * 64]},
        "sources.pairs has 2 urls and 1 digests; give one digest per url.",
    ),
    "shares of a split over one": (
        "datasets/pairs/split",
        {"test": 0.7, "validation": 0.4},
        "datasets.pairs.split deals out 0.7 + 0.4 of the groups, more than all of them.",
    ),
    "an unknown split": ("datasets/more/split", "tset", "datasets.more.split is 'tset': input should be 'train', "),
    "an unknown key of a split": ("datasets/pairs/split/tset", 0.1, "datasets.pairs.split.tset is not a known key."),
    "a cycle of derived datasets": (
        "datasets/pairs/origin",
        "datasets/pairs-plain",
        "datasets.pairs.origin closes a cycle: pairs -> pairs-plain -> pairs.",
    ),
    "a dataset made from itself": (
        "datasets/more/origin",
        "datasets/more",
        "datasets.more.origin closes a cycle: more -> more.",
    ),
    "an unknown transform": (
        "datasets/pairs/transform",
        "magic",
        "datasets.pairs.transform names 'magic', which is not one of: contrast_pairs, prompts, stakes_rows, subset.",
    ),
    "a transform that is a path": (
        "datasets/pairs/transform",
        "../../audit",
        "datasets.pairs.transform is '../../audit': string should match pattern ",
    ),
    "an unknown option of a transform": (
        "datasets/pairs/options/colour",
        "red",
        "datasets.pairs.options.colour is not a known key.",
    ),
    "a missing option of a transform": (
        "datasets/pairs/options/sides",
        MISSING,
        "datasets.pairs.options.sides is missing.",
    ),
    "a wrong type in an option": (
        "datasets/pairs-plain/options/where",
        {"style": "plain"},
        "datasets.pairs-plain.options.where.style is 'plain': input should be a valid list.",
    ),
    # tasks and experiments
    "one part in training and evaluation": (
        "tasks/stakes/evaluation/1",
        "pairs@train",
        "tasks.stakes.evaluation names 'pairs@train', which has groups of tasks.stakes.train, 'pairs@train'; "
        "take another split or another dataset.",
    ),
    "one part in control and evaluation": (
        "tasks/stakes/evaluation/1",
        "everyday@test",
        "tasks.stakes.evaluation names 'everyday@test', which has groups of tasks.stakes.control, 'everyday@test'; ",
    ),
    "the same groups through a derived dataset": (
        "tasks/stakes/evaluation/1",
        "pairs-plain@train",
        "tasks.stakes.evaluation names 'pairs-plain@train', which has groups of tasks.stakes.train, 'pairs@train'; ",
    ),
    "an evaluation set twice": (
        "tasks/stakes/evaluation/1",
        "pairs@test",
        "tasks.stakes.evaluation names 'pairs@test', which has groups of tasks.stakes.evaluation, 'pairs@test'; ",
    ),
    "a set in distribution that is not evaluated": (
        "tasks/stakes/in_distribution/0",
        "more@test",
        "tasks.stakes.in_distribution names 'more@test', which is not one of its evaluation sets.",
    ),
    "one class": (
        "tasks/stakes/classes",
        ["high-stakes"],
        "tasks.stakes.classes is ['high-stakes']: list should have ",
    ),
    "a baseline with the id of a probe": (
        "baselines/logistic",
        ENTRY,
        "baselines.logistic has the id of a probe; monitors share a column, so give each an id of its own.",
    ),
    "an experiment's probe that the task does not train": (
        "experiments/sweep/task",
        "stakes-plain",
        "experiments.sweep.probe names 'difference_of_means', which task 'stakes-plain' does not train; "
        "add it to tasks.stakes-plain.probes.",
    ),
    "an experiment's probe that reads every token": (
        "experiments/sweep/probe",
        "softmax",
        "experiments.sweep.probe names 'softmax', but the experiment works on mean activations; take a probe ",
    ),
    "a figure of an experiment that names a task": (
        "figures/layers/task",
        "stakes",
        "figures.layers needs `experiment`, and no `task`, with plot layer_sweep.",
    ),
}
ALSO = {"an experiment's probe that the task does not train": {"experiments/sweep/probe": "difference_of_means"}}
"""What else a case needs for its own mistake to be the only one."""


def tiny() -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(CONFIG.format(parameters=1))
    return config


def put(config: dict[str, Any], path: str, value: Any) -> None:
    """Set the entry at a path of keys, or take it away."""
    *parents, last = (key.replace("%2f", "/") for key in path.split("/"))
    at: Any = config
    for key in parents:
        at = at[int(key)] if isinstance(at, list) else at[key]
    if value is MISSING:
        del at[last]
    elif isinstance(at, list):
        at[int(last)] = value
    else:
        at[last] = value


def test_the_tiny_study_is_right() -> None:
    assert Study.parse(tiny()).run.quick == ["plain"]


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_config_is_one_sentence_that_names_the_key(case: str) -> None:
    path, value, sentence = WRONG[case]
    config = tiny()
    for also, needed in ALSO.get(case, {}).items():
        put(config, also, needed)
    put(config, path, value)
    with pytest.raises(ConfigError) as raised:
        Study.parse(config)
    said = str(raised.value)
    assert said.startswith(f"config: {sentence}"), said
    assert said.endswith(".")
    assert said.count("config: ") == 1
    assert "secret" not in said


def test_two_mistakes_are_two_sentences() -> None:
    config = tiny()
    put(config, "tasks/stakes/probes/0", "psychic")
    put(config, "run/figures/0", "pie")
    with pytest.raises(ConfigError) as raised:
        Study.parse(config)
    assert [line.split(" names ")[0] for line in str(raised.value).splitlines()] == [
        "config: tasks.stakes.probes",
        "config: run.figures",
    ]


class TestFiles:
    def refused(self, tmp_path: Path, text: str) -> str:
        path = tmp_path / "config.yaml"
        path.write_text(text)
        with pytest.raises(ConfigError) as raised:
            refuse_duplicate_keys([path])
        return str(raised.value).replace(str(path), "FILE")

    def test_a_key_that_stands_twice_is_refused(self, tmp_path: Path) -> None:
        said = self.refused(tmp_path, "probes:\n  mean: {epochs: 1}\n  max: {}\n  mean: {epochs: 2}\n")
        assert said == "config: FILE line 4: probes.mean is given twice."

    def test_a_key_that_stands_twice_inside_a_list_is_refused(self, tmp_path: Path) -> None:
        assert self.refused(tmp_path, "a:\n  - {b: 1, b: 2}\n") == "config: FILE line 2: a.b is given twice."

    def test_the_same_key_in_two_entries_is_fine(self, tmp_path: Path) -> None:
        (tmp_path / "config.yaml").write_text("a: {c: 1}\nb: {c: 1}\n")
        refuse_duplicate_keys([tmp_path / "config.yaml"])

    def test_a_file_that_is_no_yaml_is_one_sentence(self, tmp_path: Path) -> None:
        said = self.refused(tmp_path, "a: [1\nb: 2\n")
        assert said.startswith("config: FILE is not valid YAML: ")
        assert "\n" not in said


class TestTheProductsOwn:
    def test_config_is_right(self) -> None:
        config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
        refuse_duplicate_keys([ROOT / "config.yaml"])
        before = copy.deepcopy(config)
        resolved = Study.parse(config).resolved()
        assert config == before
        assert not [m for m in resolved["models"].values() if "auto" in (m["device"], m["dtype"])]

    def test_schema_is_that_of_the_models(self) -> None:
        written = json.loads((ROOT / "resources/config.schema.json").read_text(encoding="utf-8"))
        assert written == Study.model_json_schema(), "say `make schema`"

    def test_config_names_its_schema(self) -> None:
        first = (ROOT / "config.yaml").read_text(encoding="utf-8").splitlines()[0]
        assert first == "# yaml-language-server: $schema=resources/config.schema.json"

    @pytest.mark.parametrize("section", Study.model_json_schema()["$defs"].items(), ids=lambda entry: entry[0])
    def test_every_key_is_described(self, section: tuple[str, dict[str, Any]]) -> None:
        name, schema = section
        assert schema.get("description"), f"{name} has no docstring"
        undescribed = [key for key, value in schema.get("properties", {}).items() if not value.get("description")]
        assert undescribed == []
