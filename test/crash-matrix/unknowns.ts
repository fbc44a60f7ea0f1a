/**
 * Writes down which publishes ended without an answer: each of them may be followed by one more of
 * the same message.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Transport } from '../../src/core/transport.ts'

const fileIn = (folder: string): string => join(folder, 'unknown')

export function notingUnknowns(transport: Transport, folder: string): Transport {
  const publish: Transport['publish'] = (messages, options) =>
    transport.publish(messages, options).map(async (answer, index) => {
      const outcome = await answer
      if (outcome.kind === 'unknown') appendFileSync(fileIn(folder), `${messages[index]?.id}\n`)
      return outcome
    })
  return withPublish(transport, publish)
}

/** A bug: the answer comes before the broker's. */
export function hasty(transport: Transport): Transport {
  const publish: Transport['publish'] = (messages, options) => {
    setTimeout(() => void transport.publish(messages, options), 100)
    return messages.map(() => Promise.resolve({ kind: 'confirmed' as const }))
  }
  return withPublish(transport, publish)
}

export function withPublish(transport: Transport, publish: Transport['publish']): Transport {
  return new Proxy(transport, {
    get(target, name) {
      if (name === 'publish') return publish
      const value = Reflect.get(target, name, target) as unknown
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

/** Ids, one for each such answer. */
export function unknownsIn(folder: string): readonly string[] {
  return existsSync(fileIn(folder)) ? readFileSync(fileIn(folder), 'utf8').trim().split('\n') : []
}
