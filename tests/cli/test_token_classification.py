"""Words that are tagged, from a task file to answers, on a tiny BERT and a tiny Llama."""

import json
from pathlib import Path

import pytest

from tests.commands import Completed, invoke
from tests.tiny_encoder_folder import save_tiny_encoder
from tests.tiny_folder import save_tiny_encoder_decoder, save_tiny_model, write_rows
from tests.tiny_names import TAGS, TASK, make_names
from tuningfork.library.run_folder import RunFolder

ROWS = make_names(40)
SHORT = ("--lr", "0.1", "--max-steps", "16", "--validate-every", "8", "--seeds", "1", "--refit", "no")
HEADED = ("--method", "prompt_tuning", "--head")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tags")
    save_tiny_encoder(folder / "bert")
    save_tiny_encoder(folder / "roberta", "roberta")
    save_tiny_model(folder / "llama")
    save_tiny_encoder_decoder(folder / "t5", "t5_v1_1")
    write_rows(folder / "names.jsonl", ROWS)
    (folder / "names.yaml").write_text(TASK, encoding="utf-8")
    return folder


def tune(place: Path, model: str, *options: str) -> Completed:
    return invoke(place, "tune", "names.yaml", "--model", model, *SHORT, *options, columns=200)


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("bert", HEADED),
        ("roberta", ("--method", "p_tuning_v2")),
        ("llama", ("--method", "prefix_tuning", "--head")),
    ],
)
def test_words_are_tagged_from_examples_to_answers(place: Path, model: str, options: tuple[str, ...]) -> None:
    done = tune(place, model, *options, "--json")
    assert done.code == 0, done.stderr
    made = json.loads(done.stdout)
    run, result = made["path"], made["result"]
    assert result["metric"] == "entity_f1"
    assert [way["name"] for way in result["ways"]] == ["most frequent tag", "tuned prompt"]
    assert result["base_is_unchanged"]

    answered = invoke(place, "predict", run, "names.jsonl")
    assert answered.code == 0, answered.stderr
    answers = [json.loads(line) for line in answered.stdout.splitlines()]
    assert [{"words": a["words"], "tags": a["tags"]} for a in answers] == ROWS
    for answer in answers:
        assert len(answer["prediction"]) == len(answer["words"])
        best = [max(shares, key=shares.__getitem__) for shares in answer["probabilities"]]
        assert answer["prediction"] == best
        assert set(answer["prediction"]) <= set(TAGS)

    write_rows(place / "texts.jsonl", [{"words": " ".join(ROWS[0]["words"])}])
    (of_text,) = map(json.loads, invoke(place, "predict", run, "texts.jsonl").stdout.splitlines())
    assert of_text["prediction"] == answers[0]["prediction"]

    text = " ".join(ROWS[0]["words"])
    lines = invoke(place, "run", run, text).stdout.splitlines()
    expected = zip(ROWS[0]["words"], answers[0]["prediction"], strict=True)
    assert lines == [f"{word}\t{tag}" for word, tag in expected]
    as_json = json.loads(invoke(place, "run", run, text, "--json").stdout)
    assert as_json["prediction"] == answers[0]["prediction"]
    assert [list(shares) for shares in as_json["probabilities"]] == [TAGS] * len(ROWS[0]["words"])


def test_a_run_is_shown_with_tags_behind_their_words(place: Path) -> None:
    done = tune(place, "bert", *HEADED)
    assert done.code == 0, done.stderr
    assert "most frequent tag" in done.stdout
    assert "The tuned prompt is better than the most frequent tag: +" in done.stdout
    run = next(line for line in done.stdout.splitlines() if line.startswith("Saved")).split()[1]
    row = RunFolder.open(place / run).load_predictions()[0]
    assert set(row["predictions"]) == {"most frequent tag", "tuned prompt"}
    words, (tags,) = row["inputs"]["text"], row["targets"]
    written = " ".join(w if tag == "O" else f"{w}/{tag}" for w, tag in zip(words, tags, strict=True))
    shown = invoke(place, "show", run, "--answers", "1", columns=300).stdout
    cells = next(line for line in shown.splitlines() if written in line).split("│")
    assert [cell.strip() for cell in cells[1:4]] == [" ".join(words), written, " ".join(words)]
    found = json.loads(invoke(place, "show", run, "--json").stdout)
    assert found["result"]["verdict"]["verdict"] == "better"
    assert "token_classification, entity_f1" in shown


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (
            "bert",
            ("--method", "prompt_tuning"),
            "the tags of words are read by a trained head",
        ),
        ("llama", ("--method", "idpg", "--head"), "idpg takes no head"),
        ("bert", (*HEADED, "--placement", "suffix"), "placement suffix: where words are tagged, virtual tok"),
        ("bert", (*HEADED, "--objective", "tokens"), "objective tokens: tags are told apart and not said"),
        ("t5", HEADED, "words are tagged by encoders and by models with a decoder alone"),
    ],
)
def test_what_is_impossible_is_said_in_one_line_before_training(
    place: Path, model: str, options: tuple[str, ...], message: str
) -> None:
    before = sorted((place / "runs").glob("*"))
    refused = tune(place, model, *options)
    assert refused.code != 0
    errors = [line for line in refused.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert sorted((place / "runs").glob("*")) == before


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"words": ["Ann"], "tags": ["O", "O"]},
            "line 41: column 'tags' holds 2 tags for 1 word",
        ),
        (
            {"words": ["Ann"], "tags": ["B-LOC"]},
            "line 41: word 1, 'Ann', has the tag 'B-LOC', which is not a",
        ),
        ({"words": [], "tags": []}, "line 41: column 'words' holds no words"),
        ({"words": ["Ann"], "tags": "O"}, "column 'tags' holds the text 'O'; expected a list with one tag"),
        ({"words": 7, "tags": ["O"]}, "column 'words' holds 7; expected a list of words, or a text"),
    ],
)
def test_a_wrong_row_is_named(place: Path, tmp_path: Path, row: dict[str, object], message: str) -> None:
    write_rows(tmp_path / "names.jsonl", [*ROWS, row])
    (tmp_path / "names.yaml").write_text(TASK, encoding="utf-8")
    refused = tune(tmp_path, str(place / "bert"), *HEADED, "--dry-run")
    assert refused.code != 0
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_plan_is_told_and_nothing_is_written(place: Path) -> None:
    before = sorted((place / "runs").glob("*"))
    planned = tune(place, "llama", "--head", "--dry-run")
    assert planned.code == 0, planned.stderr
    assert "differ from the most frequent tag's" in planned.stdout
    assert sorted((place / "runs").glob("*")) == before
