import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    // A soak runs as many cases as it was asked for.
    testTimeout: process.env.S2H_SOAK ? 0 : 120_000,
    hookTimeout: 600_000,
  },
});
