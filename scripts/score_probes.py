"""Score every probe of a task on one evaluation part, after the selection is made.

python scripts/score_probes.py --part dataset@test --data D.parquet --activations A.safetensors --model M.json \
    --selection S.json --monitors ID … --probes P.safetensors … --output scores.parquet
"""

import sys
from pathlib import Path

import pyarrow as pa
import torch

from candor import models, provenance, tables
from candor.command import Command
from candor.errors import speak
from candor.probes.features import read_part
from candor.probes.files import SavedProbe
from candor.probes.scoring import score_part
from candor.schemas.score import SCORE


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--part", required=True, help="dataset@split")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--activations", type=Path, nargs="+", required=True)
    parser.add_argument("--model", type=Path, required=True, help="facts of fetch_model")
    parser.add_argument("--selection", type=Path, required=True, help="of select_probe; its digest is printed and kept")
    parser.add_argument("--monitors", nargs="+", required=True, help="ids of the probes")
    parser.add_argument("--probes", type=Path, nargs="+", required=True, help="their files, in the same order")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"selection {args.selection}: sha256 {provenance.sha256(args.selection)}", file=sys.stderr)
    part = read_part(args.part, args.data, args.activations)
    subject = models.read_facts(args.model)
    scores = [
        score_part(part, SavedProbe.load(path), monitor, subject)
        for monitor, path in zip(args.monitors, args.probes, strict=True)
    ]
    inputs = [args.data, *args.activations, args.model, args.selection, *args.probes]
    facts = {"threads": args.threads, "n": len(part.rows), "n_skipped": len(part.rows) - len(part.scored())}
    made = provenance.record(__file__, args.code, args.spec, inputs, ["torch"], **facts)
    tables.write(args.output, pa.concat_tables(scores), SCORE, made)


if __name__ == "__main__":
    speak(main)
