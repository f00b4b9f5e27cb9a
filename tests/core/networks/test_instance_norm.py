import pytest
import torch
from torch import nn
from torch.func import functional_call

from ddcal_core.networks.instance_norm import InstanceNorm
from ddcal_core.seeding import seeded_generator


def drawn(*shape, name, dtype=torch.float64):
    """Random numbers that want a gradient."""
    return torch.randn(shape, generator=seeded_generator(0, name)).to(dtype).requires_grad_()


def applied(images, weight, bias, *, norm=InstanceNorm):
    """The layer with these parameters."""
    layer = InstanceNorm(3) if norm is InstanceNorm else nn.GroupNorm(3, 3)
    return functional_call(layer, {"weight": weight, "bias": bias}, (images,))


@pytest.mark.parametrize("size", [(4, 5), (1, 2), (3, 1)])
def test_gradients_of_both_orders_are_those_of_differences(size):
    """By images, scale and shift, float64."""
    inputs = (drawn(2, 3, *size, name="x"), drawn(3, name="w"), drawn(3, name="b"))
    assert torch.autograd.gradcheck(applied, inputs)
    assert torch.autograd.gradgradcheck(applied, inputs)


def test_second_gradients_are_pytorchs():
    """Float32, by every input, within rounding of what autograd makes of its own formula."""
    found = []
    for norm in (InstanceNorm, nn.GroupNorm):
        inputs = [
            drawn(4, 3, 8, 8, name="x", dtype=torch.float32),
            drawn(3, name="w", dtype=torch.float32),
            drawn(3, name="b", dtype=torch.float32),
        ]
        upper = drawn(4, 3, 8, 8, name="g", dtype=torch.float32)
        out = applied(*inputs, norm=norm)
        first = torch.autograd.grad(out, inputs, upper, create_graph=True)
        summed = sum((gradient.sin() * gradient).sum() for gradient in first)
        found.append(torch.autograd.grad(summed, [*inputs[:2], upper]))
    for got, wanted in zip(*found, strict=True):
        assert float((got - wanted).norm()) < 1e-5 * float(wanted.norm())


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_values_and_first_gradients_are_pytorchs(order):
    """Bit for bit those of a group norm of one channel a group; within rounding in other orders."""
    found = []
    for norm in (InstanceNorm, nn.GroupNorm):
        inputs = [drawn(4, 3, 8, 8, name="x"), drawn(3, name="w"), drawn(3, name="b")]
        out = applied(inputs[0].to(memory_format=order), *inputs[1:], norm=norm)
        found.append([out, *torch.autograd.grad(out.sin().sum(), inputs)])
    for got, wanted in zip(*found, strict=True):
        if order is torch.contiguous_format:
            assert torch.equal(got, wanted)
        torch.testing.assert_close(got, wanted, rtol=1e-11, atol=1e-11)


def test_the_layer_is_stored_and_evaluated_as_a_group_norm():
    """The same names of parameters, the same values without gradients."""
    layer = InstanceNorm(3)
    images = drawn(2, 3, 4, 4, name="x", dtype=torch.float32)
    with torch.no_grad():
        assert torch.equal(layer(images), nn.GroupNorm(3, 3)(images))
    assert layer.state_dict().keys() == nn.GroupNorm(3, 3).state_dict().keys()
