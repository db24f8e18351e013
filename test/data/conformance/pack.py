# Packs the single-operator cases of the ONNX project whose operators have a record into cases.json.gz:
#
#     python3 pack.py FOLDER OPERATORS > cases.json.gz
#
# FOLDER is the tree of backend tests (Debian: libonnx-testdata, /usr/share/onnx/backend/test/data), OPERATORS the names
# with a comma between. A case is its model and its data sets, all of them serialised messages in base64.
import base64
import glob
import gzip
import json
import os
import re
import sys

import onnx

folder, known = sys.argv[1], set(sys.argv[2].split(','))


def text(path):
    with open(path, 'rb') as file:
        return base64.b64encode(file.read()).decode()


def numbered(folder, kind):
    """Messages by number; None for one that the case leaves out."""
    files = glob.glob(f'{folder}/{kind}_*.pb')
    numbers = {int(re.search(r'_(\d+)\.pb$', file).group(1)): file for file in files}
    return [text(numbers[i]) if i in numbers else None for i in range(max(numbers, default=-1) + 1)]


cases = {}
for path in sorted(glob.glob(f'{folder}/*/*/model.onnx')):
    case = os.path.dirname(path)
    if not {node.op_type for node in onnx.load(path).graph.node} <= known:
        continue
    sets = sorted(glob.glob(f'{case}/test_data_set_*'))
    cases[os.path.relpath(case, folder).replace('/test_', '/')] = {
        'model': text(path),
        'sets': [{'inputs': numbered(s, 'input'), 'outputs': numbered(s, 'output')} for s in sets],
    }
sys.stdout.buffer.write(gzip.compress(json.dumps(cases, separators=(',', ':')).encode(), 9, mtime=0))
