import { parentPort, workerData } from 'node:worker_threads';
import { type Assembly, assembler } from './assemble.ts';
import type { AssemblyOrder } from './assembly-thread.ts';

/** The other end of assembly-thread.ts: one batch after the other. */
const assemble = assembler(workerData as Assembly);
parentPort!.on('message', ({ id, epoch, indices, pixels }: AssemblyOrder) => {
  const bytes = pixels.length / indices.length;
  const images = Array.from(indices, (_, i) => pixels.subarray(i * bytes, (i + 1) * bytes));
  const out = assemble(epoch, indices, images);
  parentPort!.postMessage({ id, images: out }, [out.buffer]);
});
