"""Datasets, their parts and the gates between these."""


def table_of(dataset):
    """The table of a dataset."""
    return kept(f"results/data/{dataset}.parquet")


def data_of(part):
    """The dataset table of `dataset@split`."""
    return table_of(dataset_of(part))


def datasets_of(ids):
    """The tables of datasets."""
    return list(map(table_of, ids))


def gates_of(*parts):
    """The leakage gates of datasets, and between each two parts of different datasets, the earlier one first."""
    datasets = list(dict.fromkeys(map(dataset_of, parts)))
    gates = [f"results/leakage/{dataset}.json" for dataset in datasets]
    for i, part in enumerate(parts):
        gates += [
            f"results/leakage/{part}/{other}.json" for other in parts[i + 1 :] if dataset_of(other) != dataset_of(part)
        ]
    return gates


def origin_of(wildcards):
    """What a dataset is built from: a source, another dataset, or every shard of generations or labels."""
    origin = config["datasets"][wildcards.dataset]["origin"]
    registry, *names = origin.split("/")
    if registry == "generations":
        return generations_of(*names)
    if grader_of(origin):
        return grades_of(verbalised_in(origin), [grader_of(origin)])
    if registry == "labels":
        judge, dataset = names
        return labels_of(dataset, [judge])
    return table_of(names[0]) if registry == "datasets" else f"results/{registry}/{names[0]}.parquet"


def answered_by(wildcards):
    """The dataset that a dataset's generations answer or its labels are about; none for other origins."""
    registry, *names = config["datasets"][wildcards.dataset]["origin"].split("/")
    return table_of(names[-1]) if registry in ("generations", "labels") else []


def texts_of(dataset):
    """The dataset whose activations are a dataset's own too: itself, or the one that it only labels anew."""
    relabelled = Dataset.model_validate(config["datasets"][dataset]).relabels
    return texts_of(relabelled) if relabelled else dataset


def transforms_of(wildcards):
    """The modules of a dataset's transforms."""
    dataset = config["datasets"][wildcards.dataset]
    return [f"candor.data.transforms.{step['transform']}" for step in [dataset, *dataset["then"]]]


def shards_of(folder, dataset, suffix):
    """The files that a dataset's model work is spread over."""
    count = config["run"]["shards"].get(dataset, 1)
    return [kept(f"results/{folder}/{dataset}/{i:03d}-of-{count:03d}.{suffix}") for i in range(count)]
