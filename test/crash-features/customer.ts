/** A plain client of HTTP: it repeats a request until it has an answer, which it writes down. */
import { setTimeout as sleep } from 'node:timers/promises'
import { courseOf, fateOf, keyOf, numbers, partsOf, type Request } from './plan.ts'

export interface Answer {
  readonly status: number
  readonly body: string
  readonly replayed: boolean
}

export interface Answered {
  readonly request: Request
  readonly answer: Answer
  /** What the same request got when everything was over. */
  readonly repeated?: Answer
}

export interface CustomerPorts {
  /** Of the server that is alive, if any. */
  readonly port: () => number | undefined
  /** Whether the saga has begun with this order. */
  readonly begun: (number: number) => Promise<boolean>
  readonly signal: AbortSignal
}

const LANES = 3
const method = ({ path }: Request): string => (path === 'reminders' ? 'DELETE' : 'POST')

async function once(port: number, request: Request): Promise<Answer> {
  const { number, part } = request
  const response = await fetch(`http://127.0.0.1:${port}/${request.path}`, {
    method: method(request),
    headers: { 'content-type': 'application/json', 'idempotency-key': `"${keyOf(request)}"` },
    body: JSON.stringify({ number, part }),
    signal: AbortSignal.timeout(15_000),
  })
  const body = await response.text()
  const replayed = response.headers.get('idempotent-replayed') === 'true'
  return { status: response.status, body, replayed }
}

export class Customer {
  readonly #ports: CustomerPorts
  readonly answers: Answered[] = []

  constructor(ports: CustomerPorts) {
    this.#ports = ports
  }

  /** Resolves when every request has an answer. */
  async shop(): Promise<void> {
    const waiting = [...numbers]
    const lane = async (): Promise<void> => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift())
        await this.#order(next)
    }
    await Promise.all(Array.from({ length: LANES }, lane))
  }

  async #order(number: number): Promise<void> {
    await this.#note({ path: 'orders', number, part: 0 })
    const fate = fateOf(number)
    if (fate === 'undo') await this.#undo(number)
    // A payment for an order that nobody knows yet would be ignored.
    if (courseOf(number) !== 'unpaid')
      while (!(await this.#ports.begun(number))) await this.#pause()
    for (const part of partsOf(number)) await this.#note({ path: 'payments', number, part })
    if (fate === 'cancel') await this.#note({ path: 'reminders', number, part: 0 })
  }

  /** Once more, when nobody dies any more. */
  async repeat(): Promise<void> {
    for (const [index, { request, answer }] of this.answers.entries())
      this.answers[index] = { request, answer, repeated: await this.#until(request) }
  }

  async #note(request: Request): Promise<void> {
    this.answers.push({ request, answer: await this.#until(request) })
  }

  async #until(request: Request): Promise<Answer> {
    for (;;) {
      const port = this.#ports.port()
      const answer =
        port === undefined ? undefined : await once(port, request).catch(() => undefined)
      // What is running, what nobody knows, and an error: once more.
      if (answer !== undefined && answer.status < 400) return answer
      if (answer !== undefined && answer.status === 422)
        throw new Error(`a repeat was taken for another request: ${answer.body}`)
      await this.#pause()
    }
  }

  /** Takes a reminder back in a transaction that fails. */
  async #undo(number: number): Promise<void> {
    for (;;) {
      const port = this.#ports.port()
      const response =
        port === undefined
          ? undefined
          : await fetch(`http://127.0.0.1:${port}/reminders`, {
              method: 'POST',
              headers: { 'content-type': 'application/json' },
              body: JSON.stringify({ number }),
            }).catch(() => undefined)
      if (response?.status === 409) return
      await this.#pause()
    }
  }

  async #pause(): Promise<void> {
    await sleep(50, undefined, { signal: this.#ports.signal })
  }
}
