"""Where results lie: on the disk, or in a bucket as well, as run.storage says. docs/storage.md."""

# folder of results/ -> the bucket, as a URL, that keeps its files
BUCKETS = {
    f"results/{folder}": config["run"]["storage"][kind]
    for kind, folder in (("datasets", "data"), ("activations", "activations"))
    if config["run"]["storage"][kind]
}
STORED = {}

if BUCKETS:
    from snakemake.storage import flag_with_storage_object
    from snakemake_interface_executor_plugins.settings import SharedFSUsage

    try:
        from candor.storage import RETRIES, InBucket, settings
    except ModuleNotFoundError as error:
        sys.exit(
            f"run.storage names a bucket, and the package {error.name} is missing: "
            "pip install --no-deps -r requirements-storage.lock"
        )

    shared = workflow.storage_settings.shared_fs_usage
    if SharedFSUsage.INPUT_OUTPUT in shared and SharedFSUsage.STORAGE_LOCAL_COPIES not in shared:
        sys.exit(
            "shared-fs-usage: jobs that share results/ must share the copies from buckets too, or one deletes what "
            "another reads; add storage-local-copies."
        )

    provider = storage.register_storage("s3", tag="results", retries=RETRIES, **settings(os.environ))
    STORED = {folder: InBucket.within(url) for folder, url in BUCKETS.items()}
    if workflow.is_main_process:
        try:
            for objects in STORED.values():
                objects.check(settings(os.environ))
        except CandorError as error:
            sys.exit(str(error))


def kept(path):
    """A path of results/, with its place in a bucket where its folder has one."""
    folder = str(Path(*Path(path).parts[:2]))
    if folder not in STORED:
        return path
    # datasets are small, and audit, publish and cost read them
    keep_local = provider.keep_local or folder == "results/data"
    return flag_with_storage_object(
        path, STORED[folder](query=path, keep_local=keep_local, retrieve=provider.retrieve, provider=provider)
    )
