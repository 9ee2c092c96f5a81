"""The live monitor: which probes it watches with, and what its cases are made from."""

WATCHED = config["monitor"]["probes"]


def watched(wildcards):
    """The task whose probe the monitor watches with."""
    return config["tasks"][WATCHED[wildcards.watched]["task"]]


def watched_capture(wildcards):
    """The capture that the probe reads."""
    return config["captures"][watched(wildcards)["capture"]]


def watched_probes(wildcards):
    """The files of the probe, or of all that the selection can name."""
    entry = WATCHED[wildcards.watched]
    named = [entry["probe"]] if entry["probe"] else trained_of(watched(wildcards))
    return collect("results/probes/{task}/{probe}.safetensors", task=entry["task"], probe=named)


def watched_datasets(wildcards):
    """The datasets that cases are taken from, each once."""
    return list(dict.fromkeys(map(dataset_of, watched(wildcards)["evaluation"])))


def watched_activations(wildcards):
    """What the probe read of the cases, each file once."""
    task = watched(wildcards)
    return list(dict.fromkeys(file for part in task["evaluation"] for file in activations_of(task["capture"], part)))


def watched_generations(wildcards):
    """What the subject answered while it was read; none for a capture of texts as they stand."""
    task = watched(wildcards)
    return list(dict.fromkeys(file for part in task["evaluation"] for file in responses_of(task["capture"], part)))


def watched_verbalisations(wildcards):
    """What a verbaliser wrote about the cases, if one is named."""
    entry = WATCHED[wildcards.watched]
    if not entry["verbaliser"]:
        return []
    folder = f"verbalisations/{entry['verbaliser']}/{watched(wildcards)['capture']}"
    datasets = dict.fromkeys(map(texts_of, watched_datasets(wildcards)))
    return [file for id in datasets for file in shards_of(folder, id, "parquet")]
