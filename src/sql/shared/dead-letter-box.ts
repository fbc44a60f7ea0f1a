import type { DeadLetter, DeadLetterBox } from '../../core/dead-letter.ts'
import { checkNumber } from '../../core/options.ts'

/** What a place of dead letters does itself. `Key`: what the key of a letter stands for. */
export interface LetterPorts<Key> {
  /** Undefined: no dead letter can have this key. */
  readonly parse: (key: string) => Key | undefined
  /** Comes before the key of every dead letter. */
  readonly first: Key
  /** In the order of the keys. The bytes of a page are bounded. */
  readonly list: (after: Key, limit: number) => Promise<readonly DeadLetter[]>
  /** Returns how many were there. A key may come twice. */
  readonly retry: (keys: readonly Key[]) => Promise<number>
  readonly discard: (keys: readonly Key[]) => Promise<number>
  /** Called after letters were put back, or no longer hold back their key. */
  readonly changed: () => void
}

/** Limits, strange keys and hints for whoever waits, the same for every place. */
export function deadLetterBox<Key>(ports: LetterPorts<Key>): DeadLetterBox {
  const known = (keys: readonly string[]): Key[] =>
    keys.map(ports.parse).filter((key) => key !== undefined)
  const change =
    (apply: LetterPorts<Key>['retry']) =>
    async (keys: readonly string[]): Promise<number> => {
      const found = known(keys)
      const changed = found.length === 0 ? 0 : await apply(found)
      if (changed > 0) ports.changed()
      return changed
    }
  return {
    async list({ limit, after } = {}) {
      const most = checkNumber('limit', limit, { default: 100, min: 1, max: 1000 })
      const from = after === undefined ? ports.first : ports.parse(after)
      return from === undefined ? [] : await ports.list(from, most)
    },
    retry: change(ports.retry),
    discard: change(ports.discard),
  }
}

/** For keys that are the numbers of a counter, from 1 on. */
export function counterKey(key: string): number | undefined {
  const number = /^[1-9]\d{0,15}$/.test(key) ? Number(key) : Number.NaN
  return Number.isSafeInteger(number) ? number : undefined
}

/** Applies the change to each letter, the oldest first; returns to how many it applied. */
export function countEach(keys: readonly number[], change: (key: number) => boolean): number {
  return keys.toSorted((left, right) => left - right).filter((key) => change(key)).length
}
