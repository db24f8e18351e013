import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { Assembly } from './assemble.ts';

/** One batch to be assembled: `pixels` are its stored images one after the other. */
export interface AssemblyOrder {
  readonly id: number;
  readonly epoch: number;
  readonly indices: Int32Array;
  readonly pixels: Uint8Array<ArrayBuffer>;
}

/** A thread that assembles batches while the main one trains. */
export interface AssemblyThread {
  /** As an {@link Assembler} does; orders are worked off one after the other. Rejected when the thread has ended. */
  assemble(epoch: number, indices: Int32Array, images: readonly Uint8Array[]): Promise<Float32Array>;
  /** End the thread; what it still owes is rejected. */
  close(): void;
}

/** Sources that are not compiled need the loader that runs them here in the thread too. */
const openWorker = (workerData: Assembly): Worker => {
  const extension = extname(fileURLToPath(import.meta.url));
  const url = new URL(`./assembly-worker${extension}`, import.meta.url);
  if (extension === '.js') return new Worker(url, { workerData });
  const loader = import.meta.resolve('tsx/esm/api');
  const program = `import('${loader}').then(({ register }) => (register(), import('${url}')))`;
  return new Worker(program, { eval: true, workerData });
};

/** Start a thread for an assembly. It keeps the process alive only while it owes something. */
export function assemblyThread(assembly: Assembly): AssemblyThread {
  const worker = openWorker(assembly);
  worker.unref();
  const owed = new Map<number, { resolve: (images: Float32Array) => void; reject: (error: Error) => void }>();
  let ended: Error | undefined;
  const fail = (error: Error) => {
    ended ??= error;
    for (const { reject } of owed.values()) reject(error);
    owed.clear();
  };
  worker.on('message', ({ id, images }: { id: number; images: Float32Array }) => {
    owed.get(id)?.resolve(images);
    owed.delete(id);
    if (owed.size === 0) worker.unref();
  });
  worker.on('error', fail);
  worker.on('exit', () => fail(new Error('The thread that assembles batches has ended.')));
  let id = 0;
  return {
    assemble(epoch, indices, images) {
      if (ended) return Promise.reject(ended);
      const pixels = new Uint8Array(images.reduce((sum, image) => sum + image.length, 0));
      images.reduce((at, image) => {
        pixels.set(image, at);
        return at + image.length;
      }, 0);
      id++;
      const order: AssemblyOrder = { id, epoch, indices, pixels };
      return new Promise((resolve, reject) => {
        owed.set(order.id, { resolve, reject });
        worker.ref();
        worker.postMessage(order, [pixels.buffer]);
      });
    },
    close() {
      void worker.terminate();
    },
  };
}
