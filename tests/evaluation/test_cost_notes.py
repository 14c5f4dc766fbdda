from typing import Any

from tuningfork.evaluation.comparison import ContestantRecord, CostRecord, Family
from tuningfork.evaluation.cost_notes import cost_notes


def made(
    name: str, seconds: float, processor: float, family: Family = "weights", **more: Any
) -> ContestantRecord:
    cost = CostRecord(
        seconds=seconds,
        processor_seconds=processor,
        peak_memory_bytes=1,
        trained_parameters=0,
        stored_bytes=0,
        **more,
    )
    return ContestantRecord(name=name, family=family, status="measured", cost=cost)


def test_who_waited_for_the_machine_is_named_with_both_times() -> None:
    busy = [made("LoRA", 691.0, 129.0), made("full fine-tuning", 267.0, 164.0), made("IDPG", 60.0, 58.0)]
    (note,) = cost_notes(busy)
    assert note.startswith(
        "Times hold waits: LoRA worked 2 min 9 s of 11 min 31 s, full fine-tuning worked 2 "
    )
    assert "IDPG" not in note
    assert "compare the processor's time instead" in note


def test_what_waits_by_its_nature_is_not_named() -> None:
    assert cost_notes([made("LoRA", 691.0, 129.0, accelerator_seconds=600.0)]) == []
    assert cost_notes([made("model-x", 691.0, 1.0, "remote")]) == []
    assert cost_notes([made("text prompt", 0.4, 0.1, "words")]) == []
    assert cost_notes([made("LoRA", 100.0, 800.0)]) == []
    left_out = ContestantRecord(name="LoRA", family="weights", status="left out", reason="no PEFT")
    assert cost_notes([left_out]) == []


def test_a_peak_that_may_be_an_older_one_is_said_to_be() -> None:
    (note,) = cost_notes([made("a", 1.0, 1.0), made("b", 1.0, 1.0, has_earlier_peak=True)])
    assert "the highest so far" in note
