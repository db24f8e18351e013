import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';

/** How many threads this process may use, and what sets the limit. */
export interface ThreadLimit {
  readonly threads: number;
  readonly why: string;
}

/**
 * The processors that this process may keep busy: the CPU affinity mask, bounded by the CPU quota of its control group
 * (a container's `--cpus`; one thread per host processor would be throttled many times over) and by OMP_NUM_THREADS.
 * A quota of 1.5 processors gives 2 threads.
 * @param cpus processors in the affinity mask
 * @param root folder that stands for `/`, where `proc` and `sys` are
 */
export function allowedThreads(
  cpus: number = availableParallelism(),
  root = '/',
  environment: NodeJS.ProcessEnv = process.env,
): ThreadLimit {
  const limits: ThreadLimit[] = [
    { threads: cpus, why: `${cpus} available ${cpus === 1 ? 'processor' : 'processors'}` },
  ];
  const quota = cgroupQuota(root);
  if (quota !== undefined) {
    limits.push({
      threads: Math.max(1, Math.round(quota)),
      why: `CPU quota of ${Number(quota.toFixed(2))} processors`,
    });
  }
  const wanted = Number(environment.OMP_NUM_THREADS?.split(',')[0]);
  if (Number.isInteger(wanted) && wanted > 0) limits.push({ threads: wanted, why: `OMP_NUM_THREADS=${wanted}` });
  return limits.reduce((least, limit) => (limit.threads < least.threads ? limit : least));
}

/** Processors' worth of time per period, the least along the path of control groups; undefined without a quota. */
function cgroupQuota(root: string): number | undefined {
  const quotas: number[] = [];
  for (const line of read(join(root, 'proc/self/cgroup')).split('\n')) {
    // hierarchy:controllers:path; version 2 has an empty list of controllers.
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (path === undefined) continue;
    const isCpu = controllers.split(',').includes('cpu');
    if (controllers !== '' && !isCpu) continue;
    const mounts = isCpu
      ? [join(root, 'sys/fs/cgroup', controllers), join(root, 'sys/fs/cgroup/cpu')]
      : [join(root, 'sys/fs/cgroup')];
    for (const mount of mounts) {
      for (const folder of ancestors(mount, path)) quotas.push(...(isCpu ? quotaV1(folder) : quotaV2(folder)));
    }
  }
  return quotas.length > 0 ? Math.min(...quotas) : undefined;
}

/** The folder of a control group and of all above it: each may have a quota. */
function ancestors(mount: string, path: string): string[] {
  const parts = path.split('/').filter(Boolean);
  return Array.from({ length: parts.length + 1 }, (_, i) => join(mount, ...parts.slice(0, i)));
}

function quotaV2(folder: string): number[] {
  const [quota, period] = read(join(folder, 'cpu.max')).split(/\s+/).map(Number);
  return quota > 0 && period > 0 ? [quota / period] : []; // "max 100000" is no quota
}

function quotaV1(folder: string): number[] {
  const quota = Number(read(join(folder, 'cpu.cfs_quota_us')));
  const period = Number(read(join(folder, 'cpu.cfs_period_us')));
  return quota > 0 && period > 0 ? [quota / period] : []; // -1 is no quota
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
