"""Torch-Pruning's side of bench/torch-pruning.ts: answers one line of JSON on stdout for each line on stdin.

  export NAME FILE   torchvision's network with random weights as an ONNX file
  time NAME          seconds of the dependency graph with its pruner, and of one step (L1 over all layers, 30% of the
                     channels); for ViT of the graph alone, as its step needs a list of heads

Needs torch, torchvision, onnx and torch-pruning 1.6.1.
"""
import json
import sys
import time
import warnings

# This folder is searched first, and this file is called like the package.
sys.path.pop(0)
warnings.filterwarnings('ignore')
import torch
import torch_pruning as tp
import torchvision.models as models

torch.set_num_threads(2)
image = torch.randn(1, 3, 224, 224)


def network(name):
    torch.manual_seed(0)
    return getattr(models, name)(weights=None).eval()


def export(name, path):
    torch.onnx.export(network(name), image, path, opset_version=13, input_names=['input'], output_names=['output'],
                      dynamic_axes={'input': {0: 'batch'}, 'output': {0: 'batch'}})
    return {'exported': path}


def timed(name):
    net = network(name)
    start = time.perf_counter()
    if name.startswith('vit'):
        tp.DependencyGraph().build_dependency(net, example_inputs=image)
        return {'graph': time.perf_counter() - start, 'step': None}
    last = [layer for layer in net.modules() if isinstance(layer, torch.nn.Linear)][-1]
    pruner = tp.pruner.MagnitudePruner(net, image, importance=tp.importance.MagnitudeImportance(p=1), global_pruning=True,
                                       pruning_ratio=0.3, ignored_layers=[last])
    graph = time.perf_counter() - start
    start = time.perf_counter()
    pruner.step()
    return {'graph': graph, 'step': time.perf_counter() - start}


for line in sys.stdin:
    command, *arguments = line.split()
    print(json.dumps((export if command == 'export' else timed)(*arguments)), flush=True)
