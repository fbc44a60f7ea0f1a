import type { Finding, QueueOverview } from '../../core/operations.ts'
import { ask, command, type RedisLink } from './connection.ts'
import { declaredQueues } from './dead-letters.ts'
import type { RedisSettings } from './options.ts'
import { evicts, factsOf, missingReplicas, type ServerFacts } from './server.ts'
import { notMadeYet } from '../shared/own-queues.ts'

/** Looks at the server without making anything. Throws when it cannot be reached. */
export async function examine(
  link: RedisLink,
  settings: RedisSettings,
  prefix: string,
  queues: readonly string[],
): Promise<readonly Finding[]> {
  const facts = await ask(link, ({ client }) => factsOf(client, settings))
  const declared = new Set(await declaredQueues(link, prefix))
  return [
    { level: 'ok', subject: 'redis version', text: facts.version },
    disk(facts, settings),
    memory(facts),
    ...replicas(facts, settings),
    ...rights(facts),
    ...queues.map((queue) => queueFinding(queue, declared.has(queue))),
  ]
}

function disk(facts: ServerFacts, { confirm }: RedisSettings): Finding {
  const { appendOnly, appendFsync = 'unknown', writeFailed } = facts
  const subject = 'redis disk'
  if (writeFailed) {
    const remedy = 'look at the log of the server and at its disk'
    return { level: 'fault', subject, text: 'its last write to the disk failed', remedy }
  }
  const remedy = 'set appendonly yes and appendfsync always'
  if (!appendOnly)
    return { level: 'warning', subject, text: 'keeps nothing (appendonly no)', remedy }
  const text = `appendonly yes, appendfsync ${appendFsync}`
  if (appendFsync === 'always' || confirm === 'synced') return { level: 'ok', subject, text }
  return {
    level: 'warning',
    subject,
    text: `${text}: a crash of the machine can lose what was confirmed last`,
    remedy: 'set appendfsync always',
  }
}

function memory(facts: ServerFacts): Finding {
  const { usedBytes, maxBytes, evictionPolicy } = facts
  const subject = 'redis memory'
  const text = `${usedBytes} of ${maxBytes === 0 ? 'unlimited' : maxBytes} bytes, ${evictionPolicy}`
  if (evicts(facts))
    return { level: 'fault', subject, text, remedy: 'set maxmemory-policy noeviction' }
  if (maxBytes === 0 || usedBytes < maxBytes * 0.9) return { level: 'ok', subject, text }
  const remedy = 'raise maxmemory, or let consumers catch up'
  return { level: 'warning', subject, text, remedy }
}

function replicas(facts: ServerFacts, settings: RedisSettings): readonly Finding[] {
  if (typeof settings.confirm !== 'object') return []
  const subject = 'redis replicas'
  const text = `${facts.replicas}, and each confirm waits for ${settings.confirm.replicas}`
  if (missingReplicas(facts, settings) === 0) return [{ level: 'ok', subject, text }]
  const remedy = 'connect that many replicas, or lower confirm.replicas'
  return [{ level: 'fault', subject, text, remedy }]
}

function rights({ missingRights }: ServerFacts): readonly Finding[] {
  if (missingRights.length === 0) return []
  const text = `missing: ${missingRights.join(', ')}`
  const remedy = 'give the user all that docs/redis.md lists'
  return [{ level: 'fault', subject: 'redis rights', text, remedy }]
}

function queueFinding(queue: string, exists: boolean): Finding {
  const subject = `queue '${queue}'`
  if (exists) return { level: 'ok', subject, text: 'declared' }
  return notMadeYet(subject)
}

/** Every queue of this prefix. What consumers hold is among what waits. */
export async function queueOverviews(
  link: RedisLink,
  prefix: string,
): Promise<readonly QueueOverview[]> {
  const queues = await declaredQueues(link, prefix)
  return ask(link, ({ client }) => {
    const count = async (key: string): Promise<number> =>
      Number(await command(client, ['XLEN', `${prefix}${key}`]))
    return Promise.all(
      queues.map(async (queue) => ({
        queue,
        dead: await count(`dead:${queue}`),
        waiting: await count(`queue:${queue}`),
      })),
    )
  })
}
