import { checkPartitionKey } from '../../core/messages/validation.ts'
import type { PauseBoard, PauseTarget } from '../../core/operations.ts'
import { withoutSecrets } from '../../lib/secrets.ts'
import { problem } from '../http/problem.ts'
import { pauseSchema } from './overview.ts'
import {
  type Call,
  type Field,
  partOf,
  type Route,
  sourceField,
  sourceOf,
  textOf,
} from './route.ts'
import { flag, list, object } from './schemas.ts'

const target: Readonly<Record<string, Field>> = {
  source: sourceField,
  kind: {
    kind: 'text',
    text: 'What is held up: a destination, or a partition key.',
    required: true,
    choices: ['destination', 'key'],
  },
  name: {
    kind: 'text',
    text: 'The partition key, or TRANSPORT/queue/NAME or TRANSPORT/topic/NAME.',
    required: true,
  },
}

export const pauses: Route = {
  method: 'GET',
  path: 'pauses',
  summary: 'What is paused.',
  fields: { source: sourceField },
  answer: object({ pauses: list(pauseSchema) }),
  async run(call) {
    const found = await (await boardOf(call)).list()
    return {
      pauses: found.map(({ kind, name, since, reason }) => ({
        kind,
        name,
        since,
        reason: withoutSecrets(reason),
      })),
    }
  },
}

export const pause: Route = {
  method: 'POST',
  path: 'pauses',
  summary: 'Holds up a destination or a partition key, in all relays, within about a second.',
  right: 'pause',
  fields: { ...target, reason: { kind: 'text', most: 500, text: 'Shown to others.' } },
  answer: object({ changed: flag }),
  async run(call) {
    const wanted = targetOf(call)
    return { changed: await (await boardOf(call)).pause(wanted, textOf(call, 'reason') ?? '') }
  },
}

export const resume: Route = {
  method: 'POST',
  path: 'pauses/resume',
  summary: 'Takes a pause back. What has waited leaves in its order.',
  right: 'pause',
  fields: target,
  answer: object({ changed: flag }),
  async run(call) {
    const wanted = targetOf(call)
    return { changed: await (await boardOf(call)).resume(wanted) }
  },
}

async function boardOf(call: Call): Promise<PauseBoard> {
  return partOf((await sourceOf(call)).store?.operations?.pauses, 'pauses')
}

function targetOf(call: Call): PauseTarget {
  const name = textOf(call, 'name') ?? ''
  if (textOf(call, 'kind') === 'key') {
    try {
      checkPartitionKey(name)
    } catch {
      throw problem(400, 'bad-input', 'This cannot be a partition key.')
    }
    return { kind: 'key', name }
  }
  if (!/^[^/]+\/(?:queue|topic)\/.+$/.test(name))
    throw problem(
      400,
      'bad-input',
      'A destination is TRANSPORT/queue/NAME or TRANSPORT/topic/NAME, such as default/queue/billing.',
    )
  return { kind: 'destination', name }
}
