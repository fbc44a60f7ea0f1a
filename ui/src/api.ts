/** What the admin API answers, as far as the pages read it. */
export interface Counts {
  readonly pending: number
  readonly due: number
  readonly claimed: number
  readonly dead: number
  readonly refused: number
  readonly oldestMs: number
  readonly overdueMs: number
  readonly behindMs: number
}

export interface DestinationRow extends Counts {
  readonly destination: string
  readonly lastError: string | null
}

export interface KeyRow {
  readonly key: string
  readonly pending: number
  readonly oldestMs: number
  readonly blocked: boolean
}

export interface PauseRow {
  readonly kind: string
  readonly name: string
  readonly since: number
  readonly reason: string
}

export interface QueueRow {
  readonly transport: string
  readonly queue: string
  readonly dead: number
  readonly waiting: number
  readonly consumers: number | null
}

export interface Health {
  readonly status: string
  readonly parts: readonly {
    readonly part: string
    readonly name: string
    readonly status: string
    readonly reason: string | null
  }[]
}

export interface SourceView {
  readonly name: string
  readonly kind: string
  readonly store: string | null
  /** `slow`: its database answers, but not in time. */
  readonly trouble: {
    readonly kind: 'away' | 'slow'
    readonly text: string
    readonly since: number
  } | null
  readonly seenAt: number | null
  readonly counts: (Counts & { readonly kept: number; readonly rowsRead: number | null }) | null
  readonly rates: { readonly added: number; readonly left: number } | null
  readonly destinations: readonly DestinationRow[]
  readonly moreDestinations: number
  readonly keys: readonly KeyRow[]
  readonly pauses: readonly PauseRow[]
  readonly queues: readonly QueueRow[]
  readonly queueTroubles: readonly { readonly transport: string; readonly text: string }[]
  readonly health: Health | null
  readonly offers: {
    readonly pauses: boolean
    readonly sagas: boolean
    readonly letters: boolean
    readonly refused: boolean
  }
}

export interface Overview {
  readonly at: number
  readonly sources: readonly SourceView[]
}

export interface Me {
  readonly rights: readonly string[]
  readonly sources: readonly { readonly name: string; readonly kind: string }[]
  readonly remembers: boolean
}

export interface Letter {
  readonly key: string
  readonly direction: string
  readonly id: string
  readonly type: string
  readonly place: string
  readonly partitionKey: string | null
  readonly reason: string
  readonly attempts: number
  readonly diedAt: number
  readonly blocksKey: boolean
  readonly maybePublished: boolean
  readonly correlationId: string | null
  readonly error: string
  readonly bytes: number
}

export interface Attempt {
  readonly attempt: number
  readonly at: number
  readonly code: string
  readonly causes: readonly string[]
}

export interface RefusedRow {
  readonly key: string
  readonly id: string
  readonly type: string
  readonly place: string
  readonly partitionKey: string | null
  readonly attempts: number
  readonly dueAt: number
  readonly history: readonly Attempt[]
}

export interface WholeLetter extends Letter {
  readonly history: readonly Attempt[]
  readonly causes: readonly string[]
  readonly stack: readonly string[]
  readonly headers: readonly { readonly name: string; readonly value: string | null }[]
  readonly withheld: boolean
  readonly body: {
    readonly text: string | null
    readonly base64: string | null
    readonly cut: boolean
  } | null
}

export interface LetterPage {
  readonly letters: readonly Letter[]
  readonly next: string | null
  readonly looked: number
}

export interface Changed {
  readonly changed: number
  readonly asked: number
  readonly next: string | null
  readonly looked: number
}

export interface SagaRow {
  readonly app: string
  readonly saga: string
  readonly key: string
  readonly id: string
  readonly version: number
  readonly createdAt: number
  readonly updatedAt: number
}

export interface WholeSaga extends SagaRow {
  readonly timeouts: readonly string[]
  readonly state: string | null
}

export interface WayStep {
  readonly at: number
  readonly what: string
  readonly app: string
  readonly place: string
  readonly outcome: string | null
  readonly ms: number | null
}

export interface WayMessage {
  readonly id: string
  readonly type: string | null
  readonly causationId: string | null
  readonly steps: readonly WayStep[]
  readonly state: string | null
  readonly handledBy: readonly string[]
  readonly letters: readonly {
    readonly source: string
    readonly transport: string | null
    readonly queue: string | null
    readonly key: string
    readonly place: string
    readonly reason: string
    readonly diedAt: number
  }[]
}

export interface Way {
  readonly correlationId: string
  readonly messages: readonly WayMessage[]
  readonly complete: boolean
  readonly remembersSince: number | null
}

/** What a call of the API failed with. */
export class ApiError extends Error {
  readonly status: number
  readonly code: string

  constructor(status: number, code: string, text: string) {
    super(text)
    this.status = status
    this.code = code
  }
}

const STORED = 'mersal-token'
/** Beside the page, wherever that is. */
const root = new URL('./api/', location.href.split('#')[0])

export const token = {
  read: (): string | null => sessionStorage.getItem(STORED),
  write: (text: string): void => sessionStorage.setItem(STORED, text),
  forget: (): void => sessionStorage.removeItem(STORED),
}

function headers(): Record<string, string> {
  const known = token.read()
  return known === null ? {} : { authorization: `Bearer ${known}` }
}

export type Query = Readonly<Record<string, string | number | null | undefined>>

function addressOf(path: string, query: Query): URL {
  const url = new URL(path, root)
  for (const [name, value] of Object.entries(query))
    if (value !== undefined && value !== null && value !== '')
      url.searchParams.set(name, String(value))
  return url
}

async function failed(response: Response): Promise<ApiError> {
  const given = (await response.json().catch(() => ({}))) as { code?: string; title?: string }
  return new ApiError(
    response.status,
    given.code ?? 'unknown',
    given.title ?? `The server answered with ${response.status}.`,
  )
}

async function call(url: URL, init: RequestInit): Promise<Response> {
  let response: Response
  try {
    response = await fetch(url, { ...init, headers: { ...headers(), ...init.headers } })
  } catch (error) {
    if (init.signal?.aborted === true) throw error
    throw new ApiError(0, 'unreachable', 'The dashboard does not answer.')
  }
  if (!response.ok) throw await failed(response)
  return response
}

export async function get<Answer>(path: string, query: Query = {}, signal?: AbortSignal) {
  const response = await call(addressOf(path, query), signal === undefined ? {} : { signal })
  return (await response.json()) as Answer
}

export async function post<Answer>(path: string, body: object): Promise<Answer> {
  const response = await call(new URL(path, root), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  return (await response.json()) as Answer
}

/** Yields what the server tells, until the stream ends. */
export async function* stream(signal: AbortSignal): AsyncGenerator<Overview> {
  const response = await call(new URL('live', root), { signal })
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    const frames = (rest + value).split('\n\n')
    rest = frames.pop() ?? ''
    const last = frames
      .at(-1)
      ?.split('\n')
      .find((line) => line.startsWith('data: '))
    if (last !== undefined) yield JSON.parse(last.slice(6)) as Overview
  }
}
