/**
 * The history of a run: one line of JSON before and after every action, one file for each process.
 */
import type { Letter } from './places/letters.ts'
import { closeSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'

/** Milliseconds of the monotonic clock of the machine, which all processes share. */
export function now(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

/** `id`, `position`, `token` of a message under one claim. */
export type Held = readonly [id: string, position: string, token: string]

/**
 * `from`: when the claim was asked for. `invoke`: about to happen. `ok`, `fail`: it did, it did
 * not. `info`: nobody knows.
 */
export type Event =
  | {
      readonly op: 'tx'
      readonly phase: 'invoke'
      readonly tx: number
      readonly kind: string
      readonly ids: readonly string[]
    }
  /** A request that takes effect once was answered. */
  | { readonly op: 'once'; readonly phase: 'ok'; readonly key: string; readonly stamp: string }
  | {
      readonly op: 'tx'
      readonly phase: 'ok' | 'fail' | 'info'
      readonly tx: number
      readonly error?: string
    }
  | {
      /** `told`: by the log. */
      readonly op: 'save' | 'claim' | 'told'
      readonly phase: 'ok'
      readonly from: number
      readonly rows: readonly Held[]
    }
  | {
      readonly op: 'claim'
      readonly phase: 'invoke' | 'fail'
      readonly token: string
      readonly error?: string
    }
  | {
      readonly op: 'publish'
      readonly phase: 'invoke'
      readonly publish: string
      readonly held: Held
    }
  | {
      readonly op: 'publish'
      readonly phase: 'ok' | 'fail' | 'info'
      readonly publish: string
      readonly kind: string
      readonly error?: string
    }
  | {
      readonly op: 'settle'
      readonly phase: 'invoke'
      readonly call: number
      readonly rows: readonly (readonly [string, string, string])[]
    }
  | {
      readonly op: 'settle'
      readonly phase: 'ok' | 'fail'
      readonly call: number
      readonly stale: number
      readonly error?: string
    }
  | { readonly op: 'track'; readonly phase: 'ok'; readonly id: string; readonly outcome: string }
  | {
      readonly op: 'handle'
      readonly phase: 'invoke'
      readonly id: string
      readonly attempt: number
    }
  | {
      readonly op: 'handle'
      readonly phase: 'ok'
      readonly id: string
      readonly disposition: string
      readonly error?: string
    }
  /** `wall`: what the process takes for the time of day. */
  | { readonly op: 'rss'; readonly phase: 'ok'; readonly bytes: number; readonly wall: number }
  /**
   * Bytes after a full collection of garbage: what is really held. `buffers` is a part of
   * `external`.
   */
  | {
      readonly op: 'live'
      readonly phase: 'ok'
      readonly heap: number
      readonly external: number
      readonly buffers: number
    }
  /** A dead letter that an operator discards: what was sent, and why it has to be one if known. */
  | {
      readonly op: 'letter'
      readonly phase: 'ok'
      readonly letter: Letter
      readonly sent: Pick<Letter, 'bytes' | 'digest'>
      readonly reason: string | undefined
    }
  /** What a process had counted when it ended in good order. */
  | {
      readonly op: 'meters'
      readonly phase: 'ok'
      readonly readings: Readonly<Record<string, number>>
    }
  | {
      readonly op: 'fault'
      readonly phase: 'invoke' | 'ok' | 'fail'
      readonly name: string
      readonly detail: string
    }
  | {
      readonly op: 'exit'
      readonly phase: 'ok' | 'fail'
      readonly how: string
      readonly of: string
      readonly ofLife: number
    }
  | { readonly op: 'log'; readonly phase: 'ok'; readonly level: string; readonly text: string }

export type Line = Event & { readonly t: number; readonly proc: string; readonly life: number }

export interface History extends Disposable {
  note(event: Event): void
}

/**
 * Every line is with the operating system before the action goes on: a killed process loses none.
 */
export function openHistory(path: string, proc: string, life: number): History {
  const file = openSync(path, 'a')
  return {
    note: (event) =>
      void writeSync(file, `${JSON.stringify({ t: now(), proc, life, ...event })}\n`),
    [Symbol.dispose]: () => closeSync(file),
  }
}

export const historyFile = (folder: string, proc: string): string => join(folder, `${proc}.ndjson`)

/** A killed process may leave a last line without its end. */
export function linesOf(path: string): readonly Line[] {
  const texts = readFileSync(path, 'utf8').split('\n')
  return texts.filter((text) => text.endsWith('}')).map((text) => JSON.parse(text) as Line)
}

/** All lines of all processes, in the order of their times. */
export function readHistory(folder: string): readonly Line[] {
  const files = readdirSync(folder).filter((name) => name.endsWith('.ndjson'))
  return files.flatMap((file) => linesOf(join(folder, file))).sort((a, b) => a.t - b.t)
}

export function errorText(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown)
  const code = (thrown as { code?: unknown }).code
  const text = typeof code === 'string' ? `${code}: ${thrown.message}` : thrown.message
  return thrown.cause instanceof Error ? `${text} <- ${errorText(thrown.cause)}` : text
}
