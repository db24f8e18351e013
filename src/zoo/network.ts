import type { Activation, Net } from './layers.ts';

/** What a network is built for. */
export interface NetworkOptions {
  /** Length of the output `logits` per image. */
  readonly classes: number;
  /** Channels of the input. */
  readonly channels: number;
  /** Height and width of the input. */
  readonly size: readonly [height: number, width: number];
  /** Seed of the initial parameters: the same seed gives the same file. */
  readonly seed: number;
  /** Channels of the first stage, from which those of all stages follow, where the network takes it. */
  readonly width?: number;
  /** Shortcut of a CIFAR ResNet where the shape changes: A slices and pads with zeros, B (default) projects. */
  readonly shortcut?: 'A' | 'B';
  /**
   * `false` leaves all parameters zero, which is enough to count parameters and MACs and costs neither time nor memory
   * for networks of 140 million parameters.
   */
  readonly initialise?: boolean;
}

/** What is known of a network without building it. */
export interface NetworkDescription {
  /** The name that `buildNetwork` takes. */
  readonly name: string;
  readonly description: string;
  /** Title, authors, venue, and arXiv number where there is one. */
  readonly paper: string;
  /** Input `[channels, height, width]` and head of the published parameter and MAC counts. */
  readonly published: { readonly input: readonly [number, number, number]; readonly classes: number };
}

/** A network that a family can build. */
export interface Network extends NetworkDescription {
  /** The optional settings that it takes; any other is refused. */
  readonly takes: readonly ('width' | 'shortcut')[];
  /** Smallest height and width for images of about this size: below, a strided layer would have nothing to reduce. */
  smallest(size: NetworkOptions['size']): number;
  /** Adds the layers from the input `x` to the logits. */
  build(net: Net, x: Activation, options: NetworkOptions): Activation;
}

/** Networks of one kind: one file each. */
export interface Family {
  /** The names to list. */
  readonly names: readonly string[];
  /** Further names that `find` knows, in words (`resnet<6n+2>`), where there are any. */
  readonly pattern?: string;
  /** The network of that name, or `undefined` when it is not of this family. */
  find(name: string): Network | undefined;
}
