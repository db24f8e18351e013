import { conformanceCases } from './cases.ts';
import { passesConformance } from './conformance-tests.ts';

passesConformance(conformanceCases(), {
  shape: { passed: 467 },
  value: {
    passed: 124,
    'the operator is only run: no arithmetic on shapes needs it': 292,
    'more than 64 real numbers are not computed with': 13,
    'this form of it is only run': 35,
    'the file is in training mode': 3,
  },
  forward: {
    passed: 437,
    'it is not trained': 24,
    'a constant or shape: nothing is run': 3,
    'the file is in training mode': 3,
  },
});
