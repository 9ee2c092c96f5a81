"""A spec reaches the script unharmed, whatever a title holds."""

import json

import pytest
import yaml

from tests.tiny.study import Project

pytestmark = pytest.mark.slow  # the first test builds the study

TITLES = [
    "it's \"quoted\" and ''twice'', {braces} {{doubled}} {wildcards.figure} {0} {",
    "$HOME `id` $(id) ; rm -f x & | > y \\ \\n %s !x #y ~ * ? <results>/x",
    "naïve Wahrheit, größer \u2028 \u200b two\nlines\ttab\r",
    '{"json": [1, {"a": "\'"}]} $x^2$ \\frac{1}{2',
    "--pdf /dev/null",
    "",
]


def test_titles_reach_the_script_unharmed(project: Project) -> None:
    config = yaml.safe_load(project.read("config.yaml"))
    names = config["run"]["figures"][: len(TITLES)]
    titles = dict(zip(names, TITLES, strict=True))
    for name, title in titles.items():
        config["figures"][name]["title"] = title
    project.write("config.yaml", yaml.safe_dump(config, allow_unicode=True, sort_keys=False))
    assert project.jobs() == {"manifest", *(f"draw_figure {name}" for name in names)}
    project.build("-p")
    drawn = {name: json.loads(project.read(f"results/figures/{name}.json")) for name in names}
    assert {name: figure["provenance"]["spec"]["figures"]["title"] for name, figure in drawn.items()} == titles
    assert project.jobs() == set()
