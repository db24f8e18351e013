import { conformanceCases } from './cases.ts';
import { passesConformance } from './conformance-tests.ts';

passesConformance(conformanceCases('newer'), {
  shape: {
    passed: 420,
    'its lengths depend on the data': 34,
    'its rank depends on the data, or on what the file declares': 11,
  },
  value: {
    passed: 62,
    'the operator is only run: no arithmetic on shapes needs it': 363,
    'more than 64 real numbers are not computed with': 4,
    'text, complex numbers and numbers below 16 bits': 36,
  },
  forward: {
    passed: 175,
    'it is not trained': 218,
    'this form of it is refused': 43,
    'the bits of smaller integers': 29,
  },
});
