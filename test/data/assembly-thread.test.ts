import { expect, test } from 'vitest';
import type { Assembly } from '../../src/data/assemble.ts';
import { assemblyThread } from '../../src/data/assembly-thread.ts';

const assembly: Assembly = {
  stored: [1, 2, 2],
  preprocessing: { size: null, scale: 2, mean: [1], std: [1], color: 'gray', layout: 'nchw', labelOrder: null },
  varied: null,
};
const work = (thread: ReturnType<typeof assemblyThread>) =>
  thread.assemble(0, Int32Array.of(0), [Uint8Array.of(1, 2, 3, 4)]);

test('a thread that has ended refuses what it is asked for afterwards', async () => {
  const thread = assemblyThread(assembly);
  expect([...(await work(thread))]).toEqual([1, 3, 5, 7]);
  // It may be done with this before it is ended.
  const owed = work(thread).catch((error: Error) => expect(error.message).toContain('has ended'));
  thread.close();
  await owed;
  // Nothing was owed when these are asked for.
  await expect(work(thread)).rejects.toThrow('has ended');
  await expect(work(thread)).rejects.toThrow('has ended');
});

test('the reason why it ended is remembered', async () => {
  const thread = assemblyThread({ ...assembly, preprocessing: null } as unknown as Assembly);
  const first = await work(thread).then(
    () => expect.unreachable('no error'),
    error => error,
  );
  expect(first).toBeInstanceOf(TypeError);
  await expect(work(thread)).rejects.toBe(first);
});
