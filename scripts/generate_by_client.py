"""Continue the conversations of one dataset, or of one shard of it, with a model behind a chat client.

python scripts/generate_by_client.py --spec '{"samplings": {…}, "clients": {…}}' --data D.parquet --output G.parquet
"""

import json
import sys
from pathlib import Path

from candor.command import Command
from candor.errors import speak
from candor.generations.by_client import generate


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument(
        "--pace", type=json.loads, default={}, help="as JSON, the client's keys that bear on no reply: rates, price, …"
    )
    parser.add_argument("--data", type=Path, required=True, help="a dataset table of build_dataset")
    parser.add_argument("--shard", default="000-of-001", help="INDEX-of-COUNT")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--progress", type=int, default=2, help="file descriptor that progress is written to")
    args = parser.parse_args()
    print(f"{args.output}: {generate(args)}", file=sys.stderr)


if __name__ == "__main__":
    speak(main)
