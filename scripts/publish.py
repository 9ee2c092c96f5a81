"""Send results to the repositories of the hub that the config's `publishing` names, each with a card.

python scripts/publish.py --dry-run    what would go, file by file; nobody is asked
python scripts/publish.py [ID ...]     these entries of `publishing`, or all; HF_TOKEN holds the hub's token
"""

import argparse
import os
from pathlib import Path

from audit import expected

from candor.config.study import Study
from candor.errors import speak
from candor.planning import planned
from candor.publishing.chosen import PublishingError
from candor.publishing.credentials import TOKEN
from candor.publishing.packing import entries, pack
from candor.publishing.sending import send


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("id", nargs="*", help="entries of `publishing`; all without it")
    parser.add_argument("--dry-run", action="store_true", help="list what would go, and send nothing")
    parser.add_argument(
        "--configfile", type=Path, nargs="+", default=[], help="laid over config.yaml, as for snakemake"
    )
    args = parser.parse_args()
    raw, jobs = planned(args.configfile, "results/figures/all")
    study = Study.parse(raw)
    entries(args.id, study)
    token = os.environ.get(TOKEN, "")
    if not (token or args.dry_run):
        raise PublishingError(f"{TOKEN} is not set; put a token of the hub that may write into the environment")
    parcels = pack(args.id, study, jobs, lambda target: planned(args.configfile, target)[1], expected, args.configfile)
    for parcel in parcels:
        print("\n".join(parcel.lines()), flush=True)
        if not args.dry_run:
            sent = send(parcel.publication, parcel.files, token)
            print(f"  sent {len(sent.new)}, {len(sent.there)} were there: {sent.url}", flush=True)
    if args.dry_run:
        print("A dry run: nothing was sent.")


if __name__ == "__main__":
    speak(main)
