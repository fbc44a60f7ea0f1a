import type { SagaInstance, SagaKey, SagaRecord } from '../../core/records/sagas.ts'

/** A row of the table of sagas as every dialect selects it: texts, and numbers as texts or not. */
export interface SagaRow {
  readonly app: string
  readonly saga: string
  readonly key: string
  readonly id: string
  readonly version: string | number
  readonly state: string
  readonly timeouts: string
  /** Milliseconds since the Unix epoch. */
  readonly created: string | number
  readonly updated: string | number
}

export const keyOfSaga = ({ app, saga, key }: SagaKey): [string, string, string] => [app, saga, key]

export function readSaga(rows: readonly SagaRow[]): SagaInstance | undefined {
  const [row] = rows
  if (row === undefined) return undefined
  const { id, version, state, timeouts } = row
  return { id, version: Number(version), state, timeouts }
}

export function readSagas(rows: readonly SagaRow[]): readonly SagaRecord[] {
  return rows.map(({ app, saga, key, id, version, state, timeouts, created, updated }) => ({
    app,
    saga,
    key,
    id,
    version: Number(version),
    state,
    timeouts,
    createdAt: Number(created),
    updatedAt: Number(updated),
  }))
}
