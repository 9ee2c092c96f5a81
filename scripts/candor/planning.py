"""What the workflow would do: the jobs of its graph, without running any."""

from pathlib import Path
from typing import Any

from candor.errors import CandorError


def planned(configfiles: list[Path], target: str) -> tuple[dict[str, Any], list[Any]]:
    """The config as the files have it, and every job of the graph, whether it would run or not."""
    from snakemake.api import SnakemakeApi
    from snakemake.common.configfile import load_configfile
    from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, Quietness, ResourceSettings
    from snakemake.utils import update_config
    from snakemake_interface_common.exceptions import WorkflowError

    raw: dict[str, Any] = {}
    for path in [Path("config.yaml"), *configfiles]:
        try:
            update_config(raw, load_configfile(path))
        except WorkflowError as error:
            raise CandorError(str(error)) from None
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=1),
            # as on a disk, so that nobody needs a bucket's key to look
            config_settings=ConfigSettings(
                configfiles=configfiles, config={"run": {"storage": {"datasets": None, "activations": None}}}
            ),
            snakefile=Path("Snakefile"),
        )
        workflow.dag(DAGSettings(targets={target}, forceall=True))
        # as the API's own summary() does, which can only print
        graph = workflow._workflow_store
        graph._prepare_dag(forceall=True, ignore_incomplete=True, lock_warn_only=True, nolock=True)
        graph._build_dag()
        return raw, list(graph.dag.jobs)
