"""Subjects that are finetuned as classifiers, loaded as a job's command line says."""

from argparse import Namespace
from typing import Any, NamedTuple

import torch
from pydantic import TypeAdapter

from candor import models, provenance
from candor.baselines.finetuned.network import Classifier
from candor.config.adapters import Lora
from candor.config.baselines import Finetuned
from candor.config.models import Model
from candor.errors import CandorError
from candor.models import Subject

PACKAGES = ("torch", "transformers", "peft", "safetensors")


class Loaded(NamedTuple):
    """A subject with its config, what names its weights, and facts for the provenance."""

    subject: Subject
    model: Model
    revision: str
    facts: dict[str, Any]


def load_subject(args: Namespace) -> Loaded:
    """The model of the spec, described by `args.model`, on `args.threads` threads."""
    model: Model = TypeAdapter(Model).validate_python(args.spec["models"])
    device, dtype = models.placement(model)
    if dtype == "float16":
        raise CandorError(
            f"{model.name}: gradients are too small for float16; finetune with dtype: bfloat16 or float32"
        )
    if args.threads:
        torch.set_num_threads(args.threads)
    known = models.read_facts(args.model)
    subject = models.load(model.model_copy(update={"device": device, "dtype": dtype}), known)
    facts = {"device": device, "dtype": dtype, "threads": torch.get_num_threads()}
    return Loaded(subject, model, known["revision"] or provenance.digest(known["files"])[:16], facts)


def classifier_of(loaded: Loaded, options: Finetuned, classes: int, lora: Lora | None) -> Classifier:
    """A classifier of a subject, at no defined weights: `begin` or `load` come next."""
    return Classifier(loaded.subject, lora, classes, loaded.model.name, options.gradient_checkpointing)
