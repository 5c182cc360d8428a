"""The nets in PyTorch, eager, with the fused Adam."""

import torch
from torch import nn

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


def version():
    return torch.__version__


def build(net, weights):
    """The net as an `nn.Sequential` that ends in the last layer's sums."""
    stack = []
    for i, (kernel, bias) in enumerate(zip(weights[0::2], weights[1::2])):
        if i:
            stack.append(ACTIVATIONS[net.activation]())
        layer = nn.Linear(*kernel.shape, dtype=getattr(torch, net.dtype))
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(kernel.T))
            layer.bias.copy_(torch.from_numpy(bias))
        stack.append(layer)
    return nn.Sequential(*stack)


class Trainer:
    """Trains a net by Adam with Keras's constants."""

    def __init__(self, net, weights, compiled=False):
        self.net = net
        module = build(net, weights)
        self.optimizer = torch.optim.Adam(module.parameters(), net.learning_rate, eps=net.epsilon, fused=True)
        loss = nn.functional.cross_entropy if net.classifies else nn.functional.mse_loss

        def loss_of(x, y):
            return loss(module(x), y)

        self.loss_of = torch.compile(loss_of, dynamic=False) if compiled else loss_of

    def steps(self, x, y):
        """One epoch in the order of the samples; returns the mean loss."""
        batch = self.net.batch
        return self._fit(zip(torch.from_numpy(x).split(batch), torch.from_numpy(y).split(batch)))

    def epoch(self, x, y):
        """One epoch in shuffled order; returns the mean loss."""
        x, y = torch.from_numpy(x), torch.from_numpy(y)
        return self._fit((x[rows], y[rows]) for rows in torch.randperm(len(x)).split(self.net.batch))

    def _fit(self, batches):
        losses = []
        for x, y in batches:
            self.optimizer.zero_grad()
            loss = self.loss_of(x, y)
            loss.backward()
            self.optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses).mean().item()


def predictor(net, weights, rows, compiled=False):
    """A function (rows, features) -> (rows, outputs)."""
    module = build(net, weights)
    if net.classifies:
        module.append(nn.Softmax(-1))
    if compiled:
        module = torch.compile(module, dynamic=False)

    @torch.inference_mode()
    def predict(x):
        return module(torch.from_numpy(x)).numpy()

    return predict
