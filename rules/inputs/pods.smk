"""Jobs in pods, which share neither disk nor environment with who submits them. docs/kubernetes.md."""

from candor.run import VARIABLE

if workflow.is_main_process and not workflow.storage_settings.shared_fs_usage:
    # The archive that pods unpack is packed, and the variables that they are given are read, before onstart. A dry run
    # writes the folder too, and claims nothing.
    workflow.configfiles.append(str(run.write(os.environ)))
    workflow.register_envvars(VARIABLE, "CANDOR_API_JOBS")

if workflow.storage_settings.default_storage_provider == "s3":
    from snakemake.io import is_callable, is_flagged
    from snakemake.storage import flag_with_storage_object

    from candor.storage import InBucket

    default = workflow.storage_registry.default_storage_provider
    kept_by_default = InBucket.within(workflow.storage_settings.default_storage_prefix)

    def in_bucket(path, property=None):
        """A result with its place in the default storage, under the name that it has on a disk. All else is code's."""
        if is_callable(path) or is_flagged(path, "storage_object") or not path.startswith("results/"):
            return path
        how = dict(keep_local=default.keep_local, retrieve=default.retrieve, provider=default)
        return flag_with_storage_object(path, kept_by_default(query=str(path), **how))

    # Snakemake itself would name results by URLs: params that name one would miss it, what ships with the code would be
    # looked for in the bucket, and a study that moves would be made again
    modifier = workflow.modifier.path_modifier
    modifier.modify = modifier.apply_default_storage = in_bucket
