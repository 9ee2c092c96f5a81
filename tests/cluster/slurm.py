"""A real SLURM on this machine: a controller, a database, and nodes that are all this host, GPUs declared.

Debian's slurm-wlm, munge, slurmdbd, slurm-wlm-mysql-plugin and mariadb-server, as root. Its configuration takes the
place of the machine's own while it runs, so it starts only where there is none.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd", "sbatch", "sacct")
ETC = Path("/etc/slurm")
FILES = ("slurm.conf", "gres.conf", "slurmdbd.conf")
CONTROLLER, DATABASE, ACCOUNTS = 26817, 23306, 26819
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Node:
    """A node, and the GPUs that it declares."""

    name: str
    partition: str
    port: int
    model: str = ""
    gpus: int = 0


NODES = (
    Node("cpu01", "cpu", 26821),
    Node("a100-01", "gpu", 26822, "a100", 4),
    Node("h100-01", "gpu", 26823, "h100", 2),
)

CONF = """\
ClusterName=candor
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
# no control groups here: memory is polled, devices are named to a job and not fenced off
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
# nodes have more than the machine has
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
MailProg=/bin/true
MinJobAge=3600
ReturnToService=2
KillWait=2
GresTypes=gpu
DefMemPerCPU=500
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={accounts}
AccountingStorageTRES=gres/gpu,gres/gpu:a100,gres/gpu:h100
AccountingStoreFlags=job_comment
{nodes}
PartitionName=cpu Nodes={cpu} Default=YES MaxTime=2-00:00:00 DefaultTime=00:10:00 State=UP
PartitionName=gpu Nodes={gpu} MaxTime=2-00:00:00 DefaultTime=00:10:00 State=UP
"""

DATABASE_CONF = """\
AuthType=auth/munge
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={accounts}
SlurmUser=root
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
"""

GRANTS = """\
create database slurm_acct_db;
create user slurm@127.0.0.1 identified by 'slurm';
create user slurm@localhost identified by 'slurm';
grant all on slurm_acct_db.* to slurm@127.0.0.1;
grant all on slurm_acct_db.* to slurm@localhost;
"""


def unfit() -> str | None:
    """Why SLURM cannot be started here; None where it can."""
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        return f"not installed: {', '.join(missing)}"
    if os.geteuid() != 0:
        return "its daemons are started as root"
    own = [str(ETC / name) for name in FILES if (ETC / name).exists()]
    return f"the machine has a SLURM of its own: {', '.join(own)}" if own else None


class Cluster:
    """SLURM in a folder of its own; its daemons end with `stop`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.munged = ""
        """The program that was started, where none answered."""

    def start(self) -> None:
        """Start everything, and wait until all nodes are idle."""
        for name in ("state", "devices", *(f"spool-{node.name}" for node in NODES)):
            (self.folder / name).mkdir(parents=True)
        self._write_files()
        self._start_munge()
        self._start_database()
        run("slurmctld", "-c")
        for node in NODES:
            run("slurmd", "-N", node.name)
        wait("all nodes idle", lambda: set(said("sinfo", "--noheader", "--Node", "--format=%t").split()) == {"idle"})

    def stop(self) -> None:
        """End all jobs and every daemon that was started, and take the configuration away."""
        said("scancel", "--full", "--user=root")
        try:
            wait("no job is left", lambda: not said("squeue", "--noheader"))
        finally:
            for name in (*(f"slurmd-{node.name}" for node in NODES), "slurmctld", "slurmdbd", "mariadbd"):
                self._end(name)
            for name in FILES:
                if (ETC / name).is_symlink() and (ETC / name).readlink() == self.folder / name:
                    (ETC / name).unlink()
            if self.munged:
                run("runuser", "-u", "munge", "--", self.munged, "--stop")

    def stop_controller(self) -> None:
        """End the controller; nodes and their jobs go on."""
        self._end("slurmctld")

    def start_controller(self) -> None:
        """Start the controller from the state that it saved."""
        run("slurmctld")
        wait("the controller answers", lambda: "UP" in said("scontrol", "ping"))

    def _write_files(self) -> None:
        nodes, devices = [], ["AutoDetect=off"]
        for node in NODES:
            declared = f"Gres=gpu:{node.model}:{node.gpus} " if node.gpus else ""
            nodes.append(
                f"NodeName={node.name} NodeHostname={host()} NodeAddr=127.0.0.1 Port={node.port} CPUs=16 "
                f"RealMemory=256000 {declared}State=UNKNOWN"
            )
            for i in range(node.gpus):
                # a declared GPU must be a character device: this one is /dev/null by another name
                os.mknod(self.folder / f"devices/{node.model}-{i}", 0o20666, os.makedev(1, 3))
            if node.gpus:
                files = f"{self.folder}/devices/{node.model}-[0-{node.gpus - 1}]"
                devices.append(f"NodeName={node.name} Name=gpu Type={node.model} File={files}")
        settings = {
            "folder": self.folder,
            "host": host(),
            "controller": CONTROLLER,
            "accounts": ACCOUNTS,
            "database": DATABASE,
            "nodes": "\n".join(nodes),
            "cpu": ",".join(node.name for node in NODES if node.partition == "cpu"),
            "gpu": ",".join(node.name for node in NODES if node.partition == "gpu"),
        }
        texts = (CONF.format(**settings), "\n".join(devices) + "\n", DATABASE_CONF.format(**settings))
        ETC.mkdir(exist_ok=True)
        for name, text in zip(FILES, texts, strict=True):
            file = self.folder / name
            file.touch(mode=0o600)
            file.write_text(text)
            # jobs lose SLURM_CONF on the way, so the default place must lead there; a killed session's leads nowhere
            if (ETC / name).is_symlink() and not (ETC / name).exists():
                (ETC / name).unlink()
            (ETC / name).symlink_to(file)

    def _start_munge(self) -> None:
        if subprocess.run(["munge", "-n"], capture_output=True).returncode != 0:
            folder = Path("/run/munge")
            folder.mkdir(exist_ok=True)
            shutil.chown(folder, "munge", "munge")
            self.munged = shutil.which("munged") or "munged"
            run("runuser", "-u", "munge", "--", self.munged, "--force")
        wait("munge answers", lambda: subprocess.run(["munge", "-n"], capture_output=True).returncode == 0)

    def _start_database(self) -> None:
        data, server = self.folder / "database", self.folder / "mariadb.sock"
        run(
            "mariadb-install-db",
            "--no-defaults",
            "--user=root",
            f"--datadir={data}",
            "--auth-root-authentication-method=socket",
            "--skip-test-db",
        )
        with (self.folder / "mariadbd.log").open("w") as log:
            subprocess.Popen(
                [
                    "mariadbd",
                    "--no-defaults",
                    "--user=root",
                    f"--datadir={data}",
                    f"--socket={server}",
                    f"--pid-file={self.folder / 'mariadbd.pid'}",
                    "--bind-address=127.0.0.1",
                    f"--port={DATABASE}",
                    "--innodb-buffer-pool-size=64M",
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait("the database listens", lambda: listens(DATABASE))
        run("mariadb", "--no-defaults", f"--socket={server}", "--execute", GRANTS)
        run("slurmdbd")
        wait("accounting listens", lambda: listens(ACCOUNTS))

    def _end(self, name: str) -> None:
        file = self.folder / f"{name}.pid"
        if not file.exists() or not file.read_text().strip():
            return
        pid = int(file.read_text())
        try:
            os.kill(pid, 15)
        except ProcessLookupError:
            return
        wait(f"{name} ended", lambda: not running(pid))


def host() -> str:
    """The host's short name."""
    return socket.gethostname().partition(".")[0]


def listens(port: int) -> bool:
    """Whether something listens on a port of the loopback device."""
    with socket.socket() as found:
        return found.connect_ex(("127.0.0.1", port)) == 0


def running(pid: int) -> bool:
    """Whether a process has not ended; one that nobody has waited for yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def run(*command: str) -> str:
    """What a command prints; an error with what it said where it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout


def said(*command: str) -> str:
    """What a command prints, whether or not it fails."""
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S).stdout


def wait(what: str, holds: Callable[[], bool]) -> None:
    """Wait for daemons, which tell nobody when they are ready."""
    until = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError(f"Waited {PATIENCE_S:.0f} s, and still not: {what}.")
        time.sleep(0.1)
