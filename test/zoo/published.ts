/** Parameters and MACs of a network with the input and head of its description. */
export interface PublishedCounts {
  readonly shortcut?: 'A' | 'B';
  readonly params?: number;
  /** Multiply-accumulates of convolutions and linear layers for one image. */
  readonly macs?: number;
  /** Where the figures stand. */
  readonly source: string;
}

const torchvision = 'torchvision';
const akamaster = 'akamaster/pytorch_resnet_cifar10; MACs: closed formula';
const closed = 'closed formula';

/**
 * Figures that others have published, as far as they are exact (papers round: 0.27 M for ResNet-20, 36.5 M for
 * WRN-28-10). `golden.json` has those of all networks, counted by PyTorch.
 */
export const published: Readonly<Record<string, readonly PublishedCounts[]>> = {
  lenet5: [{ params: 61_706, macs: 416_520, source: closed }],
  mlp: [{ params: 266_610, macs: 266_200, source: closed }],
  resnet8: [
    { shortcut: 'A', macs: 12_239_488, source: closed },
    { shortcut: 'B', macs: 12_501_632, source: closed },
  ],
  resnet20: [
    { shortcut: 'A', params: 269_722, macs: 40_551_040, source: akamaster },
    { shortcut: 'B', macs: 40_813_184, source: closed },
  ],
  resnet32: [{ shortcut: 'A', params: 464_154, source: akamaster }],
  resnet44: [{ shortcut: 'A', params: 658_586, source: akamaster }],
  resnet56: [{ shortcut: 'A', params: 853_018, source: akamaster }],
  resnet110: [{ shortcut: 'A', params: 1_727_962, source: akamaster }],
  resnet18: [{ params: 11_689_512, macs: 1_814_073_344, source: torchvision }],
  resnet34: [{ params: 21_797_672, macs: 3_663_761_408, source: torchvision }],
  resnet50: [{ params: 25_557_032, macs: 4_089_184_256, source: torchvision }],
  'wrn-28-10': [{ params: 36_479_194, source: 'xternalbz/WideResNet-pytorch' }],
  'vgg11-bn': [{ params: 132_868_840, source: torchvision }],
  'vgg16-bn': [{ params: 138_365_992, macs: 15_470_264_320, source: torchvision }],
  'vgg19-bn': [{ params: 143_678_248, source: torchvision }],
};
