/** A name out of a file with everything escaped that a terminal would act on. */
export { printable } from '../util/printable.ts';
