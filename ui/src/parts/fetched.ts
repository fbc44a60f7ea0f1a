import { useEffect, useState } from 'preact/hooks'
import { type ApiError, get, type Query } from '../api.ts'
import { asApiError } from '../live.ts'

export interface Fetched<Answer> {
  readonly answer: Answer | undefined
  readonly error: ApiError | undefined
  readonly loading: boolean
  readonly again: () => void
}

/** Asks once for each query, and again when told. The last answer stays until the next one. */
export function useFetched<Answer>(path: string | undefined, query: Query): Fetched<Answer> {
  const [turn, setTurn] = useState(0)
  const [state, setState] = useState<Omit<Fetched<Answer>, 'again'>>({
    answer: undefined,
    error: undefined,
    loading: true,
  })
  useEffect(() => {
    if (path === undefined) return undefined
    const stop = new AbortController()
    setState((before) => ({ ...before, loading: true }))
    get<Answer>(path, query, stop.signal).then(
      (answer) => setState({ answer, error: undefined, loading: false }),
      (thrown: unknown) => {
        if (!stop.signal.aborted)
          setState({ answer: undefined, error: asApiError(thrown), loading: false })
      },
    )
    return () => stop.abort()
  }, [path, JSON.stringify(query), turn])
  return { ...state, again: () => setTurn((before) => before + 1) }
}
