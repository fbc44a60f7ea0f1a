import { fieldsOf } from '../redis/queue.ts'
import { arrived, type Change, changing, documentOf, type Scene } from './scene.ts'

interface State {
  readonly changes: number
}

const documentKey = ({ queue }: Scene, id: string): string => `{${queue.prefix}}:plain:${id}`
const dueKey = ({ queue }: Scene): string => `{${queue.prefix}}:plain-due`

/** State and message in one script, if nobody else was faster. */
const SAVE = `
if (redis.call('HGET', KEYS[1], 'version') or '0') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[1] + 1, 'state', ARGV[2])
if ARGV[3] then
  redis.call('RPUSH', KEYS[1] .. ':outbox', ARGV[3])
  redis.call('SADD', KEYS[2], ARGV[4])
end
return 1`

/** Takes what one reader has published. */
const REMOVE = `
redis.call('LTRIM', KEYS[1] .. ':outbox', ARGV[1], -1)
if redis.call('LLEN', KEYS[1] .. ':outbox') == 0 then redis.call('SREM', KEYS[2], ARGV[2]) end`

async function changed(scene: Scene, number: number, withMessage: boolean): Promise<void> {
  const { client } = scene
  const id = documentOf(number)
  const key = documentKey(scene, id)
  const [version, text] = await client.hmGet(key, ['version', 'state'])
  const before = JSON.parse(text ?? '{"changes":0}') as State
  const state = JSON.stringify({ changes: before.changes + 1 })
  const message = withMessage ? [JSON.stringify(fieldsOf(number)), id] : []
  const saved = await client.eval(SAVE, {
    keys: [key, dueKey(scene)],
    arguments: [version ?? '0', state, ...message],
  })
  if (saved !== 1) throw new Error('somebody else was faster')
}

const BATCH = 50

/** One reader, that nobody else may stand beside: it holds nothing, and a crash publishes twice. */
async function publishing(scene: Scene, isOver: () => boolean): Promise<void> {
  const { client, queue } = scene
  while (!isOver()) {
    const ids = (await client.sRandMemberCount(dueKey(scene), BATCH)) ?? []
    await Promise.all(
      ids.map(async (id) => {
        const key = documentKey(scene, id)
        const messages = await client.lRange(`${key}:outbox`, 0, 99)
        for (const message of messages)
          await client.sendCommand([
            'XADD',
            queue.stream,
            '*',
            ...(JSON.parse(message) as string[]),
          ])
        const keys = [key, dueKey(scene)]
        await client.eval(REMOVE, { keys, arguments: [String(messages.length), id] })
      }),
    )
    if (ids.length === 0) await new Promise((resolve) => setTimeout(resolve, 1))
  }
}

/** State and message in one write, and one reader that publishes. */
export const byHand: Change = async (scene) => {
  let over = false
  const reader = publishing(scene, () => over)
  await changing(scene, (number) => changed(scene, number, true))
  await arrived(scene)
  over = true
  await reader
}

/** The state, then the message: a crash between the two loses it. */
export const hoping: Change = async (scene) => {
  const { client, queue } = scene
  await changing(scene, async (number) => {
    await changed(scene, number, false)
    await client.sendCommand(['XADD', queue.stream, '*', ...fieldsOf(number)])
  })
  await arrived(scene)
}
