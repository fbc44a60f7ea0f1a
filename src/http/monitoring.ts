import { Mersal } from '../app/mersal.ts'
import type { AppState } from '../app/lifecycle.ts'
import type { AppHealth } from '../app/health/health.ts'
import { invalidOption } from '../core/options.ts'
import { createAppMetrics } from '../metrics/app-metrics.ts'
import { exposition } from '../metrics/exposition.ts'
import { mergedMetrics } from '../metrics/relay-metrics.ts'

/** The part of a request of `node:http` that is read. */
export interface NodeRequest {
  readonly method?: string | undefined
}

/** The part of a response of `node:http` that is written. */
export interface NodeResponse {
  statusCode: number
  readonly headersSent?: boolean
  setHeader(name: string, value: string): unknown
  end(text?: string): unknown
}

/** One page. Its functions need no `this`. Only GET and HEAD are answered. */
export interface MonitorRoute {
  /** For `node:http`, Express, and others that have its requests. */
  readonly node: (request: NodeRequest, response: NodeResponse) => Promise<void>
  /** For frameworks with web requests, such as Hono and Next.js. */
  readonly fetch: (request: Request) => Promise<Response>
}

/** Pages for whoever watches over the process. None of them shows a secret, an id or a body. */
export interface Monitoring extends Disposable {
  /** 200 as long as no app has stopped, else 503. Asks neither database nor broker. */
  readonly live: MonitorRoute
  /**
   * 200 when every app is ready, else 503; as JSON, with the parts of each app and their reasons.
   */
  readonly ready: MonitorRoute
  /** Metrics in the text format of Prometheus, version 0.0.4. */
  readonly metrics: MonitorRoute
}

interface Page {
  readonly status: number
  readonly type: string
  readonly text: string
}

/** The part of `Mersal` that is shown here; only such an app will do. */
export interface MonitoredApp {
  readonly name: string
  readonly state: AppState
  health(): Promise<AppHealth>
}

/**
 * Pages about these apps. Make it once, before `start()`: counters count from then on. Disposing of
 * it ends the counting. Throws `MERSAL_INVALID_OPTIONS`.
 */
export function monitoring(...apps: readonly MonitoredApp[]): Monitoring {
  if (apps.length === 0 || !apps.every((app: unknown) => app instanceof Mersal))
    throw invalidOption('monitoring()', 'expected one or several apps made by new Mersal()')
  const metrics = (apps as readonly Mersal<unknown>[]).map(createAppMetrics)
  const healths = (): Promise<readonly AppHealth[]> => Promise.all(apps.map((app) => app.health()))
  return {
    live: route(async () => {
      const live = apps.every(({ state }) => state !== 'stopped')
      return json(live, { live })
    }),
    ready: route(async () => {
      const found = await healths()
      const ready = found.every((health) => health.ready)
      const details = found.map((health, index) => ({ name: apps[index]?.name, ...health }))
      return json(ready, { ready, apps: details })
    }),
    metrics: route(async () => {
      const all = await Promise.all(metrics.map((one) => one.metrics()))
      const type = 'text/plain; version=0.0.4; charset=utf-8'
      return { status: 200, type, text: exposition(mergedMetrics(all)) }
    }),
    [Symbol.dispose]() {
      for (const one of metrics) one[Symbol.dispose]()
    },
  }
}

function json(good: boolean, body: object): Page {
  return { status: good ? 200 : 503, type: 'application/json', text: `${JSON.stringify(body)}\n` }
}

function route(page: () => Promise<Page>): MonitorRoute {
  const answer = async (method: string | undefined): Promise<Page & { readonly head: boolean }> => {
    const head = method === 'HEAD'
    if (head || method === 'GET') return { ...(await page()), head }
    return { status: 405, type: 'text/plain; charset=utf-8', text: 'only GET\n', head }
  }
  const headersOf = ({ status, type }: Page): Readonly<Record<string, string>> => ({
    'content-type': type,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...(status === 405 ? { allow: 'GET, HEAD' } : {}),
  })
  return {
    async node({ method }, response) {
      const found = await answer(method)
      // Somebody did not wait for it, such as a limit of time of the framework.
      if (response.headersSent === true) return
      response.statusCode = found.status
      for (const [name, value] of Object.entries(headersOf(found))) response.setHeader(name, value)
      if (found.head) response.end()
      else response.end(found.text)
    },
    async fetch({ method }) {
      const found = await answer(method)
      const { status } = found
      return new Response(found.head ? null : found.text, { status, headers: headersOf(found) })
    },
  }
}
