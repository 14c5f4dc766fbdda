import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.encoder_decoder_reference import embed, opened_logits, random_embeddings
from tests.library.formats.peft_encoders import encoder_network
from tests.library.formats.peft_folders import config_of, prompt_for
from tests.library.formats.peft_two_sided import ROWS, two_sided_model, two_sided_network
from tests.library.formats.spoilt_files import refusal, spoilt
from tuningfork.errors import FormatError
from tuningfork.library.formats.caikit import export_caikit, import_caikit
from tuningfork.library.formats.detection import find_format
from tuningfork.library.formats.sides import prompt_of_sides, sides_of
from tuningfork.models.artefacts import EncoderDecoderPrompt, InputPrompt, KeyValuePrefix

PROMPT = torch.arange(96.0).view(3, 32) / 7


def read(path: Path) -> torch.Tensor:
    prompt = import_caikit(path, config=config_of("llama")).prompt
    assert isinstance(prompt, InputPrompt)
    return prompt.embeddings


def test_what_is_written_is_read_by_torch_and_by_us(tmp_path: Path) -> None:
    prompt = prompt_for("llama", InputPrompt)
    assert isinstance(prompt, InputPrompt)
    folder = export_caikit(prompt, tmp_path / "new" / "prompt-1")
    assert [path.name for path in folder.iterdir()] == ["decoder.pt"]
    stored = torch.load(folder / "decoder.pt", weights_only=True)
    assert (stored.dtype, stored.requires_grad) == (torch.float32, False)
    assert torch.equal(stored, prompt.embeddings)
    assert torch.equal(read(folder), prompt.embeddings)
    assert torch.equal(read(folder / "decoder.pt"), prompt.embeddings)
    again = export_caikit(InputPrompt(read(folder)), tmp_path / "again")
    assert (again / "decoder.pt").read_bytes() == (folder / "decoder.pt").read_bytes()


def test_a_part_of_a_larger_tensor_is_written_alone(tmp_path: Path) -> None:
    folder = export_caikit(InputPrompt(torch.ones(10_000, 32)[:2]), tmp_path)
    assert (folder / "decoder.pt").stat().st_size < 4000


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_read(dtype: torch.dtype, tmp_path: Path) -> None:
    torch.save(torch.nn.Parameter(PROMPT.to(dtype)), tmp_path / "decoder.pt")
    assert torch.equal(read(tmp_path), PROMPT.to(dtype).float())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"prompt": PROMPT}, "expected one tensor, found dict"),
        (PROMPT.int(), "tensor prompt is torch.int32, expected floating point of 16 to 64 bits"),
        (PROMPT.to(torch.float8_e4m3fn), "tensor prompt is torch.float8_e4m3fn, expected floating point of"),
        (PROMPT.to_sparse(), "tensor prompt is not a plain tensor; save it dense, in float32"),
        (PROMPT.to("meta"), "tensor prompt is not a plain tensor; save it dense, in float32"),
        (torch.ones(1, 1).expand(10**9, 32), r"tensor prompt has shape \(1000000000, 32\), more than the"),
        (PROMPT[0], r"the tensor must have two dimensions, \(P, H\), found shape \(32,\)"),
        (PROMPT[:0], r"the tensor must have two dimensions, \(P, H\), found shape \(0, 32\)"),
        (PROMPT[:, :31], "the prompt is 31 wide, the embeddings of llama are 32"),
        (PROMPT / 0, "tensor prompt holds values that are not finite"),
        (PROMPT.double() * 1e300, "tensor prompt holds values that are not finite"),
    ],
)  # fmt: skip
def test_what_is_no_prompt_is_refused(content: object, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "decoder.pt")
    with pytest.raises(FormatError, match=message):
        read(tmp_path)


class _Hostile:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.mark),)


def test_code_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save(_Hostile(tmp_path / "ran"), tmp_path / "decoder.pt")
    with pytest.raises(FormatError, match="not a file of plain tensors"):
        read(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_prompt_of_an_encoder_decoder_is_refused(tmp_path: Path) -> None:
    torch.save(PROMPT, tmp_path / "encoder.pt")
    for path in (tmp_path, tmp_path / "encoder.pt"):
        with pytest.raises(FormatError, match=r"encoder\.pt is for an encoder-decoder; a causal model reads"):
            read(path)
    torch.save(PROMPT, tmp_path / "decoder.pt")
    with pytest.raises(FormatError, match=r"encoder\.pt is for an encoder-decoder; a causal model reads"):
        read(tmp_path)


def read_two_sided(path: Path, name: str = "t5") -> InputPrompt | EncoderDecoderPrompt:
    prompt = import_caikit(path, config=two_sided_network(name).config).prompt
    assert isinstance(prompt, InputPrompt | EncoderDecoderPrompt)
    return prompt


def test_what_an_encoder_reads_first_lies_in_a_file_of_its_own(tmp_path: Path) -> None:
    even = PROMPT[:2]
    folder = export_caikit(InputPrompt(even), tmp_path / "prompt", architecture="encoder-decoder")
    assert [path.name for path in folder.iterdir()] == ["encoder.pt"]
    assert find_format(folder) == "caikit"
    for path in (folder, folder / "encoder.pt"):
        found = read_two_sided(path)
        assert isinstance(found, InputPrompt)
        assert torch.equal(found.embeddings, even)
    with pytest.raises(FormatError, match=r"encoder\.pt is for an encoder-decoder; a causal model reads"):
        read(folder)
    with pytest.raises(FormatError, match=r"holds encoder\.pt, a part of another prompt; choose another"):
        export_caikit(InputPrompt(even), folder)


def test_both_sides_of_an_encoder_decoder_go_out_and_come_back(tmp_path: Path) -> None:
    encoder, decoder = PROMPT[:2], torch.ones(4, 32)
    prompt = prompt_of_sides(encoder, decoder)
    folder = export_caikit(prompt, tmp_path / "both", architecture="encoder-decoder")
    assert torch.equal(torch.load(folder / "encoder.pt", weights_only=True), encoder)
    assert torch.equal(torch.load(folder / "decoder.pt", weights_only=True), decoder)
    for path in (folder, folder / "decoder.pt", folder / "encoder.pt"):
        found = read_two_sided(path, "bart")
        assert isinstance(found, EncoderDecoderPrompt)
        sides = sides_of(found)
        assert sides is not None
        assert torch.equal(sides[0], encoder)
        assert torch.equal(sides[1], decoder)
    alone = export_caikit(
        prompt_of_sides(encoder[:0], decoder), tmp_path / "alone", architecture="encoder-decoder"
    )
    assert [path.name for path in alone.iterdir()] == ["decoder.pt"]
    found = read_two_sided(alone)
    assert isinstance(found, EncoderDecoderPrompt)
    assert found.encoder == ()
    with pytest.raises(FormatError, match=r"holds decoder\.pt, a part of another prompt; choose another"):
        export_caikit(InputPrompt(encoder), alone, architecture="encoder-decoder")


def test_both_sides_act_as_ibms_server_places_them(tmp_path: Path) -> None:
    """What the encoder reads stands before the text, the other in front of the decoder's start token."""
    network = two_sided_network("t5")
    sides = random_embeddings(network, 2, seed=3), random_embeddings(network, 4, seed=4)
    export_caikit(prompt_of_sides(*sides), tmp_path, architecture="encoder-decoder")
    model, row, answer = two_sided_model("t5"), ROWS[0], [10, 11]
    found = model.logits(
        [[*row, *answer]], model.prefix([read_two_sided(tmp_path)]), [range(len(row) - 1, len(row) + 2)]
    )
    with torch.no_grad():
        expected = opened_logits(
            network, torch.cat([sides[0], embed(network, row)]), answer, decoder=sides[1]
        )
    assert float((found - expected).abs().max()) <= 1e-4


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (
            InputPrompt(PROMPT),
            "^3 virtual tokens: IBM's text-generation-inference reads an even",
        ),
        (
            prompt_of_sides(PROMPT[:2], PROMPT[:1]),
            "^1 virtual tokens: IBM's text-generation-inference reads an even",
        ),
        (
            EncoderDecoderPrompt((7,), InputPrompt(PROMPT[:2])),
            "has words before its encoder, or keys and",
        ),
        (
            EncoderDecoderPrompt((), KeyValuePrefix(((PROMPT[None], PROMPT[None]),))),
            "has words before its encoder, or keys and",
        ),
        (InputPrompt(PROMPT[:2] / 0), "values that are not finite"),
    ],
)
def test_what_the_server_does_not_read_is_not_written(
    prompt: InputPrompt | EncoderDecoderPrompt, message: str, tmp_path: Path
) -> None:
    with pytest.raises(FormatError, match=message):
        export_caikit(prompt, tmp_path, architecture="encoder-decoder")
    assert list(tmp_path.iterdir()) == []


def test_no_prompt_of_an_encoder_is_read_or_written(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="run models that write text, and this one is an encoder"):
        export_caikit(InputPrompt(PROMPT), tmp_path / "no", architecture="encoder")
    torch.save(PROMPT, tmp_path / "encoder.pt")
    with pytest.raises(FormatError, match="run models that write text, and this one is an encoder"):
        import_caikit(tmp_path, config=encoder_network("bert").config)


def test_files_of_two_sides_are_believed_no_more_than_others(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"neither encoder\.pt nor decoder\.pt here; expected tensors"):
        read_two_sided(tmp_path)
    torch.save(PROMPT, tmp_path / "elsewhere.pt")
    found = read_two_sided(tmp_path / "elsewhere.pt")
    assert isinstance(found, InputPrompt)
    folder = tmp_path / "prompt"
    folder.mkdir()
    torch.save(PROMPT[:, :31], folder / "encoder.pt")
    with pytest.raises(FormatError, match="the prompt is 31 wide, the embeddings of t5 are 32"):
        read_two_sided(folder)
    torch.save(PROMPT, folder / "encoder.pt")
    (folder / "decoder.pt").symlink_to(tmp_path / "elsewhere.pt")
    with pytest.raises(FormatError, match="leads out of its folder"):
        read_two_sided(folder)


def test_a_missing_file_and_a_link_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"no decoder\.pt here; expected a tensor written by torch\.save"):
        read(tmp_path)
    torch.save(PROMPT, tmp_path / "elsewhere.pt")
    folder = tmp_path / "prompt"
    folder.mkdir()
    (folder / "decoder.pt").symlink_to(tmp_path / "elsewhere.pt")
    with pytest.raises(FormatError, match="leads out of its folder"):
        read(folder)


@given(
    edits=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4),
    cut=st.integers(0, 1500),
)
def test_a_spoilt_file_is_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, int]], cut: int
) -> None:
    path = tmp_path_factory.mktemp("caikit") / "decoder.pt"
    torch.save(PROMPT, path)
    content = path.read_bytes()
    path.write_bytes(spoilt(content, edits, len(content) - max(0, cut - 1000)))
    if reason := refusal(lambda: read(path)):
        assert "\n" not in reason
    else:
        assert read(path).isfinite().all()
        assert read(path).shape[1] == 32
