"""GPU-hours of the jobs of a graph that run a model, from the config alone: FLOPs over a stated share of the peak rate.

2 FLOPs per parameter and token for reading, 6 for training all weights, 4 for training an adapter (no gradients of the
frozen weights); attention's own products are left out. Writing counts each new token as one that is read, at the lower
rate that a memory-bound machine reaches. GPUs that hold a model together take turns, block after block, so that all of
them are taken for as long as one would compute.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from candor import tables
from candor.config.selection import Estimates
from candor.config.tasks import dataset_of, split_of
from candor.costs import places_of
from candor.resources import Planned, Site
from candor.schemas.dataset import DATASET

READ = 2
TRAIN = 6
TRAIN_ADAPTER = 4
PROMPT = 120
"""Tokens of the fixed prompt of a verbaliser, and of its reconstructor."""
PASSES = {"rerounded": 1, "random_weights": 2}
"""Of a rounding's controls, beside the weights as they are and rounded."""
BYTES_PER_TOKEN = 4
"""Of English text; an estimate."""


class Work(NamedTuple):
    """What one job does: FLOPs of reading or training, and of writing token by token; `guessed` without its dataset.

    `gpus` hold its model, which is loaded `loads` times.
    """

    stage: str
    subject: str
    flops: float
    decode_flops: float = 0.0
    guessed: bool = False
    gpus: int = 1
    loads: int = 1


class Hours(NamedTuple):
    """GPU-hours of a stage's jobs with one model; most GPUs that one of them takes, and hours of the longest."""

    stage: str
    subject: str
    jobs: int
    flops: float
    hours: float
    guessed: int
    gpus: int
    longest: float


class Size(NamedTuple):
    """Examples, and tokens of each, of a dataset or a part; `guessed` where the dataset is not made yet."""

    examples: float
    tokens: float
    guessed: bool

    @property
    def total(self) -> float:
        """Tokens of all examples."""
        return self.examples * self.tokens


class Planner:
    """The work of a graph's jobs; `config` is the config with its defaults."""

    def __init__(self, config: Mapping[str, Any], data: Path = Path("results/data")) -> None:
        self.config = config
        self.data = data
        self.estimates = Estimates.model_validate(config["run"]["estimates"])
        self._sizes: dict[tuple[str, str | None], Size] = {}

    def work(self, rule: str, names: Mapping[str, str]) -> Work | None:
        """The work of a job by its rule and wildcards; None for one that runs no model."""
        capture = self.config["captures"].get(rule.removeprefix("generate_and_capture_"))
        if capture and rule.startswith("generate_and_capture_"):  # reading on the way is nothing beside it
            rule, names = "generate", {**names, "sampling": capture["sampling"], "subject": capture["subject"]}
        found = getattr(self, f"_{rule}", None)
        return found(names) if found else None

    def hours(self, works: Iterable[Work]) -> list[Hours]:
        """Sums by stage and model, in the order in which they first come."""
        grouped: dict[tuple[str, str], list[Work]] = {}
        for work in works:
            grouped.setdefault((work.stage, work.subject), []).append(work)
        return [
            Hours(
                stage,
                subject,
                len(each),
                sum(work.flops + work.decode_flops for work in each),
                sum(self._taken(work) * work.gpus for work in each),
                sum(work.guessed for work in each),
                max(work.gpus for work in each),
                max(map(self._taken, each)),
            )
            for (stage, subject), each in grouped.items()
        ]

    def _taken(self, work: Work) -> float:
        """Hours that a job computes."""
        rate = self.estimates.tflops * 1e12 * 3600
        return work.flops / (rate * self.estimates.mfu) + work.decode_flops / (rate * self.estimates.decode_mfu)

    def size(self, dataset: str, split: str | None = None) -> Size:
        """The size of a dataset, or of one of its splits: of its file, else as the config estimates it."""
        key = dataset, split
        if key not in self._sizes:
            path = self.data / f"{dataset}.parquet"
            self._sizes[key] = self._of_file(path, split) if path.exists() else self._estimated(dataset, split)
        return self._sizes[key]

    def _of_file(self, path: Path, split: str | None) -> Size:
        rows = [row for row in tables.read(path, DATASET).to_pylist() if split in (None, row["split"])]
        bytes_ = sum(len(message["content"].encode()) for row in rows for message in row["messages"])
        return Size(len(rows), bytes_ / BYTES_PER_TOKEN / max(len(rows), 1), False)

    def _estimated(self, dataset: str, split: str | None) -> Size:
        entry = self.config["datasets"][dataset]
        examples = min(self._given(dataset) or 1000, entry["limit"] or float("inf"))
        if split is not None and isinstance(entry["split"], dict):
            shares = {"test": entry["split"]["test"], "validation": entry["split"]["validation"]}
            shares["train"] = 1 - sum(shares.values())
            examples *= shares[split]
        return Size(examples, self.estimates.tokens, True)

    def _given(self, dataset: str) -> float | None:
        """Examples by the config, or of what a dataset is made from; None where nothing is known."""
        given: float | None = self.estimates.examples.get(dataset)
        registry, *names = self.config["datasets"][dataset]["origin"].split("/")
        if given is None and registry != "sources":
            parent = self.size(names[-1])
            given = parent.examples * (self.config["samplings"][names[0]]["n"] if registry == "generations" else 1)
        return given

    def length(self, capture: Mapping[str, Any], tokens: float) -> float:
        """Tokens that a capture reads of an example, of whose text there are so many."""
        return min(tokens, capture["max_tokens"]) if capture["sampling"] is None else tokens + self.written(capture)

    def written(self, capture: Mapping[str, Any]) -> float:
        """Tokens of a response that the subject gives while it is read, at its longest; none without a sampling."""
        return 0.0 if capture["sampling"] is None else _longest(self.config["samplings"][capture["sampling"]])

    def _model(self, subject: str) -> tuple[str, Mapping[str, Any]]:
        """The model that a subject is or was made from."""
        if subject in self.config["ablations"]:
            subject = self.config["ablations"][subject]["subject"]
        if subject in self.config["adapters"]:
            subject = self.config["adapters"][subject]["subject"]
        return subject, self.config["models"][subject]

    def _shards(self, dataset: str) -> int:
        return int(self.config["run"]["shards"].get(dataset, 1))

    def _extract_activations(self, names: Mapping[str, str]) -> Work:
        capture = self.config["captures"][names["capture"]]
        id, model = self._model(capture["subject"])
        depth = 1 if capture["log_probs"] else _depth(capture, model["blocks"])
        size, shards = self.size(names["dataset"]), self._shards(names["dataset"])
        tokens = size.examples * min(size.tokens, capture["max_tokens"]) / shards
        flops = READ * model["parameters"] * depth * tokens
        return Work("activations", id, flops, guessed=size.guessed)

    def _generate(self, names: Mapping[str, str]) -> Work:
        sampling = self.config["samplings"][names["sampling"]]
        id, model = self._model(names["subject"])
        size = self.size(names["dataset"])
        samples = size.examples * sampling["n"] / self._shards(names["dataset"])
        passes = 2 if sampling["reasoning"] == "prompted" else 1
        each = READ * model["parameters"] * samples
        return Work("generations", id, each * passes * size.tokens, each * _longest(sampling), size.guessed)

    def _finetune(self, names: Mapping[str, str]) -> Work:
        adapter = self.config["adapters"][names["adapter"]]
        id, model = self._model(adapter["subject"])
        train, validation = self._part(adapter["train"]), self._part(adapter["validation"])
        epochs, parameters = adapter["epochs"], model["parameters"]
        flops = TRAIN_ADAPTER * parameters * train.total * epochs
        flops += READ * parameters * validation.total * epochs * adapter["evaluations"]
        return Work("adapters", id, flops, guessed=train.guessed or validation.guessed)

    def _choose_prompt(self, names: Mapping[str, str]) -> Work:
        baseline = self.config["baselines"][names["baseline"]]
        task = self.config["tasks"][names["task"]]
        id, model = self._model(baseline["subject"])
        train, control = self._part(task["train"]), self._part(task["control"])
        chosen_on = min(train.examples, baseline["limit"] or train.examples) * train.tokens
        tokens = chosen_on * len(baseline["templates"]) + control.total
        return Work("baselines", id, READ * model["parameters"] * tokens, guessed=train.guessed or control.guessed)

    def _finetune_classifier(self, names: Mapping[str, str]) -> Work:
        baseline = self.config["baselines"][names["baseline"]]
        task = self.config["tasks"][names["task"]]
        id, model = self._model(baseline["subject"])
        train, control = self._part(task["train"]), self._part(task["control"])
        learnt = min(train.examples, baseline["limit"] or train.examples) * train.tokens
        flops = self._training(baseline) * learnt * baseline["epochs"] + READ * control.total
        flops *= model["parameters"] * len(baseline["seeds"])
        return Work("baselines", id, flops, guessed=train.guessed or control.guessed)

    def _score_prompted(self, names: Mapping[str, str]) -> Work:
        return self._score(names, 1)

    def _score_finetuned(self, names: Mapping[str, str]) -> Work:
        return self._score(names, len(self.config["baselines"][names["baseline"]]["seeds"]))

    def _score(self, names: Mapping[str, str], times: int) -> Work:
        id, model = self._model(self.config["baselines"][names["baseline"]]["subject"])
        part = self._part(names["part"])
        return Work("scores", id, READ * model["parameters"] * part.total * times, guessed=part.guessed)

    def _run_finetuned_experiment(self, names: Mapping[str, str]) -> Work:
        experiment = self.config["experiments"][names["experiment"]]
        task = self.config["tasks"][experiment["task"]]
        baseline = self.config["baselines"][experiment["baseline"]]
        id, model = self._model(baseline["subject"])
        train, parts = self._part(task["train"]), [self._part(part) for part in task["evaluation"]]
        limit = experiment["limit"] or float("inf")
        measured = sum(min(part.examples, limit) * part.tokens for part in parts)
        sizes = [min(size, train.examples) for size in experiment["sizes"]] + [train.examples]
        learnt = sum(sizes) * train.tokens * baseline["epochs"]
        flops = (self._training(baseline) * learnt + READ * measured * len(sizes)) * experiment["runs"]
        guessed = train.guessed or any(part.guessed for part in parts)
        return Work("experiments", id, flops * model["parameters"], guessed=guessed)

    def _run_quantisation(self, names: Mapping[str, str]) -> Work:
        """A pass for each set of weights, all loaded anew; to the deepest layer that the probe may have."""
        experiment = self.config["experiments"][names["experiment"]]
        capture = self.config["captures"][self.config["tasks"][experiment["task"]]["capture"]]
        id, model = self._model(capture["subject"])
        part = self._part(experiment["part"])
        tokens = min(part.examples, experiment["limit"] or float("inf")) * self.length(capture, part.tokens)
        passes = 2 + sum(PASSES[control] for control in experiment["controls"])
        flops = READ * model["parameters"] * _depth(capture, model["blocks"]) * tokens * passes
        return Work("experiments", id, flops, guessed=part.guessed, loads=passes)

    def _judge(self, names: Mapping[str, str]) -> Work | None:
        return self._asked("verdicts", self.config["judges"][names["judge"]], names, self.size(names["dataset"]))

    _label = _judge

    def _grade(self, names: Mapping[str, str]) -> Work | None:
        said = self._put_into_words(names)
        return self._asked("verdicts", self.config["judges"][names["judge"]], names, said)

    def _verbalise(self, names: Mapping[str, str]) -> Work | None:
        verbaliser, said = self.config["verbalisers"][names["verbaliser"]], self._put_into_words(names)
        if verbaliser["kind"] == "chat":
            size = self.size(names["dataset"])
            read = size.tokens + (said.tokens if verbaliser["response"] else 0)
            return self._asked("verbalisations", verbaliser, names, said._replace(tokens=read))
        id, model = verbaliser["model"], self.config["models"][verbaliser["model"]]
        maker = self.config["models"].get(verbaliser["reconstructor"], {"parameters": 0})
        texts = READ * said.examples / self._shards(names["dataset"])
        read = PROMPT * model["parameters"] + (PROMPT + said.tokens) * maker["parameters"]
        return Work("verbalisations", id, texts * read, texts * said.tokens * model["parameters"], said.guessed)

    def _put_into_words(self, names: Mapping[str, str]) -> Size:
        """What a verbaliser writes of a dataset, each text at its longest."""
        verbaliser, capture = self.config["verbalisers"][names["verbaliser"]], self.config["captures"][names["capture"]]
        sizes = [self.size(names["dataset"], split) for split in verbaliser["splits"] or [None]]
        chat = verbaliser["kind"] == "chat"
        places = 1 if chat else places_of(capture, verbaliser)
        longest = verbaliser["max_tokens" if chat else "max_new_tokens"]
        return Size(places * sum(size.examples for size in sizes), longest, any(size.guessed for size in sizes))

    def _asked(self, stage: str, asking: Mapping[str, Any], names: Mapping[str, str], texts: Size) -> Work | None:
        """The work of a local client that is asked about texts."""
        client = self.config["clients"].get(asking.get("client"), {})
        if client.get("provider") != "local":
            return None
        id, model = self._model(client["subject"])
        each = READ * model["parameters"] * texts.examples / self._shards(names["dataset"])
        return Work(stage, id, each * texts.tokens, each * asking["max_tokens"], texts.guessed)

    def _part(self, part: str) -> Size:
        return self.size(dataset_of(part), split_of(part))

    def _training(self, baseline: Mapping[str, Any]) -> int:
        return TRAIN if baseline["lora"] is None else TRAIN_ADAPTER


class FooterPlanner(Planner):
    """Sizes as the config estimates them, but with the rows of datasets that are made; texts are not read.

    A dry run can afford that: it looks at each file's footer once.
    """

    def __init__(self, config: Mapping[str, Any], data: Path = Path("results/data")) -> None:
        super().__init__(config, data)
        self._rows: dict[str, int | None] = {}

    def size(self, dataset: str, split: str | None = None) -> Size:
        """The size of a dataset, or of one of its splits, by its rows and the config."""
        return self._estimated(dataset, split)

    def _given(self, dataset: str) -> float | None:
        if dataset not in self._rows:
            self._rows[dataset] = _rows_of(self.data / f"{dataset}.parquet")
        rows = self._rows[dataset]
        return super()._given(dataset) if rows is None else rows


def _rows_of(path: Path) -> int | None:
    """Rows of a table, from its footer alone; None of one that is not here or cannot be read."""
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError):
        return None  # who makes it, or reads it, says what is wrong


def _depth(capture: Mapping[str, Any], blocks: int) -> float:
    """The share of blocks up to the deepest layer of a capture."""
    layers = [capture["layers"], capture["mean_layers"]]
    return 1.0 if "all" in layers else (1 + max(layer for each in layers for layer in each)) / blocks


def _longest(sampling: Mapping[str, Any]) -> int:
    """Tokens of a response at its longest."""
    reasoning = sampling["max_reasoning_tokens"] if sampling["reasoning"] == "prompted" else 0
    return int(sampling["max_new_tokens"] + reasoning)


def lines(found: Sequence[Hours], estimates: Estimates) -> list[str]:
    """The hours as a table, and what its numbers rest on."""
    headings = ("stage", "model", "jobs", "GPUs", "PFLOPs", "GPU-hours", "longest, hours")
    jobs, flops, hours, guessed = (
        sum(getattr(each, key) for each in found) for key in ("jobs", "flops", "hours", "guessed")
    )
    gpus, longest = (max((getattr(each, key) for each in found), default=0) for key in ("gpus", "longest"))
    rows = [
        (
            each.stage,
            each.subject,
            f"{each.jobs:,}",
            str(each.gpus),
            f"{each.flops / 1e15:,.1f}",
            f"{each.hours:,.2f}",
            f"{each.longest:,.2f}",
        )
        for each in [*found, Hours("all", "", jobs, flops, hours, guessed, gpus, longest)]
    ]
    widths = [max(len(row[i]) for row in [headings, *rows]) for i in range(len(headings))]
    table = []
    for row in [headings, *rows]:
        placed = [
            text.ljust(w) if i < 2 else text.rjust(w) for i, (text, w) in enumerate(zip(row, widths, strict=True))
        ]
        table.append("  ".join(placed).rstrip())
    notes = [
        f"GPU-hours: an estimate from parameters and tokens, at {estimates.mfu:.0%} of {estimates.tflops:g} TFLOP/s "
        f"for reading and training and {estimates.decode_mfu:.0%} for writing, new tokens at their most; all set by "
        "run.estimates. Jobs whose files are made already are counted too; loading models is not.",
        f"GPUs: what the largest job takes, of {estimates.memory_gb:g} GB each. On many at once the study takes its "
        "GPU-hours by their number, and no less than its longest job.",
    ]
    if guessed:
        notes.append(
            f"{guessed:,} jobs are about datasets that are not made yet: run.estimates says how many examples "
            "and tokens they are taken to have."
        )
    return [*table, "", *notes]


def planned_work(jobs: Iterable[Any], planner: Planner) -> list[Work]:
    """The work of a graph's jobs that run a model, on GPUs of the stated memory."""
    asking = Planned(planner.config, Site("any", planner.estimates.memory_gb))
    found = []
    for job in jobs:
        names = dict(job.wildcards.items())
        work = planner.work(job.rule.name, names)
        if work is not None:
            found.append(work._replace(gpus=asking.needs(job.rule.name, names).gpus))
    return found
