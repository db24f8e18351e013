import { join } from 'node:path';
import { bitsOf } from './data-type.ts';
import { checkOverlaps, externalRange, type TensorRange } from './external-data.ts';
import { mapExternal } from './external-write.ts';
import type { OnnxModel } from './model.ts';
import { contentLength, type OnnxTensor } from './tensor.ts';

/**
 * Make sure that the ranges which initializers claim do not overlap, without looking for the files.
 * @throws UserError E_EXTERNAL_DATA
 */
export function checkClaims(tensors: readonly OnnxTensor[]): void {
  checkOverlaps(
    tensors.flatMap(({ name, data, dims, dataType }) => {
      if (data.storage !== 'external') return [];
      const claimed = (dims.reduce((product, dim) => product * dim, 1) * (bitsOf(dataType) ?? 0)) / 8;
      const offset = Number(data.entries.get('offset') ?? 0);
      const length = Number(data.entries.get('length') ?? claimed);
      const isRange = offset >= 0 && length >= 0;
      return isRange ? [{ path: join('.', data.entries.get('location') ?? ''), offset, length, tensor: name }] : [];
    }),
  );
}

/**
 * Make sure of everything outside the file that the file refers to, without reading it; before another program is told
 * to load the file.
 * @throws UserError E_EXTERNAL_DATA, E_TENSOR_DATA
 */
export function checkExternal(model: OnnxModel): void {
  const ranges: TensorRange[] = [];
  mapExternal(model, tensor => {
    const { data, name } = tensor;
    if (data.storage === 'external' && data.files && !data.bytes)
      ranges.push({ ...externalRange(data.files, data.entries, contentLength(tensor), name), tensor: name });
    return tensor;
  });
  checkOverlaps(ranges);
}
