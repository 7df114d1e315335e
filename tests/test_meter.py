"""Running means between two logs."""

from __future__ import annotations

import math

import torch

from mlograph.meter import Meter


def test_values_are_averaged_between_flushes():
    meter = Meter()
    for value in (1.0, 2.0, 6.0):
        meter.add("loss", torch.tensor(value))
    meter.add("rate", 5.0)
    assert meter.flush() == {"loss": 3.0, "rate": 5.0}
    meter.add("loss", torch.tensor(8.0))
    assert meter.flush() == {"loss": 8.0}
    assert meter.flush() == {}


def test_the_latest_value_outlives_a_flush():
    meter = Meter()
    assert math.isnan(float(meter.latest("loss")))
    meter.add("loss", torch.tensor(1.0))
    meter.add("loss", torch.tensor(2.0))
    meter.flush()
    assert float(meter.latest("loss")) == 2.0


def test_an_unknown_value_is_left_out():
    meter = Meter()
    meter.add("residual", 1.0)
    meter.add("residual", float("nan"))
    assert meter.flush() == {"residual": 1.0}


def test_a_measured_value_that_is_not_finite_is_shown():
    meter = Meter()
    meter.add("loss", torch.tensor(float("nan")))
    assert math.isnan(meter.flush()["loss"])


def test_events_are_counted_between_two_flushes():
    meter = Meter()
    meter.count("solves_converged")
    meter.count("solves_converged")
    meter.add("residual", 0.5)
    assert meter.flush() == {"residual": 0.5, "solves_converged": 2.0}
    meter.count("solves_converged")
    assert meter.flush() == {"solves_converged": 1.0}
    assert meter.flush() == {}


def test_several_values_at_once_count_as_one_by_one():
    one, other = Meter(), Meter()
    values = torch.tensor([1.0, 2.0, 6.0])
    for value in values:
        one.add("loss", value)
    other.extend("loss", values)
    assert one.latest("loss") == other.latest("loss") == 6.0
    assert one.flush() == other.flush() == {"loss": 3.0}
