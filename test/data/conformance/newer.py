# Packs cases of the onnx package for Python (1.23.2) for operators that cases.json.gz has none of into newer.json.gz, in
# the same form:
#
#     python3 newer.py OPERATORS > newer.json.gz
#
# OPERATORS are names with a comma between. Left out: cases of more than 12 kB, those whose inputs or outputs are no
# tensors, and of CastLike all pairs of types but those of FLOAT, FLOAT16, BFLOAT16 and DOUBLE.
import base64
import gzip
import json
import re
import sys
import warnings

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

warnings.filterwarnings('ignore')
known = set(sys.argv[1].split(','))


def text(message):
    return base64.b64encode(message.SerializeToString()).decode()


def packed(values, infos):
    """Messages of tensors; None where one is something else."""
    if len(values) > len(infos):
        return None
    tensors = []
    for value, info in zip(values, infos):
        if isinstance(value, onnx.TensorProto):
            tensors.append(text(value))
        elif isinstance(value, np.ndarray) or np.isscalar(value):
            tensors.append(text(numpy_helper.from_array(np.asarray(value), info.name)))
        else:
            return None
    return tensors


cases = {}
for case in sorted(collect_testcases(None), key=lambda one: one.name):
    graph = case.model.graph
    if not {node.op_type for node in graph.node} <= known:
        continue
    types = re.match(r'test_castlike_(?:no_saturate_)?(\w+?)_to_(\w+?)(_expanded)?$', case.name)
    if types and not set(types.groups()[:2]) <= {'FLOAT', 'FLOAT16', 'BFLOAT16', 'DOUBLE'}:
        continue
    sets = [
        {'inputs': packed(inputs, graph.input), 'outputs': packed(outputs, graph.output)}
        for inputs, outputs in case.data_sets
    ]
    if any(part is None for one in sets for part in one.values()):
        continue
    one = {'model': text(case.model), 'sets': sets}
    if len(json.dumps(one)) <= 12000:
        cases[f'node/{case.name.removeprefix("test_")}'] = one
sys.stdout.buffer.write(gzip.compress(json.dumps(cases, separators=(',', ':')).encode(), 9, mtime=0))
