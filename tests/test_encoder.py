"""The encoder: what is saved comes back to the bit, what does not fit is refused, any key gives the same embedding."""

from __future__ import annotations

import json
import struct
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from contours import contour, random_notes
from encoders import TINY_SIZES, pair_of_encoders, tiny_encoder
from safetensors.torch import load, save

from hmm2song.catalog.hub import MODEL_VARIABLE, default_encoder, encoder_of
from hmm2song.embeddings import base
from hmm2song.embeddings import contour_encoder as encoder_module
from hmm2song.embeddings.base import CONFIG_FILE, WEIGHTS_FILE
from hmm2song.embeddings.contour_encoder import MelodyEncoder, WindowConfig
from hmm2song.embeddings.forward import NetworkConfig, weight_shapes
from hmm2song.errors import Hmm2SongError, ModelError

CHANGED_SIZES = {"n_frames": 64, "channels": 10, "dim": 12, "dilations": (1, 3)}
CHANGED_WINDOWS = {"window_s": 4.0, "song_hop_s": 0.5}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a saved encoder."""
    tiny_encoder().save(tmp_path / "model")
    return tmp_path / "model"


def change_config(folder: Path, **values: object) -> None:
    config = json.loads((folder / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps({**config, **values}))


def state_of(folder: Path) -> dict[str, torch.Tensor]:
    return load((folder / WEIGHTS_FILE).read_bytes())


def refusal_of(folder: Path) -> str:
    """Return the message with which a model is refused; one line, as it goes to the command line."""
    with pytest.raises(ModelError) as refused:
        MelodyEncoder.load(folder)
    message = str(refused.value)
    assert "'model'" in message and "\n" not in message and len(message) < 400
    return message


# Two networks -------------------------------------------------------------------------------------------


def test_a_model_of_two_networks_serves_each_catalog_with_the_one_it_was_made_with(tmp_path):
    pair_of_encoders().save(tmp_path / "model")
    both = MelodyEncoder.load(tmp_path / "model")
    assert both.fingerprint == tiny_encoder().fingerprint and both.tracked.fingerprint == tiny_encoder(1).fingerprint
    for marks, expected in (((), 0), ((False,), 0), ((True, False), 0), ((True, True), 1)):
        assert both.for_songs(marks).fingerprint == tiny_encoder(expected).fingerprint
        assert tiny_encoder().for_songs(marks).fingerprint == tiny_encoder().fingerprint
    for seed in (0, 1):
        made = both.that_made(tiny_encoder(seed).fingerprint)
        assert made.fingerprint == tiny_encoder(seed).fingerprint
    assert both.that_made("another") is both
    state = state_of(tmp_path / "model")
    del state["tracked.head.bias"]
    (tmp_path / "model" / WEIGHTS_FILE).write_bytes(save(state))
    assert "tracked.head.bias" in refusal_of(tmp_path / "model")
    with pytest.raises(ModelError, match="equal sizes"):
        tiny_encoder().with_tracked(MelodyEncoder.untrained(replace(TINY_SIZES, dim=8)))


# Saving and loading -------------------------------------------------------------------------------------


@pytest.mark.parametrize("windows", [WindowConfig(), WindowConfig(4, 1), WindowConfig(4.5, 0.3)])
def test_what_is_saved_comes_back_to_the_bit(tmp_path, windows):
    before = MelodyEncoder.untrained(TINY_SIZES, windows=windows)
    before.save(tmp_path / "model")
    after = MelodyEncoder.load(tmp_path / "model")
    assert (after.windows, after.sizes, after.dim) == (windows, before.sizes, 16)
    assert after.fingerprint == before.fingerprint
    cut = before.cut(random_notes(1))
    np.testing.assert_array_equal(before.embed(cut.pitch_st, cut.voiced), after.embed(cut.pitch_st, cut.voiced))
    after.save(tmp_path / "again")
    one, again = tmp_path / "model", tmp_path / "again"
    assert (one / WEIGHTS_FILE).read_bytes() == (again / WEIGHTS_FILE).read_bytes()
    assert json.loads((one / CONFIG_FILE).read_text()) == json.loads((again / CONFIG_FILE).read_text())


def test_everybody_may_read_what_is_saved(folder):
    assert {path.name for path in folder.iterdir()} == {CONFIG_FILE, WEIGHTS_FILE}
    assert {path.stat().st_mode & 0o444 for path in folder.iterdir()} == {0o444}


def test_the_seed_decides_and_nothing_else_is_touched():
    torch.manual_seed(7)
    state = torch.get_rng_state()
    assert tiny_encoder().fingerprint == tiny_encoder().fingerprint != tiny_encoder(seed=1).fingerprint
    assert torch.equal(torch.get_rng_state(), state)


def test_the_fingerprint_tells_every_size_with_the_same_weights_too():
    assert set(CHANGED_SIZES) == {field.name for field in fields(NetworkConfig)}
    assert set(CHANGED_WINDOWS) == {field.name for field in fields(WindowConfig)}
    weights = tiny_encoder().weights
    sizes = [replace(TINY_SIZES, **{name: value}) for name, value in CHANGED_SIZES.items()]
    windows = [WindowConfig(**{name: value}) for name, value in CHANGED_WINDOWS.items()]
    made_with = [(WindowConfig(), each) for each in (TINY_SIZES, *sizes)] + [(each, TINY_SIZES) for each in windows]
    fingerprints = {MelodyEncoder(*windows, weights, size).fingerprint for *windows, size in made_with}
    assert len(fingerprints) == len(made_with) == 7


@pytest.mark.parametrize("name", sorted(weight_shapes(TINY_SIZES)))
def test_the_fingerprint_tells_every_weight(folder, name):
    state = state_of(folder)
    state[name].flatten()[-1] += 1e-3
    (folder / WEIGHTS_FILE).write_bytes(save(state))
    assert MelodyEncoder.load(folder).fingerprint != tiny_encoder().fingerprint


# What is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [CONFIG_FILE, WEIGHTS_FILE])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    assert name in refusal_of(folder)
    (folder / name).mkdir()
    assert name in refusal_of(folder)


def test_a_folder_that_is_none_is_no_model(tmp_path):
    with pytest.raises(ModelError, match="'nowhere' is not a model"):
        MelodyEncoder.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"3", b'"x"', b"{}", b'{"model_type": "bert"}', b"\xff\xfe", b"[" * 200_000],
    ids=lambda content: repr(content[:12]),
)
def test_a_damaged_configuration_is_refused(folder, content):
    (folder / CONFIG_FILE).write_bytes(content)
    assert "config.json is not well formed" in refusal_of(folder)


@pytest.mark.parametrize("name", [*CHANGED_SIZES, *CHANGED_WINDOWS, "model_type"])
def test_no_size_may_be_missing(folder, name):
    config = json.loads((folder / CONFIG_FILE).read_text())
    del config[name]
    (folder / CONFIG_FILE).write_text(json.dumps(config))
    refusal_of(folder)


@pytest.mark.parametrize(
    "values",
    [
        {"n_frames": 0}, {"n_frames": 126}, {"n_frames": 8192}, {"n_frames": -128},
        {"channels": 1}, {"channels": 10**9}, {"channels": "many"}, {"channels": None},
        {"dim": 0}, {"dim": 10**6}, {"dim": float("inf")}, {"dim": float("nan")},
        {"dilations": [0]}, {"dilations": [1] * 65}, {"dilations": [10**6]}, {"dilations": 1}, {"dilations": [[1]]},
        {"dilations": [float("inf")]},
        {"window_s": 0.0}, {"window_s": -5.0}, {"window_s": 1e6}, {"window_s": float("nan")}, {"window_s": 10**400},
        {"song_hop_s": 0.0}, {"song_hop_s": float("inf")}, {"song_hop_s": []},
        {"layers": 3},
    ],
    ids=lambda values: str(values)[:40],
)  # fmt: skip
def test_absurd_sizes_are_refused_before_anything_is_made(folder, monkeypatch, values):
    monkeypatch.setattr(encoder_module, "read_weights", lambda _: pytest.fail("the weights were read"))
    change_config(folder, **values)
    assert "config.json is not well formed" in refusal_of(folder)


@pytest.mark.parametrize("name", CHANGED_SIZES)
def test_weights_of_other_sizes_are_refused(folder, name):
    values = {**CHANGED_SIZES, "dilations": (1, 2, 4)}
    change_config(folder, **{name: values[name]})
    assert "the weights do not fit" in refusal_of(folder)


@pytest.mark.parametrize(
    "changed", [{"head.bias": None}, {"tail.bias": torch.zeros(1)}, {"head.bias": torch.full((16,), float("nan"))}],
    ids=["missing", "superfluous", "not a number"],
)  # fmt: skip
def test_weights_that_do_not_fit_are_named(folder, changed):
    state = {name: tensor for name, tensor in {**state_of(folder), **changed}.items() if tensor is not None}
    (folder / WEIGHTS_FILE).write_bytes(save(state))
    assert next(iter(changed)) in refusal_of(folder)


def with_type(weights: bytes, name: str, bits: int) -> bytes:
    """Return safetensors of the same shapes and another type, all nought."""
    header = json.loads(weights[8 : 8 + struct.unpack("<Q", weights[:8])[0]])
    end = 0
    for entry in header.values():
        begin, end = end, end + int(np.prod(entry["shape"])) * bits // 8
        entry |= {"dtype": name, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(end)


@pytest.mark.parametrize(("name", "bits"), [("C64", 64), ("F4", 4), ("F8_E8M0", 8), ("XX", 32)])
def test_types_that_are_no_weights_are_refused(folder, name, bits):
    (folder / WEIGHTS_FILE).write_bytes(with_type((folder / WEIGHTS_FILE).read_bytes(), name, bits))
    assert "the weights do not fit" in refusal_of(folder)


@pytest.mark.parametrize(
    "damage",
    [lambda _: b"", lambda _: b"\x80\x04K\x01.", lambda _: b"\xff" * 64, lambda weights: weights[:-1],
     lambda weights: weights + b"\0"],
    ids=["empty", "a pickle", "noise", "truncated", "too long"],
)  # fmt: skip
def test_damaged_weights_are_refused(folder, damage):
    (folder / WEIGHTS_FILE).write_bytes(damage((folder / WEIGHTS_FILE).read_bytes()))
    assert "the weights do not fit" in refusal_of(folder)


def test_huge_weights_are_not_even_read(folder, monkeypatch):
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was read"))
    with (folder / WEIGHTS_FILE).open("ab") as file:
        file.truncate(base.MAX_WEIGHTS_BYTES + 1)
    with pytest.raises(ModelError, match="larger than 100000000 bytes"):
        MelodyEncoder.load(folder)


# Embedding ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key_st", [-24.0, -0.5, 12.0])
def test_a_song_in_another_key_has_the_same_embeddings(key_st):
    encoder, song = tiny_encoder(), random_notes(0)
    as_written, transposed = encoder.embed_song(song), encoder.embed_song(contour(song.pitch_midi + np.float32(key_st)))
    np.testing.assert_allclose(transposed, as_written, atol=1e-4)


@pytest.mark.parametrize("song", [random_notes(0), *(contour(np.full(n_frames, 60.0)) for n_frames in (1, 2, 12))])
def test_a_song_has_a_unit_embedding_for_each_window(song):
    encoder = tiny_encoder()
    embeddings, windows = encoder.embed_song(song), encoder.cut(song)
    assert embeddings.shape == (len(windows.start_s), 16) and len(embeddings) >= 1
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(np.diff(windows.start_s), WindowConfig().song_hop_s)
    np.testing.assert_array_equal(encoder.embed(windows.pitch_st, windows.voiced), embeddings)


def test_windows_have_the_encoders_own_sizes():
    encoder = MelodyEncoder.untrained(replace(TINY_SIZES, n_frames=64), windows=WindowConfig(4.0, 2.0))
    windows = encoder.cut(contour(np.full(250, 60.0)))  # 10 s
    assert windows.pitch_st.shape == (5, 64)
    np.testing.assert_allclose(windows.start_s, [0, 2, 4, 6, 8])
    np.testing.assert_array_equal(np.isnan(windows.pitch_st).sum(axis=1), [0, 0, 0, 0, 32])
    assert len(encoder.cut(contour(np.full(250, 60.0)), hop_s=1.0).start_s) == 9


def test_many_windows_are_embedded_in_batches(monkeypatch):
    encoder = tiny_encoder()
    windows = encoder.cut(random_notes(2))
    whole = encoder.embed(windows.pitch_st, windows.voiced)
    monkeypatch.setattr(encoder_module, "BATCH_WINDOWS", 7)
    assert len(whole) % 7
    np.testing.assert_allclose(encoder.embed(windows.pitch_st, windows.voiced), whole, atol=1e-6)
    none = encoder.embed(windows.pitch_st[:0], windows.voiced[:0])
    assert (none.shape, none.dtype) == ((0, 16), np.float32)


# Which encoder ------------------------------------------------------------------------------------------


def test_the_environment_names_the_encoder(folder, monkeypatch):
    monkeypatch.setenv(MODEL_VARIABLE, str(folder))
    assert default_encoder().fingerprint == tiny_encoder().fingerprint
    assert default_encoder() is default_encoder()


def test_a_catalog_may_bring_its_encoder(folder, tmp_path, monkeypatch):
    monkeypatch.setenv(MODEL_VARIABLE, str(folder))
    tiny_encoder(seed=5).save(tmp_path / "with")
    (tmp_path / "without").mkdir()
    assert encoder_of(tmp_path / "with").fingerprint == tiny_encoder(seed=5).fingerprint
    assert encoder_of(tmp_path / "without").fingerprint == tiny_encoder().fingerprint
    assert encoder_of(tmp_path / "nowhere").fingerprint == tiny_encoder().fingerprint


def test_an_encoder_that_is_replaced_is_noticed(tmp_path):
    for seed in (1, 2):
        tiny_encoder(seed).save(tmp_path / "catalog")
        assert encoder_of(tmp_path / "catalog").fingerprint == tiny_encoder(seed).fingerprint


def test_a_wrong_name_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv(MODEL_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(Hmm2SongError, match="give a model folder"):
        default_encoder()
    (tmp_path / "nowhere").mkdir()
    with pytest.raises(ModelError, match="'nowhere' is not a model"):
        default_encoder()
