"""Judges, the clients that they ask, their verdicts and labels, and what compares these."""

# kinds of judge that take all texts of a dataset together, and so have one table of it
WHOLE = ("support", "majority")


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
    id = wildcards.get("client")
    for registry in ("verbaliser", "judge"):
        if registry in wildcards.keys():
            id = config[f"{registry}s"][wildcards[registry]].get("client")
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
    asking = config["judges"].get(wildcards.get("judge")) or config["verbalisers"].get(wildcards.get("verbaliser"), {})
    budget = asking.get("budget_usd")
    return json.dumps(untracked | ({} if budget is None else {"budget_usd": budget}), sort_keys=True)


def api_calls(wildcards):
    """Whether a job asks a server, for the cap on how many do so at once."""
    return int(client_of(wildcards).get("provider", "local") != "local")


def judged_shards(folder, judge, dataset):
    """The tables of a judge on a dataset; a judge that compares texts, or counts votes, has one."""
    if config["judges"][judge]["kind"] in WHOLE:
        return [f"results/{folder}/{dataset}/000-of-001.parquet"]
    return shards_of(folder, dataset, "parquet")


def verdicts_of(comparison, dataset, judges):
    """The verdicts of judges on a comparison's subject's responses to a dataset."""
    folder = f"{comparison['sampling']}/{comparison['subject']}"
    return [file for judge in judges for file in judged_shards(f"verdicts/{judge}/{folder}", judge, dataset)]


def labels_of(dataset, judges):
    """The labels that judges give a dataset's own examples."""
    return [file for judge in judges for file in judged_shards(f"labels/{judge}", judge, dataset)]


def grades_of(verbalised, judges):
    """The labels that judges give what was put into words of a dataset's examples."""
    folder = f"verbalisations/{verbalised.verbaliser}/{verbalised.capture}"
    return [file for judge in judges for file in judged_shards(f"labels/{judge}/{folder}", judge, verbalised.dataset)]


def graded_verbalisations(wildcards):
    """The verbalisations that a job grades: its shard, or all where the judge takes them together."""
    folder = f"verbalisations/{wildcards.verbaliser}/{wildcards.capture}"
    if config["judges"][wildcards.judge]["kind"] in WHOLE:
        return shards_of(folder, wildcards.dataset, "parquet")
    return f"results/{folder}/{wildcards.dataset}/{wildcards.shard}.parquet"


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
    if "verbaliser" in wildcards.keys():
        return grades_of(wildcards, voters)
    return labels_of(wildcards.dataset, voters)


def judges_of(comparison):
    """The judges of a comparison: the behaviour's and the aspects', or those of code."""
    if comparison["kind"] == "adherence":
        return [comparison["behaviour"], *comparison["aspects"]]
    return comparison["judges"]


def told_of_training(comparison):
    """The judges of a comparison that are told of the training set."""
    if not comparison.get("training"):
        return []
    return comparison["aspects"] if comparison["training_aspects"] is None else comparison["training_aspects"]


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


def comparison_gates(wildcards):
    """The gates between what a comparison's subject has learnt from and the prompts it is compared on."""
    comparison = config["comparisons"][wildcards.comparison]
    adapter = adapter_id(comparison["subject"])
    learnt = [config["adapters"][adapter]["train"]] if adapter else []
    return gates_of(*learnt, f"{comparison['dataset']}@test")


def judged_by(wildcards):
    """The texts that a panel's judges read, and their tables."""
    panel = config["panels"][wildcards.panel]
    registry, *names = panel["texts"].split("/")
    if registry == "datasets":
        return {"dataset": names[0], "generations": [], "verdicts": labels_of(names[0], panel["judges"])}
    verbalised = verbalised_in(panel["texts"])
    if verbalised:
        verdicts = grades_of(verbalised, panel["judges"])
        return {"dataset": verbalised.dataset, "generations": [], "verdicts": verdicts}
    sampling, subject, dataset = names
    verdicts = verdicts_of({"sampling": sampling, "subject": subject}, dataset, panel["judges"])
    return {"dataset": dataset, "generations": generations_of(*names), "verdicts": verdicts}
