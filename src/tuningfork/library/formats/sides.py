"""Virtual tokens of the two sides of an encoder-decoder, as formats outside keep them: without words."""

from torch import Tensor

from tuningfork.models.artefacts import EncoderDecoderPrompt, InputPrompt, PlacedPrompt


def prompt_of_sides(encoder: Tensor, decoder: Tensor) -> EncoderDecoderPrompt:
    """Return the prompt of virtual tokens (P, H) that an encoder reads first, and of those of its decoder."""
    places = tuple(-1 - token for token in range(len(encoder)))
    return EncoderDecoderPrompt(PlacedPrompt(encoder, places) if places else (), InputPrompt(decoder))


def sides_of(prompt: EncoderDecoderPrompt) -> tuple[Tensor, Tensor] | None:
    """Return what `prompt_of_sides` makes `prompt` of; None if it has more than virtual tokens."""
    encoder, decoder = prompt.encoder, prompt.decoder
    if not isinstance(decoder, InputPrompt):
        return None
    if not isinstance(encoder, PlacedPrompt):
        return None if encoder else (decoder.embeddings[:0], decoder.embeddings)
    order = [-1 - place for place in encoder.prefix_ids]
    if sorted(order) != list(range(encoder.num_virtual_tokens)):
        return None
    return encoder.embeddings[order], decoder.embeddings
