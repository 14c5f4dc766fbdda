from tools.pretrain.mixture.material import Material, spoken


def test_lines_of_one_speaker_are_one_turn() -> None:
    found = spoken("Customer: Hi.\nCustomer: A bus?\nAgent: Yes.\nnoise")
    assert found == (("Customer", "Hi. A bus?"), ("Agent", "Yes."))


def test_every_kind_of_material_is_found(material: Material) -> None:
    assert {"intent", "service", "subject"} <= {found.origin for found in material.label_sets}
    assert material.dialogues
    assert material.passages
    assert material.slots
    assert material.good_reviews
    assert material.bad_reviews
    assert len(material.words) > 0


def test_sources_with_one_answer_and_rows_without_are_left_out(material: Material) -> None:
    assert "empty_answers" not in material.tasks
    assert "quiz_who" in material.tasks


def test_positions_lead_to_messages_that_fill_the_field(material: Material) -> None:
    for name, positions in material.messages_by_field.items():
        assert all(name in material.slots[position][1] for position in positions)
