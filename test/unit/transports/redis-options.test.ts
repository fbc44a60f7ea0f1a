import { expect, test } from 'vitest'
import { redis, type RedisOptions } from '../../../src/redis.ts'

const pem = '-----BEGIN CERTIFICATE-----\n'
const url = 'rediss://host'
const connect = () => Promise.reject(new Error('not called'))
const master = 'shop'
const nodes = ['a:26379']

test.each<[string, object]>([
  ['redis.tls', { url, tls: 'yes' }],
  ['redis.tls.pfx', { url, tls: { pfx: pem } }],
  ['redis.tls.ca', { url, tls: { ca: '/etc/ca.pem' } }],
  ['redis.tls.ca', { url, tls: { ca: Buffer.from(pem) } }],
  ['redis.tls.servername', { url, tls: { servername: 7 } }],
  ['redis.tls.key', { url, tls: { cert: pem } }],
  ['redis.tls', { connect, tls: { ca: pem } }],
  ['redis.sentinels', { connect, sentinels: { master, nodes } }],
  ['redis.sentinels', { url, sentinels: null }],
  ['redis.sentinels', { url, sentinels: 'a:26379' }],
  ['redis.sentinels.name', { url, sentinels: { master, nodes, name: 'x' } }],
  ['redis.sentinels.master', { url, sentinels: { nodes } }],
  ['redis.sentinels.nodes', { url, sentinels: { master, nodes: [] } }],
  ['redis.sentinels.nodes', { url, sentinels: { master, nodes: [26379] } }],
  ['redis.sentinels.nodes', { url, sentinels: { master, nodes: ['a:99999'] } }],
  ['redis.sentinels.password', { url, sentinels: { master, nodes, password: 7 } }],
])('%s is refused with its name: %o', (field, options) => {
  expect(() => redis(options as RedisOptions)).toThrow(
    expect.objectContaining({ code: 'MERSAL_INVALID_OPTIONS', details: { field } }),
  )
})

test('what is as documented is taken', async () => {
  const tls = { ca: pem, cert: pem, key: pem, servername: 'host' }
  const sentinels = { master, nodes: ['a:26379', '10.0.0.1:26380'], password: 'secret' }
  await using transport = redis({ url, tls, sentinels, logger: false })
  expect(transport.name).toBe('redis')
})
