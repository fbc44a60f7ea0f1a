import type { RefusedMessage } from '../../core/operations.ts'
import { historyView } from './letters.ts'
import { limitField, numberOf, partOf, type Route, sourceField, sourceOf, textOf } from './route.ts'
import { attemptSchema, list, number, object, orNull, text, time } from './schemas.ts'

const ROWS = 50
const MOST_ROWS = 200

const message = {
  key: text,
  id: text,
  type: text,
  place: text,
  partitionKey: orNull(text),
  attempts: number,
  dueAt: time,
  history: list(attemptSchema),
}

export const refused: Route = {
  method: 'GET',
  path: 'refused',
  summary:
    'Open messages that were tried in vain, in the order of the outbox. Reads it until it has found them.',
  fields: {
    source: sourceField,
    after: { kind: 'text', text: '`next` of the answer before.' },
    limit: limitField(ROWS, MOST_ROWS),
  },
  answer: object({ messages: list(object(message)), next: orNull(text) }),
  async run(call) {
    const listing = partOf((await sourceOf(call)).store?.operations?.refused, 'refused messages')
    const limit = numberOf(call, 'limit') ?? ROWS
    const after = textOf(call, 'after')
    const found = await listing({ limit, ...(after === undefined ? {} : { after }) })
    const last = found.length === limit ? found.at(-1) : undefined
    return { messages: found.map(view), next: last?.key ?? null }
  },
}

function view(one: RefusedMessage): object {
  const { key, id, type, place, partitionKey = null, attempts, dueAt, history } = one
  return { key, id, type, place, partitionKey, attempts, dueAt, history: historyView(history) }
}
