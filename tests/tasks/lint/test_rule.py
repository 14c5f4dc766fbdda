from tuningfork.tasks.lint.rule import BASE, Finding, Rule, Specimen, Subject, subject_of


def test_words_keep_their_lines_and_places_are_blank() -> None:
    subject = Specimen({"prompt": "Answer {{message}}\nnow.{# a\nb #}\nEnd"}).subject()
    assert subject.said == "Answer            \nnow.    \n    \nEnd"
    assert subject.line_of(subject.prompt.index("End")) == "prompt line 4"


def test_a_task_that_cannot_be_used_is_looked_at_as_far_as_it_goes() -> None:
    subject = subject_of(BASE | {"prompt": "Sort {{mesage}} and {{ b }}", "metric": "x"})
    assert subject.task is None
    assert "metric" in subject.problem
    assert (subject.names, subject.inputs, subject.labels) == (("mesage", "b"), ("message",), {})
    assert Subject({"data": "x"}, None).inputs == ()
    assert Subject({}, None).prompt == ""


def test_only_labels_that_are_said_count() -> None:
    assert Specimen({}).subject().labels == {"billing": "billing", "returns": "returns"}
    tags = {
        "type": "token_classification",
        "labels": ["O", "B-X"],
        "prompt": "Tag: {{message}}",
        "metric": None,
    }
    subject = Specimen(tags).subject()
    assert subject.task is not None
    assert subject.labels == {}


def test_a_rule_that_needs_a_task_is_silent_without_one() -> None:
    rule = Rule("r", "error", "x", lambda subject: [("here", "wrong")], Specimen({}), Specimen({}))
    broken = subject_of({"name": "x"})
    assert rule.findings(broken) == []
    assert rule.findings(Specimen({}).subject()) == [Finding("r", "error", "here", "wrong")]
