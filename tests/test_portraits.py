"""What is drawn of what upper problems have learned, with and without being told how."""

import base64
import io
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import TensorDataset

from mlograph import load
from mlograph.errors import GraphError
from mlograph.nn import MLP, Tensors, Weigher
from mlograph.pictures import Bars, Grid, Images, Lines, Picture, Spread
from mlograph.portraits import portraits


def drawn(module: nn.Module) -> list[Picture]:
    return list(portraits({"upper": module, "lower": nn.Linear(1, 1)}, ["upper"]))


def bare(**tensors: torch.Tensor) -> nn.Module:
    module = Tensors(**{name: list(tensor.shape) for name, tensor in tensors.items()})
    with torch.no_grad():
        for name, param in module.named_parameters():
            param.copy_(tensors[name.rpartition(".")[2]])
    return module


def test_a_row_of_numbers_is_drawn_as_bars():
    (picture,) = drawn(bare(rates=torch.tensor([0.5, 1.0, 2.0])))
    assert isinstance(picture, Bars)
    assert picture.values == (0.5, 1.0, 2.0)
    assert picture.title.startswith("upper.")


def test_single_numbers_share_one_drawing():
    (picture,) = drawn(bare(log_lr=torch.tensor([-2.0]), log_decay=torch.tensor([-3.0])))
    assert isinstance(picture, Bars)
    assert picture.values == (-2.0, -3.0)
    assert [label.rpartition(".")[2] for label in picture.labels] == ["log_lr", "log_decay"]


def test_a_long_row_is_drawn_by_how_it_is_spread():
    (picture,) = drawn(bare(weights=torch.cat([torch.zeros(300), torch.ones(700)])))
    assert isinstance(picture, Spread)
    ((counts),) = picture.counts.values()
    assert (counts[0], counts[-1]) == (300, 700)


def test_a_small_matrix_is_drawn_cell_by_cell():
    (picture,) = drawn(bare(alphas=torch.arange(6.0).reshape(2, 3)))
    assert isinstance(picture, Grid)
    assert picture.values == ((0.0, 1.0, 2.0), (3.0, 4.0, 5.0))


@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 1, 8, 8), (3, 64), (3, 3, 8, 8)])
def test_what_looks_like_images_is_drawn_as_images(shape: tuple[int, ...]):
    pixels = torch.linspace(-1, 1, 3 * 64).reshape(3, 1, 8, 8)
    tensor = pixels.expand(3, 3, 8, 8) if shape == (3, 3, 8, 8) else pixels.reshape(shape)
    (picture,) = drawn(bare(images=tensor.clone()))
    assert isinstance(picture, Images)
    assert len(picture.images) == 3
    image = Image.open(io.BytesIO(base64.b64decode(picture.images[0])))
    assert image.size == (8, 8)
    assert image.mode == ("RGB" if shape == (3, 3, 8, 8) else "L")
    assert image.convert("L").getextrema() == (0, 255)


def test_very_many_images_and_numbers_are_bounded():
    (picture,) = drawn(bare(images=torch.rand(500, 1, 8, 8)))
    assert isinstance(picture, Images)
    assert len(picture.images) == 60
    (picture,) = drawn(bare(weights=torch.rand(1_000_000)))
    assert isinstance(picture, Spread)
    assert len(picture.edges) <= 41


def test_of_a_network_only_the_spread_of_its_tensors_is_drawn():
    (picture,) = drawn(MLP([4, 3, 2]))
    assert isinstance(picture, Spread)
    assert [sum(counts) for counts in picture.counts.values()] == [12, 3, 6, 2]


def test_a_weigher_is_drawn_as_the_function_that_it_is():
    (picture,) = drawn(Weigher(10))
    assert isinstance(picture, Lines)
    assert picture.title == "upper: weight of a sample"
    points = dict(picture.lines["weight"])
    assert (min(points), max(points)) == (0.0, 10.0)
    assert all(0 <= weight <= 1 for weight in points.values())


def test_values_that_are_not_finite_do_no_harm():
    for tensor in (
        torch.full((3,), torch.nan),
        torch.full((2, 8, 8), torch.inf),
        torch.full((999,), torch.nan),
    ):
        assert len(drawn(bare(x=tensor))) == 1


GRAPH = """mlograph: 1
name: cleaning
problems:
  trust:
    module: {_target_: mlograph.nn.Tensors, weights: [6]}
    optimizer: {_target_: sgd, lr: 0.1}
    loss: parts.upper
  model:
    module: {_target_: torch.nn.Linear, in_features: 1, out_features: 1}
    optimizer: {_target_: sgd, lr: 0.1}
    loss: parts.lower
    hypergradient: identity
edges: [{u2l: trust -> model}, {l2u: model -> trust}]
engine:
  steps: 2
  device: cpu
  pictures:
    _target_: PAINTER
    weights: trust
    data: {_target_: parts.samples}
    truth: {_target_: parts.samples, wrong: 0}
"""
PARTS = """
import torch
from torch.utils.data import TensorDataset

from mlograph.pictures import Bars

def samples(wrong=2):
    labels = torch.zeros(6, dtype=torch.long)
    labels[:wrong] = 1
    return TensorDataset(torch.ones(6, 1), labels)

def upper(model):
    return model(torch.ones(1, 1)).square().sum()

def lower(model, trust):
    weights = next(iter(trust().values()))
    return (weights.sum() + 1) * model(torch.ones(1, 1)).square().sum()

class Broken:
    def __init__(self, weights, data, truth):
        pass

    def paint(self, trial):
        raise ValueError("no paint")

class Other:
    def __init__(self, weights, data, truth):
        pass
"""


def graph(folder: Path, painter: str) -> Path:
    (folder / "parts.py").write_text(PARTS)
    file = folder / "g.yaml"
    file.write_text(GRAPH.replace("PAINTER", painter))
    return file


def test_weights_of_right_and_wrong_labels_are_told_apart(tmp_path: Path):
    file = graph(tmp_path, "mlograph.painters.SampleWeights")
    result = load(file, ["+engine.pictures.transform=sigmoid"]).run(tmp_path / "runs", quiet=True)
    bars, spread = result.pictures
    assert isinstance(bars, Bars)
    assert isinstance(spread, Spread)
    assert {name: sum(counts) for name, counts in spread.counts.items()} == {
        "right label": 4,
        "wrong label": 2,
    }
    assert result.directory is not None
    page = (result.directory / "report.html").read_text()
    assert "<h2>Learned</h2>" in page
    assert "wrong label" in page


def test_the_weights_of_a_weigher_are_those_of_the_losses():
    from mlograph.painters import SampleWeights

    torch.manual_seed(0)
    model, weigher = nn.Linear(2, 2), Weigher(5)
    for parameter in weigher.parameters():
        nn.init.normal_(parameter)
    data = TensorDataset(torch.randn(10, 2), torch.arange(10) % 2)
    trial = StandIn(model, weigher)
    painter = SampleWeights("weigher", data, data, model="model")
    (picture,) = painter.paint(trial)
    losses = nn.functional.cross_entropy(model(data.tensors[0]), data.tensors[1], reduction="none")
    expected = weigher(losses[:, None]).detach().flatten()
    assert isinstance(picture, Spread)
    assert picture.edges[0] == pytest.approx(float(expected.min()))
    assert picture.edges[-1] == pytest.approx(float(expected.max()))


class StandIn:
    """What a painter asks of a trial."""

    def __init__(self, model: nn.Module, weigher: nn.Module) -> None:
        from types import SimpleNamespace

        self.modules = {"model": model, "weigher": weigher}
        self.program = SimpleNamespace(problems=self.modules)
        self.device = torch.device("cpu")

    def module(self, name: str) -> nn.Module:
        return self.modules[name]

    def evaluating(self, *modules: nn.Module):
        return torch.no_grad()


def test_a_painter_that_fails_does_not_fail_the_run(tmp_path: Path):
    result = load(graph(tmp_path, "parts.Broken")).run(tmp_path / "runs", quiet=True)
    assert result.ended == "all steps made"
    told = [record.text for record in result.records if record.kind == "event"]
    assert "what was learned cannot be drawn: ValueError: no paint" in told


def test_what_is_no_painter_is_refused_before_the_run(tmp_path: Path):
    with pytest.raises(GraphError, match=r"expected something like .*SampleWeights, got a Other"):
        load(graph(tmp_path, "parts.Other")).run(tmp_path / "runs", quiet=True)


def test_a_transform_that_nobody_knows_is_named(tmp_path: Path):
    file = graph(tmp_path, "mlograph.painters.SampleWeights")
    with pytest.raises(GraphError, match=r"no 'sigmoide' \(did you mean 'sigmoid'\?\)"):
        load(file, ["+engine.pictures.transform=sigmoide"]).run(quiet=True)
