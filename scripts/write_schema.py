"""Write the JSON schema of the config, by which editors complete and check config.yaml.

python scripts/write_schema.py --output resources/config.schema.json
"""

import argparse
import json
from pathlib import Path

from candor.config.study import Study


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    args.output.write_text(json.dumps(Study.model_json_schema(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
