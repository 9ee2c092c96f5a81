"""Verbalisers: what they read, and the models and clients that write."""


def verbalised_activations(wildcards):
    """All shards of what an activation verbaliser reads; none for one that is told of the prompt."""
    if config["verbalisers"][wildcards.verbaliser]["kind"] != "nla":
        return []
    return shards_of(f"activations/{wildcards.capture}", wildcards.dataset, "safetensors")


def verbalised_generations(wildcards):
    """The responses that a chat verbaliser is shown, those of the capture's own pass; none where it is shown none."""
    if not config["verbalisers"][wildcards.verbaliser].get("response"):
        return []
    capture = config["captures"][wildcards.capture]
    return (
        f"results/generations/{capture['sampling']}/{capture['subject']}/{wildcards.dataset}/{wildcards.shard}.parquet"
    )


def verbaliser_template(wildcards):
    """The file with a chat verbaliser's question."""
    return config["verbalisers"][wildcards.verbaliser].get("template", [])


def verbaliser_model(wildcards):
    """The facts of the model that reads activations, or of the one that a chat verbaliser's local client runs."""
    model = config["verbalisers"][wildcards.verbaliser].get("model")
    return f"results/models/{model}.json" if model else base_model(wildcards)


def reconstructor_model(wildcards):
    """The facts of the model that makes activations from words, if a verbaliser has one."""
    model = config["verbalisers"][wildcards.verbaliser].get("reconstructor")
    return f"results/models/{model}.json" if model else []


def verbaliser_config(wildcards):
    """What bears on a verbaliser's words: its entry less its budget, its models, and what tells its client."""
    entry = config["verbalisers"][wildcards.verbaliser]
    keys = ",".join(key for key in entry if key != "budget_usd")
    models = [f"models/{entry[key]}" for key in ("model", "reconstructor") if entry.get(key)]
    return [f"verbalisers/{wildcards.verbaliser}[{keys}]", *models, *client_config(entry.get("client"))]


def verbaliser_module(wildcards):
    """The modules of a verbaliser: of its kind, and of the client that it asks, if it asks one."""
    modules = [f"candor.verbalisers.{config['verbalisers'][wildcards.verbaliser]['kind']}_job"]
    client = client_of(wildcards)
    if client:
        modules.append(f"candor.verbalisers.clients.{'local' if client['provider'] == 'local' else 'remote'}")
    return modules + client_modules(client)
