"""What a job asks of the machine that it runs on, from facts of the config alone: memory, GPUs, runtime.

Nothing of this is in a job's spec: a study moves from a laptop to a cluster, and back, and nothing is made again.
Memory holds a model's weights and what it computes with them, by rules of thumb that err on the safe side; a job that
is cut off is tried again with more. `run.resources` overrules them, model by model.
"""

from collections.abc import Mapping
from math import ceil
from typing import Any, NamedTuple

BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}
GB = 1e9
READING = 16
"""Values per token and unit of width while a block is computed: queries, keys, values, and the MLP's inner layer."""
CACHED = 0.25
"""Share of the full keys and values that today's models keep, by grouped-query attention."""
TRAINING = 34
"""Bytes per token, block and unit of width that are kept for gradients (Korthikanti et al. 2022, section 4.1)."""
TRAINED = 16
"""Bytes per trained weight: itself, its gradient and AdamW's moments in mixed precision (Rajbhandari et al. 2020)."""
USABLE = 0.9
"""Share of a GPU's memory that is left for a job."""
PROCESS_GB = 3.0
"""Memory of a process that has imported torch, and of the two Snakemake processes around it on a cluster."""
COPIES = 3
"""Of a layer's activations in float32 while a probe is trained: as read, in the order of batches, and in products."""
MARGIN = 3
"""How much longer than estimated a job may take before a scheduler ends it."""
START_S = 600
LOADED_PER_S = 2e8
"""Bytes of weights per second from a file system that many jobs share."""
STEP = 30
"""Minutes that runtimes are rounded up to."""
HOURS = {"finetune": 12, "finetune_classifier": 12, "run_finetuned_experiment": 24}
"""Where no profile says what the GPUs are; 4 for all others."""
FEWEST = 4
"""Stored rows of an example that count at least, for the texts and labels beside its activations."""
ON_TRAINING = ("layer_sweep", "variation_transfer")
"""Kinds of experiments that read no activations but those of the training set."""
WRITING = ("generate", "verbalise", "judge", "label", "grade")
ANSWERING = "generate_and_capture_"


class Site(NamedTuple):
    """What a profile says of its GPUs, in `default-resources`; no `accelerator`: jobs ask for none.

    `lease` is the program that runs a job's command on devices that it leases, where no scheduler hands them out.
    """

    accelerator: str | None = None
    accelerator_gb: float = 80.0
    lease: str | None = None

    @classmethod
    def of(cls, resources: Mapping[str, Any]) -> "Site":
        """The site that a profile's `default-resources` name; other resources are left aside."""
        texts = {name: str(value).strip("'\"") for name, value in resources.items() if value is not None}
        return cls(
            texts.get("accelerator"),
            float(texts.get("accelerator_gb", 80)),
            texts.get("lease"),
        )


class Needs(NamedTuple):
    """What a job needs at its first attempt; `runtime` in minutes."""

    mem_mb: int
    runtime: int
    gpus: int = 0


class Work(NamedTuple):
    """What bears on the memory of a job that runs models: its rule, their facts, and the entry that sets batches.

    `overruled` is what `run.resources` says of each model, `{}` where it says nothing.
    """

    rule: str
    models: list[Mapping[str, Any]]
    entry: Mapping[str, Any]
    overruled: list[Mapping[str, Any]]

    def said(self, key: str) -> "tuple[list[float], Work]":
        """What the config says of a key, model by model, and the work of the models that it says nothing of."""
        values = [each.get(key) for each in self.overruled]
        rest = [model for model, value in zip(self.models, values, strict=True) if value is None]
        return [value for value in values if value is not None], self._replace(models=rest)

    @property
    def weights(self) -> float:
        """Bytes of all weights."""
        return float(sum(model["parameters"] * BYTES[model["dtype"]] for model in self.models))

    def computing(self, on_gpu: bool) -> float:
        """Bytes of the weights and of what is computed with them, at its largest; none without a model."""
        if not self.models:
            return 0.0
        model = self.models[0]
        kept: int = model["width"] * BYTES[model["dtype"]]
        read: int = (self.entry.get("batch_tokens") or (16_384 if on_gpu else 1024)) * READING * kept
        if self.rule in ("finetune", "finetune_classifier", "run_finetuned_experiment"):
            tokens = self.entry["batch_size"] * self.entry["max_tokens"]
            blocks = 2 if self.entry.get("gradient_checkpointing") else model["blocks"]
            weights = self.weights if self.entry.get("lora") else TRAINED * model["parameters"]
            return float(weights + TRAINING * tokens * blocks * model["width"])
        if self.rule in WRITING or self.rule.startswith(ANSWERING):
            batch = self.entry.get("batch_size", "auto")
            texts = (128 if on_gpu else 32) if batch == "auto" else batch
            new = self.entry.get("max_new_tokens") or self.entry.get("max_tokens") or 0
            tokens = self.entry.get("tokens", 0) + new + self.entry.get("max_reasoning_tokens", 0)
            return float(self.weights + read + CACHED * 2 * model["blocks"] * kept * texts * tokens)
        copies = 2 if self.rule == "run_quantisation" else 1
        return copies * self.weights + read


class Planned:
    """The needs of a graph's jobs; `config` is the config with its defaults and without `auto`."""

    def __init__(self, config: Mapping[str, Any], site: Site) -> None:
        self.config = config
        self.site = site
        self._planner: Any = None

    def needs(self, rule: str, names: Mapping[str, str]) -> Needs:
        """The needs of a job that runs models, by its rule and wildcards; of one that asks a server, or nobody, few."""
        ids = self.models(rule, names)
        if not ids:
            return Needs(4000, 4 * 60)
        work = self._work(rule, names)
        gpus = self._gpus(work)
        return Needs(ceil(1000 * self._memory_gb(work, gpus)), ceil(self._minutes(rule, names, work, gpus)), gpus)

    def _gpus(self, work: Work) -> int:
        """As many as the config says, or as hold the models that it says nothing of, whichever is more."""
        if self.site.accelerator is None:
            return 0
        said, rest = work.said("gpus")
        own = rest.computing(on_gpu=True) / (USABLE * self.site.accelerator_gb * GB)
        return int(max([*said, *([_power_of_two(own)] if rest.models else [])], default=0))

    def _memory_gb(self, work: Work, gpus: int) -> float:
        """What the config says, the process included, and the estimate of the models that it says nothing of."""
        said, rest = work.said("memory_gb")
        own = (rest.weights if gpus else rest.computing(on_gpu=False)) / GB
        return sum(said) + own if said else (PROCESS_GB + own) * self._processes(work, gpus)

    def processes(self, rule: str, names: Mapping[str, str]) -> int:
        """Processes of a job, which share out its batches: one on each of its GPUs where a single GPU holds the model.

        More than one are of adapters alone, which are finetuned through accelerate; a larger model is spread over all
        GPUs of the job's one process.
        """
        work = self._work(rule, names)
        return self._processes(work, self._gpus(work))

    def _processes(self, work: Work, gpus: int) -> int:
        holds = work.computing(on_gpu=True) <= USABLE * self.site.accelerator_gb * GB
        return gpus if work.rule == "finetune" and gpus > 1 and holds else 1

    def _work(self, rule: str, names: Mapping[str, str]) -> Work:
        ids, overruled = self.models(rule, names), self.config["run"].get("resources", {})
        models = [self.config["models"][id] for id in ids]
        return Work(rule, models, self._entry(rule, names), [overruled.get(id) or {} for id in ids])

    def probing(self, names: Mapping[str, str], hours: float) -> Needs:
        """The needs of a job that reads activations and runs no model: for copies of one layer of its largest part."""
        if self.site.accelerator is None:
            return Needs(4000, ceil(hours * 60))
        most = max((self._activations(capture, part) for capture, part in self._read(names)), default=0.0)
        return Needs(ceil(1000 * (PROCESS_GB + 1 + COPIES * most / GB)), ceil(hours * 60))

    def models(self, rule: str, names: Mapping[str, str]) -> list[str]:
        """The ids of the models that a job loads, the one that it computes most with first."""
        config = self.config
        if rule.startswith(ANSWERING):
            return [self._base(config["captures"][rule.removeprefix(ANSWERING)]["subject"])]
        if "judge" in names:
            return self._asked(config["judges"][names["judge"]])
        if "verbaliser" in names:
            verbaliser = config["verbalisers"][names["verbaliser"]]
            own = [verbaliser.get("model"), verbaliser.get("reconstructor")]
            return list(filter(None, own)) or self._asked(verbaliser)
        if "adapter" in names:
            return [self._base(names["adapter"])]
        if "baseline" in names:
            return [config["baselines"][names["baseline"]]["subject"]]
        if "experiment" in names:
            experiment = config["experiments"][names["experiment"]]
            if "baseline" in experiment:
                return [config["baselines"][experiment["baseline"]]["subject"]]
            return [self._base(config["captures"][config["tasks"][experiment["task"]]["capture"]]["subject"])]
        return [self._base(names.get("subject") or config["captures"][names["capture"]]["subject"])]

    def _asked(self, asking: Mapping[str, Any]) -> list[str]:
        client = self.config["clients"].get(asking.get("client"), {})
        return [self._base(client["subject"])] if client.get("provider") == "local" else []

    def _base(self, subject: str) -> str:
        if subject in self.config["ablations"]:
            subject = self.config["ablations"][subject]["subject"]
        return str(self.config["adapters"].get(subject, {"subject": subject})["subject"])

    def _entry(self, rule: str, names: Mapping[str, str]) -> Mapping[str, Any]:
        config, text = self.config, {"tokens": self.config["run"]["estimates"]["tokens"]}
        if rule.startswith(ANSWERING):
            sampling = config["captures"][rule.removeprefix(ANSWERING)]["sampling"]
            return {**text, **config["samplings"][sampling]}
        if "experiment" in names:
            experiment = config["experiments"][names["experiment"]]
            entry: Mapping[str, Any] = (
                config["baselines"][experiment["baseline"]]
                if "baseline" in experiment
                else config["captures"][config["tasks"][experiment["task"]]["capture"]]
            )
            return {**text, **entry}
        for wildcard in ("judge", "verbaliser", "adapter", "baseline", "sampling", "capture"):
            if wildcard in names:
                return {**text, **config[f"{wildcard}s"][names[wildcard]]}
        return text

    def _minutes(self, rule: str, names: Mapping[str, str], work: Work, gpus: int) -> float:
        """What the config says of the first model, or the estimate; no less than it says of the others."""
        first, *others = (each.get("hours") for each in work.overruled)
        own = self._estimated(rule, names, work, gpus) if first is None else 60 * first
        return float(max([own, *(60 * hours for hours in others if hours is not None)]))

    def _estimated(self, rule: str, names: Mapping[str, str], work: Work, gpus: int) -> int:
        """Minutes by the FLOPs of `make cost`, GPUs of a job in turn; without GPUs, as long as a laptop may take."""
        if not gpus:
            return 60 * HOURS.get(rule, 4)
        estimates = self.config["run"]["estimates"]
        done = self.planner.work(rule, names)
        rate = estimates["tflops"] * 1e12
        seconds = START_S + (done.loads if done else 1) * work.weights / LOADED_PER_S
        if done is not None:
            seconds += done.flops / (rate * estimates["mfu"]) + done.decode_flops / (rate * estimates["decode_mfu"])
        return STEP * ceil(MARGIN * seconds / 60 / STEP)

    def _read(self, names: Mapping[str, str]) -> list[tuple[str, str]]:
        """Capture and part of all activations that a job without a model reads, as its rule's inputs name them."""
        config = self.config
        experiment = config["experiments"].get(names.get("experiment"), {})
        if "conditions" in experiment:
            conditions = experiment["conditions"].values()
            own = [(condition["capture"], condition["data"]) for condition in conditions]
            return [*own, *((capture, experiment["contrast"]) for capture, _ in own)]
        if "tasks" in experiment:
            tasks = [config["tasks"][id] for id in experiment["tasks"]]
            return [(task["capture"], part) for task in tasks for part in task["evaluation"]]
        if "watched" in names:
            task = config["tasks"][config["monitor"]["probes"][names["watched"]]["task"]]
            return [(task["capture"], part) for part in task["evaluation"]]
        task = config["tasks"][experiment["task"] if experiment else names["task"]]
        if experiment:
            parts = [task["train"], *_measured_on(experiment, task)]
        else:
            parts = [names["part"]] if "part" in names else [task["train"], task["control"]]
        return [(task["capture"], part) for part in parts]

    def _activations(self, capture_id: str, part: str) -> float:
        """Bytes of one layer's activations of a part, in float32."""
        capture = self.config["captures"][capture_id]
        width = self.config["models"][self._base(capture["subject"])]["width"]
        dataset, _, split = part.partition("@")
        size = self.planner.size(dataset, split or None)
        return float(4 * width * size.examples * max(FEWEST, self._rows(capture, size.tokens)))

    def _rows(self, capture: Mapping[str, Any], tokens: float) -> float:
        """Rows that a capture stores of an example, at their most; `tokens` are of the dataset's text."""
        read, written = self.planner.length(capture, tokens), self.planner.written(capture)
        of = capture.get("of") or "text"
        whole = float({"prompt": tokens, "response": written, "text": read}[of])
        positions = capture.get("positions", [])
        if capture["store"] == "tokens" or positions == "all":
            return whole
        if positions == "even":
            return float(min(capture["k"], whole))
        return 2 if isinstance(positions, str) else len(positions or capture.get("spans", []))

    @property
    def planner(self) -> Any:
        """What `make cost` estimates with, imported where a profile asks for it: dry runs elsewhere stay short."""
        if self._planner is None:
            from candor.gpu_hours import FooterPlanner

            self._planner = FooterPlanner(self.config)
        return self._planner


def _measured_on(experiment: Mapping[str, Any], task: Mapping[str, Any]) -> list[str]:
    """The parts whose activations an experiment reads beside the training set's."""
    kind = experiment["kind"]
    if kind in ON_TRAINING:
        return []
    if kind == "dev_split":
        return [part for pair in experiment["development"].items() for part in pair if part]
    if kind == "leave_one_out":
        return [part for part in task["evaluation"] if part.partition("@")[0] == task["train"].partition("@")[0]]
    return [experiment["part"]] if "part" in experiment else list(task["evaluation"])


def _power_of_two(ratio: float) -> int:
    """GPUs that hold this many GPUs' memory: 1, 2, 4, 8, since nodes and heads divide by these."""
    return 1 << max(0, ceil(ratio) - 1).bit_length()
