import { afterAll, beforeAll } from 'vitest'
import { openVhost, type Vhost } from '../../scripts/servers/vhost.ts'

/**
 * A vhost for all tests of a file, or of a suite: opened before the first of them, removed after
 * the last one. Where RabbitMQ is not `here` it must not be touched.
 */
export function withVhost(here = true): Vhost {
  let place: (Vhost & AsyncDisposable) | undefined
  beforeAll(async () => {
    if (here) place = await openVhost()
  })
  afterAll(() => place?.[Symbol.asyncDispose]())
  const opened = (): Vhost => {
    if (place === undefined) throw new Error('there is no vhost outside of the tests')
    return place
  }
  return {
    get url() {
      return opened().url
    },
    get vhost() {
      return opened().vhost
    },
    ctl: (...args) => opened().ctl(...args),
    queues: () => opened().queues(),
    bindings: () => opened().bindings(),
  }
}
