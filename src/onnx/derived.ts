import { UserError } from '../util/errors.ts';
import { readExternal } from './external-data.ts';
import {
  type ByteSource,
  bytesOf,
  contentOf,
  elementCount,
  elementSize,
  filesOf,
  type OnnxTensor,
  tensorError,
  withData,
} from './tensor.ts';

/**
 * Like `withData`, from the old content, little-endian; of external data it is made when it is asked for.
 * @param derive the new content as it follows from the old one
 * @throws UserError as `withData` and `bytesOf` do; of external data later
 */
export function withDerived(
  tensor: OnnxTensor,
  dims: readonly number[],
  derive: (source: ByteSource) => ByteSource,
): OnnxTensor {
  const { data } = tensor;
  const size = elementSize(tensor);
  if (data.storage !== 'external' || data.bytes instanceof Uint8Array) {
    const bytes = bytesOf(tensor);
    const read = (offset: number, length: number) => bytes.subarray(offset, offset + length);
    return withData(tensor, dims, contentOf(derive({ byteLength: bytes.byteLength, read })));
  }
  const expected = elementCount(tensor) * size;
  const read = (offset: number, length: number) =>
    readExternal(filesOf(tensor, data.files), data.entries, expected, tensor.name, { offset, length });
  const changed = { ...tensor, dims };
  const bytes = derive(data.bytes ?? { byteLength: expected, read });
  const wanted = elementCount(changed) * size;
  if (bytes.byteLength !== wanted) throw tensorError(changed, `takes ${wanted} bytes, ${bytes.byteLength} were given`);
  return { ...changed, data: { ...data, bytes } };
}

/**
 * Exactly these positions along an axis, in this order (twice, if an index is there twice); the way of storing stays.
 * @param axis may be negative
 * @throws UserError E_TENSOR_INDEX for an axis or index outside the shape
 */
export function gatherAxis(tensor: OnnxTensor, axis: number, indices: ArrayLike<number>): OnnxTensor {
  const { dims } = tensor;
  const at = axis < 0 ? axis + dims.length : axis;
  const length = dims[at];
  const wrong = Array.from(indices).find(i => !(Number.isInteger(i) && i >= 0 && i < length));
  if (length === undefined || wrong !== undefined) {
    const what = length === undefined ? `no axis ${axis}` : `no index ${wrong} along axis ${axis}`;
    throw new UserError('E_TENSOR_INDEX', `Tensor '${tensor.name}' [${dims.join(',')}] has ${what}.`, {
      where: tensor.name,
    });
  }
  const inner = dims.slice(at + 1).reduce((product, dim) => product * dim, elementSize(tensor));
  return withDerived(tensor, dims.with(at, indices.length), source => gathered(source, length, inner, indices));
}

/** Least that is read at once of a file. */
const windowSize = 2 ** 23;

/**
 * Positions along an axis.
 * @param length of the axis
 * @param inner bytes behind one index of it
 */
function gathered(source: ByteSource, length: number, inner: number, indices: ArrayLike<number>): ByteSource {
  const outer = length * inner === 0 ? 0 : source.byteLength / (length * inner);
  const count = indices.length;
  // Small parts that follow each other are served from what was read last.
  let from = 0;
  let window: Uint8Array = new Uint8Array(0);
  return {
    byteLength: outer * count * inner,
    read(offset, bytes) {
      const target = new Uint8Array(bytes);
      const place = Math.floor(offset / inner);
      let within = offset - place * inner;
      let row = Math.floor(place / count);
      let index = place - row * count;
      for (let done = 0; done < bytes; ) {
        const part = Math.min(inner - within, bytes - done);
        const at = (row * length + indices[index]) * inner + within;
        if (at < from || at + part > from + window.byteLength) {
          window = source.read(at, Math.min(Math.max(part, windowSize), source.byteLength - at));
          from = at;
        }
        // A view for each part would cost more than the copy.
        if (part > 64) target.set(window.subarray(at - from, at - from + part), done);
        else for (let i = 0, k = at - from; i < part; i++, k++) target[done + i] = window[k];
        done += part;
        within = 0;
        if (++index === count) {
          index = 0;
          row++;
        }
      }
      return target;
    },
  };
}
