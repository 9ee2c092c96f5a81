"""Put held-out cases for the monitor's Replay into one file.

python scripts/export_cases.py --spec '{"captures": {…}, "models": {…}, "monitor": {…}}' --selection S.json \
    --monitor PROBE --probe P.safetensors --model M.json --parts dataset@test … --data D.parquet … \
    --activations A.safetensors … --scores S.parquet … [--generations G.parquet …] [--verbalisations V.parquet …] \
    --output results/monitor/ID.json

Without --monitor and with the folder of a task's probes as --probe it takes the probe that was selected.
"""

import sys
from pathlib import Path

from candor import provenance, tables
from candor.command import Command
from candor.errors import speak
from candor.monitor.exporting import Files, export


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--selection", type=Path, required=True, help="of select_probe")
    parser.add_argument("--monitor", nargs="?", help="id of the probe; without it the selected one")
    parser.add_argument("--probe", type=Path, required=True, help="its file, or the folder of its task's probes")
    parser.add_argument("--model", type=Path, required=True, help="facts of fetch_model, for the tokenizer")
    parser.add_argument("--parts", nargs="+", required=True, help="evaluation parts, dataset@split")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="their datasets' tables")
    parser.add_argument("--activations", type=Path, nargs="+", required=True, help="all shards of all datasets")
    parser.add_argument("--scores", type=Path, nargs="+", required=True, help="score tables of the probes")
    parser.add_argument("--generations", type=Path, nargs="*", default=[], help="where texts were read while answered")
    parser.add_argument("--verbalisations", type=Path, nargs="*", default=[])
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    files = Files(*(getattr(args, name) for name in Files._fields))
    found, read = export(files, args.parts, args.monitor, args.spec)
    made = provenance.record(__file__, args.code, args.spec, read, ["torch", "transformers"], n=len(found["cases"]))
    tables.write_json(args.output, found, made)
    print(f"{args.output}: {len(found['cases'])} cases", file=sys.stderr)


if __name__ == "__main__":
    speak(main)
