// A vitest reporter that writes how many tests passed and failed, as JSON, to the file that S2H_TEST_COUNTS names.
import { writeFileSync } from 'node:fs';

export default class CountReporter {
  /** Test files that could not even be collected and errors outside of tests count as failures. */
  onTestRunEnd(modules, unhandledErrors) {
    const counts = { passed: 0, failed: unhandledErrors.length };
    for (const module of modules) {
      let failed = 0;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state === 'passed') counts.passed++;
        if (state === 'failed') failed++;
      }
      counts.failed += failed === 0 && module.state() === 'failed' ? 1 : failed;
    }
    writeFileSync(process.env.S2H_TEST_COUNTS, JSON.stringify(counts));
  }
}
