"""Jobs of a finetuned classifier, from the tables they read to the files they make."""

from argparse import Namespace
from typing import Any

import pyarrow as pa

from candor import provenance, tables
from candor.baselines.finetuned.files import ClassifierError, Header, read_header, read_state, save
from candor.baselines.finetuned.loading import PACKAGES, classifier_of, load_subject
from candor.baselines.finetuned.scoring import score_rows
from candor.baselines.finetuned.texts import divided, drawn, labelled, read_texts, usable_rows
from candor.baselines.finetuned.training import Trainer
from candor.config.adapters import Lora
from candor.config.baselines import Finetuned
from candor.config.tasks import Learning
from candor.data.parts import read_part
from candor.errors import CandorError
from candor.partial import workplace
from candor.progress import Progress
from candor.schemas.history import CLASSIFIER_HISTORY
from candor.schemas.score import SCORE


def finetune(args: Namespace) -> dict[str, Any]:
    """Finetune every seed as the spec says and write its files; return counts of examples and AUROCs.

    A job that was killed goes on from the last checkpoint of the seed it was at.
    """
    task, options = Learning.model_validate(args.spec["tasks"]), Finetuned.model_validate(args.spec["baselines"])
    rows, control = read_part(args.data, task.train), read_part(args.control, task.control)
    loaded = load_subject(args)
    texts = read_texts(rows, loaded.subject.tokenizer, options, task.train)
    on_control = read_texts(control, loaded.subject.tokenizer, options, task.control)
    usable = usable_rows(rows, texts, task.classes)
    refuse_missing_classes({rows[i]["label"] for i in usable}, task)
    chosen = drawn(rows, usable, options.limit, task.seed)
    division = divided(rows, chosen, options.held_out, task.seed)
    train, held_out = (labelled(rows, texts, task.classes, which) for which in division)
    refuse_missing_classes({rows[i]["label"] for i in chosen}, task)
    counts = {
        "n": len(train.y),
        "n_held_out": len(held_out.y),
        "n_beyond_limit": len(usable) - len(chosen),
        "n_skipped": len(rows) - len(usable),
        "n_truncated": sum(texts.statuses[i] == "truncated" for i in chosen),
    }
    made = provenance.record(
        __file__,
        args.code,
        args.spec,
        sorted({args.model, args.data, args.control}),
        PACKAGES,
        **loaded.facts,
        **counts,
    )
    made["script"] = "finetune_classifier.py"
    classifier = classifier_of(loaded, options, len(task.classes), options.lora)
    states, history, scores = {}, [], []
    header = Header(
        task_classes=task.classes,
        options=options.model_dump(mode="json"),
        lora=None,
        seeds=options.seeds,
        subject=options.subject,
        revision=loaded.revision,
        train=task.train,
        n_train=len(train.y),
        n_held_out=len(held_out.y),
        best_steps={},
        held_out_auroc={},
    )
    with workplace(args.partial / provenance.digest(made)[:24]) as folder:
        for seed in options.seeds:
            classifier.begin(seed)
            trainer = Trainer(classifier, options, train, held_out, seed)
            trained = trainer.run(folder / str(seed), args.progress, f"{args.monitor}, seed {seed}")
            history += [{"seed": seed, **row} for row in trained.rows]
            header.best_steps[str(seed)], header.held_out_auroc[str(seed)] = trained.best_step, trained.auroc
            states[seed] = classifier.state()
            own = ([rows[i] for i in division.held_out], texts.of(division.held_out), task.train)
            for each, read, part in (own, (control, on_control, task.control)):
                scores.append(score_rows(classifier, each, read, part, task.classes, args.monitor, seed, options))
        stored = classifier.stored_lora()
        header.lora = None if stored is None else stored.model_dump(mode="json")
        tables.write(args.history, history, CLASSIFIER_HISTORY, made)
        tables.write(args.scores, pa.concat_tables(scores), SCORE, made)
        save(args.weights, header, states, made)
    return {**counts, "held_out_auroc": header.held_out_auroc}


def score(args: Namespace) -> int:
    """Score one part with every seed of a classifier and write the table; return the number of rows without a score."""
    header = read_header(args.weights)
    options = Finetuned.model_validate(header.options)
    rows = read_part(args.data, args.part)
    loaded = load_subject(args)
    if loaded.revision != header.revision:
        raise ClassifierError(
            f"{args.weights}: was finetuned from other weights of {header.subject} ({header.revision}) than "
            f"{args.model} describes ({loaded.revision}); delete it to make it again."
        )
    texts = read_texts(rows, loaded.subject.tokenizer, options, args.part)
    lora = None if header.lora is None else Lora.model_validate(header.lora)
    classifier = classifier_of(loaded, options, len(header.task_classes), lora)
    each = sum(texts.n_tokens[i] for i in texts.scored())
    progress = Progress(f"score {args.part} by {args.monitor}", each * len(header.seeds), "tokens", args.progress)
    scores = []
    for number, seed in enumerate(header.seeds):
        classifier.load(read_state(args.weights, seed))
        scores.append(
            score_rows(
                classifier,
                rows,
                texts,
                args.part,
                header.task_classes,
                args.monitor,
                seed,
                options,
                lambda tokens, before=number * each: progress.update(before + tokens),  # type: ignore[misc]
            )
        )
    table = pa.concat_tables(scores)
    skipped = len(rows) - len(texts.scored())
    facts = {"n": len(rows), "n_skipped": skipped, "n_truncated": texts.statuses.count("truncated")}
    inputs = sorted({args.model, args.data, args.weights, args.selection})
    made = provenance.record(__file__, args.code, args.spec, inputs, PACKAGES, **loaded.facts, **facts)
    made["script"] = "score_finetuned.py"
    tables.write(args.output, table, SCORE, made)
    return skipped


def refuse_missing_classes(found: set[str], task: Learning) -> None:
    """CandorError unless there are examples of every class."""
    missing = [name for name in task.classes if name not in found]
    if missing:
        raise CandorError(
            f"{task.train}: has no usable example of {', '.join(map(repr, missing))}; a classifier needs all of "
            f"{', '.join(task.classes)}. Correct the task's `classes`, or raise the baseline's `limit`."
        )
