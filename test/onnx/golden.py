"""Makes the files that the tests of src/onnx compare with, by the onnx package: python golden.py CONFORMANCE_FOLDER.

types.onnx      every element type as initializer, in raw data and in typed fields
golden.json     their values as onnx and numpy read them; float32 numbers rounded to float16 and bfloat16 by numpy
whole.onnx      what a model can hold besides nodes: functions, sparse initializers, annotations, an If, IR version 3 style inputs
corpus.json.gz  the models of the ONNX project's conformance cases (Apache-2.0), base64 by name
"""
import base64, glob, gzip, json, os, sys

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto as T, helper as h, numpy_helper

here = os.path.dirname(os.path.abspath(__file__))
values = {
    'FLOAT': [1.5, -0.0, 3.4e38, 1e-45], 'DOUBLE': [1.1, -2.5e300, 5e-324], 'FLOAT16': [0.1, -65504, 6e-8],
    'BFLOAT16': [0.1, -3e38, 1e-40], 'INT8': [-128, 127, 3], 'UINT8': [0, 255, 7], 'INT16': [-32768, 32767],
    'UINT16': [0, 65535], 'INT32': [-2**31, 2**31 - 1], 'UINT32': [0, 2**32 - 1], 'INT64': [-2**53 + 1, 2**53 - 1, 0],
    'UINT64': [0, 2**53 - 1], 'BOOL': [1, 0, 1], 'COMPLEX64': [1 + 2j, -3.5j], 'COMPLEX128': [0.1 - 1j],
    'FLOAT8E4M3FN': [1.5, -448.0, 0.25], 'FLOAT8E5M2': [1.5, -57344.0], 'INT4': [-8, 7, 1], 'UINT4': [0, 15, 9],
}
tensors, golden = [], {}
for name, data in values.items():
    kind = getattr(T, name)
    if name.startswith('COMPLEX'):
        array = np.array(data, h.tensor_dtype_to_np_dtype(kind))
        raw, typed = numpy_helper.from_array(array, f'{name}_raw'), h.make_tensor(f'{name}_typed', kind, [len(data)], array)
    else:
        array = np.array(data, np.float64 if 'FLOAT' in name or name == 'DOUBLE' else np.int64 if name != 'UINT64' else np.uint64)
        array = array.astype(h.tensor_dtype_to_np_dtype(kind))
        raw, typed = numpy_helper.from_array(array, f'{name}_raw'), h.make_tensor(f'{name}_typed', kind, [len(data)], array)
    assert raw.HasField('raw_data') and not typed.HasField('raw_data')
    tensors += [raw, typed]
    read = numpy_helper.to_array(typed)
    assert np.array_equal(read, numpy_helper.to_array(raw))
    entry = {'bytes': base64.b64encode(raw.raw_data).decode()}
    if not name.startswith(('COMPLEX', 'FLOAT8')):
        entry['values'] = [float(x) if 'FLOAT' in name or name == 'DOUBLE' else int(x) for x in read]
    golden[name] = entry
tensors.append(h.make_tensor('STRING', T.STRING, [2], [b'one', 'zwölf'.encode()]))
x, y = h.make_tensor_value_info('x', T.FLOAT, [1]), h.make_tensor_value_info('y', T.FLOAT, [1])
graph = h.make_graph([h.make_node('Relu', ['x'], ['y'])], 'types', [x], [y], tensors)
onnx.save(h.make_model(graph, ir_version=9, opset_imports=[h.make_opsetid('', 19)]), f'{here}/types.onnx')

rng = np.random.default_rng(0)
bits = np.concatenate([rng.integers(0, 2**32, 300), (rng.integers(100, 145, 300) << 23) | rng.integers(0, 2**23, 300),
                       (np.arange(102, 145) << 23) | 0x1000, (np.arange(102, 145) << 23) | 0x3000,
                       [0x477fefff, 0x477ff000, 0x33000000, 0x33000001, 0x7f800000, 0xff800000, 0x80000000]])
floats = bits.astype(np.uint32).view(np.float32)
floats = floats[~np.isnan(floats)]
with np.errstate(over='ignore'):
    half, bfloat = floats.astype(np.float16), floats.astype(ml_dtypes.bfloat16)
hex_of = lambda array: base64.b64encode(array.tobytes()).decode()
rounding = {'float32': hex_of(floats), 'float16': hex_of(half), 'bfloat16': hex_of(bfloat),
            'back16': hex_of(half.astype(np.float32)), 'backBfloat': hex_of(bfloat.astype(np.float32))}
with open(f'{here}/golden.json', 'w') as file:
    json.dump({'types': golden, 'rounding': rounding}, file, indent=1)

weight = numpy_helper.from_array(np.arange(4, dtype=np.float32).reshape(2, 2), 'w')
weight.doc_string = 'a weight'
sparse = h.make_sparse_tensor(h.make_tensor('s', T.FLOAT, [1], [2.0]), h.make_tensor('', T.INT64, [1], [3]), [4])
branch = lambda k: h.make_graph([h.make_node('Constant', [], [f'c{k}'], value=h.make_tensor('v', T.FLOAT, [2], [k, k])),
                                 h.make_node('Add', ['z', f'c{k}'], [f'o{k}'])], f'b{k}', [],
                                [h.make_tensor_value_info(f'o{k}', T.FLOAT, None)])
nodes = [h.make_node('MatMul', ['x', 'w'], ['h'], name='first', doc_string='where it came from'),
         h.make_node('Twice', ['h'], ['z'], domain='local'),
         h.make_node('If', ['p'], ['y'], then_branch=branch(1), else_branch=branch(2))]
function = h.make_function('local', 'Twice', ['a'], ['b'], [h.make_node('Add', ['a', 'a'], ['b'])], [h.make_opsetid('', 17)])
graph = h.make_graph(nodes, 'whole', [h.make_tensor_value_info('x', T.FLOAT, ['batch', 2]), h.make_tensor_value_info('p', T.BOOL, []),
                                      h.make_tensor_value_info('w', T.FLOAT, [2, 2])],
                     [h.make_tensor_value_info('y', T.FLOAT, ['batch', 2])], [weight], 'what it is for',
                     value_info=[h.make_tensor_value_info('h', T.FLOAT, ['batch', 2])], sparse_initializer=[sparse])
graph.quantization_annotation.add(tensor_name='w').quant_parameter_tensor_names.add(key='SCALE_TENSOR', value='w')
model = h.make_model(graph, functions=[function], ir_version=10, producer_name='golden', model_version=7,
                     opset_imports=[h.make_opsetid('ai.onnx', 17), h.make_opsetid('local', 1)])
h.set_model_props(model, {'author': 'onnx', 'labels': 'a,b'})
onnx.save(model, f'{here}/whole.onnx')

corpus = {os.path.relpath(path, sys.argv[1]): base64.b64encode(open(path, 'rb').read()).decode()
          for path in sorted(glob.glob(f'{sys.argv[1]}/**/*.onnx', recursive=True))}
with open(f'{here}/corpus.json.gz', 'wb') as file:
    file.write(gzip.compress(json.dumps(corpus).encode(), mtime=0))
