import { useEffect, useState } from 'preact/hooks'
import { ApiError, get, type Overview, stream } from './api.ts'

export type Link = 'connecting' | 'live' | 'polling' | 'away'

/** One point of the curves. */
export interface Point {
  readonly added: number
  readonly left: number
}

export interface LiveState {
  readonly link: Link
  readonly overview: Overview | undefined
  readonly error: ApiError | undefined
  /** By source. */
  readonly curves: ReadonlyMap<string, readonly Point[]>
}

const POLL_MS = 10_000
const LONGEST_PAUSE_MS = 15_000
const MOST_POINTS = 60

const wait = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done, { once: true })
  })

/** What there is, kept up to date. It connects again by itself, and asks where there is no stream. */
export function useLive(onError: (error: ApiError) => void): LiveState {
  const [state, setState] = useState<LiveState>({
    link: 'connecting',
    overview: undefined,
    error: undefined,
    curves: new Map(),
  })
  useEffect(() => {
    const stop = new AbortController()
    const told = (overview: Overview, link: Link): void =>
      setState((before) => ({
        link,
        overview,
        error: undefined,
        curves: curvesWith(before.curves, overview),
      }))
    const failed = (error: ApiError): void => {
      if (error.status === 401 || error.status === 403) onError(error)
      setState((before) => ({ ...before, link: 'away', error }))
    }
    void follow(stop.signal, told, failed)
    return () => stop.abort()
  }, [])
  return state
}

async function follow(
  signal: AbortSignal,
  told: (overview: Overview, link: Link) => void,
  failed: (error: ApiError) => void,
): Promise<void> {
  for (let pauseMs = 1000; !signal.aborted; ) {
    try {
      for await (const overview of stream(signal)) {
        pauseMs = 1000
        told(overview, 'live')
      }
    } catch (thrown) {
      if (signal.aborted) return
      if (thrown instanceof ApiError && thrown.code === 'enough-pages') {
        await poll(signal, told, failed)
        await wait(POLL_MS, signal)
        continue
      }
      failed(asApiError(thrown))
    }
    await wait(pauseMs, signal)
    pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)
  }
}

async function poll(
  signal: AbortSignal,
  told: (overview: Overview, link: Link) => void,
  failed: (error: ApiError) => void,
): Promise<void> {
  try {
    told(await get<Overview>('overview', {}, signal), 'polling')
  } catch (thrown) {
    if (!signal.aborted) failed(asApiError(thrown))
  }
}

export const asApiError = (thrown: unknown): ApiError =>
  thrown instanceof ApiError
    ? thrown
    : new ApiError(0, 'unreachable', 'The connection to the dashboard was lost.')

function curvesWith(
  before: LiveState['curves'],
  { sources }: Overview,
): ReadonlyMap<string, readonly Point[]> {
  return new Map(
    sources.map(({ name, rates, trouble }) => {
      const known = before.get(name) ?? []
      const point = rates !== null && trouble === null ? [rates] : []
      return [name, [...known, ...point].slice(-MOST_POINTS)]
    }),
  )
}
