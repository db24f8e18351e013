/** The two forms of the networks that were made for ImageNet and are used on small images too. */
export type Form = 'cifar' | 'imagenet';

/** Largest height or width that a network gets its CIFAR form for, where its name leaves it open. */
const largestCifar = 64;

/** Reads the form from a name's ending: `resnet18-cifar` is `['resnet18', 'cifar']`, `resnet18` leaves it open. */
export function splitForm(name: string): readonly [base: string, form: Form | undefined] {
  const match = /^(.*)-(cifar|imagenet)$/.exec(name);
  return match ? [match[1], match[2] as Form] : [name, undefined];
}

/** The form for images of a size, where the name leaves it open. */
export const formFor = (size: readonly [number, number]): Form =>
  Math.max(...size) <= largestCifar ? 'cifar' : 'imagenet';

/** Input and head of the published counts. */
export const publishedFor = (form: Form | undefined) =>
  form === 'cifar'
    ? ({ input: [3, 32, 32], classes: 10 } as const)
    : ({ input: [3, 224, 224], classes: 1000 } as const);
