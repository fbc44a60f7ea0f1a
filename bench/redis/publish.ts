import { type Publish, type Publishing, windows } from '../brokers/publishing.ts'
import { createCheck, upTo } from '../check.ts'
import { numberOf, thousandKeys } from '../messages.ts'
import { bodiesOf, fieldsOf, openClient, type RedisQueue, road } from './queue.ts'

export const bare: Publish<RedisQueue> = async ({ url, stream }, count) => {
  const client = await openClient(url)
  // What is sent in one turn of the loop travels together.
  for (const numbers of windows(count))
    await Promise.all(
      numbers.map((number) => client.sendCommand(['XADD', stream, '*', ...fieldsOf(number)])),
    )
  await client.close()
}

/** Reads everything that the stream holds, plainly, and takes it away. */
async function faultsIn({ url, stream }: RedisQueue, count: number): Promise<string[]> {
  const client = await openClient(url)
  const check = createCheck(thousandKeys)
  for (const body of await bodiesOf(client, stream)) check.saw(numberOf(Buffer.from(body)))
  await client.del(stream)
  await client.close()
  return check.faults(upTo(count))
}

export const publishing: Publishing<RedisQueue> = {
  road,
  bare: { name: 'bare XADD, 500 in each pipeline', publish: bare },
  faultsIn,
}
