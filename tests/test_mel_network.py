"""The network of the first source system: what its layers see, its loss, its distances, its files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from clip_sets import pictures
from safetensors.torch import load_file, save_file

from hmm2song.errors import ModelError
from hmm2song.evaluation.baselines.mel_cnn.mel import N_FRAMES, N_MELS
from hmm2song.evaluation.baselines.mel_cnn.network import (
    CHANNEL_SIZE,
    CONFIG_FILE,
    DIM,
    DISTANCES,
    N_CHANNELS,
    WEIGHTS_FILE,
    ConvSubnet,
    as_tensor,
    cosine_as_distance,
    cosine_distance,
    pairwise_l2,
    triplet_loss,
)


@pytest.fixture(scope="module")
def network() -> ConvSubnet:
    return ConvSubnet.untrained(seed=1).eval()


@pytest.fixture
def saved(network: ConvSubnet, tmp_path: Path) -> Path:
    network.save(tmp_path / "model")
    return tmp_path / "model"


# The network --------------------------------------------------------------------------------------------


def test_it_has_the_layers_of_the_source_and_computes_what_they_say(network):
    weights = {name: tuple(weight.shape) for name, weight in network.state_dict().items() if name.endswith("weight")}
    assert list(weights.values()) == [(64, 1, 3, 3), (128, 64, 3, 3), (256, 128, 3, 3), (128, 848)]
    spectrograms = as_tensor(pictures(2))
    hidden = spectrograms.unsqueeze(1)
    for layer in (network.conv1, network.conv2, network.conv3):
        hidden = torch.nn.functional.max_pool2d(layer(hidden).clamp(min=0), 2)
    assert tuple(hidden.shape) == (2, N_CHANNELS, 16, 53)
    expected = network.linear(hidden.contiguous().view(-1, 848))
    torch.testing.assert_close(network(spectrograms), expected, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_inference_reads_the_first_channel_alone(network):
    clips = pictures(3)
    rows = network(as_tensor(clips)).reshape(3, N_CHANNELS, DIM)
    np.testing.assert_allclose(network.embed(clips), rows[:, 0], rtol=1e-4, atol=1e-4)
    changed = ConvSubnet.untrained(seed=1)
    changed.conv3.weight[1:] = 0.0  # all the other channels
    np.testing.assert_allclose(changed.embed(clips), network.embed(clips), rtol=1e-6)


def test_embedding_goes_in_batches_and_says_how_far_it_is(network, monkeypatch):
    clips, seen = np.repeat(pictures(1), 3, axis=0), []
    monkeypatch.setattr("hmm2song.evaluation.baselines.mel_cnn.network.N_CLIPS_AT_ONCE", 2)
    vectors = network.embed(clips, progress=seen.append)
    assert seen == [2, 3] and vectors.shape == (3, DIM) and vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, vectors[:1].repeat(3, axis=0), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("shape", [(1, N_MELS, N_FRAMES - 1), (1, N_FRAMES, N_MELS), (N_MELS, N_FRAMES)])
def test_pictures_of_other_sizes_are_refused(network, shape):
    with pytest.raises(ModelError, match=r"must have shape \(n, 128, 431\)"):
        network.embed(np.zeros(shape, np.float32))


def test_the_seed_decides_the_weights_and_nothing_else():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, again, other = (ConvSubnet.untrained(seed).state_dict()["linear.weight"] for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.rand(1), expected)


# The loss -----------------------------------------------------------------------------------------------


def at(*x: float) -> torch.Tensor:
    """Points on a line through 128 dimensions."""
    return torch.tensor(x)[:, None] * torch.eye(DIM)[0]


def test_the_loss_asks_for_a_margin_of_one():
    loss = triplet_loss(at(0.0, 0.0, 0.0), at(1.0, 1.0, 3.0), at(5.0, 1.5, 1.0))
    assert loss.item() == pytest.approx((0.0 + 0.5 + 3.0) / 3, abs=1e-4)


# The distances ------------------------------------------------------------------------------------------

QUERY = np.array([[1.0, 0.0]])
GALLERY = np.array([[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [1.0, 1.0]])


def test_the_distances_by_hand():
    np.testing.assert_allclose(pairwise_l2(QUERY, GALLERY), [[1.0, np.sqrt(2), 2.0, 1.0]])
    np.testing.assert_allclose(cosine_as_distance(QUERY, GALLERY), [[1.0, 0.0, -1.0, np.sqrt(0.5)]])
    np.testing.assert_allclose(cosine_distance(QUERY, GALLERY), [[0.0, 1.0, 2.0, 1 - np.sqrt(0.5)]])


@pytest.mark.parametrize("name", DISTANCES)
def test_a_vector_of_nothing_does_no_harm(name):
    assert np.isfinite(DISTANCES[name](np.zeros((2, 3)), np.ones((4, 3)))).all()
    assert DISTANCES[name](np.ones((2, 3)), np.ones((4, 3))).shape == (2, 4)


# Files --------------------------------------------------------------------------------------------------


def test_a_saved_network_embeds_the_same(network, saved):
    clips = pictures(2)
    np.testing.assert_array_equal(ConvSubnet.load(saved).embed(clips), network.embed(clips))
    assert json.loads((saved / CONFIG_FILE).read_text())["model_type"] == "hmm2song-conv-subnet"
    assert CHANNEL_SIZE == 848


def test_weights_that_do_not_fit_are_refused(saved):
    tensors = load_file(saved / WEIGHTS_FILE)
    save_file(tensors | {"more": torch.zeros(1)}, saved / WEIGHTS_FILE)
    with pytest.raises(ModelError, match="more"):
        ConvSubnet.load(saved)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (CONFIG_FILE, None, "is not a model"),
        (CONFIG_FILE, b"{", "cannot be read"),
        (CONFIG_FILE, b'{"model_type": "hmm2song-contour-encoder"}', "expected"),
        (WEIGHTS_FILE, None, "cannot be read"),
    ],
    ids=["no config", "cut off", "another model", "no weights"],
)
def test_a_damaged_folder_is_explained(saved, name, content, words):
    if content is None:
        (saved / name).unlink()
    else:
        (saved / name).write_bytes(content)
    with pytest.raises(ModelError, match=words):
        ConvSubnet.load(saved)
