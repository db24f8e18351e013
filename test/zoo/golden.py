"""Writes golden.json, what PyTorch says of the zoo's networks: python golden.py > golden.json (torch 2.13.0).

The networks are written here once more, as modules, from the papers and from torchvision's parameter names.
counts:  parameters, and MACs of one image (convolutions and linear layers, by forward hooks), on the meta device.
forward: logits in eval mode of small networks whose every parameter follows from the formula in fill().
adaptive: adaptive_avg_pool2d of the same kind of input.
"""
import json
import torch
from torch import nn
import torch.nn.functional as F


class Padded(nn.Module):
    def __init__(self, cin, out):
        super().__init__()
        self.before, self.after = (out - cin) // 2, out - cin - (out - cin) // 2

    def forward(self, x):
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.after))


class Basic(nn.Module):
    expansion = 1

    def __init__(self, cin, planes, stride, shortcut='B'):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(cin, planes, 3, stride, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False), nn.BatchNorm2d(planes)
        self.downsample = nn.Identity()
        if stride > 1 or cin != planes:
            self.downsample = Padded(cin, planes) if shortcut == 'A' else nn.Sequential(
                nn.Conv2d(cin, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, cin, planes, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(cin, planes, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv3, self.bn3 = nn.Conv2d(planes, 4 * planes, 1, bias=False), nn.BatchNorm2d(4 * planes)
        self.downsample = nn.Identity()
        if stride > 1 or cin != 4 * planes:
            self.downsample = nn.Sequential(nn.Conv2d(cin, 4 * planes, 1, stride, bias=False), nn.BatchNorm2d(4 * planes))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class Wide(nn.Module):
    def __init__(self, cin, out, stride):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(cin), nn.Conv2d(cin, out, 3, stride, 1, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(out), nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.downsample = nn.Conv2d(cin, out, 1, stride, bias=False) if cin != out else None

    def forward(self, x):
        a = F.relu(self.bn1(x))
        y = self.conv2(F.relu(self.bn2(self.conv1(a))))
        return y + (x if self.downsample is None else self.downsample(a))


class Residual(nn.Module):
    """Stem, stages, mean, linear layer; stem: 'cifar' or 'imagenet'."""

    def __init__(self, make, stem, cin, classes, width, stages, expansion=1):
        super().__init__()
        self.imagenet = stem == 'imagenet'
        self.conv1 = nn.Conv2d(cin, width, *((7, 2, 3) if self.imagenet else (3, 1, 1)), bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        c = width
        for i, n in enumerate(stages):
            blocks = []
            for b in range(n):
                blocks.append(make(c, width << i, 2 if i and not b else 1))
                c = (width << i) * expansion
            setattr(self, f'layer{i + 1}', nn.Sequential(*blocks))
        self.stages, self.fc = len(stages), nn.Linear(c, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.max_pool2d(x, 3, 2, 1) if self.imagenet else x
        for i in range(self.stages):
            x = getattr(self, f'layer{i + 1}')(x)
        return self.fc(x.mean((2, 3)))


class WideResNet(nn.Module):
    def __init__(self, depth, k, cin, classes):
        super().__init__()
        n, c = (depth - 4) // 6, 16
        self.conv1 = nn.Conv2d(cin, 16, 3, 1, 1, bias=False)
        for i in range(3):
            out, blocks = 16 * k << i, []
            for b in range(n):
                blocks.append(Wide(c, out, 2 if i and not b else 1))
                c = out
            setattr(self, f'layer{i + 1}', nn.Sequential(*blocks))
        self.bn1, self.fc = nn.BatchNorm2d(c), nn.Linear(c, classes)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        return self.fc(F.relu(self.bn1(x)).mean((2, 3)))


class VGG(nn.Module):
    plans = {11: [1, 'M', 2, 'M', 4, 4, 'M', 8, 8, 'M', 8, 8, 'M'],
             16: [1, 1, 'M', 2, 2, 'M', 4, 4, 4, 'M', 8, 8, 8, 'M', 8, 8, 8, 'M'],
             19: [1, 1, 'M', 2, 2, 'M', 4, 4, 4, 4, 'M', 8, 8, 8, 8, 'M', 8, 8, 8, 8, 'M']}

    def __init__(self, depth, form, cin, classes, width=64):
        super().__init__()
        layers = []
        for v in self.plans[depth]:
            if v == 'M':
                layers.append(nn.MaxPool2d(2, 2))
            else:
                layers += [nn.Conv2d(cin, v * width, 3, padding=1), nn.BatchNorm2d(v * width), nn.ReLU()]
                cin = v * width
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(7 if form == 'imagenet' else 1)
        self.classifier = nn.Sequential(
            nn.Linear(cin * 49, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(),
            nn.Linear(4096, classes)) if form == 'imagenet' else nn.Linear(cin, classes)

    def forward(self, x):
        return self.classifier(torch.flatten(self.pool(self.features(x)), 1))


class LeNet(nn.Module):
    def __init__(self, cin, size, classes):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(cin, 6, 5, padding=2 if size < 32 else 0), nn.Conv2d(6, 16, 5)
        side = ((size if size < 32 else size - 4) // 2 - 4) // 2
        self.fc1, self.fc2, self.fc3 = nn.Linear(16 * side * side, 120), nn.Linear(120, 84), nn.Linear(84, classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = torch.flatten(F.max_pool2d(F.relu(self.conv2(x)), 2), 1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


class MLP(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.n = len(sizes) - 1
        for i in range(self.n):
            setattr(self, f'fc{i + 1}', nn.Linear(sizes[i], sizes[i + 1]))

    def forward(self, x):
        x = torch.flatten(x, 1)
        for i in range(self.n):
            x = getattr(self, f'fc{i + 1}')(x if i == 0 else F.relu(x))
        return x


def cifar(depth, shortcut, cin=3, classes=10, width=16):
    make = lambda a, b, s: Basic(a, b, s, shortcut)
    return Residual(make, 'cifar', cin, classes, width, [(depth - 2) // 6] * 3)


def resnet(depth, form, cin=3, classes=1000, width=64):
    make, stages = {18: (Basic, [2, 2, 2, 2]), 34: (Basic, [3, 4, 6, 3]), 50: (Bottleneck, [3, 4, 6, 3])}[depth]
    return Residual(make, form, cin, classes, width, stages, make.expansion)


def counts(net, shape):
    total = [0]

    def hook(m, x, y):
        total[0] += m.weight.numel() * (y.shape[2] * y.shape[3] if isinstance(m, nn.Conv2d) else 1)
    for m in net.modules():
        if isinstance(m, (nn.Conv2d, nn.Linear)):
            m.register_forward_hook(hook)
    net.eval()(torch.zeros(1, *shape, device='meta'))
    return {'params': sum(p.numel() for p in net.parameters()), 'macs': total[0]}


def formula(shape, k):
    """Irregular numbers in [-1, 1): the i-th is 2 ((31 i^2 + 17 i + 101 k) mod 9973) / 9973 - 1."""
    i = torch.arange(torch.Size(shape).numel(), dtype=torch.int64)
    return (2 * ((31 * i * i + 17 * i + 101 * k) % 9973).double() / 9973 - 1).reshape(shape)


def fill(net):
    """Every tensor from formula(), k being its place in the sorted names, scaled by what it is."""
    state = {k: v for k, v in net.state_dict().items() if not k.endswith('num_batches_tracked')}
    for k, name in enumerate(sorted(state)):
        v, s = state[name], formula(state[name].shape, k)
        if name.endswith('running_var'):
            s = 1 + 0.5 * s
        elif v.dim() == 1:
            s = 0.1 * s + (1 if name.endswith('weight') else 0)
        else:
            s = s * (6 / v[0].numel()) ** 0.5
        v.copy_(s.float())
    return state


def forward(net, shape):
    net.eval()
    with torch.no_grad():
        state = fill(net)
        y = net(formula([2, *shape], 0).float())
    return {'parameters': {k: list(v.shape) for k, v in sorted(state.items())}, 'logits': y.flatten().tolist()}


i224, i32, i28 = (3, 224, 224), (3, 32, 32), (1, 28, 28)
with torch.device('meta'):
    table = {
        'lenet5': counts(LeNet(1, 28, 10), i28),
        'mlp': counts(MLP([784, 300, 100, 10]), i28),
        **{f'resnet{d}': counts(cifar(d, 'B'), i32) for d in (8, 20, 32, 44, 56, 110)},
        **{f'resnet{d} A': counts(cifar(d, 'A'), i32) for d in (8, 20, 32, 44, 56, 110)},
        **{f'resnet{d}{e}': counts(resnet(d, 'imagenet'), i224) for d in (18, 34, 50) for e in ('', '-imagenet')},
        **{f'resnet{d}-cifar': counts(resnet(d, 'cifar', classes=10), i32) for d in (18, 34, 50)},
        **{f'wrn-{d}-{k}': counts(WideResNet(d, k, 3, 10), i32) for d, k in ((16, 4), (16, 8), (28, 10), (40, 4))},
        **{f'vgg{d}-bn{e}': counts(VGG(d, 'imagenet', 3, 1000), i224) for d in (11, 16, 19) for e in ('', '-imagenet')},
        **{f'vgg{d}-bn-cifar': counts(VGG(d, 'cifar', 3, 10), i32) for d in (11, 16, 19)},
    }

cases = [
    ('lenet5', {}, 1, (28, 28), 10, LeNet(1, 28, 10)),
    ('lenet5', {}, 3, (32, 32), 7, LeNet(3, 32, 7)),
    ('mlp-12-7', {}, 1, (5, 4), 3, MLP([20, 12, 7, 3])),
    ('resnet8', {'width': 4}, 3, (32, 32), 10, cifar(8, 'B', width=4)),
    ('resnet8', {'width': 4, 'shortcut': 'A'}, 3, (32, 32), 10, cifar(8, 'A', width=4)),
    ('resnet14', {'width': 3, 'shortcut': 'A'}, 2, (9, 14), 5, cifar(14, 'A', 2, 5, 3)),
    ('resnet18', {'width': 4}, 3, (17, 24), 6, resnet(18, 'cifar', 3, 6, 4)),
    ('resnet18-imagenet', {'width': 4}, 1, (45, 64), 6, resnet(18, 'imagenet', 1, 6, 4)),
    ('resnet50', {'width': 2}, 3, (66, 70), 6, resnet(50, 'imagenet', 3, 6, 2)),
    ('wrn-10-2', {}, 3, (16, 12), 4, WideResNet(10, 2, 3, 4)),
    ('wide-resnet-16-1', {}, 3, (16, 16), 4, WideResNet(16, 1, 3, 4)),
    ('vgg11-bn', {'width': 4}, 3, (64, 32), 4, VGG(11, 'cifar', 3, 4, 4)),
    ('vgg16-bn-imagenet', {'width': 1}, 3, (96, 130), 4, VGG(16, 'imagenet', 3, 4, 1)),
]
result = {
    'counts': table,
    'forward': [
        {'name': name, 'options': {**options, 'channels': c, 'size': size, 'classes': classes}, **forward(net, (c, *size))}
        for name, options, c, size, classes, net in cases],
    'adaptive': [
        {'size': size, 'values': F.adaptive_avg_pool2d(formula([1, 2, *size], 0).float(), 7).flatten().tolist()}
        for size in ((8, 14), (9, 3), (1, 13), (7, 10), (24, 2))],
}
# One line per entry keeps the file readable in a diff.
print('{')
for i, (key, value) in enumerate(result.items()):
    body = [json.dumps(v) if isinstance(value, list) else f'{json.dumps(k)}: {json.dumps(v)}'
            for k, v in (enumerate(value) if isinstance(value, list) else value.items())]
    left, right = '[]' if isinstance(value, list) else '{}'
    print(f'  {json.dumps(key)}: {left}\n    ' + ',\n    '.join(body) + f'\n  {right}' + (',' if i + 1 < len(result) else ''))
print('}')
