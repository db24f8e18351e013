"""Writes golden.json, next to this file: what PyTorch 2.13.0 (CPU, one thread) computes for test/torch.

    python test/torch/golden.py
"""

import json
import pathlib

import torch
import torch.nn.functional as F

torch.set_num_threads(1)


def fill(*shape, phase):
    """sin(phase + 0.7 i), the same numbers as `fill` of the tests."""
    n = int(torch.tensor(shape).prod())
    return torch.sin(phase + 0.7 * torch.arange(n, dtype=torch.float64)).float().reshape(shape)


def bn(x, w, b):
    return F.batch_norm(x, torch.zeros(4), torch.ones(4), w, b, True, 0.1, 1e-5)


cases = {
    "conv2d": (lambda x, w, b: F.conv2d(x, w, b, 2, 1), [(2, 4, 5, 5), (6, 4, 3, 3), (6,)]),
    "conv2d grouped": (lambda x, w, b: F.conv2d(x, w, b, 1, 1, groups=2), [(2, 4, 5, 5), (6, 2, 3, 3), (6,)]),
    "batch_norm": (bn, [(3, 4, 2, 2), (4,), (4,)]),
    "linear": (F.linear, [(3, 5), (2, 5), (2,)]),
    "softmax": (lambda x: F.softmax(x, 1), [(3, 5)]),
    "log_softmax": (lambda x: F.log_softmax(x, 1), [(3, 5)]),
    "cross_entropy": (
        lambda x: F.cross_entropy(x, torch.tensor([1, 0, 4]), label_smoothing=0.1).reshape(1),
        [(3, 5)],
    ),
    "kl_div": (
        lambda x, y: F.kl_div(F.log_softmax(x, 1), F.log_softmax(y, 1), reduction="batchmean", log_target=True).reshape(1),
        [(3, 5), (3, 5)],
    ),
    "max_pool2d": (lambda x: F.max_pool2d(x, 3, 2, 1), [(1, 2, 6, 6)]),
    "layer_norm": (lambda x, w, b: F.layer_norm(x, (5,), w, b), [(3, 5), (5,), (5,)]),
    "gelu": (F.gelu, [(3, 5)]),
}


def values(t):
    return [float(v) for v in t.detach().flatten().double()]


def operators():
    result = {}
    for name, (run, shapes) in cases.items():
        inputs = [fill(*shape, phase=i + 1).requires_grad_() for i, shape in enumerate(shapes)]
        y = run(*inputs)
        seed = fill(*y.shape, phase=9)
        gradients = torch.autograd.grad(y, inputs, seed)
        result[name] = {
            "shapes": shapes,
            "shape": list(y.shape),
            "value": values(y),
            "gradients": [values(g) for g in gradients],
        }
    return result


def trajectory(make, skip=False):
    """Two parameters, 12 steps; with skip, the second has no gradient in every third step."""
    parameters = [fill(2, 3, phase=1).requires_grad_(), fill(4, phase=2).requires_grad_()]
    optimizer = make(parameters)
    for step in range(12):
        optimizer.param_groups[0]["lr"] = 0.1 / (1 + step)
        for i, p in enumerate(parameters):
            p.grad = None if skip and i == 1 and step % 3 == 1 else fill(*p.shape, phase=3 + i + step)
        optimizer.step()
    return [values(p) for p in parameters]


optimizers = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1),
    "sgd momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=5e-4),
    "sgd nesterov": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=1e-2, nesterov=True),
    "adamw": lambda p: torch.optim.AdamW(p, 0.1, (0.8, 0.95), 1e-6, 0.05),
    "adamw skip": lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.01),
}

golden = {
    "operators": operators(),
    "optimizers": {name: trajectory(make, "skip" in name) for name, make in optimizers.items()},
}
path = pathlib.Path(__file__).with_name("golden.json")
path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
