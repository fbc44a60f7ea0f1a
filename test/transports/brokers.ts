import { afterAll, beforeAll } from 'vitest'
import { natsIsHere, openNats } from '../nats/server.ts'
import { rabbitIsHere } from '../rabbitmq/broker.ts'
import { withVhost } from '../rabbitmq/with-vhost.ts'
import { openPrivateRedis, redisIsHere } from '../redis/server.ts'

/** Which of them are here, and where. The addresses are known once the tests have begun. */
export interface Brokers {
  readonly here: { readonly redis: boolean; readonly nats: boolean; readonly rabbit: boolean }
  readonly url: { readonly redis: string; readonly nats: string; readonly rabbit: string }
}

/** One broker of each kind for a file of tests. They end with it. */
export async function brokers(
  redis: Parameters<typeof openPrivateRedis>[0] = {},
): Promise<Brokers> {
  const here = { redis: redisIsHere(), nats: natsIsHere('any'), rabbit: await rabbitIsHere() }
  const vhost = withVhost(here.rabbit)
  const url = {
    redis: '',
    nats: '',
    get rabbit() {
      return vhost.url
    },
  }
  const open = new AsyncDisposableStack()
  beforeAll(async () => {
    if (here.redis) url.redis = open.use(await openPrivateRedis(redis)).url
    if (here.nats) url.nats = open.use(await openNats()).url
  })
  afterAll(() => open.disposeAsync())
  return { here, url }
}
