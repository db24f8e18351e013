import { UserError } from '../util/errors.ts';
import { aligned, newScratch } from './aligned.ts';
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
 * Exactly these positions along some axes, in this order (twice, if an index is there twice); the way of storing stays.
 * @param indices by axis; axes that are not in it stay whole
 * @throws UserError E_TENSOR_INDEX for an axis or index outside the shape
 */
export function gatherAxes(tensor: OnnxTensor, indices: ReadonlyMap<number, ArrayLike<number>>): OnnxTensor {
  const { dims } = tensor;
  for (const [axis, own] of indices) {
    const length = dims[axis];
    const wrong = Array.from(own).find(i => !(Number.isInteger(i) && i >= 0 && i < length));
    if (length !== undefined && wrong === undefined) continue;
    const what = length === undefined ? `no axis ${axis}` : `no index ${wrong} along axis ${axis}`;
    throw new UserError('E_TENSOR_INDEX', `Tensor '${tensor.name}' [${dims.join(',')}] has ${what}.`, {
      where: tensor.name,
    });
  }
  if (indices.size === 0) return tensor;
  const last = Math.max(...indices.keys());
  const inner = dims.slice(last + 1).reduce((product, dim) => product * dim, elementSize(tensor));
  const left = dims.map((length, axis) => indices.get(axis)?.length ?? length);
  const rows = rowsOf(dims.slice(0, last), indices);
  return withDerived(tensor, left, source => gathered(source, rows, dims[last], inner, indices.get(last)!));
}

/** The places of all combinations of indices in the product of some axes. */
function rowsOf(dims: readonly number[], indices: ReadonlyMap<number, ArrayLike<number>>): Float64Array {
  return dims.reduce((rows, length, axis) => {
    const own = indices.get(axis);
    const count = own?.length ?? length;
    const next = new Float64Array(rows.length * count);
    rows.forEach((row, r) => {
      for (let i = 0; i < count; i++) next[r * count + i] = row * length + (own ? own[i] : i);
    });
    return next;
  }, new Float64Array(1));
}

/** Least that is read at once of a file. */
const windowSize = 2 ** 23;

/**
 * Positions along an axis.
 * @param rows which of the rows in front of the axis
 * @param length of the axis
 * @param inner bytes behind one index of it
 */
function gathered(
  source: ByteSource,
  rows: Float64Array,
  length: number,
  inner: number,
  indices: ArrayLike<number>,
): ByteSource {
  const count = indices.length;
  const rowBytes = length * inner;
  const reused = newScratch();
  // Small parts that follow each other are served from what was read last.
  let from = 0;
  let window: Uint8Array = new Uint8Array(0);
  const show = (at: number, bytes: number) => {
    if (at >= from && at + bytes <= from + window.byteLength) return;
    window = source.read(at, Math.min(Math.max(bytes, windowSize), source.byteLength - at));
    from = at;
  };
  return {
    byteLength: rows.length * count * inner,
    read(offset, bytes) {
      const target = new Uint8Array(Buffer.allocUnsafeSlow(bytes).buffer);
      const unit = inner % 4 === 0 ? 4 : inner % 2 === 0 ? 2 : 1;
      const isShort = offset % unit === 0 && inner <= shortPart && rowBytes <= windowSize;
      const targetUnits = inUnits(target, unit);
      const place = Math.floor(offset / inner);
      let within = offset - place * inner;
      let row = Math.floor(place / count);
      let index = place - row * count;
      for (let done = 0; done < bytes; ) {
        const start = rows[row] * rowBytes;
        if (isShort && index === 0 && within === 0 && count * inner <= bytes - done) {
          show(start, rowBytes);
          const units = inUnits(aligned(window.subarray(start - from, start - from + rowBytes), unit, reused), unit);
          copyParts(units, targetUnits, done / unit, indices, inner / unit);
          done += count * inner;
          row++;
          continue;
        }
        const part = Math.min(inner - within, bytes - done);
        const at = start + indices[index] * inner + within;
        show(at, part);
        target.set(window.subarray(at - from, at - from + part), done);
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

/** Up to this many bytes a loop over words is faster than a view for each part. */
const shortPart = 256;

type Units = Uint32Array | Uint16Array | Uint8Array;

const inUnits = ({ buffer, byteOffset, byteLength }: Uint8Array, unit: number): Units =>
  unit === 4
    ? new Uint32Array(buffer, byteOffset, byteLength >> 2)
    : unit === 2
      ? new Uint16Array(buffer, byteOffset, byteLength >> 1)
      : new Uint8Array(buffer, byteOffset, byteLength);

/** Copy the parts of one row that have these indices. @param length of a part, in units */
function copyParts(source: Units, target: Units, to: number, indices: ArrayLike<number>, length: number) {
  const count = indices.length;
  if (length === 1) {
    for (let i = 0; i < count; i++) target[to + i] = source[indices[i]];
    return;
  }
  for (let i = 0, t = to; i < count; i++) {
    const start = indices[i] * length;
    for (let k = start; k < start + length; k++) target[t++] = source[k];
  }
}
