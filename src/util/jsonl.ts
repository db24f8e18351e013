import { closeSync, existsSync, fsyncSync, openSync, readFileSync, truncateSync, writeSync } from 'node:fs';
import { writeAtomic } from './atomic.ts';
import { messageOf, UserError } from './errors.ts';

/** One line of an event log. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** An event log open for appending. */
export interface JsonLines {
  readonly path: string;
  readonly file: number;
}

/**
 * Open an event log for appending; made when it does not exist. What a crash left of a last line is removed first, so
 * that the next line does not run into it.
 * @throws UserError E_WRITE when the file cannot be opened
 */
export function openJsonLines(path: string): JsonLines {
  try {
    if (existsSync(path)) mendLastLine(path);
    return { path, file: openSync(path, 'a') };
  } catch (error) {
    throw cannotWrite(path, error);
  }
}

/**
 * Append one line. A reader sees the whole line or a torn last one, which {@link readJsonLines} ignores.
 * @throws UserError E_WRITE when the disk is full
 */
export function appendJsonLine(log: JsonLines, event: JsonObject): void {
  const line = Buffer.from(`${JSON.stringify(event)}\n`);
  try {
    for (let at = 0; at < line.length; ) at += writeSync(log.file, line, at);
  } catch (error) {
    throw cannotWrite(log.path, error, line.length);
  }
}

/** Flush to the disk and close. */
export function closeJsonLines(log: JsonLines): void {
  try {
    fsyncSync(log.file);
  } finally {
    closeSync(log.file);
  }
}

/**
 * All lines of an event log, oldest first; a torn last line is left out, a missing file has none.
 * @throws UserError E_JSONL for a broken line that is not the last
 */
export function readJsonLines(path: string): JsonObject[] {
  if (!existsSync(path)) return [];
  return parseLines(path, readFileSync(path, 'utf8')).map(line => line.event);
}

/**
 * Drop the first event for which `from` holds and all after it (on resume: what was logged after the checkpoint).
 * A crash leaves either the old file or the new one.
 * @returns how many events were dropped
 */
export function truncateJsonLines(path: string, from: (event: JsonObject, index: number) => boolean): number {
  if (!existsSync(path)) return 0;
  const lines = parseLines(path, readFileSync(path, 'utf8'));
  const end = lines.findIndex((line, index) => from(line.event, index));
  if (end < 0) return 0;
  writeAtomic(
    path,
    lines
      .slice(0, end)
      .map(line => `${line.text}\n`)
      .join(''),
  );
  return lines.length - end;
}

function parseLines(path: string, content: string): { text: string; event: JsonObject }[] {
  const lines = content.split('\n');
  return lines.flatMap((text, index) => {
    if (text.trim() === '') return [];
    const event = parseObject(text);
    if (event) return [{ text, event }];
    if (index === lines.length - 1) return [];
    throw new UserError('E_JSONL', `Line ${index + 1} of ${path} is not a JSON object.`, {
      where: path,
      fix: 'The log was changed or the disk is damaged: remove that line, or start a new run.',
    });
  });
}

/** A prefix of an object's text never parses, so a last line that parses is whole even without its line break. */
function parseObject(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined;
  } catch {
    return undefined;
  }
}

function mendLastLine(path: string): void {
  const content = readFileSync(path);
  const end = content.lastIndexOf(10) + 1;
  if (end === content.length) return;
  if (!parseObject(content.toString('utf8', end))) {
    truncateSync(path, end);
    return;
  }
  const file = openSync(path, 'a');
  try {
    writeSync(file, '\n');
  } finally {
    closeSync(file);
  }
}

const cannotWrite = (path: string, error: unknown, bytes?: number): UserError =>
  new UserError(
    'E_WRITE',
    `Could not write ${bytes === undefined ? '' : `${bytes} bytes `}to ${path}: ${messageOf(error)}.`,
    {
      where: path,
      fix: 'The lines before are intact. Free space or choose another folder, then go on with --resume.',
      cause: error,
    },
  );
