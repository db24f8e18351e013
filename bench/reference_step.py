"""Steps of the PyTorch reference, one per line read from standard input; its seconds go to standard output.

python3 reference_step.py PATH/TO/s2h_min.py DEPTH TARGET BATCH THREADS MODE
MODE: s2h (masks move), frozen (masks stand still), plain (dense training, channels_last, PyTorch's own SGD)
"""
import importlib.util
import resource
import sys
import time

import torch
import torch.nn.functional as F

path, depth, target, batch, threads, mode = sys.argv[1:7]
spec = importlib.util.spec_from_file_location('s2h_min', path)
ref = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ref)
torch.set_num_threads(int(threads))
torch.manual_seed(0)
target = float(target)
net = ref.ResNet(int(depth), 16, 100, 'B')
x, y = torch.randn(int(batch), 3, 32, 32), torch.randint(0, 100, (int(batch),))
opt = ref.SGD(list(net.p.values()))
plain = torch.optim.SGD(list(net.p.values()), lr=0.01, momentum=0.9, weight_decay=5e-4)
if mode == 'plain':
    x = x.contiguous(memory_format=torch.channels_last)
    for p in net.p.values():
        if p.dim() == 4:
            p.data = p.data.contiguous(memory_format=torch.channels_last)
else:
    net.snap(target)
scale = [1 / sum(c[2] == k for c in net.convs) for k in net.groups]


def step():
    if mode == 'plain':
        loss = F.cross_entropy(net.forward(x, None, 'dense', True), y)
        plain.zero_grad()
        loss.backward()
        plain.step()
        return
    o = ref.step_grads(net, x, y, 't1', target, u_frozen=mode == 'frozen')
    if mode == 's2h':
        d = ref.fuse_u(o, target, 'gnorm', 2.0, 0.01, scale=scale)
        with torch.no_grad():
            for u, g in zip(net.u.values(), d):
                u.sub_(0.0 * g)
    opt.step(o['gT'], 0.01)


for line in sys.stdin:
    began = time.perf_counter()
    step()
    print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)
