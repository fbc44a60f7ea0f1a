/** Faults of Redis. */
import { setTimeout as sleep } from 'node:timers/promises'
import { now } from '../history.ts'
import { keys } from '../places/redis.ts'
import { CONSUMER, topics } from '../plan.ts'
import { comesBack, losing, refusedSince } from './losses.ts'
import { type Nemesis, onRedis, type RedisScene, upTo } from './nemesis.ts'

const full = onRedis({
  name: 'memory-full',
  says: 'the memory of Redis is full (maxmemory, noeviction): it takes no message for seconds, while consumers go on',
  touches: 'broker',
  async inject(scene) {
    const { cli } = scene.place.redis
    const since = now()
    await cli('CONFIG', 'SET', 'maxmemory', '1')
    try {
      await sleep(upTo(scene.random, 1500, 4000))
    } finally {
      await cli('CONFIG', 'SET', 'maxmemory', '0')
    }
    return refusedSince(scene, since)
  },
})

const replica = onRedis({
  name: 'replica',
  says: 'Redis becomes a replica, which takes no writes, and a master again',
  touches: 'broker',
  async inject(scene) {
    const { cli } = scene.place.redis
    const since = now()
    // Of a master that is not there, so that it keeps what it has.
    await cli('REPLICAOF', '127.0.0.1', '1')
    try {
      await sleep(upTo(scene.random, 1500, 4000))
    } finally {
      await cli('REPLICAOF', 'NO', 'ONE')
    }
    return refusedSince(scene, since)
  },
})

const spin = `local function now() local t = redis.call('TIME') return t[1] * 1000 + t[2] / 1000 end
local till = now() + ARGV[1]
while now() < till do end
return 1`

const busy = onRedis({
  name: 'busy',
  says: 'a script of somebody else keeps Redis from its work: for a while nothing is answered, then only BUSY',
  touches: 'broker',
  async inject(scene) {
    const { cli } = scene.place.redis
    const since = now()
    await cli('CONFIG', 'SET', 'busy-reply-threshold', '700')
    const ms = Math.round(upTo(scene.random, 2500, 4000))
    await cli('EVAL', spin, '0', String(ms))
    return refusedSince(scene, since)
  },
})

const forgotten = onRedis({
  name: 'scripts-flushed',
  says: 'an operator makes Redis forget every script that it knows',
  touches: 'broker',
  async inject({ place: { redis } }) {
    await redis.cli('SCRIPT', 'FLUSH')
    return 'forgotten'
  },
})

/** The queue is declared, has its group and its subscription. */
async function isThere({ place: { redis } }: RedisScene): Promise<boolean> {
  const members = await Promise.all([
    redis.cli('SISMEMBER', keys.queues, CONSUMER),
    redis.cli('SISMEMBER', keys.subscribers, CONSUMER),
    redis.cli('SISMEMBER', keys.subscriptions, topics.booked),
  ])
  const groups = (await redis.cli('XINFO', 'GROUPS', keys.stream)) as readonly unknown[]
  return members.every((member) => member === 1) && groups.length === 1
}

async function removed({ place: { redis } }: RedisScene, what: 'all' | 'topics'): Promise<void> {
  if (what === 'all') {
    await redis.cli('SREM', keys.queues, CONSUMER)
    await redis.cli('DEL', keys.stream, keys.due, keys.state)
  }
  await redis.cli('SREM', keys.subscribers, CONSUMER)
  await redis.cli('DEL', keys.subscriptions)
}

const queueGone = onRedis({
  name: 'queue-removed',
  says: 'an operator deletes every key of a queue; it has to come back, with its subscriptions',
  touches: 'broker',
  async inject(scene) {
    const lost = await losing(scene, {
      remove: () => removed(scene, 'all'),
      back: (withinMs) => comesBack(() => isThere(scene), 'the queue', withinMs),
    })
    return `${lost} messages may have been in it`
  },
})

const subscriptionGone = onRedis({
  name: 'subscription-removed',
  says: 'an operator deletes the subscriptions of a queue; its living consumers have to bring them back',
  touches: 'broker',
  async inject(scene) {
    const lost = await losing(scene, {
      remove: () => removed(scene, 'topics'),
      back: (withinMs) => comesBack(() => isThere(scene), 'the subscription', withinMs),
    })
    return `${lost} messages may have missed the queue`
  },
})

const streamGone = onRedis({
  name: 'stream-removed',
  says: 'an operator deletes the stream of a queue, and nothing else of it',
  touches: 'broker',
  async inject(scene) {
    const lost = await losing(scene, {
      remove: () => scene.place.redis.cli('DEL', keys.stream),
      back: (withinMs) => comesBack(() => isThere(scene), 'the stream', withinMs),
    })
    return `${lost} messages may have been in it`
  },
})

const groupGone = onRedis({
  name: 'group-removed',
  says: 'an operator deletes the group of a stream: everything in the stream comes again',
  touches: 'broker',
  async inject(scene) {
    await scene.place.redis.cli('XGROUP', 'DESTROY', keys.stream, 'mersal')
    await comesBack(() => isThere(scene), 'the group')
    return 'came back'
  },
})

const stateGone = onRedis({
  name: 'state-removed',
  says: 'an operator deletes what is noted of attempts and holders',
  touches: 'broker',
  async inject({ place: { redis } }) {
    await redis.cli('DEL', keys.state)
    return 'deleted'
  },
})

export const redisFaults: readonly Nemesis[] = [
  full,
  replica,
  busy,
  forgotten,
  queueGone,
  subscriptionGone,
  streamGone,
  groupGone,
  stateGone,
]
