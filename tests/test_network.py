"""The network behind the encoder: what it is fed, and what its embeddings may and may not depend on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from encoders import TINY_SIZES

from hmm2song.embeddings.forward import PITCH_LIMIT_ST, PITCH_UNIT_ST, Forward, NetworkConfig, weight_shapes
from hmm2song.embeddings.network import ContourNetwork, network_input, weights_of

N_FRAMES = TINY_SIZES.n_frames
NAN = np.nan


def make_network(sizes: NetworkConfig = TINY_SIZES, is_fresh: bool = False) -> ContourNetwork:
    """Return a network with weights like a trained one's, or as it is before training."""
    torch.manual_seed(0)
    network = ContourNetwork(sizes)
    if not is_fresh:
        with torch.no_grad():
            for parameter in network.parameters():
                parameter += 0.2 * torch.randn_like(parameter)
    return network.eval()


def windows(n: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return random windows: pitches and what of them is voiced."""
    rng = np.random.default_rng(seed)
    pitch_st = np.repeat(rng.normal(0.0, 4.0, (n, N_FRAMES // 8)), 8, axis=1)
    return pitch_st.astype(np.float32), rng.random((n, N_FRAMES)) < 0.8


@torch.no_grad()
def embed(network: ContourNetwork, pitch_st: np.ndarray, voiced: np.ndarray) -> np.ndarray:
    return network(network_input(pitch_st, voiced)).numpy()


@pytest.mark.parametrize("sizes", [TINY_SIZES, NetworkConfig(), NetworkConfig(64, 11, 5, (3, 1, 8))])
def test_without_torch_the_answer_is_the_same(sizes):
    network = make_network(sizes)
    weights = weights_of(network)
    assert {name: each.shape for name, each in weights.items()} == weight_shapes(sizes)
    pitch_st, voiced = (each[:, : sizes.n_frames] for each in windows())
    pitch_st[1:, 40:], pitch_st[2] = NAN, 30.0
    with np.errstate(invalid="raise", divide="raise"):
        embedded = Forward(weights, sizes)(pitch_st, voiced)
    assert embedded.dtype == np.float32
    np.testing.assert_allclose(embedded, embed(network, pitch_st, voiced), atol=1e-5)


# Input --------------------------------------------------------------------------------------------------


def test_the_input_is_pitch_voice_and_what_is_inside():
    pitch_st = np.float32([[0.0, PITCH_UNIT_ST, -3.0, NAN]])
    fed = network_input(pitch_st, np.array([[True, False, True, False]]))
    assert fed.dtype == torch.float32
    np.testing.assert_array_equal(fed[0], [[0, 1, -0.5, 0], [1, 0, 1, 0], [1, 1, 1, 0]])


def test_nothing_is_voiced_outside_the_melody():
    fed = network_input(np.float32([[NAN, 2.0]]), np.array([[True, True]]))
    np.testing.assert_array_equal(fed[0, 1], [0, 1])


@pytest.mark.parametrize("pitch_st", [PITCH_LIMIT_ST + 0.1, 40.0, np.inf])
def test_octave_errors_go_no_further_than_the_limit(pitch_st):
    limit = PITCH_LIMIT_ST / PITCH_UNIT_ST
    fed = network_input(np.array([[pitch_st, -pitch_st]]), np.ones((1, 2), bool))
    np.testing.assert_array_equal(fed[0, 0], [limit, -limit])


def test_no_windows_are_no_input():
    assert network_input(*(values[:0] for values in windows())).shape == (0, 3, N_FRAMES)


# Embeddings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [TINY_SIZES, NetworkConfig(n_frames=4, channels=2, dim=1, dilations=())])
def test_embeddings_have_unit_length(sizes):
    pitch_st, voiced = (values[:, : sizes.n_frames] for values in windows())
    embeddings = embed(make_network(sizes), pitch_st, voiced)
    assert embeddings.shape == (6, sizes.dim)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1.0, atol=1e-5)


def test_different_windows_differ():
    embeddings = embed(make_network(), *windows())
    apart = np.linalg.norm(embeddings[:, None] - embeddings, axis=2)
    assert apart[~np.eye(6, dtype=bool)].min() > 0.01


def test_whether_it_is_sung_or_filled_is_heard():
    network, (pitch_st, voiced) = make_network(), windows()
    assert np.abs(embed(network, pitch_st, voiced) - embed(network, pitch_st, ~voiced)).max() > 1e-3


def test_a_window_is_embedded_alike_in_any_company():
    network, (pitch_st, voiced) = make_network(), windows()
    together = embed(network, pitch_st, voiced)
    alone = np.concatenate([embed(network, pitch_st[[row]], voiced[[row]]) for row in range(6)])
    np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("n_inside", [1, 37, 64, 125])
def test_what_lies_beyond_the_melody_does_not_count(n_inside):
    network, (pitch_st, voiced) = make_network(is_fresh=True), windows()
    pitch_st[:, n_inside:] = NAN
    before = embed(network, pitch_st, voiced)
    voiced[:, n_inside:] ^= True
    np.testing.assert_array_equal(embed(network, pitch_st, voiced), before)
    # positions that are not attended to may hold anything; those of which a frame is inside may not
    first_outside = -(-n_inside // 4)
    with torch.no_grad():
        network.position[:, first_outside:] += 100.0
    np.testing.assert_allclose(embed(network, pitch_st, voiced), before, atol=1e-6)
    with torch.no_grad():
        network.position[:, first_outside - 1] += 100.0 * torch.arange(network.position.shape[0])
    assert np.abs(embed(network, pitch_st, voiced) - before).max() > 1e-2


def test_without_any_melody_the_embedding_is_finite():
    embeddings = embed(make_network(), np.full((1, N_FRAMES), NAN, np.float32), np.zeros((1, N_FRAMES), bool))
    assert np.isfinite(embeddings).all()


def test_the_place_in_the_window_counts():
    network, (pitch_st, voiced) = make_network(), windows()
    assert np.abs(embed(network, pitch_st[:, ::-1].copy(), voiced) - embed(network, pitch_st, voiced)).max() > 1e-3


# Training -----------------------------------------------------------------------------------------------


def test_residual_blocks_begin_as_the_identity():
    hidden = torch.randn(2, TINY_SIZES.channels, N_FRAMES // 4)
    for block in make_network(is_fresh=True).blocks:
        assert torch.equal(block(hidden), hidden)
    assert not torch.equal(make_network().blocks[0](hidden), hidden)


def test_every_weight_can_be_learned():
    network = make_network().train()
    towards = torch.randn(6, TINY_SIZES.dim)
    (network(network_input(*windows())) * towards).sum().backward()
    silent = [name for name, weight in network.named_parameters() if weight.grad.abs().max() < 1e-5]
    assert silent == ["attention.bias"]  # a softmax over time cannot tell what is added to all of it
