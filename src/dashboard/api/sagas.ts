import type { SagaListRequest, SagaRecord, SagaStore } from '../../core/records/sagas.ts'
import { parseJson } from '../../lib/json.ts'
import { problem } from '../http/problem.ts'
import {
  type Call,
  isText,
  limitField,
  numberOf,
  partOf,
  type Route,
  sourceField,
  sourceOf,
  textOf,
} from './route.ts'
import { list, number, object, orNull, text, time } from './schemas.ts'

const ROWS = 50
const MOST_ROWS = 200

const instance = {
  app: text,
  saga: text,
  key: text,
  id: text,
  version: number,
  createdAt: time,
  updatedAt: time,
}

export const sagas: Route = {
  method: 'GET',
  path: 'sagas',
  summary: 'Instances of sagas that have not completed, without their state.',
  fields: {
    source: sourceField,
    app: { kind: 'text', text: 'Only of this app.' },
    saga: { kind: 'text', text: 'Only of this saga.' },
    key: { kind: 'text', text: 'Only of this key.' },
    after: { kind: 'text', most: 5000, text: '`next` of the answer before.' },
    limit: limitField(ROWS, MOST_ROWS),
  },
  answer: object({ sagas: list(object(instance)), next: orNull(text) }),
  async run(call) {
    const limit = numberOf(call, 'limit') ?? ROWS
    const store = await sagasOf(call)
    const found = (await store?.list({ ...whichOf(call), limit })) ?? []
    const last = found.length === limit ? found.at(-1) : undefined
    const next = last && JSON.stringify([last.app, last.saga, last.key])
    return { sagas: found.map(instanceView), next: next ?? null }
  },
}

export const saga: Route = {
  method: 'GET',
  path: 'sagas/instance',
  summary: 'One instance with the timeouts that it waits for. Its state needs the right bodies.',
  fields: {
    source: sourceField,
    app: { kind: 'text', text: 'Its app.', required: true },
    saga: { kind: 'text', text: 'Its saga.', required: true },
    key: { kind: 'text', text: 'Its key.', required: true },
  },
  answer: object({ ...instance, timeouts: list(text), state: orNull(text) }),
  async run(call) {
    const [found] = (await (await sagasOf(call))?.list({ ...whichOf(call), limit: 1 })) ?? []
    if (found === undefined) throw problem(404, 'no-saga', 'It is no longer there.')
    const { numbers } = parseJson(found.timeouts) as { readonly numbers: object }
    const state = call.rights.has('bodies') ? found.state : null
    return { ...instanceView(found), timeouts: Object.keys(numbers), state }
  },
}

/** Undefined: there are no tables of sagas yet. */
async function sagasOf(call: Call): Promise<SagaStore<unknown> | undefined> {
  const store = partOf((await sourceOf(call)).store?.sagas, 'sagas')
  const version = await store.schema?.version()
  return version?.current === 0 ? undefined : store
}

function whichOf(call: Call): Omit<SagaListRequest, 'limit'> {
  const [app, of, key] = ['app', 'saga', 'key'].map((name) => textOf(call, name))
  const after = textOf(call, 'after')
  return {
    ...(app === undefined ? {} : { app }),
    ...(of === undefined ? {} : { saga: of }),
    ...(key === undefined ? {} : { key }),
    ...(after === undefined ? {} : { after: cursorOf(after) }),
  }
}

function cursorOf(given: string): NonNullable<SagaListRequest['after']> {
  try {
    const parts = parseJson(given)
    if (Array.isArray(parts) && parts.length === 3 && parts.every((one) => isText(one)))
      return { app: parts[0] as string, saga: parts[1] as string, key: parts[2] as string }
  } catch {
    // Told below.
  }
  throw problem(400, 'bad-input', "The field 'after' is no 'next' of an answer.")
}

function instanceView({
  app,
  saga: of,
  key,
  id,
  version,
  createdAt,
  updatedAt,
}: SagaRecord): object {
  return { app, saga: of, key, id, version, createdAt, updatedAt }
}
