import torch

from tuningfork.library.formats.sides import prompt_of_sides, sides_of
from tuningfork.models.artefacts import EncoderDecoderPrompt, InputPrompt, KeyValuePrefix, PlacedPrompt

ENCODER, DECODER = torch.arange(6.0).view(3, 2), torch.arange(4.0).view(2, 2) + 9


def test_two_sides_become_a_prompt_and_come_back() -> None:
    prompt = prompt_of_sides(ENCODER, DECODER)
    assert isinstance(prompt.encoder, PlacedPrompt)
    assert prompt.encoder.prefix_ids == (-1, -2, -3)
    found = sides_of(prompt)
    assert found is not None
    assert torch.equal(found[0], ENCODER)
    assert torch.equal(found[1], DECODER)


def test_a_decoder_alone_has_an_empty_side() -> None:
    prompt = prompt_of_sides(ENCODER[:0], DECODER)
    assert prompt.encoder == ()
    found = sides_of(prompt)
    assert found is not None
    assert [tuple(side.shape) for side in found] == [(0, 2), (2, 2)]


def test_tokens_come_back_in_the_order_of_their_places() -> None:
    placed = PlacedPrompt(ENCODER, (-3, -1, -2))
    found = sides_of(EncoderDecoderPrompt(placed, InputPrompt(DECODER)))
    assert found is not None
    assert torch.equal(found[0], ENCODER[[2, 0, 1]])


def test_words_and_keys_and_values_are_no_sides() -> None:
    decoder = InputPrompt(DECODER)
    prefix = KeyValuePrefix(((torch.ones(1, 2, 2), torch.ones(1, 2, 2)),))
    for encoder in ((7,), PlacedPrompt(ENCODER, (-1, 7, -2, -3)), PlacedPrompt(ENCODER, (-1, -2))):
        assert sides_of(EncoderDecoderPrompt(encoder, decoder)) is None
    assert sides_of(EncoderDecoderPrompt((), prefix)) is None
