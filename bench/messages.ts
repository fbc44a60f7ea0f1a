/**
 * Every message has a number in its first bytes, and a key that follows from the number; so whoever
 * reads it can tell what is missing, doubled or out of order. 256 bytes of JSON in all.
 */
const HEAD = '{"n":"'
const DIGITS = 8
const TEXT = 'x'.repeat(230)

export interface Body {
  readonly n: string
  readonly text: string
}

export function jsonOf(number: number): Body {
  return { n: String(number).padStart(DIGITS, '0'), text: TEXT }
}

export const BODY_BYTES = 256

export function bodyOf(number: number): Buffer {
  return Buffer.from(JSON.stringify(jsonOf(number)))
}

/** Throws on bytes that are none of ours. */
export function numberOf(body: Uint8Array): number {
  let number = 0
  for (let at = HEAD.length; at < HEAD.length + DIGITS; at++)
    number = number * 10 + (body[at] as number) - 48
  if (!Number.isSafeInteger(number) || number < 0)
    throw new Error(`these are no bytes of the benchmark: ${Buffer.from(body).toString()}`)
  return number
}

/** SQL for the text of the body of message `n`. */
export const bodySql = `'${HEAD}' || lpad(n::text, ${DIGITS}, '0') || '","text":"${TEXT}"}'`

/** How numbers map to keys, here and in SQL (an expression on `n`). */
export interface Keys {
  readonly of: (number: number) => string | undefined
  readonly sql: string
}

export const noKeys: Keys = { of: () => undefined, sql: 'null::text' }

/** This number of keys, each as often as the others. */
export function evenKeys(count: number): Keys {
  return { of: (number) => `key ${number % count}`, sql: `'key ' || n % ${count}` }
}

/** Every second message has one and the same key. */
export function hotKey(count: number): Keys {
  return {
    of: (number) => (number % 2 === 0 ? 'hot' : `key ${number % count}`),
    sql: `case when n % 2 = 0 then 'hot' else 'key ' || n % ${count} end`,
  }
}

export const thousandKeys: Keys = evenKeys(1000)
