/**
 * Watches the client of Redis. A script does several things at one time: the one for a retry stands
 * for the copy and the acknowledgement, and so does the one for a dead letter.
 */
import { createHash } from 'node:crypto'
import { createRequire } from 'node:module'
import type { Socket } from 'node:net'
import { dirname, join } from 'node:path'
import { scripts } from '../../../src/transports/redis/scripts.ts'
import { acknowledging, answered, here, type Line, lost, publishing } from './line.ts'
import { at } from './steps.ts'

type Argument = string | Buffer
interface Client {
  readonly _self: object
  _getQueue(): { commandsToWrite(): Iterable<Iterable<Argument>> }
  connect: (this: Client) => Promise<Client>
  sendCommand: (this: Client, args: readonly Argument[], options?: object) => Promise<unknown>
}
type Net = Record<'createConnection', (...given: unknown[]) => Socket>

const require = createRequire(import.meta.url)
const library = dirname(require.resolve('@redis/client'))
const { default: RedisClient } = require(join(library, 'lib/client/index.js')) as {
  default: { prototype: Client }
}
const net = require('node:net') as Net

const sockets = new WeakMap<object, Socket>()

const lineOf = (client: Client): Line => ({
  flush() {
    for (const command of client._getQueue().commandsToWrite())
      for (const part of command) sockets.get(client._self)?.write(part)
  },
  socket: sockets.get(client._self),
})

const digestOf = (text: string): string => createHash('sha1').update(text).digest('hex')
const names = new Map(
  Object.entries(scripts).map(([name, { text }]) => [digestOf(text), name] as const),
)

/** The name of the script that is run, and what it does with a message. */
function scriptIn([command, first = '', , , ...given]: readonly Argument[]): {
  readonly name: string | undefined
  readonly what: string
} {
  const text = String(first)
  const digest = command === 'EVALSHA' ? text : command === 'EVAL' ? digestOf(text) : ''
  return { name: names.get(digest), what: String(given[3] ?? '') }
}

const { sendCommand, connect } = RedisClient.prototype

/** Something that is done with messages that were received, in one script. */
function settled(line: Line, what: string, write: () => void): void {
  if (what === 'ack') return acknowledging(line, 'ack', write)
  if (what !== 'retry' && what !== 'reject') return write()
  const name = what === 'retry' ? 'retry' : 'dead'
  at(`ack(${name}):before`)
  write()
  here(line, `move(${name}):written`)
}

const watchedSend: Client['sendCommand'] = function (args, options) {
  const line = lineOf(this)
  let answer = Promise.resolve<unknown>(undefined)
  const write = (): void => void (answer = sendCommand.call(this, args, options))
  const { name, what } = scriptIn(args)
  if (name === 'put') {
    const ticket = {}
    publishing(line, ticket, write)
    return answer.finally(() => setImmediate(answered, ticket))
  }
  if (name === 'settle') settled(line, what, write)
  else if (name === 'revive') {
    write()
    here(line, 'move(back):written')
  } else if (args[0] === 'XDEL') acknowledging(line, 'ack', write)
  else write()
  if (name !== 'take') return answer
  return answer.then((taken) => {
    if ((taken as readonly [readonly unknown[]])[0].length > 0) at('deliver')
    return taken
  })
}

let connecting: object | undefined

const watchedConnect: Client['connect'] = function () {
  at('connect')
  connecting = this._self
  try {
    return connect.call(this)
  } finally {
    connecting = undefined
  }
}

export function watchRedis(): void {
  Object.assign(RedisClient.prototype, { sendCommand: watchedSend, connect: watchedConnect })
  const { createConnection } = net
  net.createConnection = (...given) => {
    const socket = createConnection(...given)
    if (connecting !== undefined) {
      sockets.set(connecting, socket)
      socket.once('close', lost)
    }
    return socket
  }
}
