import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { libraryName } from '../../src/torch/locate.ts';

export const temporary = (): string => mkdtempSync(join(tmpdir(), 's2h-test-'));

/** Writes files below a folder, which is made. */
export function files(root: string, contents: Readonly<Record<string, string>>): string {
  for (const [name, text] of Object.entries(contents)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), text);
  }
  return root;
}

const header = (version: string) => {
  const [major, minor, patch] = version.split('.');
  return `#define TORCH_VERSION_MAJOR ${major}\n#define TORCH_VERSION_MINOR ${minor}\n#define TORCH_VERSION_PATCH ${patch}\n`;
};

/** The files by which a libtorch is recognised, as the wheels have them. */
export const libtorchFiles = (version: string): Record<string, string> => ({
  [`lib/${libraryName('torch_cpu')}`]: 'library',
  [`include/torch/${/^2\.1\d/.test(version) ? 'headeronly' : 'csrc/api/include/torch'}/version.h`]: header(version),
});

/** A zip archive of stored (not compressed) files. */
export function zip(contents: Readonly<Record<string, string>>): Buffer {
  const local: Buffer[] = [];
  const central: Buffer[] = [];
  let offset = 0;
  for (const [name, text] of Object.entries(contents)) {
    const [path, data] = [Buffer.from(name), Buffer.from(text)];
    // The fields that both headers share: version, flags, method, time, date, checksum, sizes, name and extra lengths.
    const shared = Buffer.alloc(26);
    shared.writeUInt16LE(20, 0);
    shared.writeUInt32LE(crc32(data), 10);
    shared.writeUInt32LE(data.length, 14);
    shared.writeUInt32LE(data.length, 18);
    shared.writeUInt16LE(path.length, 22);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(offset, 10);
    local.push(Buffer.from('PK\x03\x04', 'latin1'), shared, path, data);
    central.push(Buffer.from('PK\x01\x02\x14\x00', 'latin1'), shared, tail, path);
    offset += 30 + path.length + data.length;
  }
  const directory = Buffer.concat(central);
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 'latin1');
  end.writeUInt16LE(Object.keys(contents).length, 8);
  end.writeUInt16LE(Object.keys(contents).length, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...local, directory, end]);
}

/** The checksum of zip archives (CRC-32, reflected polynomial edb88320). */
function crc32(data: Uint8Array): number {
  let crc = ~0;
  for (const byte of data) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}
