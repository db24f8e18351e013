"""Expected values for test/data, from PyTorch and Pillow: python test/data/golden.py DATA_FOLDER > test/data/golden.json

Needs numpy, torch and pillow; DATA_FOLDER holds cifar-100-binary/ and mnist/ with the official files."""

import hashlib
import json
import sys

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

MEAN, STD = [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]


def pattern(*shape):
    return torch.tensor([(i * 37 + 11) % 256 for i in range(int(np.prod(shape)))], dtype=torch.uint8).reshape(shape)


def flat(x):
    return x.flatten().tolist()


def normalise(x, mean, std):
    mean, std = torch.tensor(mean), torch.tensor(std)
    return (x.float() / 255 - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)


def interpolate(x, size):
    return F.interpolate(x[None].float(), size, mode="bilinear", align_corners=False, antialias=False)[0]


def photo(height, width):
    """Smooth colours, so that rounding in a resize shows, and noise does not."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([(x * 9 + y * 3) % 256, 255 - y * 10, (x * x + y * y) // 4], -1).clip(0, 255).astype(np.uint8)


def resize_and_crop(image, resize, crop):
    """torchvision.transforms.Resize(resize), CenterCrop(crop) on a PIL image."""
    w, h = image.size
    short, long = (w, h) if w <= h else (h, w)
    scaled = int(resize * long / short)
    size = (resize, scaled) if w <= h else (scaled, resize)
    image = image.resize(size, Image.BILINEAR)
    top, left = int(round((image.height - crop) / 2.0)), int(round((image.width - crop) / 2.0))
    return np.asarray(image.crop((left, top, left + crop, top + crop))).transpose(2, 0, 1)


def first_batch(images, labels, mean, std):
    """128 images [N, C, H, W]: bytes, and the sums of what PyTorch makes of them."""
    x = torch.stack([normalise(torch.tensor(image), mean, std) for image in images[:128]]).double()
    return {
        "sha256": hashlib.sha256(images[:128].tobytes()).hexdigest(),
        "labels": labels[:128].tolist(),
        "sum": x.sum().item(),
        "squares": (x * x).sum().item(),
        "corner": flat(x[127, :, -1, -3:]),
    }


def main(folder):
    cifar = np.fromfile(f"{folder}/cifar-100-binary/test.bin", np.uint8).reshape(10000, 3074)
    digits = np.fromfile(f"{folder}/mnist/t10k-images-idx3-ubyte", np.uint8)[16:].reshape(10000, 1, 28, 28)
    digit_labels = np.fromfile(f"{folder}/mnist/t10k-labels-idx1-ubyte", np.uint8)[8:]
    x = pattern(3, 4, 5)
    json.dump(
        {
            "normalised": flat(normalise(x, MEAN, STD)),
            "bgrRawNhwc": flat((x.flip(0).float() - torch.tensor([103.94, 116.78, 123.68]).view(-1, 1, 1)).permute(1, 2, 0)),
            "luma": np.asarray(Image.fromarray(x.permute(1, 2, 0).numpy()).convert("L")).flatten().tolist(),
            "up": flat(interpolate(pattern(1, 7, 7), (8, 8))),
            "mixed": flat(interpolate(pattern(2, 5, 7), (8, 3))),
            "window": flat(interpolate(pattern(1, 6, 8)[:, 2:5, 1:6], (6, 8))),
            "centre": resize_and_crop(Image.fromarray(photo(20, 30)), 12, 8).flatten().tolist(),
            "tall": resize_and_crop(Image.fromarray(photo(21, 10)), 10, 10).flatten().tolist(),
            "cifar100": first_batch(cifar[:, 2:].reshape(-1, 3, 32, 32), cifar[:, 1], [0.5071, 0.4865, 0.4409], [0.2673, 0.2564, 0.2762]),
            "mnist": first_batch(digits, digit_labels, [0.1307], [0.3081]),
        },
        sys.stdout,
        separators=(",", ":"),
    )


main(sys.argv[1])
