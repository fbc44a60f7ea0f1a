/**
 * What the message with this number says: as SQL for psql, and as the bytes and headers that must
 * arrive.
 */

export interface Content {
  readonly contentType: string
  readonly body: Buffer
  /** Without those that Mersal sets. */
  readonly headers: Readonly<Record<string, string>>
}

interface Written extends Content {
  readonly kind: 'publish' | 'send'
  /** The body as an SQL literal of its type. */
  readonly literal: string
}

const quote = (text: string): string => `'${text.replaceAll("'", "''")}'`

/**
 * Bytes that no text would survive: every value, among them zeros, and a length of its own for each
 * number.
 */
function bytes(number: number): Buffer {
  return Buffer.from(
    Array.from({ length: (number * 7) % 1500 }, (_, index) => (index * 31 + number) % 256),
  )
}

function written(number: number): Written {
  const headers = {
    tenant: number % 3 === 0 ? 'Zoë’s "north"' : `tenant ${number % 5}`,
    'trace.number': String(number),
  }
  if (number % 4 === 0) {
    const body = bytes(number)
    return {
      kind: 'send',
      literal: `'\\x${body.toString('hex')}'::bytea`,
      contentType: 'application/octet-stream',
      body,
      headers,
    }
  }
  if (number % 4 === 1) {
    const literal = quote(`{"number": 0, "number": ${number}, "a": [1.50, "\\u00e9"]}`)
    // As PostgreSQL prints jsonb: short keys first, the last of doubled ones.
    const body = Buffer.from(`{"a": [1.50, "é"], "number": ${number}}`)
    return {
      kind: 'publish',
      literal: `${literal}::jsonb`,
      contentType: 'application/json',
      body,
      headers,
    }
  }
  if (number % 4 === 2) {
    const text = `{"number":  ${number}, "b" :1,"a": "it's \\u0000 \\"§\\" 😀", "number": 1.0}\n`
    return {
      kind: 'publish',
      literal: quote(text),
      contentType: 'application/json',
      body: Buffer.from(text),
      headers: {},
    }
  }
  const text = `  plain text ${number}: \\x00 :name $$ ${'ü'.repeat(number % 50)}\n`
  return {
    kind: 'send',
    literal: quote(text),
    contentType: 'text/plain',
    body: Buffer.from(text),
    headers,
  }
}

/**
 * The call of the function of the SQL contract for this message. `log` is the name of its type and
 * of its queue.
 */
export function call(S: string, log: string, number: number, key: string | undefined): string {
  const { kind, literal, contentType, headers } = written(number)
  const place = kind === 'send' ? `${quote(log)}, ${quote(log)}` : quote(log)
  const options = [
    ...(key === undefined ? [] : [`partition_key => ${quote(key)}`]),
    ...(literal.endsWith('::jsonb') ? [] : [`content_type => ${quote(contentType)}`]),
    ...(Object.keys(headers).length === 0 ? [] : [`headers => ${quote(JSON.stringify(headers))}`]),
  ]
  return `${S}.${kind}(${[place, literal, ...options].join(', ')})`
}

/** The same for messages of a series, whose number is the SQL expression `i`. */
export function seriesCall(S: string, log: string, key: string | undefined): string {
  const body = `format('{"number": %s,  "of": "series", "text": "%s"}', i, repeat('é', i % 40))`
  const options = [
    `headers => jsonb_build_object('Trace.Number', i::text)`,
    ...(key === undefined ? [] : [`partition_key => ${key}`]),
  ]
  return `${S}.publish(${[quote(log), body, ...options].join(', ')})`
}

export function contentOf(number: number, series: boolean): Content {
  if (!series) return written(number)
  const body = Buffer.from(
    `{"number": ${number},  "of": "series", "text": "${'é'.repeat(number % 40)}"}`,
  )
  return { contentType: 'application/json', body, headers: { 'trace.number': String(number) } }
}
