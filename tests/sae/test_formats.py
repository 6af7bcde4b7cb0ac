"""Every coder that others wrote encodes and decodes as they computed it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mi_widgets import sae

SAES = Path(__file__).parents[3] / "shared" / "saes"
FOLDERS = sorted(SAES.glob("stories3m-*")) + sorted(
    folder for folder in SAES.glob("formats/*") if not folder.name.startswith(("matching_pursuit", "temporal"))
)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_encodes_and_reconstructs_as_saelens(folder, shared):
    coder = sae.load(folder)
    expected = np.load(folder / "expected.npz")
    x = torch.from_numpy(expected["x"])
    acts = coder.encode(x)
    np.testing.assert_allclose(acts.float().numpy(), expected["acts"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(coder.decode(acts, x).float().numpy(), expected["recon"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(coder.reconstruct(x).float().numpy(), expected["recon"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_some_features_are_those_of_all(folder, shared):
    coder = sae.load(folder)
    x = torch.from_numpy(np.load(folder / "expected.npz")["x"])
    some = [coder.d_sae - 1, 0, 7]
    torch.testing.assert_close(coder.encode_some(x, some), coder.encode(x)[..., some], rtol=0, atol=1e-5)
