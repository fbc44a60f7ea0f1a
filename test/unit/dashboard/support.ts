import { randomUUID } from 'node:crypto'
import { expect } from 'vitest'
import { type Dashboard, dashboard, type DashboardOptions } from '../../../src/dashboard/index.ts'
import { description } from '../../../src/dashboard/api/routes.ts'
import type { OutgoingMessage, Store } from '../../../src/index.ts'
import { memoryStore } from '../../../src/memory.ts'

export const TOKEN = 'a-token-of-the-tests'
export const ORIGIN = 'http://here.test'

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  // What a test reads of an answer has been checked against its description.
  // oxlint-disable-next-line typescript/no-explicit-any -- tests read what they have asked for
  readonly body: any
}

type Schema = {
  readonly type?: string
  readonly properties?: Record<string, Schema>
  readonly required?: readonly string[]
  readonly items?: Schema
  readonly anyOf?: readonly Schema[]
}

/** What does not fit the schema. */
export function misfits(value: unknown, schema: Schema, path = ''): string[] {
  if (schema.anyOf !== undefined) {
    const tried = schema.anyOf.map((one) => misfits(value, one, path))
    return tried.some((found) => found.length === 0) ? [] : (tried[0] ?? [])
  }
  const kind = value === null ? 'null' : Array.isArray(value) ? 'array' : (typeof value as string)
  const wanted = schema.type === 'integer' ? 'number' : schema.type
  if (kind !== wanted) return [`${path} is ${kind}, not ${wanted}`]
  if (Array.isArray(value))
    return value.flatMap((one, index) => misfits(one, schema.items!, `${path}[${index}]`))
  if (kind !== 'object') return []
  const given = value as Record<string, unknown>
  return [
    ...(schema.required ?? [])
      .filter((name) => !(name in given))
      .map((name) => `${path}.${name} is missing`),
    ...Object.entries(given).flatMap(([name, one]) => {
      const of = schema.properties?.[name]
      return of === undefined
        ? [`${path}.${name} is not described`]
        : misfits(one, of, `${path}.${name}`)
    }),
  ]
}

type Described = {
  readonly paths: Record<
    string,
    Record<
      string,
      {
        readonly responses: {
          readonly 200: { readonly content: Record<string, { schema: Schema }> }
        }
      }
    >
  >
}

/** Asks as a program with the token does; whatever comes back fits the description. */
export function client(
  ui: (request: Request) => Promise<Response>,
  {
    base = '',
    headers: common = { authorization: `Bearer ${TOKEN}` },
  }: { readonly base?: string; readonly headers?: Readonly<Record<string, string>> } = {},
) {
  async function ask(method: string, path: string, init: RequestInit = {}): Promise<Answer> {
    const headers = { ...common, ...(init.headers as Record<string, string>) }
    const url = path.startsWith('http') ? path : `${ORIGIN}${base}/${path}`
    const response = await ui(new Request(url, { ...init, method, headers }))
    const text = await response.text()
    const json = response.headers.get('content-type')?.includes('json') === true
    const body: unknown = json && text !== '' ? JSON.parse(text) : undefined
    const [place = ''] = path.split('?')
    const described = (description as Described).paths[`/${place}`]?.[method.toLowerCase()]
    const schema = described?.responses[200].content['application/json']?.schema
    if (response.status === 200 && schema !== undefined) expect(misfits(body, schema)).toEqual([])
    return { status: response.status, headers: response.headers, text, body }
  }
  return {
    ask,
    get: (path: string, init?: RequestInit) => ask('GET', path, init),
    post: (path: string, body: unknown, headers: Record<string, string> = {}) =>
      ask('POST', path, {
        body: typeof body === 'string' ? body : JSON.stringify(body),
        headers: { 'content-type': 'application/json', ...headers },
      }),
  }
}

export function message(
  body: string,
  options: Partial<OutgoingMessage> & { readonly queue?: string } = {},
): OutgoingMessage {
  const { queue = 'orders', ...rest } = options
  return {
    id: randomUUID(),
    type: 'orders.placed',
    headers: { 'content-type': 'text/plain' },
    body: Buffer.from(body),
    to: { transport: 'default', kind: 'queue', name: queue },
    ...rest,
  }
}

export async function save(store: Store<never>, ...messages: OutgoingMessage[]): Promise<void> {
  await store.unitOfWork(async (tx) => {
    await store.outbox.save(tx, messages)
  })
}

/** Takes everything that is due and gives it up. */
export async function kill(
  store: Store<never>,
  error: unknown = new Error('it was refused'),
): Promise<void> {
  const token = randomUUID()
  for (;;) {
    const rows = await store.outbox.claim({ limit: 1000, claimMs: 60_000, token })
    if (rows.length === 0) return
    await store.outbox.settle(
      rows.map(({ position }) => ({
        kind: 'dead',
        position,
        token,
        reason: 'refused',
        error: error as Error,
        onDead: 'skip',
        maybePublished: false,
      })),
    )
  }
}

/** A store in memory with some dead letters, and a dashboard of it with the token. */
export async function openMemory(options: Partial<DashboardOptions> = {}) {
  const store = memoryStore() as unknown as Store<never>
  await store.open()
  const ui: Dashboard = dashboard({
    stores: { main: store },
    ...(options.access === undefined ? { token: TOKEN } : {}),
    ...options,
  })
  return { store, ui, ...client(ui) }
}
