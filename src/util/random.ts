/** A seeded stream of pseudo-random numbers. */
export interface Random {
  /** A 32-bit unsigned integer. */
  uint32(): number;
  /** Uniform in [0, 1). */
  uniform(): number;
  /** Standard normal (Box-Muller). */
  normal(): number;
  /** Uniform integer in [0, n). */
  int(n: number): number;
  /** The integers 0..n-1 in random order (Fisher-Yates). */
  permutation(n: number): Int32Array;
}

/** MurmurHash3's finaliser: every input bit reaches every output bit. */
function mix(h: number): number {
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/**
 * An independent stream for every purpose of one run: `stream(seed, 'augment', epoch, index)`.
 * The same seed and key give the same numbers on every machine, so no generator state has to be saved.
 * sfc32 (Chris Doty-Humphrey, PractRand), its state hashed from seed and key.
 */
export function stream(seed: number, ...key: readonly (string | number)[]): Random {
  let hash = mix((seed >>> 0) ^ 0x9e3779b9) ^ mix(Math.floor(seed / 2 ** 32) >>> 0);
  const absorb = (word: number) => {
    hash = mix((Math.imul(hash, 5) + 0xe6546b64 + word) >>> 0);
  };
  for (const part of key) {
    if (typeof part === 'number') absorb(part >>> 0);
    else for (let i = 0; i < part.length; i++) absorb(part.charCodeAt(i));
    absorb(0x5f);
  }
  let a = mix(hash + 1);
  let b = mix(hash + 2);
  let c = mix(hash + 3);
  let counter = 1;
  const uint32 = () => {
    const t = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + t;
    return t >>> 0;
  };
  for (let i = 0; i < 12; i++) uint32();
  const uniform = () => (uint32() * 2 ** 21 + (uint32() >>> 11)) / 2 ** 53;
  const int = (n: number) => Math.floor(uniform() * n);
  return {
    uint32,
    uniform,
    int,
    normal: () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()),
    permutation: n => {
      const order = Int32Array.from({ length: n }, (_, i) => i);
      for (let i = n - 1; i > 0; i--) {
        const j = int(i + 1);
        [order[i], order[j]] = [order[j], order[i]];
      }
      return order;
    },
  };
}
