import type { RedisConfirm } from './options.ts'
import type { Questions, ServerFacts } from './server.ts'

/**
 * Undefined if what this connection has written is as safe as `confirm` wants. The server waits for
 * what was written last: what came after does no harm.
 */
export async function shortfallOf(
  { client, facts }: { readonly client: Questions; readonly facts: ServerFacts },
  confirm: RedisConfirm,
  ms: number,
): Promise<string | undefined> {
  if (confirm === 'written' || (confirm === 'synced' && facts.appendFsync === 'always'))
    return undefined
  if (confirm === 'synced') {
    const [local] = await client.sendCommand<readonly unknown[]>(['WAITAOF', '1', '0', String(ms)])
    return Number(local) >= 1 ? undefined : 'it has not reached the disk yet'
  }
  const { replicas } = confirm
  const have = Number(await client.sendCommand(['WAIT', String(replicas), String(ms)]))
  return have >= replicas ? undefined : `only ${have} replicas have it`
}
