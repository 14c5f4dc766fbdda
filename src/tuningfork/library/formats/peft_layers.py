"""Which of the layers in a PEFT folder each layer of a model is given.

PEFT 0.21 deals the stored keys and values out to the layers of a model in turn, as many to each as it keeps.
A layer of a decoder keeps one pair, so each is given its own. One behind an encoder keeps two, for its
attention to itself and to the encoder. PEFT repeats the S stored pairs to have so many, and deals pairs 2i
and 2i + 1, modulo S, to layer i. The second of them it throws away.
"""

from transformers import PretrainedConfig

from tuningfork.errors import FormatError
from tuningfork.library.formats.base_shapes import KeyValueShape
from tuningfork.library.formats.tensor_files import shown
from tuningfork.models.architecture import architecture_of


def given_layers(num_layers: int, num_stored: int, config: PretrainedConfig) -> tuple[int, ...]:
    """Which of `num_stored` layers PEFT gives to each of `num_layers` layers of the model of `config`."""
    if architecture_of(config) != "encoder-decoder":
        return tuple(range(num_layers))
    return tuple(2 * layer % num_stored for layer in range(num_layers))


def num_written_layers(num_layers: int, config: PretrainedConfig) -> int:
    """How many layers to write so that `num_layers` layers of the model of `config` are given each its own.

    In front of the decoder of an encoder-decoder it is an odd number: of an even one, layers that lie half of
    it apart would be given the same.
    """
    return num_layers | 1 if architecture_of(config) == "encoder-decoder" else num_layers


def check_num_stored(where: object, found: object, shape: KeyValueShape, config: PretrainedConfig) -> int:
    """Return `found`, the number of layers that the settings of a folder state.

    Raises:
        FormatError: if PEFT writes no such number for the model of `config`; the message begins with `where`.
    """
    if architecture_of(config) != "encoder-decoder":
        if found != shape.num_layers:
            raise FormatError(
                f"{where}: num_layers is {shown(found)}, the model has {shape.num_layers}; it was made for "
                "another base model"
            )
        return shape.num_layers
    possible = {config.num_hidden_layers, shape.num_layers, num_written_layers(shape.num_layers, config)}
    if type(found) is not int or found not in possible:
        raise FormatError(
            f"{where}: num_layers is {shown(found)}, the model has {config.num_hidden_layers} in its encoder "
            f"and {shape.num_layers} in its decoder; it was made for another base model"
        )
    if found < shape.num_layers:
        raise FormatError(
            f"{where}: keys and values for {found} layers, the decoder has {shape.num_layers}; PEFT cannot "
            "run it either, make it with num_layers"
        )
    return found
