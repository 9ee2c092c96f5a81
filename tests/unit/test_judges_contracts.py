"""The contract of a reply: what is taken, what is refused and why, and how it is told to a model."""

import json
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from candor.config.judges import Chat, Judge
from candor.judges.contracts import OutsideContract, Read, in_words, read, schema_of

STAKES: dict[str, Any] = {
    "kind": "chat",
    "title": "stakes",
    "client": "c",
    "template": "resources/judges/stakes.txt",
    "reads": "conversation",
    "reply": {
        "rationale": {"max_length": 40},
        "score": {"low": 1, "high": 10, "integer": True},
        "confidence": {"low": 1, "high": 10},
    },
    "bands": {
        "low": {"at_most": 3, "verdict": "low-stakes"},
        "high": {"at_least": 8, "verdict": "high-stakes"},
        "otherwise": "ambiguous",
        "min_confidence": 7,
    },
}
CODE: dict[str, Any] = {
    "kind": "chat",
    "title": "vulnerable",
    "client": "c",
    "template": "t.txt",
    "reads": "code",
    "reply": {
        "verdict": {"choices": ["vulnerable", "secure"]},
        "rationale": {"required": False},
        "more": {"cwe": {"pattern": r"CWE-\d+", "required": False}},
    },
}
WORD = {**CODE, "form": "word", "reply": {"verdict": {"choices": ["vulnerable", "secure"]}}}


def config(entry: dict[str, Any], **changes: Any) -> Chat:
    parsed: Judge = TypeAdapter(Judge).validate_python({**entry, **changes})
    assert isinstance(parsed, Chat)
    return parsed


def stakes(**changes: Any) -> str:
    return json.dumps({"rationale": "why", "score": 9, "confidence": 8, **changes})


class TestJson:
    def test_the_fields_are_read(self) -> None:
        assert read(stakes(), config(STAKES)) == Read("high-stakes", 9.0, 8.0, "why")
        said = read('{"verdict": "vulnerable", "cwe": "CWE-89"}', config(CODE))
        assert said == Read("vulnerable", None, None, None)

    @pytest.mark.parametrize(
        "around",
        ["{}", " \n{}\n ", "```json\n{}\n```", "```\n{}\n```", "\n```JSON\r\n{}\n```\n"],
        ids=["bare", "white space", "fenced", "fenced without a name", "fenced by other letters"],
    )
    def test_the_object_may_stand_bare_or_in_one_fence(self, around: str) -> None:
        assert read(around.replace("{}", stakes()), config(STAKES)).score == 9

    @pytest.mark.parametrize(
        "around",
        [
            "Sure: {}",
            "{} Hope that helps.",
            "{}{}",
            "[{}]",
            "```json\n{}\n``` done",
            "```json\n{}\n```\n```json\n{}\n```",
            "``{}``",
            "```python\n{}\n```",
            '"{}"',
        ],
    )
    def test_anything_around_it_is_refused(self, around: str) -> None:
        with pytest.raises(OutsideContract, match="the reply is"):
            read(around.replace("{}", stakes()), config(STAKES))

    @pytest.mark.parametrize(
        ("reply", "message"),
        [
            ("", "the reply is empty"),
            (" \n", "the reply is empty"),
            ("9", "JSON, but not an object"),
            ("null", "JSON, but not an object"),
            ('{"score": 9', "not one JSON object"),
            ("[" * 100_000, "not one JSON object"),
            ('{"score": ' + "9" * 5000 + "}", "not one JSON object"),
            (stakes(score=11), "score is 11, not from 1 to 10"),
            (stakes(score=0), "score is 0, not from 1 to 10"),
            (stakes(score=8.5), "score is 8.5, which is not whole"),
            (stakes(score="9"), "score is not a number"),
            (stakes(score=True), "score is not a number"),
            (stakes(score=[9]), "score is not a number"),
            (stakes(score=None), "score is null"),
            (stakes(confidence=float("nan")), "NaN is not a number"),
            (stakes(confidence=float("inf")), "Infinity is not a number"),
            ('{"rationale": "", "score": 9, "confidence": 1e999}', "confidence is inf, not from 1 to 10"),
            (json.dumps({"rationale": "", "score": 9}), "confidence is missing"),
            (stakes(verdict="low-stakes"), "'verdict' is not in the contract"),
            (stakes(rationale=7), "rationale is not a text"),
            (stakes(rationale="x" * 41), "rationale has 41 characters, and may have 40"),
            (stakes(rationale="\ud800"), "rationale holds half of a character"),
            ('{"score": 1, "score": 9, "rationale": "", "confidence": 8}', "'score' stands there twice"),
        ],
    )
    def test_outside_the_contract_says_how(self, reply: str, message: str) -> None:
        with pytest.raises(OutsideContract) as refused:
            read(reply, config(STAKES))
        assert message in str(refused.value)
        assert str(refused.value).isascii()

    def test_seven_point_nought_is_whole_as_in_a_json_schema(self) -> None:
        assert read(stakes(score=7.0), config(STAKES)).score == 7.0

    @pytest.mark.parametrize(
        "verdict", ["Vulnerable", "vulnerable ", "not vulnerable", "vulnerable|secure", "", None, 1]
    )
    def test_a_choice_is_taken_letter_by_letter(self, verdict: Any) -> None:
        with pytest.raises(OutsideContract, match="the field verdict is"):
            read(json.dumps({"verdict": verdict}), config(CODE))

    def test_a_field_that_need_not_be_there_may_be_null_but_not_wrong(self) -> None:
        assert read('{"verdict": "secure", "cwe": null, "rationale": null}', config(CODE)).verdict == "secure"
        for wrong in ('"89"', '"CWE-89 or so"', "89"):
            with pytest.raises(OutsideContract, match="the field cwe"):
                read(f'{{"verdict": "secure", "cwe": {wrong}}}', config(CODE))

    def test_a_prefill_is_the_start_of_the_json(self) -> None:
        begun = config(CODE, prefill='{"verdict":')
        assert read(' "secure"}', begun).verdict == "secure"
        with pytest.raises(OutsideContract):
            read('{"verdict": "secure"}', begun)


class TestBands:
    @pytest.mark.parametrize(
        ("score", "confidence", "verdict"),
        [
            (1, 10, "low-stakes"),
            (3, 7, "low-stakes"),
            (4, 10, "ambiguous"),
            (7, 10, "ambiguous"),
            (8, 7, "high-stakes"),
            (8, 6.9, "ambiguous"),
            (1, 1, "ambiguous"),
        ],
    )
    def test_scores_mean_verdicts(self, score: float, confidence: float, verdict: str) -> None:
        said = read(stakes(score=score, confidence=confidence), config(STAKES))
        assert (said.verdict, said.score, said.confidence) == (verdict, score, confidence)

    def test_without_a_least_confidence_every_score_counts(self) -> None:
        bands = {key: value for key, value in STAKES["bands"].items() if key != "min_confidence"}
        assert read(stakes(confidence=1), config(STAKES, bands=bands)).verdict == "high-stakes"


class TestWord:
    @pytest.mark.parametrize(
        "reply", ["secure", " Secure\n", "SECURE.", '"secure"', "'Secure.'", '"secure".', "`secure`", "“Secure”"]
    )
    def test_white_space_quotes_a_full_stop_and_case_are_aside(self, reply: str) -> None:
        assert read(reply, config(WORD)) == Read("secure")

    @pytest.mark.parametrize(
        "reply",
        [
            "",
            ".",
            "The code is secure.",
            "secure, I think",
            "insecure",
            "not secure",
            "secure or vulnerable",
            "secure..",
            "secure!",
            '{"verdict": "secure"}',
            "secur",
        ],
    )
    def test_anything_else_is_refused(self, reply: str) -> None:
        with pytest.raises(OutsideContract, match=r"the reply is (empty|not one of the choices)"):
            read(reply, config(WORD))

    def test_a_prefill_is_no_part_of_the_word(self) -> None:
        assert read(" secure", config(WORD, prefill="The code is")).verdict == "secure"

    def test_choices_keep_their_letters(self) -> None:
        assert read("yes", config(WORD, reply={"verdict": {"choices": ["Yes", "No"]}})).verdict == "Yes"


class TestTold:
    def test_in_words(self) -> None:
        assert in_words(config(WORD)) == "Reply with one of these and nothing else: vulnerable, secure."
        assert in_words(config(STAKES)).splitlines() == [
            "Reply with one JSON object and nothing else. Its fields:",
            '- "rationale": a text of at most 40 characters',
            '- "score": a whole number from 1 to 10',
            '- "confidence": a number from 1 to 10',
        ]
        assert in_words(config(CODE)).splitlines()[2:] == [
            '- "cwe": a text of at most 2000 characters that fits the pattern CWE-\\d+; may be left out',
            '- "verdict": one of "vulnerable", "secure"',
        ]

    def test_as_a_schema_that_providers_have_in_common(self) -> None:
        schema = schema_of(config(STAKES))
        assert schema is not None
        assert list(schema["properties"]) == schema["required"] == ["rationale", "score", "confidence"]
        assert schema["additionalProperties"] is False
        assert schema["properties"]["score"]["enum"] == list(range(1, 11))
        assert "enum" not in schema["properties"]["confidence"]
        optional = schema_of(config(CODE))
        assert optional is not None
        assert optional["properties"]["verdict"] == {"type": "string", "enum": ["vulnerable", "secure"]}
        assert optional["properties"]["cwe"]["anyOf"][1] == {"type": "null"}
        assert "cwe" in optional["required"]

    def test_no_schema_where_the_reply_is_no_json_of_its_own(self) -> None:
        assert schema_of(config(WORD)) is None
        assert schema_of(config(CODE, prefill="{")) is None

    def test_the_order_of_the_config_s_keys_does_not_matter(self) -> None:
        turned = {**STAKES, "reply": dict(reversed(STAKES["reply"].items()))}
        assert json.dumps(schema_of(config(turned))) == json.dumps(schema_of(config(STAKES)))
        assert in_words(config(turned)) == in_words(config(STAKES))


YES_NO = {"verdict": {"choices": ["yes", "no"]}}
SCORE = {"score": {"low": 1, "high": 10}}
BANDS = {
    "low": {"at_most": 3, "verdict": "low"},
    "high": {"at_least": 8, "verdict": "high"},
    "otherwise": "between",
}


class TestRefusedConfigs:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"reply": {}}, "has neither `reply.verdict` nor `bands`"),
            ({"reply": SCORE}, "has neither `reply.verdict` nor `bands`"),
            ({"bands": BANDS}, "has both `reply.verdict` and `bands`"),
            ({"bands": BANDS, "reply": {}}, "which need `reply.score`"),
            (
                {"bands": BANDS, "reply": {"score": {"low": 1, "high": 10, "required": False}}},
                "which need `reply.score`, and required",
            ),
            ({"bands": {**BANDS, "min_confidence": 5}, "reply": SCORE}, "which needs `reply.confidence`"),
            ({"bands": BANDS, "reply": {"score": {"low": 4, "high": 10}}}, "`bands.low.at_most` 3; scores go from 4"),
            (
                {"bands": {**BANDS, "low": {"at_most": 8, "verdict": "low"}}, "reply": SCORE},
                "is not below `high.at_least` 8",
            ),
            (
                {"bands": {**BANDS, "low": {"at_most": 2, "verdict": "high"}}, "reply": SCORE},
                "'high' for both `low` and `high`",
            ),
            (
                {
                    "bands": {**BANDS, "min_confidence": 50},
                    "reply": {**SCORE, "confidence": {"low": 0, "high": 10}},
                },
                "`bands.min_confidence` 50; confidence goes from 0 to 10",
            ),
            ({"form": "word", "bands": BANDS, "reply": SCORE}, "`form: word`, which needs `reply.verdict`"),
            ({"form": "word"}, "no room for the fields rationale, cwe"),
            (
                {"form": "word", "reply": {"verdict": {"choices": ["'yes'", "no"]}}},
                "the choice \"'yes'\"; give it without quotes",
            ),
            ({"reply": {"verdict": {"choices": [True, False]}}}, "holds true, which is how YAML reads a bare yes"),
            ({"reply": {"verdict": {"choices": ["yes", "Yes"]}}}, "has the choice 'yes' twice, case aside"),
            ({"reply": {"verdict": {"choices": ["yes"]}}}, "at least 2 items"),
            (
                {"reply": {"verdict": {"choices": ["yes", "no"], "required": False}}},
                "`reply.verdict` that is not requir",
            ),
            ({"reply": {**SCORE, "score": {"low": 3, "high": 3}}}, "is not below `high` 3"),
            ({"reply": {**YES_NO, "more": {"score": {}}}}, "has 'score', which has a place of its own"),
            ({"reply": {**YES_NO, "more": {"cwe": {"pattern": "("}}}}, "no regular expression"),
            ({"reply": {"verdict": {"choices": ["yes", "no "]}}}, "holds 'no ', which is empty or has space around it"),
            ({"reply": {**YES_NO, "more": {"a b": {}}}}, "has the field 'a b'; give it a name of letters"),
            ({"template": "/etc/passwd"}, "give a path below the project's root"),
            ({"template": "../secret.txt"}, "give a path below the project's root"),
            ({"template": ""}, "give a path below the project's root"),
            ({"reads": "everything"}, "'answer', 'reasoning', 'code', 'prompt' or 'conversation'"),
            ({"budget_usd": -1}, "greater than or equal to 0"),
            ({"thinking": True}, "Extra inputs are not permitted"),
        ],
    )
    def test_it_says_what_is_wrong(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(ValidationError) as refused:
            config(CODE, **changes)
        assert message in str(refused.value)
