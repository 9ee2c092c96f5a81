"""Export the activations of one layer, with prompts and responses, in the original study's columns.

python scripts/export_inner_states.py --data D.parquet --generations G.parquet --activations A.safetensors --layer 20 \\
    --output dataset.parquet

One row per stored token: prompt_id, prompt_category, prompt, response_text, token_idx, activation_vector, and nla_text
with --verbalisations. Give every shard of each.
"""

import sys
from pathlib import Path

from candor import provenance
from candor.activations.exporting import Sources, export
from candor.command import Command
from candor.errors import speak


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a dataset table of build_dataset")
    parser.add_argument("--generations", type=Path, nargs="+", required=True, help="responses of generate_and_capture")
    parser.add_argument("--activations", type=Path, nargs="+", required=True, help="the activations made with them")
    parser.add_argument("--verbalisations", type=Path, nargs="+", default=[], help="tables of verbalise on them")
    parser.add_argument("--layer", type=int, required=True, help="block, counted from 0")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    sources = Sources(args.data, args.generations, args.activations, args.verbalisations)
    made = provenance.record(
        __file__, args.code, args.spec, sources.paths(), ["torch", "safetensors"], layer=args.layer
    )
    print(f"{args.output}: {export(sources, args.layer, args.output, made)} rows", file=sys.stderr)


if __name__ == "__main__":
    speak(main)
