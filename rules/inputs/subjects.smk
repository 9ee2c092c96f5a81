"""Models, adapters, ablations, and what is made by running them."""

# captures that are made while their subject answers, in one pass with its generations
ANSWERING = {id: capture for id, capture in config["captures"].items() if capture["sampling"]}


def running(wildcards):
    """The subject that a job runs, if it runs one: its own, its capture's, or its judge's or verbaliser's client's."""
    if "judge" in wildcards.keys() or "verbaliser" in wildcards.keys():
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


def adapter_files(wildcards):
    """The adapter that a job's subject runs with: its weights and its config; none for a plain model."""
    adapter = adapter_id(running(wildcards))
    names = ["adapter_model.safetensors", "adapter_config.json"] if adapter else []
    return [f"results/adapters/{adapter}/{name}" for name in names]


def adapter_folder(wildcards):
    """The folder of the adapter that a job's subject runs with, if any."""
    adapter = adapter_id(running(wildcards))
    return f"results/adapters/{adapter}" if adapter else []


def adapter_gates(wildcards):
    """The gates of an adapter's training set, and between it and its validation set."""
    adapter = config["adapters"][wildcards.adapter]
    return gates_of(adapter["train"], adapter["validation"])


def directions_of(wildcards):
    """The file with the direction that an ablation takes out; none for other subjects."""
    ablation = config["ablations"].get(running(wildcards))
    return f"results/experiments/{ablation['experiment']}.safetensors" if ablation else []


def ablation_config(wildcards):
    """What a job is told of the ablation that it runs, if it does."""
    subject = running(wildcards)
    return [f"ablations/{subject}[direction]"] if subject in config["ablations"] else []


def generations_of(sampling, subject, dataset):
    """The shards of a subject's generations on a dataset."""
    return shards_of(f"generations/{sampling}/{subject}", dataset, "parquet")


def responses_of(capture, part):
    """The shards of what a capture's subject answered to a part's texts while it was read; none if it was not asked."""
    entry = config["captures"][capture]
    if not entry["sampling"]:
        return []
    return generations_of(entry["sampling"], entry["subject"], texts_of(dataset_of(part)))


def activations_of(capture, part):
    """The shards of a capture on the dataset of a part."""
    return shards_of(f"activations/{capture}", texts_of(dataset_of(part)), "safetensors")
