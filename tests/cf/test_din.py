import pytest
import torch
from torch.nn.functional import linear

from recsys_lora.cf.din import DIN, Dice
from recsys_lora.cf.encoder import Catalogue
from tests.cf.made_data import checkerboard
from tests.rounding import assert_close


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    made = DIN(Catalogue.from_prepared(checkerboard(12, 9)), dim=4, history_length=5, init_std=0.5).eval()
    with torch.no_grad():
        for name, buffer in made.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_()
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 2)
        for name, parameter in made.named_parameters():
            if name.endswith("alpha"):
                parameter.normal_()
    return made


def by_hand(network, x):
    """A single row through the layers, the activation written out."""
    for layer in network:
        if isinstance(layer, torch.nn.Linear):
            x = linear(x, layer.weight, layer.bias)
        elif isinstance(layer, Dice):
            p = 1 / (1 + torch.exp(-(x - layer.norm.running_mean) / (layer.norm.running_var + 1e-8).sqrt()))
            x = p * x + (1 - p) * layer.alpha * x
    return x


@torch.no_grad()
def test_against_a_loop_over_rows_and_history(encoder):
    user, item = torch.tensor([1, 2, 3]), torch.tensor([4, 5, 6])
    history = torch.tensor([[0, 0, 1, 2, 3], [0, 0, 0, 0, 0], [9, 8, 7, 6, 5]])
    e_u, e_i = encoder.encode(user, history, item)
    for row in range(3):
        q = encoder.items.weight[item[row]]
        interest = torch.zeros(4)
        for h_id in history[row][history[row] != 0]:
            h = encoder.history_items.weight[h_id]
            interest = interest + by_hand(encoder.attention, torch.cat([q, h, q - h, q * h])) * h
        expected = torch.cat([q, interest, encoder.users.weight[user[row]]])
        assert_close(e_u[row], expected)
        assert torch.equal(e_i[row], torch.cat([q, q, q]))
        score = by_hand(encoder.network, expected).squeeze()
        assert_close(encoder.score(user, history, item)[row], score)
